//! The local vector table (SDM 13.5.1) and the pins LINT0 and LINT1.

use super::{LocalApic, Mode, SOFTWARE_ENABLE};
use crate::fabric::{DeliveryMode, Level, Trigger};

/// An entry of the table, in the order of the registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Entry {
    /// The timer.
    Timer,
    /// The thermal sensor.
    Thermal,
    /// The performance-monitoring counters.
    Performance,
    /// The pin LINT0.
    Lint0,
    /// The pin LINT1.
    Lint1,
    /// Errors of the local APIC.
    Error,
}

impl Entry {
    /// All, in the order of the registers.
    pub(super) const ALL: [Self; 6] =
        [Self::Timer, Self::Thermal, Self::Performance, Self::Lint0, Self::Lint1, Self::Error];

    /// The bits that software may set.
    pub(super) fn writable(self) -> u32 {
        match self {
            Self::Timer => 0x7_00ff,
            Self::Thermal | Self::Performance => 0x1_07ff,
            Self::Lint0 | Self::Lint1 => 0x1_a7ff,
            Self::Error => 0x1_00ff,
        }
    }
}

/// How the timer counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum TimerMode {
    OneShot,
    Periodic,
    TscDeadline,
}

/// The value of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct LocalVector(pub(super) u32);

const MASKED: u32 = 1 << 16;
/// The upper bit of the timer mode.
const TSC_DEADLINE: u32 = 1 << 18;
const LEVEL_TRIGGERED: u32 = 1 << 15;
const REMOTE_IRR: u32 = 1 << 14;
const ACTIVE_LOW: u32 = 1 << 13;
/// Delivery status and remote IRR: a write does not change them.
pub(super) const READ_ONLY: u32 = 1 << 12 | REMOTE_IRR;

impl LocalVector {
    /// The vector.
    pub(super) fn vector(self) -> u8 {
        (self.0 & 0xff) as u8
    }

    /// Whether the entry holds its interrupt back.
    pub(super) fn is_masked(self) -> bool {
        self.0 & MASKED != 0
    }

    /// What the entry asks for; the reserved encoding is taken as Fixed.
    pub(super) fn delivery(self) -> DeliveryMode {
        DeliveryMode::from_bits(self.0 >> 8).unwrap_or(DeliveryMode::Fixed)
    }

    /// How the timer counts; the reserved encoding is taken as TSC-deadline.
    pub(super) fn timer_mode(self) -> TimerMode {
        match self.0 >> 17 & 3 {
            0 => TimerMode::OneShot,
            1 => TimerMode::Periodic,
            _ => TimerMode::TscDeadline,
        }
    }

    /// Whether the pin of this entry asserts it.
    fn is_asserted_by(self, pin: Level) -> bool {
        pin.is_asserted() != (self.0 & ACTIVE_LOW != 0)
    }

    /// How the interrupt of a pin is signalled: only Fixed heeds the trigger mode, ExtINT is always a level.
    fn trigger(self) -> Trigger {
        let level = self.0 & LEVEL_TRIGGERED != 0 && self.delivery() == DeliveryMode::Fixed;
        if level { Trigger::Level } else { Trigger::Edge }
    }
}

/// The table.
#[derive(Clone, Copy, Debug)]
pub(super) struct LocalVectorTable([LocalVector; 6]);

impl Default for LocalVectorTable {
    fn default() -> Self {
        Self([LocalVector(MASKED); 6])
    }
}

impl LocalVectorTable {
    /// An entry.
    pub(super) fn get(&self, entry: Entry) -> LocalVector {
        self.0[entry as usize]
    }

    /// Replaces an entry.
    pub(super) fn set(&mut self, entry: Entry, value: LocalVector) {
        self.0[entry as usize] = value;
    }

    /// Masks every entry, as a cleared software enable does (SDM 13.4.7.2).
    pub(super) fn mask_all(&mut self) {
        for entry in &mut self.0 {
            entry.0 |= MASKED;
        }
    }
}

impl LocalApic {
    /// The bits of a table entry that software may set on this processor.
    pub(super) fn writable(&self, entry: Entry) -> u32 {
        let absent = entry == Entry::Timer && !self.features.tsc_deadline;
        entry.writable() & !if absent { TSC_DEADLINE } else { 0 }
    }

    /// Writes a table entry: the mask stays set while the APIC is software-disabled.
    pub(super) fn write_local_vector(&mut self, entry: Entry, value: u32) {
        let before = self.table.get(entry);
        let mask = if self.spurious & SOFTWARE_ENABLE == 0 { MASKED } else { 0 };
        let after = LocalVector(value & self.writable(entry) | before.0 & REMOTE_IRR | mask);
        self.table.set(entry, after);
        match entry {
            Entry::Timer => self.timer.change_mode(before.timer_mode(), after.timer_mode()),
            Entry::Lint0 | Entry::Lint1 => self.sample_level(entry),
            Entry::Thermal | Entry::Performance | Entry::Error => {}
        }
    }

    /// Raises the interrupt of a table entry unless it is masked.
    pub(super) fn raise_local(&mut self, entry: Entry) {
        let value = self.table.get(entry);
        if value.is_masked() {
            return;
        }
        match entry {
            Entry::Timer | Entry::Error => self.request(value.vector(), Trigger::Edge),
            _ => self.raise_pin(entry, value),
        }
    }

    /// Raises what a pin asks for.
    fn raise_pin(&mut self, entry: Entry, value: LocalVector) {
        match value.delivery() {
            DeliveryMode::Fixed => {
                if value.trigger() == Trigger::Level {
                    self.table.set(entry, LocalVector(value.0 | REMOTE_IRR));
                }
                self.request(value.vector(), value.trigger());
            }
            DeliveryMode::Nmi => self.signals.nmi = true,
            DeliveryMode::Smi => self.signals.smi = true,
            DeliveryMode::Init => self.signals.receive_init(),
            DeliveryMode::LowestPriority | DeliveryMode::StartUp | DeliveryMode::ExtInt => {}
        }
    }

    /// Sets the level of LINT0 (`Entry::Lint0`) or LINT1.
    pub(super) fn set_pin(&mut self, entry: Entry, level: Level) {
        let pin = usize::from(entry == Entry::Lint1);
        let before = self.pins[pin];
        self.pins[pin] = level;
        if self.base.mode() == Mode::Disabled {
            let rising = level.is_asserted() && !before.is_asserted();
            self.signals.nmi |= rising && entry == Entry::Lint1;
            return;
        }
        let value = self.table.get(entry);
        match value.trigger() {
            Trigger::Edge if value.is_asserted_by(level) && !value.is_asserted_by(before) => {
                self.raise_local(entry);
            }
            Trigger::Edge => {}
            Trigger::Level => self.sample_level(entry),
        }
    }

    /// Sets the level of LINT0.
    pub(crate) fn set_lint0(&mut self, level: Level) {
        self.set_pin(Entry::Lint0, level);
    }

    /// Sets the level of LINT1.
    pub(crate) fn set_lint1(&mut self, level: Level) {
        self.set_pin(Entry::Lint1, level);
    }

    /// Raises the interrupt of a level-triggered pin that is asserted and not under way.
    fn sample_level(&mut self, entry: Entry) {
        let value = self.table.get(entry);
        let pin = self.pins[usize::from(entry == Entry::Lint1)];
        let due = value.trigger() == Trigger::Level && value.0 & REMOTE_IRR == 0 && value.is_asserted_by(pin);
        if due {
            self.raise_local(entry);
        }
    }

    /// Ends a level-triggered interrupt of a pin.
    pub(super) fn end_local_level_interrupt(&mut self, vector: u8) {
        for entry in [Entry::Lint0, Entry::Lint1] {
            let value = self.table.get(entry);
            if value.0 & REMOTE_IRR != 0 && value.vector() == vector {
                self.table.set(entry, LocalVector(value.0 & !REMOTE_IRR));
                self.sample_level(entry);
            }
        }
    }

    /// Whether the 8259 asks for this processor: its output is INTR when the local APIC is disabled, else a pin that the
    /// table lets through as ExtINT.
    pub(super) fn external_pending(&self) -> bool {
        if self.base.mode() == Mode::Disabled {
            return self.pins[0].is_asserted();
        }
        let through = |entry, pin: Level| {
            let value: LocalVector = self.table.get(entry);
            !value.is_masked() && value.delivery() == DeliveryMode::ExtInt && value.is_asserted_by(pin)
        };
        self.external || through(Entry::Lint0, self.pins[0]) || through(Entry::Lint1, self.pins[1])
    }
}
