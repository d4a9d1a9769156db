//! Segment registers and far transfers (SDM Vol. 1, 5.1.7, 5.1.10 and 5.2): which handler, and where the operands are.

mod far;
mod segment;
mod table_register;
mod verify;

use crate::cpu::{Cpu, Stop, Stopped};
use crate::decode::Form;
use crate::operand::Source;
use crate::record::{Handler, Record};
use crate::system::Selector;

/// The handler for a form of this family.
pub(crate) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    far::select(form)
        .or_else(|| segment::select(form))
        .or_else(|| table_register::select(form))
        .or_else(|| verify::select(form))
}

/// #UD where there are no descriptors: in real-address and virtual-8086 mode.
fn require_descriptors<C: Cpu>(cpu: &C) -> Result<(), Stopped> {
    let state = cpu.state();
    if state.is_real_address() || state.is_virtual_8086() { Err(Stop::INVALID_OPCODE.into()) } else { Ok(()) }
}

/// A selector operand: 16 bits of a register or of memory.
fn selector<C: Cpu, S: Source>(cpu: &mut C, record: &Record<C>) -> Result<Selector, Stopped> {
    Ok(Selector(S::load::<C, u16>(cpu, record)?))
}
