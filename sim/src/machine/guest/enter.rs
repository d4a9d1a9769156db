//! VM entry (SDM chapter 29).

use crate::machine::logical::{Core, Logical};
use isa::address::HostPhysicalAddress;
use isa::engine::CodeCache;
use isa::event::EventKind;
use isa::flags::Rflags;
use isa::segment::{AccessRights, SegmentRegister};
use isa::state::State;
use isa::system::debug::Dr6;
use isa::system::{Activity, Interruptibility, VmxOutcome, msr};
use mmu::Operation;
use mmu::operation::{Entry, MsrLoads, Paging, VmxOperation};
use std::rc::Rc;
use vmx::controls::{PinBasedControls as Pin, SecondaryProcessorControls as Secondary};
use vmx::entry_rules::{self, Limits, MsrLoad, ProcessorState, Refusal, Subject, Violation};
use vmx::error_number::InstructionError;
use vmx::exit_reason::BasicExitReason;
use vmx::field::Encoding;
use vmx::operation::{Current, EntryInstruction, Mode, Vmx};
use vmx::transition::{self, Injected, MsrList};
use vmx::vmcs::{LaunchState, Vmcs};

/// Why a VM entry does not happen.
#[derive(Clone, Copy, Debug)]
pub(super) enum Refused {
    /// Controls or the host-state area: the instruction fails.
    Instruction(InstructionError),
    /// The guest-state area or the MSR area: the host state is loaded.
    Failure(BasicExitReason, u64),
}

impl Refused {
    const fn by(violation: &Violation) -> Self {
        match violation.refused_as {
            Refusal::VmFailValid(error) => Self::Instruction(error),
            Refusal::EntryFailure { reason, qualification } => Self::Failure(reason, qualification),
            // The first checks have passed before.
            _ => Self::Instruction(InstructionError::InvalidControlFields),
        }
    }
}

/// The qualification when PDPTEs cannot be loaded (29.8).
const PDPTE: u64 = 2;

/// An MSR area as it was before its first entry was loaded.
struct Area<'a> {
    address: u64,
    entries: &'a [transition::MsrEntry],
}

impl Area<'_> {
    fn entry(&self, address: u64) -> Option<&transition::MsrEntry> {
        let number = usize::try_from(address.wrapping_sub(self.address) / 16).ok()?;
        self.entries.get(number)
    }
}

impl entry_rules::Memory for Area<'_> {
    fn doubleword(&self, HostPhysicalAddress(address): HostPhysicalAddress) -> u32 {
        let part = |entry: &transition::MsrEntry| if address & 4 == 0 { entry.index } else { entry.reserved };
        self.entry(address).map_or(u32::MAX, part)
    }

    fn quadword(&self, HostPhysicalAddress(address): HostPhysicalAddress) -> u64 {
        self.entry(address).map_or(u64::MAX, |entry| entry.value)
    }
}

/// The processor as the rules of VM entry see it.
fn processor(state: &State, vmx: Option<&Vmx>) -> ProcessorState {
    let system = &state.system;
    let pointer = vmx.and_then(Vmx::current).map(|current| HostPhysicalAddress(current.pointer));
    ProcessorState {
        cr0: system.cr0,
        efer: system.efer,
        virtual_8086: state.is_virtual_8086(),
        long_code_segment: state.rights(SegmentRegister::Cs).contains(AccessRights::LONG),
        cpl: system.cpl,
        current_vmcs: pointer,
        ..ProcessorState::in_64_bit_mode(Limits::of(&system.features))
    }
}

impl Logical {
    /// VMLAUNCH or VMRESUME whose first checks have passed.
    pub(in crate::machine) fn enter(
        &mut self,
        instruction: EntryInstruction,
        next_rip: u64,
        code: &mut CodeCache<Core>,
    ) {
        match self.try_enter(instruction) {
            Ok(()) => self.begin_guest(code),
            Err(Refused::Instruction(error)) => self.fail_entry(error, next_rip),
            Err(Refused::Failure(reason, qualification)) => self.abandon_entry(reason, qualification),
        }
    }

    /// Checks everything, and loads the guest.
    fn try_enter(&mut self, instruction: EntryInstruction) -> Result<(), Refused> {
        self.check_entry(instruction)?;
        let core = &mut self.core;
        let Some(vmx) = &mut core.outside.vmx else { return Ok(()) };
        let capabilities = Rc::clone(&vmx.capabilities);
        let Some(current) = vmx.current_mut() else { return Ok(()) };
        let features = core.state.system.features;
        self.guest.features = Some(features);
        transition::load_guest(&current.vmcs, &capabilities, &features, &mut core.state);
        let operation = Operation::VmEntry(entry(&current.vmcs, &core.state));
        core.perform(&operation)
            .map_err(|_| Refused::Failure(BasicExitReason::VmEntryFailureInvalidGuestState, PDPTE))?;
        self.load_msrs(instruction)?;
        if let Some(vmx) = &mut self.core.outside.vmx {
            vmx.set_mode(Mode::NonRoot);
            if let Some(current) = vmx.current_mut()
                && instruction == EntryInstruction::Vmlaunch
            {
                current.vmcs.set_launch_state(LaunchState::Launched);
            }
        }
        Ok(())
    }

    /// The VM-entry MSR-load area (29.4): the first entry that cannot be loaded ends the VM entry.
    fn load_msrs(&mut self, instruction: EntryInstruction) -> Result<(), Refused> {
        let processor = processor(&self.core.state, self.core.outside.vmx.as_deref());
        let Some(vmx) = &self.core.outside.vmx else { return Ok(()) };
        let capabilities = Rc::clone(&vmx.capabilities);
        let Some(current) = vmx.current() else { return Ok(()) };
        if current.vmcs.read(Encoding::ENTRY_MSR_LOAD_COUNT) == 0 {
            return Ok(());
        }
        let vmcs = current.vmcs.clone();
        let entries = self.entries(MsrList::loaded_on_entry);
        let memory = Area { address: vmcs.read(Encoding::ENTRY_MSR_LOAD_ADDR), entries: &entries };
        let (capabilities, processor) = (&capabilities, &processor);
        let subject = Subject { instruction, vmcs: &vmcs, capabilities, processor, memory: &memory };
        let core = &mut self.core;
        let outcome = entry_rules::load_msrs(&subject, |index, value| {
            if msr::write(core, index, value).is_ok() { MsrLoad::Loaded } else { MsrLoad::Faults }
        });
        outcome.map_err(|violation| {
            self.guest.note_refusal(&violation, Vec::new);
            Refused::by(&violation)
        })
    }

    /// What follows when all state is loaded: timers, blocking, pending debug exceptions, and the injected event.
    fn begin_guest(&mut self, code: &mut CodeCache<Core>) {
        self.core.select_context();
        self.guest.entered = self.now().0;
        self.guest.monitor_trap = false;
        self.guest.tpr_below_threshold = self.core.outside.is_below_threshold(self.core.memory.ram());
        let Some(vmcs) = self.core.outside.guest() else { return };
        let timer = vmcs.pin_based().contains(Pin::ACTIVATE_VMX_PREEMPTION_TIMER);
        let timer = timer.then(|| vmcs.read(Encoding::PREEMPTION_TIMER_VALUE));
        let (injected, debug) = (transition::injected_event(vmcs), Self::pending_debug(vmcs));
        self.debug_trap = Dr6::empty();
        self.start_timer(timer);
        match injected {
            Some(Injected::Event(event)) => {
                let soft = matches!(event.kind, EventKind::SoftwareInterrupt | EventKind::SoftwareException)
                    && self.core.state.system.interruptibility.contains(Interruptibility::MOV_SS);
                self.core.state.system.interruptibility -= Interruptibility::STI | Interruptibility::MOV_SS;
                self.core.state.system.activity = Activity::Active;
                if soft {
                    self.debug_trap = Dr6::from_bits_truncate(debug);
                }
                self.send(event, code);
                self.monitor();
            }
            Some(Injected::MonitorTrap) => self.guest.monitor_trap = true,
            None if self.may_trap() => self.debug_trap = Dr6::from_bits_truncate(debug),
            None => {}
        }
    }

    fn may_trap(&self) -> bool {
        matches!(self.activity(), Activity::Active | Activity::Halted)
    }

    /// VMfailValid: execution goes on behind the instruction.
    fn fail_entry(&mut self, error: InstructionError, next_rip: u64) {
        let Some(vmx) = &mut self.core.outside.vmx else { return };
        let status = match vmx.fail(error) {
            VmxOutcome::FailValid => Rflags::ZF,
            _ => Rflags::CF,
        };
        self.core.state.flags.set_status(status);
        self.core.state.set_rip(next_rip);
    }

    /// A VM entry that fails after it has begun to load the guest (29.8): only the reason and the qualification are
    /// written, and the host state is loaded.
    fn abandon_entry(&mut self, reason: BasicExitReason, qualification: u64) {
        const ENTRY_FAILURE: u64 = 1 << 31;
        let core = &mut self.core;
        if !matches!(core.translation.vmx, VmxOperation::NonRoot { .. }) {
            // Nothing of the guest is translated: the transition goes through a guest that is the host.
            let paging = core.translation.paging;
            let through = Entry { paging, ..Entry::default() };
            let _refused = core.perform(&Operation::VmEntry(through));
        }
        if let Some(current) = core.outside.vmx.as_mut().and_then(|vmx| vmx.current_mut()) {
            current.vmcs.write(Encoding::EXIT_REASON, ENTRY_FAILURE | u64::from(reason.number()));
            current.vmcs.write(Encoding::EXIT_QUALIFICATION, qualification);
        }
        self.count(reason);
        self.load_host();
    }

    /// The checks on the VMCS (29.2, 29.3.1).
    fn check_entry(&mut self, instruction: EntryInstruction) -> Result<(), Refused> {
        let processor = processor(&self.core.state, self.core.outside.vmx.as_deref());
        let Some(vmx) = &mut self.core.outside.vmx else { return Ok(()) };
        let capabilities = Rc::clone(&vmx.capabilities);
        let Some(current) = vmx.current_mut() else { return Ok(()) };
        let Current { vmcs, accepted, .. } = current;
        let subject = Subject {
            instruction,
            vmcs,
            capabilities: &capabilities,
            processor: &processor,
            memory: self.core.memory.ram(),
        };
        match accepted.check(&subject) {
            Ok(()) => {
                vmcs.accept_changes();
                Ok(())
            }
            Err(violation) => {
                let refused = Refused::by(&violation);
                self.guest.note_refusal(&violation, || entry_rules::explain(&subject));
                Err(refused)
            }
        }
    }
}

/// What VM entry means for translation.
fn entry(vmcs: &Vmcs, state: &State) -> Entry {
    let secondary = vmcs.secondary_processor();
    let when = |control, field| secondary.contains(control).then(|| vmcs.read(field));
    Entry {
        vpid: secondary.contains(Secondary::ENABLE_VPID).then(|| vmcs.read16(Encoding::VPID)),
        eptp: when(Secondary::ENABLE_EPT, Encoding::EPTP),
        paging: paging(state),
        pdptes: transition::PDPTES.map(|field| vmcs.read(field)),
        msr_loads: MsrLoads::Harmless,
    }
}

/// The registers that translation depends on.
pub(super) fn paging(state: &State) -> Paging {
    let system = &state.system;
    Paging { cr0: system.cr0.bits(), cr3: system.cr3, cr4: system.cr4.bits(), efer: system.efer.bits() }
}
