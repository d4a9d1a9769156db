//! The local APIC of one processor (SDM chapter 13).
//!
//! One set of registers, reached through memory in xAPIC mode (`LocalApic::memory_read`) and through MSRs in x2APIC
//! mode ([`LocalApic::msr_read`]); `registers` gives them their meaning. `base` holds IA32_APIC_BASE and the modes,
//! `timer` the timer, `local_vector` the local vector table, `command` the interrupt command register and
//! `acceptance` what becomes of a message.
//!
//! Not modelled: the thermal, performance-monitoring and CMCI sources (the first two have their table entries), arbitration
//! priority, remote read, and the suppression of EOI broadcasts.

mod acceptance;
mod base;
mod command;
mod local_vector;
mod msr;
mod registers;
mod timer;
mod vectors;

pub use acceptance::{Acceptance, Signals};
pub use base::Mode;
pub use msr::{MsrDirection, MsrRefusal};
pub use timer::TIMER_HERTZ;

use crate::fabric::{Level, Message};
use crate::options::{LocalApicFeatures, ProcessorIndex, Start};
use crate::time::Time;
use base::Base;
use local_vector::{Entry, LocalVector, LocalVectorTable};
use timer::{Expiry, Timer};
use vectors::Vectors;

/// The state of a local APIC.
#[derive(Clone, Debug)]
pub struct LocalApic {
    processor: ProcessorIndex,
    features: LocalApicFeatures,
    base: Base,
    /// The xAPIC ID, which software may change.
    id: u8,
    task_priority: u8,
    logical_destination: u8,
    destination_format: u8,
    spurious: u32,
    requested: Vectors,
    in_service: Vectors,
    trigger_mode: Vectors,
    error_status: u32,
    /// The errors since the last write of the error status register.
    errors: u32,
    command_low: u32,
    command_high: u32,
    table: LocalVectorTable,
    timer: Timer,
    /// The levels of the pins LINT0 and LINT1.
    pins: [Level; 2],
    /// A message with the delivery mode ExtINT has come and the 8259 was not asked yet.
    external: bool,
    signals: Signals,
}

/// The interrupt that a processor would take if it could.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PendingInterrupt {
    /// One of the local APIC, with this vector.
    Vector(u8),
    /// One of the 8259, which tells its vector when it is acknowledged.
    External,
}

/// What an EOI requires of others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) struct EndOfInterrupt(pub(crate) Option<u8>);

/// Spurious-interrupt vector register: software enable.
const SOFTWARE_ENABLE: u32 = 1 << 8;

impl LocalApic {
    /// The local APIC of `processor` at power-on.
    #[must_use]
    pub fn new(processor: ProcessorIndex, features: LocalApicFeatures, start: Start) -> Self {
        let mut apic = Self {
            processor,
            features,
            base: Base::new(processor),
            id: (processor.0 & 0xff) as u8,
            task_priority: 0,
            logical_destination: 0,
            destination_format: 0xf,
            spurious: 0xff,
            requested: Vectors::default(),
            in_service: Vectors::default(),
            trigger_mode: Vectors::default(),
            error_status: 0,
            errors: 0,
            command_low: 0,
            command_high: 0,
            table: LocalVectorTable::default(),
            timer: Timer::default(),
            pins: [Level::Released; 2],
            external: false,
            signals: Signals::default(),
        };
        if start != Start::PowerOn {
            apic.enter_virtual_wire_mode();
        }
        apic
    }

    /// What firmware does before it hands over: the 8259's interrupts and NMIs reach the bootstrap processor.
    fn enter_virtual_wire_mode(&mut self) {
        if self.processor == ProcessorIndex(0) {
            self.spurious = SOFTWARE_ENABLE | 0xff;
            self.table.set(Entry::Lint0, LocalVector(7 << 8));
            self.table.set(Entry::Lint1, LocalVector(4 << 8));
        }
    }

    /// Puts the registers into the state after power-on or INIT (SDM 13.4.7). The mode, the APIC ID and pending signals are
    /// not touched.
    pub(crate) fn reset_registers(&mut self) {
        let fresh = Self::new(self.processor, self.features, Start::PowerOn);
        let timer = Timer::with_offset(self.timer.time_stamp_offset);
        *self = Self { base: self.base, id: self.id, pins: self.pins, signals: self.signals, timer, ..fresh };
    }

    /// What an INIT does to the local APIC (SDM 13.4.7.3): all but the APIC ID and the mode returns to its reset state.
    pub fn initialize(&mut self) {
        self.reset_registers();
    }

    /// Whether the software enable bit of the spurious-interrupt vector register is set.
    fn software_enabled(&self) -> bool {
        self.spurious & SOFTWARE_ENABLE != 0
    }

    /// The APIC ID: 32 bits in x2APIC mode, else eight.
    #[must_use]
    pub fn id(&self) -> u32 {
        if self.base.mode() == Mode::X2apic { self.processor.0 } else { u32::from(self.id) }
    }

    /// The task-priority class, which is CR8.
    #[must_use]
    pub fn task_priority_class(&self) -> u8 {
        self.task_priority >> 4
    }

    /// Writes the task-priority class; the subclass becomes 0.
    pub fn set_task_priority_class(&mut self, class: u8) {
        self.task_priority = class << 4;
    }

    /// The processor priority (SDM 13.8.3.1): the higher class of the task priority and of what is in service.
    #[must_use]
    pub fn processor_priority(&self) -> u8 {
        let service = self.in_service.highest().unwrap_or(0);
        if self.task_priority >> 4 >= service >> 4 { self.task_priority } else { service & 0xf0 }
    }

    /// The interrupt that the processor would take if it could. One from the 8259 comes first: no priority holds it back.
    #[must_use]
    pub fn pending(&self) -> Option<PendingInterrupt> {
        if self.external_pending() {
            return Some(PendingInterrupt::External);
        }
        let vector = self.requested.highest()?;
        (vector >> 4 > self.processor_priority() >> 4).then_some(PendingInterrupt::Vector(vector))
    }

    /// Moves the highest-priority request into service and returns it, or the spurious vector when there is none above the
    /// processor priority (SDM 13.9).
    pub(crate) fn acknowledge(&mut self) -> u8 {
        let priority = self.processor_priority() >> 4;
        match self.requested.highest() {
            Some(vector) if vector >> 4 > priority => {
                self.requested.remove(vector);
                self.in_service.insert(vector);
                vector
            }
            _ => (self.spurious & 0xff) as u8,
        }
    }

    /// Forgets that a message asked for the 8259.
    pub(crate) fn acknowledge_external(&mut self) {
        self.external = false;
    }

    /// Ends the highest interrupt in service; a level-triggered one is to be reported to the I/O APICs (SDM 13.8.5).
    pub(crate) fn end_of_interrupt(&mut self) -> EndOfInterrupt {
        let Some(vector) = self.in_service.highest() else { return EndOfInterrupt(None) };
        self.in_service.remove(vector);
        if !self.trigger_mode.contains(vector) {
            return EndOfInterrupt(None);
        }
        self.end_local_level_interrupt(vector);
        EndOfInterrupt(Some(vector))
    }

    /// The signals that wait for the processor.
    #[must_use]
    pub fn signals(&self) -> Signals {
        self.signals
    }

    /// The same, to be taken away by the processor.
    pub fn signals_mut(&mut self) -> &mut Signals {
        &mut self.signals
    }

    /// Sets the difference between the time-stamp counter and the platform's clock.
    pub(crate) fn set_time_stamp_offset(&mut self, offset: u64) {
        self.timer.time_stamp_offset = offset;
    }

    /// Lets the timer run up to `now`.
    pub(crate) fn advance(&mut self, now: Time) {
        let mode = self.table.get(Entry::Timer).timer_mode();
        if self.timer.advance(now, mode) == Expiry::Expired {
            self.raise_local(Entry::Timer);
        }
    }

    /// The next moment at which the timer changes something that can be noticed: not while its entry is masked, and not
    /// while its last interrupt is still requested.
    #[must_use]
    pub(crate) fn next_event(&self, now: Time) -> Option<Time> {
        let entry = self.table.get(Entry::Timer);
        let noticed = !entry.is_masked() && !self.requested.contains(entry.vector());
        noticed.then(|| self.timer.next_expiry(now, entry.timer_mode())).flatten()
    }
}

/// What a write to a local APIC register sets off elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[must_use]
pub(crate) struct Effects {
    /// A message to the other local APICs.
    pub(crate) message: Option<Message>,
    /// A level-triggered vector whose service ended.
    pub(crate) ended: Option<u8>,
}
