//! VM entry (SDM chapter 29).

use crate::machine::logical::{Core, Logical};
use isa::engine::CodeCache;
use isa::event::EventKind;
use isa::flags::Rflags;
use isa::system::debug::Dr6;
use isa::system::{Activity, Interruptibility, VmxOutcome, msr};
use mmu::Operation;
use mmu::operation::{Entry, MsrLoads, Paging, VmxOperation};
use vmx::controls::{PinBasedControls as Pin, SecondaryProcessorControls as Secondary};
use vmx::exit_reason::BasicExitReason;
use vmx::field::Encoding;
use vmx::instruction_error::InstructionError;
use vmx::operation::{EntryInstruction, Mode};
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

/// The qualification when PDPTEs cannot be loaded (29.8).
const PDPTE: u64 = 2;
/// IA32_EFER, whose load needs a flush of the TLB.
const EFER: u32 = 0xc000_0080;

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
        self.check_entry()?;
        let core = &mut self.core;
        let Some(vmx) = &mut core.outside.vmx else { return Ok(()) };
        let capabilities = std::rc::Rc::clone(&vmx.capabilities);
        let Some(current) = vmx.current_mut() else { return Ok(()) };
        let features = core.state.system.features;
        self.guest.features = Some(features);
        transition::load_guest(&current.vmcs, &capabilities, &features, &mut core.state);
        let operation = Operation::VmEntry(entry(&current.vmcs, &core.state));
        core.perform(&operation)
            .map_err(|_| Refused::Failure(BasicExitReason::VmEntryFailureInvalidGuestState, PDPTE))?;
        self.load_msrs()?;
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
    fn load_msrs(&mut self) -> Result<(), Refused> {
        let Some(current) = self.core.outside.vmx.as_ref().and_then(|vmx| vmx.current()) else {
            return Ok(());
        };
        let list = MsrList::loaded_on_entry(&current.vmcs);
        if list.is_empty() {
            return Ok(());
        }
        let entries: Vec<_> = list.entries(self.core.memory.ram()).take(MOST_ENTRIES).collect();
        for entry in entries {
            let loads = transition::may_be_loaded(&entry)
                && completes(msr::write(&mut self.core, entry.index, entry.value));
            if !loads {
                return Err(Refused::Failure(BasicExitReason::VmEntryFailureMsrLoading, entry.number + 1));
            }
        }
        Ok(())
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
    fn check_entry(&mut self) -> Result<(), Refused> {
        Ok(())
    }
}

/// The most entries of an MSR area that are looked at.
pub(super) const MOST_ENTRIES: usize = 1 << 16;

/// Whether an access to an MSR succeeds; one that lets the machine look is complete.
pub(super) fn completes<T>(outcome: Result<T, isa::cpu::Stopped>) -> bool {
    outcome.is_ok_and(|_| true)
}

/// What VM entry means for translation.
fn entry(vmcs: &Vmcs, state: &isa::state::State) -> Entry {
    let secondary = vmcs.secondary_processor();
    let when = |control, field| secondary.contains(control).then(|| vmcs.read(field));
    let [a, b, c, d] =
        [Encoding::GUEST_PDPTE0, Encoding::GUEST_PDPTE1, Encoding::GUEST_PDPTE2, Encoding::GUEST_PDPTE3];
    Entry {
        vpid: secondary.contains(Secondary::ENABLE_VPID).then(|| vmcs.read16(Encoding::VPID)),
        eptp: when(Secondary::ENABLE_EPT, Encoding::EPTP),
        paging: paging(state),
        pdptes: [a, b, c, d].map(|field| vmcs.read(field)),
        msr_loads: MsrLoads::Harmless,
    }
}

/// The registers that translation depends on.
pub(super) fn paging(state: &isa::state::State) -> Paging {
    let system = &state.system;
    Paging { cr0: system.cr0.bits(), cr3: system.cr3, cr4: system.cr4.bits(), efer: system.efer.bits() }
}
