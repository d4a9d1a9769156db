//! Far RET, and what it shares with IRET (SDM Vol. 2B, RET).

use super::super::code;
use super::super::descriptor::{Located, OperandSize};
use super::super::fault::{self, require};
use super::super::load;
use super::super::selector::Selector;
use super::super::stack::{Stack, pointer_mask};
use super::{FarPointer, check_without_descriptor, done, has_no_descriptors};
use crate::cpu::{Cpu, Stopped};
use crate::mode::CodeSize;
use crate::segment::{Segment, SegmentRegister};
use crate::state::{Slot, State};

/// Returns to CS:RIP from the stack and releases `parameters` bytes above, on both stacks when there are two.
pub(crate) fn ret<C: Cpu>(cpu: &mut C, size: OperandSize, parameters: u64) -> Result<(), Stopped> {
    let mut stack = Stack::current(cpu.state());
    let offset = stack.pop(cpu, size)?;
    let selector = stack.pop_selector(cpu, size)?;
    if has_no_descriptors(cpu.state()) {
        let segment = check_without_descriptor(cpu, size, FarPointer { selector, offset })?;
        stack.skip(parameters);
        let state = cpu.state_mut();
        state.set_slot(Slot::Rsp, stack.rsp());
        state.set_segment(SegmentRegister::Cs, segment);
        state.set_rip(offset);
        return done();
    }
    let code = target(cpu, selector)?;
    stack.skip(parameters);
    let is_outer = selector.rpl() > cpu.state().system.cpl;
    let to = if is_outer { ReturnStack::popped(cpu, &mut stack, size)? } else { ReturnStack::Kept(stack) };
    let back = Return { code, rip: offset, to };
    back.complete(cpu, parameters)?;
    done()
}

/// Checks the code segment that a return names (SDM Vol. 3A, 6.8.6).
pub(super) fn target<C: Cpu>(cpu: &mut C, selector: Selector) -> Result<Located, Stopped> {
    let code = code::read(cpu, selector)?;
    let (rpl, dpl) = (selector.rpl(), code.descriptor.dpl());
    let privileged = if code.is_conforming() { dpl <= rpl } else { dpl == rpl };
    let outward = rpl >= cpu.state().system.cpl;
    require(privileged && outward, fault::general_protection, selector)?;
    code::check_size(cpu.state(), &code)?;
    require(code.descriptor.is_present(), fault::not_present, selector)?;
    Ok(code)
}

/// The stack that a return leads to.
pub(super) enum ReturnStack {
    /// The one in use, without what was popped.
    Kept(Stack),
    /// The one that was below.
    Popped { selector: Selector, rsp: u64 },
}

impl ReturnStack {
    /// RSP and SS from the stack.
    pub(super) fn popped<C: Cpu>(cpu: &mut C, stack: &mut Stack, size: OperandSize) -> Result<Self, Stopped> {
        let rsp = stack.pop(cpu, size)?;
        let selector = stack.pop_selector(cpu, size)?;
        Ok(Self::Popped { selector, rsp })
    }
}

/// A return whose code segment has been checked.
pub(super) struct Return {
    pub(super) code: Located,
    pub(super) rip: u64,
    pub(super) to: ReturnStack,
}

impl Return {
    /// Checks the rest, then loads CS, RIP, SS and RSP and empties the data segment registers that the level may not
    /// use.
    pub(super) fn complete<C: Cpu>(&self, cpu: &mut C, parameters: u64) -> Result<(), Stopped> {
        let cpl = self.code.selector.rpl();
        let in_register = self.code.descriptor.segment(self.code.selector);
        let size = code::size_of(cpu.state(), in_register.rights);
        let (stack_segment, rsp) = match self.to {
            ReturnStack::Kept(stack) => (cpu.state().segment(SegmentRegister::Ss), stack.rsp()),
            ReturnStack::Popped { selector, rsp } => {
                let segment = load::stack_segment(cpu, selector, cpl, size, fault::general_protection)?;
                (segment, popped_rsp(cpu.state(), &segment, size, rsp, parameters))
            }
        };
        code::check_rip(cpu.state(), &in_register, self.rip)?;
        let segment = self.code.access(cpu)?;
        let state = cpu.state_mut();
        let is_outer = cpl > state.system.cpl;
        state.set_slot(Slot::Rsp, rsp);
        state.set_segment(SegmentRegister::Ss, stack_segment);
        code::enter(state, segment, self.rip, cpl);
        if is_outer {
            load::drop_privileged(state, cpl);
        }
        Ok(())
    }
}

/// A stack segment that is not big loads SP alone (SDM Vol. 2B, RET); 64-bit code has no such.
fn popped_rsp(state: &State, segment: &Segment, size: CodeSize, popped: u64, parameters: u64) -> u64 {
    let rsp = popped.wrapping_add(parameters);
    match (size, pointer_mask(segment)) {
        (CodeSize::Bits64, _) => rsp,
        (_, 0xffff) => state.slot(Slot::Rsp) & 0xffff_0000 | rsp & 0xffff,
        (_, mask) => rsp & mask,
    }
}
