//! The first checks of VMLAUNCH and VMRESUME (SDM 29.1).

use super::{Entry, predicates};
use crate::entry_rules::{EntryInstruction, MovSsBlocking, VmxOperation};
use crate::vmcs::{LaunchState, VmcsType};
use isa::control::Cr0;

pub(super) const RULES: &[Entry] = predicates! { s;
    "BASIC.01.NOT_IN_VMX", true => s.processor.operation != VmxOperation::Outside;
    "BASIC.02.REAL_MODE", true => s.processor.cr0.contains(Cr0::PE);
    "BASIC.03.V86", true => !s.processor.virtual_8086;
    "BASIC.04.COMPAT_MODE", s.lma() => s.processor.long_code_segment;
    "BASIC.05.NON_ROOT", s.processor.operation != VmxOperation::Outside
        => s.processor.operation == VmxOperation::Root;
    "BASIC.06.CPL", s.processor.operation == VmxOperation::Root => s.processor.cpl == 0;
    "BASIC.07.CURRENT_VMCS", true => s.processor.current_vmcs.is_some();
    "BASIC.08.NOT_SHADOW", s.processor.current_vmcs.is_some() => s.vmcs.vmcs_type() == VmcsType::Ordinary;
    "BASIC.09.MOV_SS", s.processor.current_vmcs.is_some() => s.processor.mov_ss == MovSsBlocking::Open;
    "BASIC.10.LAUNCH_CLEAR", s.instruction == EntryInstruction::Vmlaunch
        => s.vmcs.launch_state() == LaunchState::Clear;
    "BASIC.11.RESUME_LAUNCHED", s.instruction == EntryInstruction::Vmresume
        => s.vmcs.launch_state() == LaunchState::Launched;
};
