//! What the surroundings of a processor answer about VMX.

use crate::machine::surroundings::Surroundings;
use isa::cpu::{Stop, Stopped};
use isa::state::State;
use isa::system::{ControlRegisterView, Intercepted, VmxInstruction, VmxOutcome, VmxRequest};
use mmu::Ram;
use vmx::capability::CapabilityMsr;
use vmx::controls::PrimaryProcessorControls as Primary;
use vmx::exit::Exit;
use vmx::exit_reason::BasicExitReason;
use vmx::field::Encoding;
use vmx::operation::{Answer, Begin, EntryInstruction};
use vmx::vmcs::Vmcs;
use vmx::{intercept, physical, transition};

/// What a processor is to do before its next instruction.
#[derive(Clone, Copy, Debug)]
pub(in crate::machine) enum Leave {
    /// A VM entry.
    Enter(EntryInstruction),
    /// A VM exit.
    Exit(Exit),
}

/// The task-priority register in the virtual-APIC page.
const VTPR: u64 = 0x80;

impl Surroundings {
    /// The VMCS of the guest that runs.
    #[inline]
    pub(in crate::machine) fn guest(&self) -> Option<&Vmcs> {
        self.vmx.as_ref().and_then(|vmx| vmx.guest())
    }

    /// Leaves a note for the logical processor, and stops the engine.
    #[cold]
    pub(in crate::machine) fn leave(&mut self, leave: Leave) -> Stopped {
        self.leaves = Some(leave);
        Stop::Machine.into()
    }

    /// The VM exit of an instruction that every guest leaves with.
    pub(in crate::machine) fn leave_if_guest(&mut self, reason: BasicExitReason) -> Result<(), Stopped> {
        if self.guest().is_none() {
            return Ok(());
        }
        Err(self.leave(Leave::Exit(Exit::of_instruction(reason))))
    }

    pub(in crate::machine) fn intercepts(
        &mut self,
        state: &State,
        ram: &Ram,
        what: &Intercepted,
    ) -> Result<(), Stopped> {
        let exit = self.guest().and_then(|vmcs| intercept::intercept(vmcs, state, ram, what));
        exit.map_or(Ok(()), |exit| Err(self.leave(Leave::Exit(exit))))
    }

    pub(in crate::machine) fn begin(
        &mut self,
        state: &State,
        instruction: VmxInstruction,
        operand: u64,
    ) -> Result<Option<VmxOutcome>, Stopped> {
        let Some(vmx) = &mut self.vmx else { return Err(Stop::INVALID_OPCODE.into()) };
        match vmx.begin(state, instruction, operand) {
            Begin::Go => Ok(None),
            Begin::Failed(outcome) => Ok(Some(outcome)),
            Begin::InvalidOpcode => Err(Stop::INVALID_OPCODE.into()),
            Begin::GeneralProtection => Err(Stop::GENERAL_PROTECTION.into()),
            Begin::Exit(reason) => Err(self.leave(Leave::Exit(match instruction {
                VmxInstruction::Vmcall
                | VmxInstruction::Vmlaunch
                | VmxInstruction::Vmresume
                | VmxInstruction::Vmxoff
                | VmxInstruction::Vmfunc => Exit::of_instruction(reason),
                _ => Exit::of_operands(reason),
            }))),
        }
    }

    pub(in crate::machine) fn request(
        &mut self,
        state: &mut State,
        ram: &Ram,
        request: &VmxRequest,
    ) -> Result<VmxOutcome, Stopped> {
        let Some(vmx) = &mut self.vmx else { return Err(Stop::INVALID_OPCODE.into()) };
        match vmx.perform(state, ram, request) {
            Answer::Done(outcome) => {
                let view = match request {
                    VmxRequest::On(_) => Some(transition::root_view(&vmx.capabilities)),
                    VmxRequest::Off => Some(ControlRegisterView::default()),
                    _ => None,
                };
                if let (VmxOutcome::Succeed, Some(view)) = (outcome, view) {
                    state.system.view = view;
                    state.system.monitored = None;
                }
                Ok(outcome)
            }
            Answer::Enter(instruction) => Err(self.leave(Leave::Enter(instruction))),
            Answer::InvalidOpcode => Err(Stop::INVALID_OPCODE.into()),
        }
    }

    /// What TSC offsetting adds for the software that runs.
    pub(in crate::machine) fn tsc_offset(&self) -> u64 {
        match self.guest() {
            Some(vmcs) if vmcs.primary_processor().contains(Primary::USE_TSC_OFFSETTING) => {
                vmcs.read(Encoding::TSC_OFFSET)
            }
            _ => 0,
        }
    }

    /// A capability MSR, if the processor has it.
    pub(in crate::machine) fn capability(&self, index: u32) -> Option<u64> {
        self.vmx.as_ref()?.capabilities.read(CapabilityMsr::from_index(index)?)
    }

    /// Where the virtual task priority is, when the guest has a TPR shadow.
    fn tpr_shadow(&self) -> Option<u64> {
        let vmcs = self.guest()?;
        let used = vmcs.primary_processor().contains(Primary::USE_TPR_SHADOW);
        used.then(|| vmcs.read(Encoding::VIRTUAL_APIC_ADDR) + VTPR)
    }

    /// CR8 of a guest with a TPR shadow.
    pub(in crate::machine) fn virtual_task_priority(&self, ram: &Ram) -> Option<u8> {
        self.tpr_shadow().map(|at| physical::read::<u8>(ram, at) >> 4)
    }

    /// Writes CR8 of a guest with a TPR shadow (32.3); says whether it has one.
    pub(in crate::machine) fn set_virtual_task_priority(
        &mut self,
        state: &mut State,
        ram: &Ram,
        priority: u8,
    ) -> bool {
        let Some(at) = self.tpr_shadow() else { return false };
        physical::write::<u32>(ram, at, u32::from(priority) << 4);
        if self.is_below_threshold(ram) {
            self.leaves = Some(Leave::Exit(Exit::new(BasicExitReason::TprBelowThreshold)));
            self.clock.interrupt(state);
        }
        true
    }

    /// Whether the virtual task priority is below the TPR threshold (32.1.2).
    pub(in crate::machine) fn is_below_threshold(&self, ram: &Ram) -> bool {
        let threshold = self.guest().map_or(0, |vmcs| vmcs.read(Encoding::TPR_THRESHOLD) & 0xf);
        self.virtual_task_priority(ram).is_some_and(|priority| u64::from(priority) < threshold)
    }
}
