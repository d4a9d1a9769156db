//! VMMCALL, which is AMD's, and stands for VMCALL where a monitor answers both.
//!
//! A processor has nobody there who would answer, and it is #UD. A machine that stands in for a monitor answers by
//! [`Cpu::hypercall`].

use super::done;
use crate::cpu::{Cpu, Stopped};
use crate::decode::Form;
use crate::record::{Handler, Record};
use iced_x86::Mnemonic;

/// The handler for a form of this family.
pub(super) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    (form.mnemonic() == Mnemonic::Vmmcall).then_some(hypercall)
}

fn hypercall<C: Cpu>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    cpu.hypercall()?;
    done(cpu, record)
}
