//! The CMOS real-time clock at ports 70h and 71h with its 128 bytes of memory (Motorola MC146818A data sheet).
//!
//! It counts the seconds of simulated time from the date that the options give. A value that is no date is taken as what it
//! would be after carrying, at the next second. Not modelled: daylight saving and the square-wave output.

mod calendar;

use crate::fabric::{Fabric, Level, Line, Source};
use crate::options::PlatformOptions;
use crate::time::{Clock, TICKS_PER_SECOND, Time, earlier};
use calendar::{Format, Moment};

const INDEX: u16 = 0x70;
const DATA: u16 = 0x71;

const STATUS_A: u8 = 0x0a;
const STATUS_B: u8 = 0x0b;
const STATUS_C: u8 = 0x0c;
const STATUS_D: u8 = 0x0d;
const CENTURY: u8 = 0x32;

/// Status A: an update is near or under way.
const UPDATE_IN_PROGRESS: u8 = 0x80;
/// Status B: time does not go on, so that it can be set.
const SET: u8 = 0x80;
/// Status B and C: the periodic interrupt.
const PERIODIC: u8 = 0x40;
/// Status B and C: the alarm.
const ALARM: u8 = 0x20;
/// Status B and C: the end of an update.
const UPDATE: u8 = 0x10;
/// Status C: the line is asserted.
const REQUEST: u8 = 0x80;
/// The warning before an update, and the update itself: 244 and 1984 microseconds.
const UPDATE_TICKS: u64 = 2_228_000;
/// After this many seconds every alarm has come.
const DAY: u64 = 86_400;

/// The clock.
#[derive(Clone, Debug)]
pub struct RealTimeClock {
    index: u8,
    memory: [u8; 128],
    /// Status C without the request bit.
    flags: u8,
    /// When the current second began.
    second: Time,
    /// How many ticks of the periodic interrupt have passed.
    periods: u64,
    /// Whether the HPET has taken the place of the clock's interrupt.
    replaced: bool,
}

impl RealTimeClock {
    /// The clock of a platform at power-on.
    #[must_use]
    pub fn new(options: &PlatformOptions) -> Self {
        let mut memory = [0; 128];
        memory[usize::from(STATUS_A)] = 0x26;
        memory[usize::from(STATUS_B)] = 0x02;
        let mut clock = Self { index: 0, memory, flags: 0, second: Time(0), periods: 0, replaced: false };
        clock.set_sizes(options);
        clock.show(Moment::from_seconds(options.date));
        clock
    }

    /// The sizes of memory as firmware writes them down: KiB below 1 MiB, KiB from there, units of 64 KiB from 16 MiB and from
    /// 4 GiB on.
    fn set_sizes(&mut self, options: &PlatformOptions) {
        let below = options.memory_below_4g;
        let extended = (below.saturating_sub(1 << 20) >> 10).min(0xffff);
        let above_16m = (below.saturating_sub(16 << 20) >> 16).min(0xffff);
        let above_4g = (options.memory_above_4g >> 16).min(0xff_ffff);
        let fields = [
            (0x15, 640, 2),
            (0x17, extended, 2),
            (0x30, extended, 2),
            (0x34, above_16m, 2),
            (0x5b, above_4g, 3),
        ];
        for (register, value, bytes) in fields {
            self.memory[register..register + bytes].copy_from_slice(&value.to_le_bytes()[..bytes]);
        }
        self.memory[0x5f] = (options.processors.min(256) - 1) as u8;
    }

    /// Whether the clock is reached at `port`.
    #[must_use]
    pub fn claims(port: u16) -> bool {
        matches!(port, INDEX | DATA)
    }

    /// Cuts the clock off from its line while the HPET drives it.
    pub fn set_replaced(&mut self, replaced: Level) {
        self.replaced = replaced.is_asserted();
    }

    /// The value of a register.
    fn register(&self, register: u8) -> u8 {
        self.memory[usize::from(register & 0x7f)]
    }

    /// How the registers show numbers.
    fn format(&self) -> Format {
        let control = self.register(STATUS_B);
        Format { binary: control & 4 != 0, all_hours: control & 2 != 0 }
    }

    /// Whether the divider chain runs.
    fn runs(&self) -> bool {
        self.register(STATUS_A) & 0x70 == 0x20
    }

    /// The ticks of 32,768 Hz between two periodic interrupts.
    fn period(&self) -> Option<u64> {
        match self.register(STATUS_A) & 15 {
            0 => None,
            rate @ 1..=2 => Some(1 << (rate + 6)),
            rate => Some(1 << (rate - 1)),
        }
    }

    /// Lets the clock run up to `now` and drives its line.
    pub fn advance(&mut self, now: Time, fabric: &mut Fabric) {
        if self.runs() {
            self.count_periods(now);
            let seconds = now.since(self.second) / TICKS_PER_SECOND;
            self.second.0 += seconds * TICKS_PER_SECOND;
            if seconds > 0 && self.register(STATUS_B) & SET == 0 {
                self.update(seconds);
            }
        }
        let asserted = self.flags & self.register(STATUS_B) != 0 && !self.replaced;
        fabric.set(Source::RealTimeClock, Line::REAL_TIME_CLOCK, Level::when(asserted));
    }

    /// Notes the periodic interrupts up to `now`.
    fn count_periods(&mut self, now: Time) {
        let periods = self.period().map_or(0, |period| Clock::REAL_TIME.ticks_at(now) / period);
        if periods > self.periods {
            self.flags |= PERIODIC;
        }
        self.periods = periods;
    }

    /// Lets `seconds` seconds pass: of each of the last day the alarm is compared.
    fn update(&mut self, seconds: u64) {
        self.flags |= UPDATE;
        let start = self.moment();
        let compared = seconds.min(DAY);
        let last = (seconds - compared + 1..=seconds).map(|second| start.plus(second));
        let alarms = last.filter(|moment| self.flags & ALARM == 0 && self.alarm_matches(*moment));
        if alarms.count() > 0 {
            self.flags |= ALARM;
        }
        self.show(start.plus(seconds));
    }

    /// The moment that the registers show.
    fn moment(&self) -> Moment {
        let [second, _, minute, _, hour, _, weekday, day, month, year, ..] = self.memory;
        let date = [year, month, day, weekday, self.register(CENTURY)];
        Moment::decode(self.format(), [hour, minute, second], date)
    }

    /// Shows a moment in the registers.
    fn show(&mut self, moment: Moment) {
        let ([hour, minute, second], [year, month, day, weekday, century]) = moment.encode(self.format());
        let shown = [(0, second), (2, minute), (4, hour), (6, weekday), (7, day), (8, month), (9, year)];
        for (register, value) in shown {
            self.memory[register] = value;
        }
        self.memory[usize::from(CENTURY)] = century;
    }

    /// Whether the alarm registers stand for a moment; C0h and above match everything.
    fn alarm_matches(&self, moment: Moment) -> bool {
        let ([hour, minute, second], _) = moment.encode(self.format());
        let alarm = [(1, second), (3, minute), (5, hour)];
        alarm
            .into_iter()
            .all(|(register, value)| self.memory[register] >= 0xc0 || self.memory[register] == value)
    }

    /// The next moment at which the clock interrupts, or might: an alarm is looked for every second.
    #[must_use]
    pub fn next_event(&self, _now: Time) -> Option<Time> {
        let noticed = self.register(STATUS_B) & !self.flags;
        if !self.runs() || self.replaced {
            return None;
        }
        let counts = self.register(STATUS_B) & SET == 0 && noticed & (ALARM | UPDATE) != 0;
        let second = counts.then(|| self.second.after(TICKS_PER_SECOND)).flatten();
        let period = self.period().filter(|_| noticed & PERIODIC != 0);
        let period = period.and_then(|period| Clock::REAL_TIME.time_of((self.periods + 1) * period));
        earlier(second, period)
    }

    /// Reads a port.
    pub fn read(&mut self, now: Time, port: u16) -> u8 {
        if port == INDEX {
            return 0xff;
        }
        match self.index {
            STATUS_A => self.register(STATUS_A) | self.update_in_progress(now),
            STATUS_C => self.take_flags(),
            STATUS_D => 0x80,
            register => self.register(register),
        }
    }

    /// The update-in-progress bit.
    fn update_in_progress(&self, now: Time) -> u8 {
        let near = now.since(self.second) + UPDATE_TICKS >= TICKS_PER_SECOND;
        let counts = self.runs() && self.register(STATUS_B) & SET == 0;
        if near && counts { UPDATE_IN_PROGRESS } else { 0 }
    }

    /// Status C, which a read clears.
    fn take_flags(&mut self) -> u8 {
        let flags = std::mem::take(&mut self.flags);
        flags | if flags & self.register(STATUS_B) != 0 { REQUEST } else { 0 }
    }

    /// Writes a port.
    pub fn write(&mut self, now: Time, port: u16, value: u8) {
        if port == INDEX {
            self.index = value & 0x7f;
            return;
        }
        match self.index {
            STATUS_A => self.write_divider(now, value & 0x7f),
            STATUS_B => {
                // Setting the time withdraws the wish for the end of an update.
                let withdrawn = if value & SET != 0 { UPDATE } else { 0 };
                self.memory[usize::from(STATUS_B)] = value & !withdrawn;
            }
            STATUS_C | STATUS_D => {}
            register => self.memory[usize::from(register)] = value,
        }
    }

    /// Writes status A. The first second after the divider starts takes half a second.
    fn write_divider(&mut self, now: Time, value: u8) {
        let ran = self.runs();
        self.memory[usize::from(STATUS_A)] = value;
        if self.runs() && !ran {
            self.second = Time(now.0.saturating_sub(TICKS_PER_SECOND / 2));
        }
        self.periods = self.period().map_or(0, |period| Clock::REAL_TIME.ticks_at(now) / period);
    }
}
