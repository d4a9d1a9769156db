//! VMCALL and VMMCALL outside VMX operation (SDM Vol. 3C, 33.3; VMMCALL is AMD's).
//!
//! A processor has nobody there who would answer, and they are #UD. A machine that stands in for a monitor answers them
//! by [`Cpu::hypercall`].

use super::done;
use crate::cpu::{Cpu, Stopped};
use crate::decode::Form;
use crate::record::{Handler, Record};
use iced_x86::Mnemonic;

/// The handler for a form of this family.
pub(super) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    matches!(form.mnemonic(), Mnemonic::Vmcall | Mnemonic::Vmmcall).then_some(hypercall)
}

fn hypercall<C: Cpu>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    cpu.hypercall()?;
    done(cpu, record)
}
