//! What comes before an instruction of VMX reads an operand in memory.

use super::{Mode, Vmx};
use crate::error_number::InstructionError;
use crate::exit_reason::BasicExitReason;
use isa::mode::CodeSize;
use isa::state::State;
use isa::system::{VmxInstruction, VmxOutcome};

/// Whether an instruction of VMX may go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Begin {
    /// It may.
    Go,
    /// It has failed.
    Failed(VmxOutcome),
    /// It leaves the guest.
    Exit(BasicExitReason),
    /// #UD.
    InvalidOpcode,
    /// #GP(0).
    GeneralProtection,
}

impl Vmx {
    /// What comes before operands in memory are read; the mode permits the instruction, except for VMCALL and VMFUNC,
    /// whose modes are looked at here.
    pub fn begin(&mut self, state: &State, instruction: VmxInstruction, operand: u64) -> Begin {
        match self.mode() {
            Mode::NonRoot => Self::begin_in_guest(instruction),
            Mode::Outside if instruction == VmxInstruction::Vmxon => self.begin_vmxon(state),
            Mode::Outside => Begin::InvalidOpcode,
            Mode::Root => self.begin_in_root(state, instruction, operand),
        }
    }

    /// VMX non-root operation: all exit but VMFUNC, which is #UD as long as no VM function is offered.
    const fn begin_in_guest(instruction: VmxInstruction) -> Begin {
        use BasicExitReason as Reason;
        Begin::Exit(match instruction {
            VmxInstruction::Vmfunc => return Begin::InvalidOpcode,
            VmxInstruction::Invept => Reason::Invept,
            VmxInstruction::Invvpid => Reason::Invvpid,
            VmxInstruction::Vmcall => Reason::Vmcall,
            VmxInstruction::Vmclear => Reason::Vmclear,
            VmxInstruction::Vmlaunch => Reason::Vmlaunch,
            VmxInstruction::Vmptrld => Reason::Vmptrld,
            VmxInstruction::Vmptrst => Reason::Vmptrst,
            VmxInstruction::Vmread => Reason::Vmread,
            VmxInstruction::Vmresume => Reason::Vmresume,
            VmxInstruction::Vmwrite => Reason::Vmwrite,
            VmxInstruction::Vmxoff => Reason::Vmxoff,
            VmxInstruction::Vmxon => Reason::Vmxon,
        })
    }

    fn begin_vmxon(&self, state: &State) -> Begin {
        if state.system.cpl == 0 && self.permits_vmxon(state) { Begin::Go } else { Begin::GeneralProtection }
    }

    fn begin_in_root(&mut self, state: &State, instruction: VmxInstruction, operand: u64) -> Begin {
        let unusual = state.is_virtual_8086() || state.is_ia32e() && state.code_size() != CodeSize::Bits64;
        if instruction == VmxInstruction::Vmfunc || (instruction == VmxInstruction::Vmcall && unusual) {
            return Begin::InvalidOpcode;
        }
        if !self.exists(instruction) {
            return Begin::InvalidOpcode;
        }
        if state.system.cpl != 0 {
            return Begin::GeneralProtection;
        }
        self.fails_early(instruction, operand).map_or(Begin::Go, Begin::Failed)
    }

    fn exists(&self, instruction: VmxInstruction) -> bool {
        match instruction {
            VmxInstruction::Invept => self.capabilities.ept_vpid().invept(),
            VmxInstruction::Invvpid => self.capabilities.ept_vpid().invvpid(),
            _ => true,
        }
    }

    fn fails_early(&mut self, instruction: VmxInstruction, operand: u64) -> Option<VmxOutcome> {
        match instruction {
            VmxInstruction::Vmxon => Some(self.fail(InstructionError::VmxonInRootOperation)),
            VmxInstruction::Vmread | VmxInstruction::Vmwrite if self.current().is_none() => {
                Some(VmxOutcome::FailInvalid)
            }
            VmxInstruction::Invept if !self.has_invept_type(operand) => {
                Some(self.fail(InstructionError::InvalidOperandToInveptInvvpid))
            }
            VmxInstruction::Invvpid if !self.has_invvpid_type(operand) => {
                Some(self.fail(InstructionError::InvalidOperandToInveptInvvpid))
            }
            _ => None,
        }
    }

    fn has_invept_type(&self, kind: u64) -> bool {
        let capability = self.capabilities.ept_vpid();
        match kind {
            1 => capability.invept_single_context(),
            2 => capability.invept_all_context(),
            _ => false,
        }
    }

    fn has_invvpid_type(&self, kind: u64) -> bool {
        let capability = self.capabilities.ept_vpid();
        match kind {
            0 => capability.invvpid_individual_address(),
            1 => capability.invvpid_single_context(),
            2 => capability.invvpid_all_context(),
            3 => capability.invvpid_single_context_retaining_globals(),
            _ => false,
        }
    }
}
