//! Far CALL (SDM Vol. 2A, CALL).

use super::super::code::{self, Level};
use super::super::descriptor::{self, Descriptor, DescriptorKind, Located, OperandSize};
use super::super::fault::{self, require};
use super::super::inner_stack::{self, LongStack};
use super::super::selector::Selector;
use super::super::stack::Stack;
use super::super::task::{self, TaskSwitchSource};
use super::jump::{behind_call_gate, check_direct};
use super::{FarPointer, check_without_descriptor, done, has_no_descriptors};
use crate::cpu::{Cpu, Stopped};
use crate::segment::{Segment, SegmentRegister};
use crate::state::{Slot, State};

/// Most parameters that a call gate copies.
const MOST_PARAMETERS: usize = 31;

/// Calls a far pointer of a size and leaves CS and `next`, where it returns to, on the stack.
pub(crate) fn call<C: Cpu>(cpu: &mut C, size: OperandSize, to: FarPointer, next: u64) -> Result<(), Stopped> {
    if has_no_descriptors(cpu.state()) {
        return call_without_descriptor(cpu, size, to, next);
    }
    require(!to.selector.is_null(), fault::general_protection, Selector(0))?;
    let target = descriptor::read(cpu, to.selector, fault::general_protection)?;
    match target.kind(cpu.state()) {
        DescriptorKind::Code => {
            check_direct(cpu, &target)?;
            at_same_level(cpu, size, &target, size.truncate(to.offset), next)
        }
        DescriptorKind::CallGate(size) => {
            let code = behind_call_gate(cpu, &target)?;
            let rip = target.descriptor.gate_offset(size);
            match code::level_behind_gate(cpu.state(), &code) {
                Level::Same => at_same_level(cpu, size, &code, rip, next),
                Level::Inner(dpl) => {
                    let gate = InnerCall { gate: target.descriptor, size, code, rip, dpl };
                    if size == OperandSize::Quadword { gate.long(cpu, next) } else { gate.legacy(cpu, next) }
                }
            }
        }
        kind => task::transfer(cpu, &target, kind, TaskSwitchSource::Call, next),
    }
}

fn return_address(state: &State, next: u64) -> [u64; 2] {
    [state.selector(SegmentRegister::Cs).into(), next]
}

fn call_without_descriptor<C: Cpu>(
    cpu: &mut C,
    size: OperandSize,
    to: FarPointer,
    next: u64,
) -> Result<(), Stopped> {
    let values = return_address(cpu.state(), next);
    let mut stack = Stack::current(cpu.state());
    stack.push_all(cpu, size, &values)?;
    let segment = check_without_descriptor(cpu, size, to)?;
    let state = cpu.state_mut();
    state.set_slot(Slot::Rsp, stack.rsp());
    state.set_segment(SegmentRegister::Cs, segment);
    state.set_rip(size.truncate(to.offset));
    done()
}

fn at_same_level<C: Cpu>(
    cpu: &mut C,
    size: OperandSize,
    code: &Located,
    rip: u64,
    next: u64,
) -> Result<(), Stopped> {
    let values = return_address(cpu.state(), next);
    let mut stack = Stack::current(cpu.state());
    stack.push_all(cpu, size, &values)?;
    let segment = checked(cpu, code, rip)?;
    let state = cpu.state_mut();
    state.set_slot(Slot::Rsp, stack.rsp());
    let cpl = state.system.cpl;
    code::enter(state, segment, rip, cpl);
    done()
}

fn checked<C: Cpu>(cpu: &mut C, code: &Located, rip: u64) -> Result<Segment, Stopped> {
    code::check_rip(cpu.state(), &code.descriptor.segment(code.selector), rip)?;
    code.access(cpu)
}

/// A call through a gate to a more privileged level.
struct InnerCall {
    gate: Descriptor,
    size: OperandSize,
    code: Located,
    rip: u64,
    dpl: u8,
}

impl InnerCall {
    /// SS, RSP, CS and RIP go on the stack of the level, and SS becomes null.
    fn long<C: Cpu>(&self, cpu: &mut C, next: u64) -> Result<(), Stopped> {
        let pointer = inner_stack::long(cpu, LongStack::Level(self.dpl))?;
        let mut stack = Stack::long(pointer, self.dpl);
        let outer = outer_stack(cpu.state());
        stack.push_all(cpu, self.size, &outer)?;
        let values = return_address(cpu.state(), next);
        stack.push_all(cpu, self.size, &values)?;
        self.enter(cpu, inner_stack::null_stack_segment(self.dpl), &stack)
    }

    /// SS, ESP, the parameters, CS and EIP go on the stack of the level.
    fn legacy<C: Cpu>(&self, cpu: &mut C, next: u64) -> Result<(), Stopped> {
        let inner = inner_stack::legacy(cpu, self.dpl)?;
        let mut stack = inner.stack;
        let outer = outer_stack(cpu.state());
        stack.push_all(cpu, self.size, &outer)?;
        let (parameters, count) = self.parameters(cpu)?;
        let values = return_address(cpu.state(), next);
        let on_top_first = parameters[..count].iter().rev();
        on_top_first.chain(&values).try_for_each(|&value| stack.push(cpu, self.size, value))?;
        let segment = inner.segment.access(cpu)?;
        self.enter(cpu, segment, &stack)
    }

    /// The parameters, the one at the top of the caller's stack first.
    fn parameters<C: Cpu>(&self, cpu: &mut C) -> Result<([u64; MOST_PARAMETERS], usize), Stopped> {
        let mut from = Stack::current(cpu.state());
        let mut parameters = [0; MOST_PARAMETERS];
        let count = usize::try_from(self.gate.parameters()).unwrap_or(0).min(MOST_PARAMETERS);
        for parameter in &mut parameters[..count] {
            *parameter = from.pop(cpu, self.size)?;
        }
        Ok((parameters, count))
    }

    fn enter<C: Cpu>(&self, cpu: &mut C, stack_segment: Segment, stack: &Stack) -> Result<(), Stopped> {
        let segment = checked(cpu, &self.code, self.rip)?;
        let state = cpu.state_mut();
        state.set_segment(SegmentRegister::Ss, stack_segment);
        state.set_slot(Slot::Rsp, stack.rsp());
        code::enter(state, segment, self.rip, self.dpl);
        done()
    }
}

fn outer_stack(state: &State) -> [u64; 2] {
    [state.selector(SegmentRegister::Ss).into(), state.slot(Slot::Rsp)]
}
