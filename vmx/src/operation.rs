//! VMX operation of one logical processor, and the instructions that do not enter a guest (SDM 26, 33.3).
//!
//! [`Vmx`] holds what a processor has of VMX: its capabilities, whether it is in root or non-root operation, and the
//! current VMCS, which lives in the processor from VMPTRLD on and goes back to memory when another becomes current, and
//! with VMCLEAR and VMXOFF. The steps are those of the pseudocode, in its order.

mod begin;
mod pointer;

use crate::capabilities::Capabilities;
use crate::entry_rules::AcceptedEntry;
use crate::error_number::InstructionError;
use crate::field::{Encoding, FieldType};
use crate::physical;
use crate::vmcs::{LAUNCH_STATE_AT, LaunchState, REGION_SIZE, Vmcs, VmcsType};
use isa::state::State;
use isa::system::{Interruptibility, VmxOutcome, VmxRequest};
use mmu::Ram;
use std::rc::Rc;

pub use crate::entry_rules::EntryInstruction;
pub use begin::Begin;

/// Where a logical processor is with VMX (SDM 26.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Mode {
    /// Outside VMX operation.
    #[default]
    Outside,
    /// In VMX root operation.
    Root,
    /// In VMX non-root operation.
    NonRoot,
}

/// What became of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// It is done.
    Done(VmxOutcome),
    /// The checks that need nothing but the VMCS pointer have passed: the VM entry itself follows.
    Enter(EntryInstruction),
    /// #UD.
    InvalidOpcode,
}

impl Answer {
    const SUCCEED: Self = Self::Done(VmxOutcome::Succeed);
    const FAIL_INVALID: Self = Self::Done(VmxOutcome::FailInvalid);
}

/// The current VMCS.
#[derive(Clone, Debug)]
pub struct Current {
    /// Where its region is.
    pub pointer: u64,
    /// Its fields.
    pub vmcs: Vmcs,
    /// What the last VM entry with it has shown.
    pub accepted: AcceptedEntry,
}

/// What a logical processor has of VMX.
#[derive(Clone, Debug)]
pub struct Vmx {
    /// What it offers.
    pub capabilities: Rc<Capabilities>,
    mode: Mode,
    vmxon_pointer: u64,
    current: Option<Box<Current>>,
}

/// What VMPTRST stores when no VMCS is current.
const NO_POINTER: u64 = u64::MAX;
/// IA32_FEATURE_CONTROL and its bits: locked, and VMXON outside SMX operation.
const FEATURE_CONTROL: u32 = 0x3a;
const LOCKED: u64 = 1 << 0;
const VMXON_OUTSIDE_SMX: u64 = 1 << 2;

impl Vmx {
    /// A processor outside VMX operation.
    #[must_use]
    pub const fn new(capabilities: Rc<Capabilities>) -> Self {
        Self { capabilities, mode: Mode::Outside, vmxon_pointer: NO_POINTER, current: None }
    }

    /// Where the processor is.
    #[inline]
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// A VM entry or VM exit brings the processor to the other part of VMX operation.
    pub const fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
    }

    /// The current VMCS.
    #[inline]
    #[must_use]
    pub fn current(&self) -> Option<&Current> {
        self.current.as_deref()
    }

    /// The current VMCS, to be changed.
    #[inline]
    #[must_use]
    pub fn current_mut(&mut self) -> Option<&mut Current> {
        self.current.as_deref_mut()
    }

    /// The VMCS of the guest that runs.
    #[inline]
    #[must_use]
    pub fn guest(&self) -> Option<&Vmcs> {
        if self.mode == Mode::NonRoot { self.current.as_ref().map(|current| &current.vmcs) } else { None }
    }

    /// VMfailValid with this error, or VMfailInvalid when no VMCS is current (33.2).
    pub fn fail(&mut self, error: InstructionError) -> VmxOutcome {
        match &mut self.current {
            Some(current) => {
                current.vmcs.write(Encoding::VM_INSTRUCTION_ERROR, error as u64);
                VmxOutcome::FailValid
            }
            None => VmxOutcome::FailInvalid,
        }
    }

    fn failed(&mut self, error: InstructionError) -> Answer {
        Answer::Done(self.fail(error))
    }

    /// Carries out an instruction for which [`begin`](Self::begin) has given leave.
    pub fn perform(&mut self, state: &State, ram: &Ram, request: &VmxRequest) -> Answer {
        match *request {
            VmxRequest::On(pointer) => self.vmxon(state, ram, pointer),
            VmxRequest::Off => self.vmxoff(ram),
            VmxRequest::Clear(pointer) => self.vmclear(state, ram, pointer),
            VmxRequest::Load(pointer) => self.vmptrld(state, ram, pointer),
            VmxRequest::Store => {
                let pointer = self.current.as_ref().map_or(NO_POINTER, |current| current.pointer);
                Answer::Done(VmxOutcome::Value(pointer))
            }
            VmxRequest::Read(encoding) => self.vmread(encoding),
            VmxRequest::Write { encoding, value } => self.vmwrite(encoding, value),
            VmxRequest::Launch => self.enter(state, EntryInstruction::Vmlaunch),
            VmxRequest::Resume => self.enter(state, EntryInstruction::Vmresume),
            // There is no dual-monitor treatment of SMM.
            VmxRequest::Call => self.failed(InstructionError::VmcallInRootOperation),
            VmxRequest::Function(_) => Answer::InvalidOpcode,
            VmxRequest::Invept { kind, descriptor } => self.invept(state, kind, descriptor),
            VmxRequest::Invvpid { kind, descriptor } => self.invvpid(state, kind, descriptor),
        }
    }

    /// VMXON outside VMX operation.
    fn vmxon(&mut self, state: &State, ram: &Ram, pointer: u64) -> Answer {
        if !self.is_region_address(state, pointer) {
            return Answer::FAIL_INVALID;
        }
        if physical::read::<u32>(ram, pointer) != self.capabilities.basic().revision_identifier() {
            return Answer::FAIL_INVALID;
        }
        self.mode = Mode::Root;
        self.vmxon_pointer = pointer;
        self.current = None;
        Answer::SUCCEED
    }

    /// What VMXON checks before it reads its operand (33.3). A20M and SMX operation are not modelled.
    fn permits_vmxon(&self, state: &State) -> bool {
        let control = state.system.msrs.get(FEATURE_CONTROL).unwrap_or(0);
        let allowed = LOCKED | VMXON_OUTSIDE_SMX;
        let (cr0, cr4) = (self.capabilities.cr0(), self.capabilities.cr4());
        control & allowed == allowed
            && cr0.refusal(state.system.cr0.bits()).is_none()
            && cr4.refusal(state.system.cr4.bits()).is_none()
    }

    fn vmxoff(&mut self, ram: &Ram) -> Answer {
        self.write_back(ram);
        self.mode = Mode::Outside;
        self.vmxon_pointer = NO_POINTER;
        self.current = None;
        Answer::SUCCEED
    }

    /// Writes the current VMCS to its region.
    pub fn write_back(&self, ram: &Ram) {
        if let Some(current) = &self.current {
            physical::put(ram, current.pointer, &current.vmcs.to_region());
        }
    }

    fn is_region_address(&self, state: &State, pointer: u64) -> bool {
        pointer & 0xfff == 0 && pointer >> state.system.features.physical_address_width == 0
    }

    /// No revision identifier is looked at, and what else the region holds stays.
    fn vmclear(&mut self, state: &State, ram: &Ram, pointer: u64) -> Answer {
        if !self.is_region_address(state, pointer) {
            return self.failed(InstructionError::VmclearInvalidAddress);
        }
        if pointer == self.vmxon_pointer {
            return self.failed(InstructionError::VmclearVmxonPointer);
        }
        match &mut self.current {
            Some(current) if current.pointer == pointer => {
                current.vmcs.set_launch_state(LaunchState::Clear);
                self.write_back(ram);
                self.current = None;
            }
            _ => physical::write::<u32>(ram, pointer + LAUNCH_STATE_AT, 0),
        }
        Answer::SUCCEED
    }

    /// On failure the VMCS that was current stays so, and receives the error.
    fn vmptrld(&mut self, state: &State, ram: &Ram, pointer: u64) -> Answer {
        if !self.is_region_address(state, pointer) {
            return self.failed(InstructionError::VmptrldInvalidAddress);
        }
        if pointer == self.vmxon_pointer {
            return self.failed(InstructionError::VmptrldVmxonPointer);
        }
        let mut region = [0; REGION_SIZE];
        self.write_back(ram);
        physical::get(ram, pointer, &mut region);
        let vmcs = Vmcs::from_region(&region);
        let is_ours = vmcs.revision_identifier() == self.capabilities.basic().revision_identifier();
        if !is_ours || vmcs.vmcs_type() == VmcsType::Shadow {
            return self.failed(InstructionError::VmptrldIncorrectRevisionIdentifier);
        }
        self.current = Some(Box::new(Current { pointer, vmcs, accepted: AcceptedEntry::none() }));
        Answer::SUCCEED
    }

    /// The field that an encoding names, if the processor has it.
    fn field(&self, encoding: u64) -> Option<Encoding> {
        let encoding = Encoding::try_from(encoding).ok()?;
        (encoding.names_a_field() && self.capabilities.has_field(encoding)).then_some(encoding)
    }

    fn vmread(&mut self, encoding: u64) -> Answer {
        let Some(encoding) = self.field(encoding) else {
            return self.failed(InstructionError::UnsupportedVmcsComponent);
        };
        match &self.current {
            Some(current) => Answer::Done(VmxOutcome::Value(current.vmcs.read(encoding))),
            None => Answer::FAIL_INVALID,
        }
    }

    fn vmwrite(&mut self, encoding: u64, value: u64) -> Answer {
        let Some(encoding) = self.field(encoding) else {
            return self.failed(InstructionError::UnsupportedVmcsComponent);
        };
        let read_only = encoding.field_type() == FieldType::ExitInformation;
        if read_only && !self.capabilities.misc().exit_information_writable() {
            return self.failed(InstructionError::ReadOnlyVmcsComponent);
        }
        match &mut self.current {
            Some(current) => {
                current.vmcs.write(encoding, value);
                Answer::SUCCEED
            }
            None => Answer::FAIL_INVALID,
        }
    }

    /// The checks of VMLAUNCH and VMRESUME that come first (29.1).
    fn enter(&mut self, state: &State, instruction: EntryInstruction) -> Answer {
        let Some(current) = &self.current else { return Answer::FAIL_INVALID };
        if current.vmcs.vmcs_type() == VmcsType::Shadow {
            return Answer::FAIL_INVALID;
        }
        if state.system.interruptibility.contains(Interruptibility::MOV_SS) {
            return self.failed(InstructionError::EntryBlockedByMovSs);
        }
        match (instruction, current.vmcs.launch_state()) {
            (EntryInstruction::Vmlaunch, LaunchState::Launched) => {
                self.failed(InstructionError::VmlaunchNonClearVmcs)
            }
            (EntryInstruction::Vmresume, LaunchState::Clear) => {
                self.failed(InstructionError::VmresumeNonLaunchedVmcs)
            }
            _ => Answer::Enter(instruction),
        }
    }
}
