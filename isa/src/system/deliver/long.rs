//! IA-32e mode (SDM Vol. 3A, 7.14).

use super::super::code::{self, Level};
use super::super::descriptor::{Descriptor, DescriptorKind, Encoding, Located, OperandSize, table_address};
use super::super::inner_stack::{self, LongStack};
use super::super::stack::Stack;
use super::{Gate, clear_flags, pushed_flags, refuse_gate, return_rip};
use crate::cpu::{Cpu, Privilege, Stopped};
use crate::event::{Event, Vector};
use crate::segment::SegmentRegister;
use crate::state::{Slot, State};

/// Always pushes SS, RSP, RFLAGS, CS, RIP and the error code in 64 bits, on a stack aligned to 16 bytes.
pub(super) fn deliver<C: Cpu>(cpu: &mut C, event: &Event) -> Result<(), Stopped> {
    let (gate, descriptor) = gate(cpu, event)?;
    let target = code::behind_gate(cpu, descriptor.gate_selector())?;
    let level = code::level_behind_gate(cpu.state(), &target);
    let rip = descriptor.gate_offset(OperandSize::Quadword);
    let mut stack = stack_for(cpu, &descriptor, level, &target)?.aligned();
    let values = pushed(cpu.state(), event);
    stack.push_all(cpu, OperandSize::Quadword, &values)?;
    if let Some(code) = event.error_code {
        stack.push(cpu, OperandSize::Quadword, code.into())?;
    }
    code::check_rip(cpu.state(), &target.descriptor.segment(target.selector), rip)?;
    let segment = target.access(cpu)?;
    let state = cpu.state_mut();
    let cpl = match level {
        Level::Same => state.system.cpl,
        Level::Inner(dpl) => {
            state.set_segment(SegmentRegister::Ss, inner_stack::null_stack_segment(dpl));
            dpl
        }
    };
    state.set_slot(Slot::Rsp, stack.rsp());
    code::enter(state, segment, rip, cpl);
    clear_flags(state, gate);
    Ok(())
}

fn gate<C: Cpu>(cpu: &mut C, event: &Event) -> Result<(Gate, Descriptor), Stopped> {
    let offset = 16 * u64::from(event.vector);
    let system = &cpu.state().system;
    if offset + 15 > system.idtr.limit.into() {
        return Err(refuse_gate(event, Vector::GeneralProtection));
    }
    let at = table_address(cpu.state(), system.idtr.base, offset);
    let low = cpu.read_as(Privilege::Implicit, at)?;
    let high = cpu.read_as(Privilege::Implicit, at.add(8))?;
    let descriptor = Descriptor { low, high };
    let gate = match descriptor.kind(Encoding::Ia32e) {
        DescriptorKind::InterruptGate(size) => Gate::Interrupt(size),
        DescriptorKind::TrapGate(size) => Gate::Trap(size),
        _ => return Err(refuse_gate(event, Vector::GeneralProtection)),
    };
    super::check_gate(cpu.state(), event, descriptor)?;
    Ok((gate, descriptor))
}

fn stack_for<C: Cpu>(
    cpu: &mut C,
    gate: &Descriptor,
    level: Level,
    target: &Located,
) -> Result<Stack, Stopped> {
    let cpl = match level {
        Level::Same => cpu.state().system.cpl,
        Level::Inner(_) => target.descriptor.dpl(),
    };
    let pointer = match (gate.interrupt_stack(), level) {
        (0, Level::Same) => cpu.state().slot(Slot::Rsp),
        (0, Level::Inner(dpl)) => inner_stack::long(cpu, LongStack::Level(dpl))?,
        (number, _) => inner_stack::long(cpu, LongStack::InterruptStack(number))?,
    };
    Ok(Stack::long(pointer, cpl))
}

fn pushed(state: &State, event: &Event) -> [u64; 5] {
    [
        state.selector(SegmentRegister::Ss).into(),
        state.slot(Slot::Rsp),
        pushed_flags(state, event),
        state.selector(SegmentRegister::Cs).into(),
        return_rip(state, event),
    ]
}
