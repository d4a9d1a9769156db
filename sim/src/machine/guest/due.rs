//! What is due between two instructions because of the controls of a guest.

use super::{ENABLED_BREAKPOINT, Timer};
use crate::machine::logical::Logical;
use crate::machine::pending::Pending;
use platform::Time;
use vmx::controls::{PinBasedControls as Pin, PrimaryProcessorControls as Primary};
use vmx::field::Encoding;
use vmx::operation::Mode;
use vmx::vmcs::Vmcs;

/// The controls of a guest that decide what is blocked.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(in crate::machine) struct GuestControls {
    /// VMX root operation: INIT is blocked.
    pub(in crate::machine) is_root: bool,
    /// A guest runs.
    pub(in crate::machine) is_guest: bool,
    /// External interrupts exit, whatever RFLAGS.IF is.
    pub(in crate::machine) external_exits: bool,
    /// Blocking by NMI is that of virtual NMIs.
    pub(in crate::machine) virtual_nmis: bool,
}

impl Timer {
    /// The tick at which it expires.
    const fn end(self) -> u64 {
        self.start.saturating_add(self.value)
    }
}

impl Logical {
    /// Bit of the TSC whose changes the VMX-preemption timer counts.
    fn timer_rate(&self) -> u32 {
        self.core
            .outside
            .vmx
            .as_ref()
            .map_or(0, |vmx| u32::from(vmx.capabilities.misc().preemption_timer_tsc_bit()))
    }

    fn timer_tick(&self) -> u64 {
        self.core.outside.counter(&self.core.state) >> self.timer_rate()
    }

    /// Loads the VMX-preemption timer.
    pub(super) fn start_timer(&mut self, vmcs_value: Option<u64>) {
        let start = self.timer_tick();
        self.guest.timer = vmcs_value.map(|value| Timer { start, value });
    }

    /// What is left of the timer.
    pub(super) fn timer_value(&self) -> Option<u64> {
        self.guest.timer.map(|timer| timer.end().saturating_sub(self.timer_tick()))
    }

    /// When the timer expires.
    pub(in crate::machine) fn timer_deadline(&self) -> Option<Time> {
        let timer = self.guest.timer?;
        let counter = self.core.outside.counter(&self.core.state);
        let ends = timer.end().checked_shl(self.timer_rate())?;
        Some(Time(self.now().0.saturating_add(ends.saturating_sub(counter))))
    }

    /// Whether the VMX-preemption timer or an external interrupt ends the waiting of a guest whatever RFLAGS.IF is.
    pub(in crate::machine) fn is_woken_by_vmx(&self) -> bool {
        let exits = |vmcs: &Vmcs| vmcs.pin_based().contains(Pin::EXTERNAL_INTERRUPT_EXITING);
        self.guest.timer.is_some() || self.core.outside.guest().is_some_and(exits)
    }

    /// Adds what is due because of the guest.
    pub(in crate::machine) fn add_guest_events(&self, pending: &mut Pending) {
        let Some(vmx) = &self.core.outside.vmx else { return };
        pending.controls.is_root = vmx.mode() == Mode::Root;
        let Some(vmcs) = vmx.guest() else { return };
        let (pin, primary) = (vmcs.pin_based(), vmcs.primary_processor());
        pending.controls.is_guest = true;
        pending.controls.external_exits = pin.contains(Pin::EXTERNAL_INTERRUPT_EXITING);
        pending.controls.virtual_nmis = pin.contains(Pin::VIRTUAL_NMIS);
        pending.tpr_threshold = self.guest.tpr_below_threshold;
        pending.monitor_trap = self.guest.monitor_trap;
        pending.timer = self.timer_value() == Some(0);
        pending.nmi_window = primary.contains(Primary::NMI_WINDOW_EXITING);
        pending.interrupt_window = primary.contains(Primary::INTERRUPT_WINDOW_EXITING);
    }

    /// Whether the guest asks for a VM exit after each instruction.
    pub(in crate::machine) fn is_monitored(&self) -> bool {
        let traps = |vmcs: &Vmcs| vmcs.primary_processor().contains(Primary::MONITOR_TRAP_FLAG);
        self.core.outside.guest().is_some_and(traps)
    }

    /// An instruction or the delivery of an event is complete: with the monitor trap flag a VM exit is due.
    pub(in crate::machine) fn monitor(&mut self) {
        if self.is_monitored() {
            self.guest.monitor_trap = true;
        }
    }

    /// Whether a field of pending debug exceptions says that one is due: BS or an enabled breakpoint (29.7.3).
    pub(super) fn pending_debug(vmcs: &Vmcs) -> u64 {
        const BS: u64 = 1 << 14;
        let field = vmcs.read(Encoding::GUEST_PENDING_DEBUG);
        if field & (BS | ENABLED_BREAKPOINT) == 0 { 0 } else { field & (BS | 0xf) }
    }
}
