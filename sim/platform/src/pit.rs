//! The 8254 programmable interval timer, with port 61h of the PC that controls its channel 2 (Intel 8254 data sheet).
//!
//! Channel 0 drives interrupt line 0, channel 2 the speaker. All six modes count exactly as the data sheet says, in ticks of
//! 1.193182 MHz. The gates of channels 0 and 1 are always open, so that modes 1 and 5 never start there. The refresh
//! toggle of port 61h changes every 18 ticks (15 microseconds), whatever channel 1 is programmed to.

mod counter;

use crate::fabric::{Fabric, Level, Line, Source};
use crate::time::{Clock, Time};
use counter::{Counter, Gate};

/// The timer.
#[derive(Clone, Debug)]
pub struct Pit {
    counters: [Counter; 3],
    /// Bits 0 to 3 of port 61h.
    control: u8,
    /// Whether the HPET has taken the place of channel 0.
    replaced: bool,
}

/// Ticks between two changes of the refresh toggle.
const REFRESH: u64 = 18;

impl Default for Pit {
    /// As firmware leaves it: channel 0 divides by 65,536 in mode 3, 18.2 times a second; channel 1 by 18 in mode 2.
    fn default() -> Self {
        let mut pit = Self {
            counters: [Counter::new(Gate::Open), Counter::new(Gate::Open), Counter::new(Gate::Closed)],
            control: 0,
            replaced: false,
        };
        for (port, value) in [(0x43, 0x36), (0x40, 0), (0x40, 0), (0x43, 0x54), (0x41, 18)] {
            pit.write_at(0, port, value);
        }
        pit
    }
}

impl Pit {
    /// Whether the timer is reached at `port`.
    #[must_use]
    pub fn claims(port: u16) -> bool {
        matches!(port, 0x40..=0x43 | 0x61)
    }

    /// Lets the counters run up to `now` and drives the line.
    pub fn advance(&mut self, now: Time, fabric: &mut Fabric) {
        let tick = Clock::COUNTER.ticks_at(now);
        for counter in &mut self.counters {
            counter.advance(tick);
        }
        let level = Level::when(self.counters[0].output(tick) && !self.replaced);
        fabric.set(Source::Pit, Line::TIMER, level);
    }

    /// The next moment at which channel 0 changes its output.
    #[must_use]
    pub fn next_event(&self, now: Time) -> Option<Time> {
        let change = self.counters[0].next_change(Clock::COUNTER.ticks_at(now))?;
        Clock::COUNTER.time_of(change)
    }

    /// Cuts channel 0 off from its line while the HPET drives it.
    pub fn set_replaced(&mut self, replaced: Level) {
        self.replaced = replaced.is_asserted();
    }

    /// Reads a port.
    pub fn read(&mut self, now: Time, port: u16) -> u8 {
        let tick = Clock::COUNTER.ticks_at(now);
        match port {
            0x40..=0x42 => self.counters[usize::from(port - 0x40)].read(tick),
            0x61 => self.read_control(tick),
            _ => 0xff,
        }
    }

    /// Port 61h: what was written, the refresh toggle in bit 4 and the output of channel 2 in bit 5.
    fn read_control(&self, tick: u64) -> u8 {
        let refresh = if (tick / REFRESH).is_multiple_of(2) { 0 } else { 0x10 };
        let output = if self.counters[2].output(tick) { 0x20 } else { 0 };
        self.control | refresh | output
    }

    /// Writes a port.
    pub fn write(&mut self, now: Time, port: u16, value: u8) {
        self.write_at(Clock::COUNTER.ticks_at(now), port, value);
    }

    /// Writes a port at a tick.
    fn write_at(&mut self, tick: u64, port: u16, value: u8) {
        match port {
            0x40..=0x42 => self.counters[usize::from(port - 0x40)].write(tick, value),
            0x43 if value >> 6 == 3 => self.read_back(tick, value),
            0x43 => self.counters[usize::from(value >> 6)].command(tick, value),
            0x61 => {
                self.control = value & 0x0f;
                let gate = if value & 1 != 0 { Gate::Open } else { Gate::Closed };
                self.counters[2].set_gate(tick, gate);
            }
            _ => {}
        }
    }

    /// The read-back command: latches count and status of the selected channels.
    fn read_back(&mut self, tick: u64, value: u8) {
        for (index, counter) in self.counters.iter_mut().enumerate() {
            if value >> (index + 1) & 1 == 0 {
                continue;
            }
            if value & 0x20 == 0 {
                counter.latch_count(tick);
            }
            if value & 0x10 == 0 {
                counter.latch_status(tick);
            }
        }
    }
}
