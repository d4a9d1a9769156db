//! The stacks of more privileged levels, from the task-state segment (SDM Vol. 3A, 6.8.5 and 7.14.4 to 7.14.5).

use super::descriptor::{self, Located, OperandSize, table_address};
use super::fault::{self, require};
use super::selector::Selector;
use super::stack::Stack;
use crate::cpu::{Cpu, Privilege, Stop, Stopped};
use crate::event::{Exception, Vector};
use crate::segment::Segment;
use crate::state::{Slot, State};

/// Where 64-bit code has a stack pointer in the task-state segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LongStack {
    /// RSP0 to RSP2.
    Level(u8),
    /// IST1 to IST7.
    InterruptStack(u8),
}

impl LongStack {
    fn offset(self) -> u64 {
        match self {
            Self::Level(level) => 4 + 8 * u64::from(level),
            Self::InterruptStack(number) => 28 + 8 * u64::from(number),
        }
    }
}

/// #TS that names the task-state segment, which is too short, unless `bytes` bytes from `offset` on are in it.
fn check_tss(state: &State, offset: u64, bytes: u64) -> Result<(), Stopped> {
    let tr = state.system.tr;
    let inside = offset + bytes - 1 <= u64::from(tr.limit);
    require(inside, fault::invalid_tss, Selector(tr.selector))
}

/// The stack pointer of 64-bit code.
///
/// # Errors
///
/// #TS when the task-state segment is too short, #SS(0) when the pointer is not canonical.
pub(crate) fn long<C: Cpu>(cpu: &mut C, place: LongStack) -> Result<u64, Stopped> {
    check_tss(cpu.state(), place.offset(), 8)?;
    let at = table_address(cpu.state(), cpu.state().system.tr.base, place.offset());
    let pointer = cpu.read_as(Privilege::Implicit, at)?;
    if cpu.state().is_canonical(pointer) {
        Ok(pointer)
    } else {
        Err(Stop::Exception(Exception::with_code(Vector::StackFault, 0)).into())
    }
}

/// The null selector with which 64-bit code of a privilege level has its stack.
pub(crate) fn null_stack_segment(cpl: u8) -> Segment {
    let dpl = crate::segment::AccessRights::from_bits_retain(u32::from(cpl) << 5);
    let rights = Segment::UNUSABLE.rights | dpl;
    Segment { selector: cpl.into(), rights, ..Segment::UNUSABLE }
}

/// The stack of a more privileged level outside IA-32e mode.
pub(crate) struct InnerStack {
    pub(crate) segment: Located,
    pub(crate) stack: Stack,
}

/// Reads SS and ESP of privilege level `dpl` from a 16- or 32-bit task-state segment and checks the segment.
///
/// # Errors
///
/// #TS that names the task-state segment or the stack segment; #SS when that is not present.
pub(crate) fn legacy<C: Cpu>(cpu: &mut C, dpl: u8) -> Result<InnerStack, Stopped> {
    let (selector, pointer) = pointers(cpu, dpl)?;
    require(!selector.is_null(), fault::invalid_tss, selector)?;
    let segment = descriptor::read(cpu, selector, fault::invalid_tss)?;
    let privileged = selector.rpl() == dpl && segment.descriptor.dpl() == dpl;
    require(privileged && segment.is_writable_data(), fault::invalid_tss, selector)?;
    require(segment.descriptor.is_present(), fault::stack, selector)?;
    let upper = cpu.state().slot(Slot::Rsp);
    let in_register = segment.descriptor.segment(selector);
    let kept = upper & !super::stack::pointer_mask(&in_register) & 0xffff_ffff;
    let pointer = kept | pointer & super::stack::pointer_mask(&in_register);
    Ok(InnerStack { segment, stack: Stack::inner(in_register, pointer, dpl) })
}

fn pointers<C: Cpu>(cpu: &mut C, dpl: u8) -> Result<(Selector, u64), Stopped> {
    let base = cpu.state().system.tr.base;
    let at = |state: &State, offset| table_address(state, base, offset);
    if tss_size(cpu.state()) == OperandSize::Word {
        let offset = 2 + 4 * u64::from(dpl);
        check_tss(cpu.state(), offset, 4)?;
        let pointer: u16 = cpu.read_as(Privilege::Implicit, at(cpu.state(), offset))?;
        let selector = cpu.read_as(Privilege::Implicit, at(cpu.state(), offset + 2))?;
        return Ok((Selector(selector), pointer.into()));
    }
    let offset = 4 + 8 * u64::from(dpl);
    check_tss(cpu.state(), offset, 6)?;
    let pointer: u32 = cpu.read_as(Privilege::Implicit, at(cpu.state(), offset))?;
    let selector = cpu.read_as(Privilege::Implicit, at(cpu.state(), offset + 4))?;
    Ok((Selector(selector), pointer.into()))
}

/// The size of the current task-state segment, from TR.
pub(crate) fn tss_size(state: &State) -> OperandSize {
    let is_32_bit = state.system.tr.rights.bits() & 8 != 0;
    match (state.is_ia32e(), is_32_bit) {
        (true, _) => OperandSize::Quadword,
        (false, true) => OperandSize::Doubleword,
        (false, false) => OperandSize::Word,
    }
}
