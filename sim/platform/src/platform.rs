//! The platform as the machine sees it: the devices, the clock, and what waits for each processor.

use crate::devices::{A20, Devices};
use crate::fabric::Fabric;
use crate::local_apic::{Effects, LocalApic, MsrRefusal, PendingInterrupt, Signals};
use crate::options::{OptionsError, PlatformOptions, ProcessorIndex, SerialSink, Stopped};
use crate::time::Time;
use std::io;

/// A saved state of a platform.
#[derive(Clone, Debug)]
pub struct Snapshot {
    devices: Devices,
    now: Time,
    next: Option<Time>,
    stopped: Option<Stopped>,
}

impl Snapshot {
    fn at_power_on(options: &PlatformOptions) -> Self {
        let mut state = Self { devices: Devices::new(options), now: Time(0), next: None, stopped: None };
        state.devices.run_to(Time(0));
        state.next = state.devices.next_event(Time(0));
        state
    }
}

/// Everything outside the processors of a PC. See the [crate] for how it is used.
pub struct Platform {
    state: Snapshot,
    sink: SerialSink,
    sink_error: Option<io::Error>,
}

impl std::fmt::Debug for Platform {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Platform").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Platform {
    /// A platform at time 0 whose serial port writes to `sink`.
    ///
    /// # Errors
    /// The option that is impossible.
    pub fn new(options: &PlatformOptions, sink: SerialSink) -> Result<Self, OptionsError> {
        options.check()?;
        Ok(Self { state: Snapshot::at_power_on(options), sink, sink_error: None })
    }

    /// Everything is as at power-on, at time 0; the serial port keeps its sink.
    pub fn power_cycle(&mut self) {
        self.state = Snapshot::at_power_on(self.options());
    }

    /// The options it was built with.
    #[must_use]
    pub fn options(&self) -> &PlatformOptions {
        &self.state.devices.options
    }

    /// The state, to go back to. What the serial port sent is not part of it.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.state.clone()
    }

    /// Goes back to a state.
    pub fn restore(&mut self, snapshot: Snapshot) {
        self.state = snapshot;
    }

    /// The latest moment that the platform knows of.
    #[must_use]
    pub fn now(&self) -> Time {
        self.state.now
    }

    /// The earliest moment at which something changes without being touched; later than [`now`](Self::now). Every access and
    /// [`advance`](Self::advance) may move it.
    #[must_use]
    pub fn next_event(&self) -> Option<Time> {
        self.state.next
    }

    /// Lets the devices run up to `now`. An earlier moment than the last one changes nothing. The result does not depend
    /// on whether this is one step or many.
    pub fn advance(&mut self, now: Time) {
        while let Some(event) = self.state.next.filter(|event| *event <= now) {
            self.state.now = event;
            self.settle();
        }
        self.state.now = self.state.now.max(now);
    }

    /// Lets the devices run up to `now`, also those whose changes nobody would notice, before one of them is touched.
    /// Returns the moment, which is never earlier than the last one.
    pub(crate) fn catch_up(&mut self, now: Time) -> Time {
        self.advance(now);
        self.state.devices.run_to(self.state.now);
        self.state.now
    }

    /// Why the machine is to stop, once software asked for it.
    #[must_use]
    pub fn stop(&self) -> Option<Stopped> {
        self.state.stopped
    }

    /// Why the machine was to stop, forgetting it.
    pub fn take_stop(&mut self) -> Option<Stopped> {
        self.state.devices.stop = None;
        self.state.stopped.take()
    }

    /// Whether bit 20 of physical addresses reaches the memory.
    #[must_use]
    pub fn a20(&self) -> A20 {
        self.state.devices.a20
    }

    /// The last value written to port 80h.
    #[must_use]
    pub fn post_code(&self) -> u8 {
        self.state.devices.post_code
    }

    /// The interrupt fabric.
    #[must_use]
    pub fn fabric(&self) -> &Fabric {
        &self.state.devices.fabric
    }

    /// Changes the interrupt fabric (lines, routes, messages) and carries the consequences out.
    pub fn with_fabric<T>(&mut self, now: Time, change: impl FnOnce(&mut Fabric) -> T) -> T {
        self.catch_up(now);
        let result = change(&mut self.state.devices.fabric);
        self.settle();
        result
    }

    /// The local APIC of a processor.
    #[must_use]
    pub fn local_apic(&self, processor: ProcessorIndex) -> Option<&LocalApic> {
        self.state.devices.local_apics.get(processor.0 as usize)
    }

    /// What waits for a processor besides maskable interrupts.
    #[must_use]
    pub fn signals(&self, processor: ProcessorIndex) -> Signals {
        self.local_apic(processor).map(LocalApic::signals).unwrap_or_default()
    }

    /// The same, to be taken away by the processor as it acts on it.
    pub fn signals_mut(&mut self, processor: ProcessorIndex) -> Option<&mut Signals> {
        self.state.devices.local_apic_mut(processor).map(LocalApic::signals_mut)
    }

    /// What an INIT that the processor accepts does to its local APIC (SDM 13.4.7.3).
    pub fn initialize_local_apic(&mut self, processor: ProcessorIndex) {
        self.catch_up(self.now());
        if let Some(apic) = self.state.devices.local_apic_mut(processor) {
            apic.initialize();
        }
        self.settle();
    }

    /// The maskable interrupt that a processor would take if it could, as of the last [`advance`](Self::advance).
    #[must_use]
    pub fn pending_interrupt(&self, processor: ProcessorIndex) -> Option<PendingInterrupt> {
        self.local_apic(processor)?.pending()
    }

    /// Acknowledges the pending interrupt of a processor and returns its vector; a spurious one when none is pending.
    pub fn acknowledge_interrupt(&mut self, processor: ProcessorIndex) -> u8 {
        self.catch_up(self.now());
        let devices = &mut self.state.devices;
        let Some(apic) = devices.local_apics.get_mut(processor.0 as usize) else { return 0xff };
        let vector = if apic.pending() == Some(PendingInterrupt::External) {
            apic.acknowledge_external();
            devices.pic.acknowledge()
        } else {
            apic.acknowledge()
        };
        self.settle();
        vector
    }

    /// The task-priority class of a processor: what MOV from CR8 reads.
    #[must_use]
    pub fn task_priority(&self, processor: ProcessorIndex) -> u8 {
        self.local_apic(processor).map_or(0, LocalApic::task_priority_class)
    }

    /// Writes the task-priority class of a processor, as MOV to CR8 does; only the low four bits count.
    pub fn set_task_priority(&mut self, processor: ProcessorIndex, class: u8) {
        if let Some(apic) = self.state.devices.local_apic_mut(processor) {
            apic.set_task_priority_class(class & 15);
        }
    }

    /// Tells how far the time-stamp counter of a processor is ahead of the clock (modulo 2^64), for TSC-deadline mode.
    pub fn set_time_stamp_offset(&mut self, processor: ProcessorIndex, offset: u64) {
        self.catch_up(self.now());
        if let Some(apic) = self.state.devices.local_apic_mut(processor) {
            apic.set_time_stamp_offset(offset);
        }
        self.settle();
    }

    /// Reads IA32_APIC_BASE (1BH), IA32_TSC_DEADLINE (6E0H) or an x2APIC register (800H-8FFH).
    ///
    /// # Errors
    /// Why it is a general-protection exception.
    pub fn msr_read(&mut self, processor: ProcessorIndex, now: Time, msr: u32) -> Result<u64, MsrRefusal> {
        let now = self.catch_up(now);
        self.local_apic(processor).ok_or(MsrRefusal::Absent)?.msr_read(now, msr)
    }

    /// Writes one of these MSRs.
    ///
    /// # Errors
    /// Why it is a general-protection exception; nothing was changed.
    pub fn msr_write(
        &mut self,
        processor: ProcessorIndex,
        now: Time,
        msr: u32,
        value: u64,
    ) -> Result<(), MsrRefusal> {
        let now = self.catch_up(now);
        let apic = self.state.devices.local_apic_mut(processor).ok_or(MsrRefusal::Absent)?;
        let effects = apic.msr_write(now, msr, value)?;
        self.carry_out(effects);
        Ok(())
    }

    /// Bytes arrive at the serial port.
    pub fn serial_receive(&mut self, now: Time, bytes: &[u8]) {
        self.catch_up(now);
        self.state.devices.serial.receive(bytes);
        self.settle();
    }

    /// How many bytes arrived at the serial port that software did not read yet.
    #[must_use]
    pub fn serial_unread(&self) -> usize {
        self.state.devices.serial.unread()
    }

    /// The first error of the serial port's sink since the last call; the bytes it met are lost.
    pub fn take_serial_error(&mut self) -> Option<io::Error> {
        self.sink_error.take()
    }

    /// The power button is pressed: software is told by ACPI.
    pub fn press_power_button(&mut self, now: Time) {
        self.catch_up(now);
        self.state.devices.power.press_button();
        self.settle();
    }

    /// The devices.
    pub(crate) fn devices_mut(&mut self) -> &mut Devices {
        &mut self.state.devices
    }

    /// Carries out what a write to a local APIC set off.
    pub(crate) fn carry_out(&mut self, effects: Effects) {
        let devices = &mut self.state.devices;
        if let Some(vector) = effects.ended {
            devices.io_apic.end_of_interrupt(vector);
        }
        if let Some(message) = effects.message {
            devices.fabric.send(message);
        }
        self.settle();
    }

    /// Lets everything that was touched have its consequences, and finds the next event.
    pub(crate) fn settle(&mut self) {
        let now = self.state.now;
        self.state.devices.run_to(now);
        self.state.next = self.state.devices.next_event(now);
        if let (Some(stop), None) = (self.state.devices.stop, self.state.stopped) {
            self.state.stopped = Some(Stopped { stop, at: now });
        }
        if self.state.devices.serial.has_sent() {
            self.send();
        }
    }

    /// Hands what the serial port sent to the sink.
    fn send(&mut self) {
        let bytes = self.state.devices.serial.take_sent();
        let result = self.sink.write_all(&bytes).and_then(|()| self.sink.flush());
        if let Err(error) = result {
            self.sink_error.get_or_insert(error);
        }
    }
}
