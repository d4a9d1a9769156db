//! The x87 unit (SDM Vol. 1, chapter 8): loads, stores, basic arithmetic, comparisons and its control.
//!
//! # Not modelled
//!
//! Transcendental functions, FPREM, FPREM1, FSCALE, FXTRACT, and packed decimal numbers. The last instruction and operand
//! are remembered only when an exception is pending that is not masked, and the last opcode not at all. CR0.NE is taken to be 1: a pending
//! exception is #MF.

use crate::cpu::Cpu;
use crate::decode::Form;
use crate::record::Handler;

mod arithmetic;
mod comparison;
mod control;
mod environment;
mod operand;
mod stack;
mod transfer;

pub(crate) use control::control_word;
pub(crate) use stack::{summarised, wait};

/// The handler for a form of this family.
pub(crate) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    control::select(form)
        .or_else(|| environment::select(form))
        .or_else(|| transfer::select(form))
        .or_else(|| arithmetic::select(form))
        .or_else(|| comparison::select(form))
}
