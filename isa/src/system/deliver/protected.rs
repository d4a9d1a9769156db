//! Protected mode outside IA-32e mode, also from virtual-8086 mode (SDM Vol. 3A, 7.11, 7.12 and 22.3).

use super::super::code::{self, Level};
use super::super::descriptor::{Descriptor, DescriptorKind, Encoding, Located, OperandSize, table_address};
use super::super::fault::{self, require};
use super::super::inner_stack;
use super::super::load;
use super::super::stack::Stack;
use super::super::task::{self, TaskSwitchSource};
use super::{Gate, clear_flags, pushed_flags, refuse_gate, return_rip};
use crate::cpu::{Cpu, Privilege, Stopped};
use crate::event::{Event, Vector};
use crate::segment::{Segment, SegmentRegister};
use crate::state::{Slot, State};

/// Through an interrupt, trap or task gate.
pub(super) fn deliver<C: Cpu>(cpu: &mut C, event: &Event) -> Result<(), Stopped> {
    let descriptor = read_gate(cpu, event)?;
    let gate = match descriptor.kind(Encoding::Legacy) {
        DescriptorKind::InterruptGate(size) => Gate::Interrupt(size),
        DescriptorKind::TrapGate(size) => Gate::Trap(size),
        DescriptorKind::TaskGate => {
            super::check_gate(cpu.state(), event, descriptor)?;
            return switch_task(cpu, event, descriptor);
        }
        _ => return Err(refuse_gate(event, Vector::GeneralProtection)),
    };
    super::check_gate(cpu.state(), event, descriptor)?;
    let target = code::behind_gate(cpu, descriptor.gate_selector())?;
    let rip = descriptor.gate_offset(gate.size());
    let entry = Entry { gate, target, rip };
    match code::level_behind_gate(cpu.state(), &target) {
        Level::Inner(dpl) if cpu.state().is_virtual_8086() => {
            require(dpl == 0, fault::general_protection, target.selector)?;
            to_inner_level(cpu, event, &entry, dpl)
        }
        Level::Inner(dpl) => to_inner_level(cpu, event, &entry, dpl),
        Level::Same => {
            let refused = cpu.state().is_virtual_8086();
            require(!refused, fault::general_protection, target.selector)?;
            at_same_level(cpu, event, &entry)
        }
    }
}

/// The handler that a gate leads to.
struct Entry {
    gate: Gate,
    target: Located,
    rip: u64,
}

fn read_gate<C: Cpu>(cpu: &mut C, event: &Event) -> Result<Descriptor, Stopped> {
    let offset = 8 * u64::from(event.vector);
    let idtr = cpu.state().system.idtr;
    if offset + 7 > idtr.limit.into() {
        return Err(refuse_gate(event, Vector::GeneralProtection));
    }
    let at = table_address(cpu.state(), idtr.base, offset);
    Ok(Descriptor { low: cpu.read_as(Privilege::Implicit, at)?, high: 0 })
}

/// EFLAGS, CS, EIP and the error code, as every handler finds them.
fn push_return<C: Cpu>(
    cpu: &mut C,
    event: &Event,
    stack: &mut Stack,
    size: OperandSize,
) -> Result<(), Stopped> {
    let state = cpu.state();
    let values =
        [pushed_flags(state, event), state.selector(SegmentRegister::Cs).into(), return_rip(state, event)];
    stack.push_all(cpu, size, &values)?;
    event.error_code.map_or(Ok(()), |code| stack.push(cpu, size, code.into()))
}

fn at_same_level<C: Cpu>(cpu: &mut C, event: &Event, entry: &Entry) -> Result<(), Stopped> {
    let mut stack = Stack::current(cpu.state());
    push_return(cpu, event, &mut stack, entry.gate.size())?;
    let segment = entry.code(cpu)?;
    let state = cpu.state_mut();
    let cpl = state.system.cpl;
    entry.go(state, segment, &stack, cpl);
    Ok(())
}

fn to_inner_level<C: Cpu>(cpu: &mut C, event: &Event, entry: &Entry, dpl: u8) -> Result<(), Stopped> {
    let inner = inner_stack::legacy(cpu, dpl)?;
    let mut stack = inner.stack;
    let size = entry.gate.size();
    let from_virtual_8086 = cpu.state().is_virtual_8086();
    if from_virtual_8086 {
        let values = data_selectors(cpu.state());
        stack.push_all(cpu, size, &values)?;
    }
    let state = cpu.state();
    let outer = [state.selector(SegmentRegister::Ss).into(), state.slot(Slot::Rsp)];
    stack.push_all(cpu, size, &outer)?;
    push_return(cpu, event, &mut stack, size)?;
    let code = entry.code(cpu)?;
    let stack_segment = inner.segment.access(cpu)?;
    let state = cpu.state_mut();
    if from_virtual_8086 {
        for register in load::DATA_REGISTERS {
            state.set_segment(register, Segment::UNUSABLE);
        }
    }
    state.set_segment(SegmentRegister::Ss, stack_segment);
    entry.go(state, code, &stack, dpl);
    Ok(())
}

/// GS, FS, DS and ES, as they are pushed in virtual-8086 mode.
fn data_selectors(state: &State) -> [u64; 4] {
    use SegmentRegister::{Ds, Es, Fs, Gs};
    [Gs, Fs, Ds, Es].map(|register| state.selector(register).into())
}

impl Entry {
    /// The code segment, after the last checks.
    fn code<C: Cpu>(&self, cpu: &mut C) -> Result<Segment, Stopped> {
        code::check_rip(cpu.state(), &self.target.descriptor.segment(self.target.selector), self.rip)?;
        self.target.access(cpu)
    }

    fn go(&self, state: &mut State, code: Segment, stack: &Stack, cpl: u8) {
        state.set_slot(Slot::Rsp, stack.rsp());
        code::enter(state, code, self.rip, cpl);
        clear_flags(state, self.gate);
    }
}

/// The task-state segment is the handler; the error code goes on its stack.
fn switch_task<C: Cpu>(cpu: &mut C, event: &Event, gate: Descriptor) -> Result<(), Stopped> {
    let back = return_rip(cpu.state(), event);
    let flags = pushed_flags(cpu.state(), event);
    let source = TaskSwitchSource::Event(*event);
    task::switch(cpu, gate.gate_selector(), source, task::Return { rip: back, flags })
}
