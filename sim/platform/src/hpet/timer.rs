//! One timer of the HPET: a comparator, and what follows when the counter reaches it.

/// How a timer signals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Delivery {
    /// Not at all.
    None,
    /// By an edge for each match.
    Edge,
    /// By a level until its status bit is cleared.
    Level,
}

const LEVEL: u64 = 1 << 1;
const INTERRUPT: u64 = 1 << 2;
const PERIODIC: u64 = 1 << 3;
const SET_ACCUMULATOR: u64 = 1 << 6;
const NARROW: u64 = 1 << 8;
const ROUTE: u64 = 0x3e00;
/// The interrupts of the I/O APIC that a timer may use (20 to 23), and that it can be periodic and 64 bits wide.
const CAPABLE: u64 = 0x00f0_0000 << 32 | 1 << 4 | 1 << 5;
const WRITABLE: u64 = LEVEL | INTERRUPT | PERIODIC | SET_ACCUMULATOR | NARROW | ROUTE;

/// The state of a timer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timer {
    configuration: u64,
    comparator: u64,
    period: u64,
}

impl Default for Timer {
    fn default() -> Self {
        Self { configuration: 0, comparator: u64::MAX, period: 0 }
    }
}

impl Timer {
    /// The configuration and capability register.
    pub(super) fn configuration(&self) -> u64 {
        self.configuration & !SET_ACCUMULATOR | CAPABLE
    }

    /// The comparator register.
    pub(super) fn comparator(&self) -> u64 {
        self.comparator & self.width()
    }

    /// The interrupt that the timer uses.
    pub(super) fn route(&self) -> u8 {
        (self.configuration >> 9 & 0x1f) as u8
    }

    /// How the timer signals.
    pub(super) fn delivery(&self) -> Delivery {
        match (self.configuration & INTERRUPT != 0, self.configuration & LEVEL != 0) {
            (false, _) => Delivery::None,
            (true, false) => Delivery::Edge,
            (true, true) => Delivery::Level,
        }
    }

    /// The bits of the counter that are compared.
    fn width(&self) -> u64 {
        if self.configuration & NARROW != 0 { 0xffff_ffff } else { u64::MAX }
    }

    /// Writes the configuration. The interrupts that the timer cannot use leave the route as it was.
    pub(super) fn configure(&mut self, value: u64, mask: u64) {
        let mut written = (self.configuration & !mask | value & mask) & WRITABLE;
        let route = written >> 9 & 0x1f;
        if CAPABLE >> 32 >> route & 1 == 0 {
            written = written & !ROUTE | self.configuration & ROUTE;
        }
        self.configuration = written;
    }

    /// Writes the comparator; of a periodic timer the period, and the comparator only when the set bit announced it.
    pub(super) fn set_comparator(&mut self, value: u64, mask: u64) {
        let periodic = self.configuration & PERIODIC != 0;
        if periodic {
            self.period = (self.period & !mask | value & mask) & self.width();
        }
        if !periodic || self.configuration & SET_ACCUMULATOR != 0 {
            self.comparator = (self.comparator & !mask | value & mask) & self.width();
            self.configuration &= !SET_ACCUMULATOR;
        }
    }

    /// The ticks until the counter next reaches the comparator: a whole round when it is there now.
    pub(super) fn ticks_to_match(&self, counter: u64) -> u64 {
        let ticks = self.comparator.wrapping_sub(counter) & self.width();
        if ticks == 0 { self.width().saturating_add(1) } else { ticks }
    }

    /// Lets the counter go from `seen` to `counter`; whether it reached the comparator on the way.
    pub(super) fn advance(&mut self, seen: u64, counter: u64) -> bool {
        let gone = counter.wrapping_sub(seen);
        let needed = self.ticks_to_match(seen);
        if gone < needed {
            return false;
        }
        if self.configuration & PERIODIC != 0 && self.period != 0 {
            let periods = (gone - needed) / self.period + 1;
            self.comparator = self.comparator.wrapping_add(periods.wrapping_mul(self.period)) & self.width();
        }
        true
    }
}
