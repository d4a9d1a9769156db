//! The high-precision event timer at FED00000h: a 64-bit counter of 100 MHz and three timers (IA-PC HPET 1.0a).
//!
//! Every timer can be periodic and 64 bits wide. Timers 0 and 1 take the places of the 8254 and the real-time clock when the
//! legacy replacement routes are on. Not modelled: messages (FSB interrupts).

mod timer;

use crate::fabric::{Fabric, HpetTimer, Level, Line, Source};
use crate::time::{Clock, Time, earlier};
use timer::{Delivery, Timer};

/// The address of the registers.
pub const ADDRESS: u64 = 0xfed0_0000;
/// The block of registers is this long.
const SIZE: u64 = 0x400;
/// How many timers there are.
const TIMERS: u8 = 3;
/// Period in femtoseconds, vendor, legacy routes, 64 bits, number of timers less one, revision.
pub const CAPABILITIES: u64 =
    10_000_000 << 32 | 0x8086_0000 | 1 << 15 | 1 << 13 | (TIMERS as u64 - 1) << 8 | 1;

const ENABLE: u64 = 1;
const LEGACY: u64 = 2;

/// The HPET.
#[derive(Clone, Debug, Default)]
pub struct Hpet {
    configuration: u64,
    status: u64,
    /// The main counter while halted; while it runs, what it was at tick 0 of its clock.
    counter: u64,
    timers: [Timer; TIMERS as usize],
    /// The counter up to which the timers were looked at.
    seen: u64,
    /// The lines that the timers drive.
    driven: [Option<Line>; TIMERS as usize],
}

impl Hpet {
    /// Whether the registers include `address`.
    #[must_use]
    pub fn claims(address: u64) -> bool {
        (ADDRESS..ADDRESS + SIZE).contains(&address)
    }

    /// Whether timers 0 and 1 take the places of the 8254 and the real-time clock.
    #[must_use]
    pub fn replaces_legacy(&self) -> Level {
        Level::when(self.configuration & LEGACY != 0)
    }

    /// Whether the counter runs.
    fn runs(&self) -> bool {
        self.configuration & ENABLE != 0
    }

    /// The main counter.
    fn counter(&self, now: Time) -> u64 {
        if self.runs() { self.counter.wrapping_add(Clock::HPET.ticks_at(now)) } else { self.counter }
    }

    /// The line of a timer.
    fn line(&self, index: u8) -> Option<Line> {
        match (self.replaces_legacy(), index) {
            (Level::Asserted, 0) => Some(Line::TIMER),
            (Level::Asserted, 1) => Some(Line::REAL_TIME_CLOCK),
            _ => Line::global(self.timers[usize::from(index)].route()),
        }
    }

    /// Lets the timers run up to `now` and drives their lines.
    pub fn advance(&mut self, now: Time, fabric: &mut Fabric) {
        let counter = self.counter(now);
        for index in 0..TIMERS {
            let matched = self.timers[usize::from(index)].advance(self.seen, counter);
            let delivery = self.timers[usize::from(index)].delivery();
            let line = self.line(index);
            let source = Source::Hpet(HpetTimer(index));
            if matched && delivery == Delivery::Level {
                self.status |= 1 << index;
            }
            if let (true, Delivery::Edge, true, Some(line)) = (matched, delivery, self.runs(), line) {
                fabric.strike(source, line);
            }
            self.drive(index, fabric);
        }
        self.seen = counter;
    }

    /// Drives the line of a timer, and releases the one that it drove before.
    fn drive(&mut self, index: u8, fabric: &mut Fabric) {
        let source = Source::Hpet(HpetTimer(index));
        let delivery = self.timers[usize::from(index)].delivery();
        let active = self.runs() && delivery != Delivery::None;
        let line = active.then(|| self.line(index)).flatten();
        let before = std::mem::replace(&mut self.driven[usize::from(index)], line);
        if let Some(before) = before.filter(|_| before != line) {
            fabric.set(source, before, Level::Released);
        }
        if let (Some(line), Delivery::Level) = (line, delivery) {
            fabric.set(source, line, Level::when(self.status >> index & 1 != 0));
        }
    }

    /// The next moment at which a timer interrupts.
    #[must_use]
    pub fn next_event(&self, now: Time) -> Option<Time> {
        if !self.runs() {
            return None;
        }
        let counter = self.counter(now);
        let pending = |index: u8| self.status >> index & 1 != 0;
        let timers =
            (0..TIMERS).filter(|index| !pending(*index)).map(|index| &self.timers[usize::from(index)]);
        timers.map(|timer| self.event_of(timer, now, counter)).fold(None, earlier)
    }

    /// When a timer interrupts.
    fn event_of(&self, timer: &Timer, now: Time, counter: u64) -> Option<Time> {
        if timer.delivery() == Delivery::None {
            return None;
        }
        let ticks = Clock::HPET.ticks_at(now).checked_add(timer.ticks_to_match(counter))?;
        Clock::HPET.time_of(ticks)
    }

    /// Reads the registers: eight bytes each, of which an access sees its part.
    #[must_use]
    pub fn read(&self, now: Time, offset: u64, bytes: u8) -> u64 {
        crate::memory::part(self.register(now, offset & !7), offset & 7, bytes)
    }

    /// The register at an offset.
    fn register(&self, now: Time, offset: u64) -> u64 {
        match offset {
            0x00 => CAPABILITIES,
            0x10 => self.configuration,
            0x20 => self.status,
            0xf0 => self.counter(now),
            _ => match self.timer_register(offset) {
                Some((index, 0x00)) => self.timers[index].configuration(),
                Some((index, 0x08)) => self.timers[index].comparator(),
                _ => 0,
            },
        }
    }

    /// The timer whose registers include an offset, and the offset in them.
    fn timer_register(&self, offset: u64) -> Option<(usize, u64)> {
        let index = usize::try_from(offset.checked_sub(0x100)? / 0x20).ok()?;
        (index < self.timers.len()).then_some((index, offset & 0x1f))
    }

    /// Writes the registers: all eight bytes or an aligned half; other accesses are ignored.
    pub fn write(&mut self, now: Time, offset: u64, bytes: u8, value: u64) {
        let half = bytes == 4 && offset & 3 == 0;
        let mask = if bytes == 8 && offset & 7 == 0 {
            u64::MAX
        } else if half {
            0xffff_ffff << (8 * (offset & 4))
        } else {
            return;
        };
        let value = value << (8 * (offset & 4));
        self.write_register(now, offset & !7, value, mask);
    }

    /// Writes the bytes of `mask` of a register.
    fn write_register(&mut self, now: Time, offset: u64, value: u64, mask: u64) {
        match offset {
            0x10 => self.configure(now, self.configuration & !mask | value & mask),
            0x20 => self.status &= !(value & mask),
            0xf0 if !self.runs() => {
                self.counter = self.counter & !mask | value & mask;
                self.seen = self.counter;
            }
            _ => match self.timer_register(offset) {
                Some((index, 0x00)) => self.timers[index].configure(value, mask),
                Some((index, 0x08)) => self.timers[index].set_comparator(value, mask),
                _ => {}
            },
        }
    }

    /// Writes the general configuration: starts or halts the counter where it is.
    fn configure(&mut self, now: Time, value: u64) {
        let counter = self.counter(now);
        self.configuration = value & (ENABLE | LEGACY);
        let gone = if self.runs() { Clock::HPET.ticks_at(now) } else { 0 };
        self.counter = counter.wrapping_sub(gone);
    }
}
