//! Stack, near branches and legacy instructions in every mode.
//!
//! Code of 16 and 32 bits reaches its stack and its branch targets through segments with limits; 64-bit code comes here
//! when its references are checked for alignment. The other families have the short ways of plain 64-bit code.

use crate::cpu::Cpu;
use crate::decode::Form;
use crate::mode::AlignmentCheck;
use crate::record::Handler;

mod branch;
mod decimal;
mod flags;
mod legacy;
mod stack;

/// The handler for a form of these families, where the short one will not do.
pub(crate) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    let always = flags::select(form).or_else(|| stack::select_selector(form));
    if !form.mode.size.is_segmented() && form.mode.alignment == AlignmentCheck::Off {
        return always;
    }
    always
        .or_else(|| stack::select(form))
        .or_else(|| branch::select(form))
        .or_else(|| legacy::select(form))
        .or_else(|| decimal::select(form))
}
