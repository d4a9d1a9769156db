//! Real-address mode: the interrupt vector table (SDM Vol. 3A, 22.1.4).

use super::super::descriptor::{OperandSize, table_address};
use super::super::stack::Stack;
use super::{refuse_gate, return_rip};
use crate::cpu::{Cpu, Privilege, Stopped};
use crate::event::{Event, Vector};
use crate::flags::Rflags;
use crate::segment::{Segment, SegmentRegister};
use crate::state::{Slot, State};
use crate::system::load;
use crate::system::selector::Selector;

/// Pushes FLAGS, CS and IP and goes to the vector's CS:IP. There are no error codes.
pub(super) fn deliver<C: Cpu>(cpu: &mut C, event: &Event) -> Result<(), Stopped> {
    let offset = 4 * u64::from(event.vector);
    if offset + 3 > cpu.state().system.idtr.limit.into() {
        return Err(refuse_gate(event, Vector::GeneralProtection));
    }
    let at = table_address(cpu.state(), cpu.state().system.idtr.base, offset);
    let handler: u32 = cpu.read_as(Privilege::Implicit, at)?;
    let state = cpu.state();
    let cs = state.selector(SegmentRegister::Cs);
    let pushed = [state.flags.get(), cs.into(), return_rip(state, event)];
    let mut stack = Stack::current(state);
    stack.push_all(cpu, OperandSize::Word, &pushed)?;
    let state = cpu.state_mut();
    state.set_slot(Slot::Rsp, stack.rsp());
    clear_flags(state);
    enter(state, handler);
    Ok(())
}

fn clear_flags(state: &mut State) {
    let cleared = Rflags::IF | Rflags::TF | Rflags::AC | Rflags::RF;
    let flags = state.flags.get() & !cleared.bits();
    state.flags.set(flags);
}

/// Goes to an entry of the table: the offset in the lower half, the selector in the upper one.
#[allow(clippy::cast_possible_truncation, reason = "the selector is the upper half")]
pub(super) fn enter(state: &mut State, handler: u32) {
    let segment: Segment =
        load::without_descriptor(state, SegmentRegister::Cs, Selector((handler >> 16) as u16));
    state.set_segment(SegmentRegister::Cs, segment);
    state.set_rip((handler & 0xffff).into());
}
