//! Far JMP (SDM Vol. 2A, JMP).

use super::super::code;
use super::super::descriptor::{self, DescriptorKind, Located, OperandSize};
use super::super::fault::{self, require};
use super::super::selector::Selector;
use super::super::task::{self, TaskSwitchSource};
use super::{FarPointer, check_without_descriptor, done, has_no_descriptors};
use crate::cpu::{Cpu, Stopped};
use crate::segment::SegmentRegister;

/// Goes to a far pointer of a size: to a code segment, or through a call gate, task gate or task-state segment.
pub(crate) fn jump<C: Cpu>(cpu: &mut C, size: OperandSize, to: FarPointer, next: u64) -> Result<(), Stopped> {
    if has_no_descriptors(cpu.state()) {
        let segment = check_without_descriptor(cpu, size, to)?;
        let state = cpu.state_mut();
        state.set_segment(SegmentRegister::Cs, segment);
        state.set_rip(size.truncate(to.offset));
        return done();
    }
    require(!to.selector.is_null(), fault::general_protection, Selector(0))?;
    let target = descriptor::read(cpu, to.selector, fault::general_protection)?;
    match target.kind(cpu.state()) {
        DescriptorKind::Code => {
            check_direct(cpu, &target)?;
            enter(cpu, &target, size.truncate(to.offset))
        }
        DescriptorKind::CallGate(size) => {
            let code = behind_call_gate(cpu, &target)?;
            let same = code.is_conforming() || code.descriptor.dpl() == cpu.state().system.cpl;
            require(same, fault::general_protection, code.selector)?;
            enter(cpu, &code, target.descriptor.gate_offset(size))
        }
        kind => task::transfer(cpu, &target, kind, TaskSwitchSource::Jump, next),
    }
}

/// What a JMP or CALL requires of a code segment that its operand names (SDM Vol. 3A, 6.8.1).
pub(super) fn check_direct<C: Cpu>(cpu: &C, code: &Located) -> Result<(), Stopped> {
    let state = cpu.state();
    let (cpl, dpl) = (state.system.cpl, code.descriptor.dpl());
    let privileged = if code.is_conforming() { dpl <= cpl } else { dpl == cpl && code.selector.rpl() <= cpl };
    require(privileged, fault::general_protection, code.selector)?;
    code::check_size(state, code)?;
    require(code.descriptor.is_present(), fault::not_present, code.selector)
}

/// Checks a call gate and reads the code segment behind it (SDM Vol. 3A, 6.8.4).
pub(super) fn behind_call_gate<C: Cpu>(cpu: &mut C, gate: &Located) -> Result<Located, Stopped> {
    let dpl = gate.descriptor.dpl();
    let privileged = dpl >= cpu.state().system.cpl && dpl >= gate.selector.rpl();
    require(privileged, fault::general_protection, gate.selector)?;
    require(gate.descriptor.is_present(), fault::not_present, gate.selector)?;
    code::behind_gate(cpu, gate.descriptor.gate_selector())
}

fn enter<C: Cpu>(cpu: &mut C, code: &Located, rip: u64) -> Result<(), Stopped> {
    code::check_rip(cpu.state(), &code.descriptor.segment(code.selector), rip)?;
    let segment = code.access(cpu)?;
    let state = cpu.state_mut();
    let cpl = state.system.cpl;
    code::enter(state, segment, rip, cpl);
    done()
}
