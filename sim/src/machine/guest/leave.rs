//! VM exit (SDM chapter 30).

use super::ENABLED_BREAKPOINT;
use super::around::Leave;
use super::enter::paging;
use crate::machine::logical::{Core, Logical};
use crate::machine::pending::Due;
use isa::engine::{CodeCache, Run};
use isa::event::{Event, EventKind, Exception, Vector};
use isa::flags::Rflags;
use isa::system::debug::Dr6;
use isa::system::{Activity, Interruptibility, msr, pushed_flags};
use mmu::operation::{Exit as TranslationExit, MsrLoads};
use mmu::{Fault, Operation};
use std::rc::Rc;
use vmx::controls::{PinBasedControls as Pin, PrimaryExitControls, SecondaryProcessorControls as Secondary};
use vmx::exit::{Exit, Told};
use vmx::exit_reason::BasicExitReason;
use vmx::field::Encoding;
use vmx::instruction_information as information;
use vmx::operation::Mode;
use vmx::transition::{self, MsrEntry, MsrList};
use vmx::vmcs::Vmcs;

/// The most entries of an MSR area that are looked at.
const MOST_ENTRIES: usize = 1 << 16;

/// Why a VM exit ends in a VMX abort (30.7).
#[derive(Clone, Copy, Debug)]
enum Abort {
    StoringMsrs = 1,
    HostPdptes = 2,
    LoadingMsrs = 4,
    LeavingIa32e = 6,
}

impl Logical {
    /// A VM exit. `length` is that of the instruction that caused it, where one did; `original` the event whose delivery
    /// was under way.
    pub(in crate::machine) fn exit(&mut self, exit: &Exit, length: u64, original: Option<&Event>) {
        let mut exit = *exit;
        let information = self.information(&mut exit);
        let timer = self.timer_value();
        let debug = self.debug_to_save(exit.reason);
        self.count(exit.reason);
        let core = &mut self.core;
        let pdptes = core.translation.paging.is_pae().then_some(core.translation.pdptes);
        let Some(vmx) = &mut core.outside.vmx else { return };
        let capabilities = Rc::clone(&vmx.capabilities);
        vmx.set_mode(Mode::Root);
        let Some(current) = vmx.current_mut() else { return };
        let vmcs = &mut current.vmcs;
        let pdptes = pdptes.filter(|_| vmcs.secondary_processor().contains(Secondary::ENABLE_EPT));
        transition::save_guest(&core.state, pdptes, &capabilities, vmcs);
        vmcs.write(Encoding::GUEST_PENDING_DEBUG, debug);
        if let Some(value) = timer
            && vmcs.primary_exit().contains(PrimaryExitControls::SAVE_VMX_PREEMPTION_TIMER_VALUE)
        {
            vmcs.write(Encoding::PREEMPTION_TIMER_VALUE, value);
        }
        let length = if exit.told == Told::Nothing { 0 } else { length };
        transition::record_exit(vmcs, &exit, length, information);
        transition::record_original_event(vmcs, original);
        let was_ia32e = core.state.system.efer.contains(isa::control::Efer::LMA);
        let host_is_64_bit = vmcs.primary_exit().contains(PrimaryExitControls::HOST_ADDRESS_SPACE_SIZE);
        let virtual_nmis = transition::has_virtual_nmis(vmcs);
        if self.store_msrs().is_err() {
            return self.abort(Abort::StoringMsrs);
        }
        if was_ia32e && !host_is_64_bit {
            return self.abort(Abort::LeavingIa32e);
        }
        if virtual_nmis {
            self.core.state.system.interruptibility -= Interruptibility::NMI;
        }
        if exit.event.is_some_and(|event| event.kind == EventKind::NonMaskableInterrupt) {
            self.core.state.system.interruptibility |= Interruptibility::NMI;
        }
        self.load_host();
    }

    /// What the exit tells of the operands of its instruction. The qualification of some is a displacement.
    fn information(&self, exit: &mut Exit) -> u32 {
        if exit.told != Told::LengthAndInformation {
            return 0;
        }
        let Some(instruction) = self.instruction_at_rip() else { return 0 };
        if exit.reason != BasicExitReason::IoInstruction {
            exit.qualification = information::displacement(&instruction);
        }
        information::of(&instruction)
    }

    /// The pending debug exceptions that the exit saves (30.3.4).
    fn debug_to_save(&self, reason: BasicExitReason) -> u64 {
        let keeps = matches!(
            reason,
            BasicExitReason::InitSignal
                | BasicExitReason::MonitorTrapFlag
                | BasicExitReason::TprBelowThreshold
                | BasicExitReason::OtherSmi
        );
        let shadowed = self.core.state.system.interruptibility.contains(Interruptibility::MOV_SS);
        if !keeps && !shadowed {
            return 0;
        }
        let bits = self.debug_trap.bits();
        bits | if bits & 0xf == 0 { 0 } else { ENABLED_BREAKPOINT }
    }

    pub(super) fn count(&mut self, reason: BasicExitReason) {
        let cycles = self.now().0.saturating_sub(self.guest.entered);
        let count = self.guest.exits.entry(reason).or_default();
        count.count += 1;
        count.cycles += cycles;
    }

    /// Loads the host, after a VM exit or an entry that failed.
    pub(super) fn load_host(&mut self) {
        self.debug_trap = Dr6::empty();
        self.guest.timer = None;
        self.guest.monitor_trap = false;
        self.guest.tpr_below_threshold = false;
        let core = &mut self.core;
        core.outside.leaves = None;
        let Some(vmx) = &mut core.outside.vmx else { return };
        let features = self.guest.features.take().unwrap_or(core.state.system.features);
        let capabilities = Rc::clone(&vmx.capabilities);
        let Some(current) = vmx.current() else { return };
        transition::load_host(&current.vmcs, &capabilities, &features, &mut core.state);
        let paging = paging(&core.state);
        let operation = Operation::VmExit(TranslationExit { paging, msr_loads: MsrLoads::Harmless });
        if core.perform(&operation).is_err() {
            return self.abort(Abort::HostPdptes);
        }
        core.select_context();
        if self.load_host_msrs().is_err() {
            return self.abort(Abort::LoadingMsrs);
        }
        self.core.select_context();
    }

    fn store_msrs(&mut self) -> Result<(), ()> {
        for entry in self.entries(MsrList::stored_on_exit) {
            if !transition::may_be_stored(&entry) {
                return Err(());
            }
            let value = msr::read(&mut self.core, entry.index).map_err(|_| ())?;
            vmx::physical::write(self.core.memory.ram(), entry.address.wrapping_add(8), value);
        }
        Ok(())
    }

    fn load_host_msrs(&mut self) -> Result<(), ()> {
        for entry in self.entries(MsrList::loaded_on_exit) {
            let loads = transition::may_be_loaded(&entry)
                && msr::write(&mut self.core, entry.index, entry.value).is_ok();
            if !loads {
                return Err(());
            }
        }
        Ok(())
    }

    /// The entries of an MSR area of the current VMCS, as they are before the first is looked at.
    pub(super) fn entries(&self, which: fn(&Vmcs) -> MsrList) -> Vec<MsrEntry> {
        let current = self.core.outside.vmx.as_ref().and_then(|vmx| vmx.current());
        let list = current.map(|current| which(&current.vmcs));
        list.map_or(Vec::new(), |list| list.entries(self.core.memory.ram()).take(MOST_ENTRIES).collect())
    }

    /// A VMX abort: the processor shuts down.
    fn abort(&mut self, abort: Abort) {
        let ram = self.core.memory.ram();
        if let Some(vmx) = &mut self.core.outside.vmx {
            if let Some(current) = vmx.current_mut() {
                current.vmcs.set_abort_indicator(abort as u32);
            }
            vmx.write_back(ram);
        }
        self.core.state.system.activity = Activity::Shutdown;
    }

    /// Does what an instruction has noted for the time after it.
    pub(in crate::machine) fn follow_note(&mut self) {
        if let Some(Leave::Exit(exit)) = self.core.outside.leaves.take() {
            self.exit(&exit, 0, None);
        }
    }

    /// What the engine's [`Stop::Machine`] means: an instruction enters or leaves a guest, or EPT has refused an access.
    pub(in crate::machine) fn transition(&mut self, run: &Run, code: &mut CodeCache<Core>) {
        match self.core.outside.leaves.take() {
            Some(Leave::Enter(instruction)) => self.enter(instruction, run.next_rip, code),
            Some(Leave::Exit(exit)) => {
                let length = run.next_rip.wrapping_sub(self.core.state.rip()) & 0xf;
                self.exit(&exit, length, None);
            }
            None if self.refused_access(None) => {}
            None => self.unmodelled(code),
        }
    }

    /// A VM exit during the delivery of an event: the task switch that its gate asks for, or an access that EPT refuses.
    pub(in crate::machine) fn leave_during(&mut self, event: &Event) {
        match self.core.outside.leaves.take() {
            Some(Leave::Exit(exit)) => self.exit_during(&exit, event),
            _ => {
                self.clear_blocking();
                self.refused_access(Some(event));
            }
        }
    }

    /// A VM exit that an event has caused indirectly.
    pub(in crate::machine) fn exit_during(&mut self, exit: &Exit, event: &Event) {
        self.clear_blocking();
        self.exit(exit, event.instruction_length.into(), Some(event));
    }

    /// Delivery had begun: nothing is blocked by STI or MOV SS, and the processor is active (30.1).
    fn clear_blocking(&mut self) {
        let system = &mut self.core.state.system;
        system.interruptibility -= Interruptibility::STI | Interruptibility::MOV_SS;
        system.activity = Activity::Active;
    }

    /// A double fault that cannot be delivered.
    pub(in crate::machine) fn triple_fault(&mut self) {
        if self.core.outside.guest().is_some() {
            self.exit(&Exit::new(BasicExitReason::TripleFault), 0, None);
        } else {
            self.core.state.system.activity = Activity::Shutdown;
        }
    }

    /// The VM exit that INT3, INTO or INT1 causes by the exception bitmap.
    pub(in crate::machine) fn software_exit(&self, event: &Event) -> Option<Exit> {
        let vmcs = self.core.outside.guest()?;
        let bit = vmcs.read(Encoding::EXCEPTION_BITMAP) >> (event.vector & 31) & 1 != 0;
        (event.kind.is_software_exception() && bit).then(|| Exit::of_event(*event, 0))
    }

    /// Whether what is due leaves the guest; then it has.
    pub(in crate::machine) fn leaves_guest(&mut self, due: Due) -> bool {
        let Some(vmcs) = self.core.outside.guest() else { return false };
        let (pin, exit_controls) = (vmcs.pin_based(), vmcs.primary_exit());
        let exit = match due {
            Due::TprThreshold => Exit::new(BasicExitReason::TprBelowThreshold),
            Due::MonitorTrap => Exit::new(BasicExitReason::MonitorTrapFlag),
            Due::PreemptionTimer => Exit::new(BasicExitReason::VmxPreemptionTimerExpired),
            Due::NmiWindow => Exit::new(BasicExitReason::NmiWindow),
            Due::InterruptWindow => Exit::new(BasicExitReason::InterruptWindow),
            Due::Init => {
                self.core.outside.take(|signals| signals.init = false);
                Exit::new(BasicExitReason::InitSignal)
            }
            Due::Startup => {
                let vector = self.core.outside.take(|signals| signals.start_up.take()).flatten();
                Exit::new(BasicExitReason::StartUpIpi).with(vector.unwrap_or(0).into())
            }
            Due::NonMaskable if pin.contains(Pin::NMI_EXITING) => {
                self.core.outside.take(|signals| signals.nmi = false);
                Exit::of_event(Event::NON_MASKABLE, 0)
            }
            Due::External if pin.contains(Pin::EXTERNAL_INTERRUPT_EXITING) => {
                if exit_controls.contains(PrimaryExitControls::ACKNOWLEDGE_INTERRUPT_ON_EXIT) {
                    let vector = self.core.outside.acknowledge();
                    Exit::of_event(Event::external(vector), 0)
                } else {
                    Exit::new(BasicExitReason::ExternalInterrupt)
                }
            }
            Due::SystemManagement | Due::DebugTrap | Due::NonMaskable | Due::External => return false,
        };
        self.exit(&exit, 0, None);
        true
    }

    /// An access that EPT has refused; says whether it was one.
    pub(in crate::machine) fn refused_access(&mut self, original: Option<&Event>) -> bool {
        let exit = match self.core.fault.take() {
            Some(Fault::EptViolation(violation)) => {
                let operation = Operation::EptViolation {
                    guest_physical: violation.guest_physical,
                    linear: violation.linear,
                };
                let _nothing_refuses = self.core.perform(&operation);
                Exit::of_ept_violation(&violation)
            }
            Some(Fault::EptMisconfiguration(misconfiguration)) => {
                Exit::of_ept_misconfiguration(&misconfiguration)
            }
            _ => return false,
        };
        if original.is_none() {
            let flags = self.core.state.flags.get() | Rflags::RF.bits();
            self.core.state.flags.set(flags);
        }
        self.exit(&exit, 0, original);
        true
    }

    /// The VM exit that an exception of the guest causes, unless the exception bitmap lets it through (28.2).
    pub(in crate::machine) fn exception_exit(&self, event: &Event, exception: &Exception) -> Option<Exit> {
        let vmcs = self.core.outside.guest()?;
        if !intercepts_exception(vmcs, exception) {
            return None;
        }
        let qualification = match exception.vector {
            Vector::PageFault => exception.address.0,
            Vector::Debug => exception.debug_reasons().bits() & 0x600f,
            _ => 0,
        };
        let mut event = *event;
        if self.core.state.is_real_address() {
            event.error_code = None;
        }
        Some(Exit::of_event(event, qualification))
    }

    /// An event that leaves the guest instead of reaching its handler. The image of RFLAGS is that which delivery would
    /// have pushed.
    pub(in crate::machine) fn exit_by_event(&mut self, exit: &Exit) {
        let length = exit.event.map_or(0, |event| u64::from(event.instruction_length));
        if let Some(event) = exit.event {
            let flags = pushed_flags(&self.core.state, &event);
            self.core.state.flags.set(flags);
        }
        self.exit(exit, length, None);
    }
}

/// The exception bitmap; page faults are also judged by their error code.
fn intercepts_exception(vmcs: &Vmcs, exception: &Exception) -> bool {
    let bitmap = vmcs.read(Encoding::EXCEPTION_BITMAP);
    let bit = bitmap >> (exception.vector as u8) & 1 != 0;
    if exception.vector != Vector::PageFault {
        return bit;
    }
    let code = u64::from(exception.error_code.unwrap_or(0));
    let matches = code & vmcs.read(Encoding::PF_ERROR_MASK) == vmcs.read(Encoding::PF_ERROR_MATCH);
    bit == matches
}
