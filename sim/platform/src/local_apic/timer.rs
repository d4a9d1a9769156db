//! The local APIC timer (SDM 13.5.4).

use super::local_vector::TimerMode;
use crate::time::{TICKS_PER_SECOND, Time};

/// The frequency of the timer before its divider: that of the platform's clock, so that one count is one tick.
pub const TIMER_HERTZ: u64 = TICKS_PER_SECOND;

/// Whether the timer came to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(super) enum Expiry {
    /// It did not.
    Pending,
    /// It did, once or more often.
    Expired,
}

/// A count that is going down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Countdown {
    /// When the count was `count`.
    origin: Time,
    count: u32,
}

/// The timer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timer {
    pub(super) divide: u32,
    pub(super) initial: u32,
    countdown: Option<Countdown>,
    /// IA32_TSC_DEADLINE; 0 is disarmed.
    deadline: u64,
    /// The time-stamp counter minus the platform's clock.
    pub(super) time_stamp_offset: u64,
}

impl Timer {
    /// A timer at rest whose time-stamp counter is ahead of the clock by `time_stamp_offset`.
    pub(super) fn with_offset(time_stamp_offset: u64) -> Self {
        Self { time_stamp_offset, ..Self::default() }
    }

    /// The divider as a shift: the register holds it in bits 0, 1 and 3, as 2, 4 ... 128, 1.
    fn shift(&self) -> u32 {
        let encoded = self.divide & 3 | self.divide >> 1 & 4;
        (encoded + 1) & 7
    }

    /// The ticks of one period.
    fn period(&self, count: u32) -> u64 {
        u64::from(count) << self.shift()
    }

    /// The current-count register.
    pub(super) fn current(&self, now: Time) -> u32 {
        let Some(countdown) = self.countdown else { return 0 };
        let gone = now.since(countdown.origin) >> self.shift();
        countdown.count.saturating_sub(u32::try_from(gone).unwrap_or(u32::MAX))
    }

    /// Writes the initial-count register, which starts the count; ignored in TSC-deadline mode.
    pub(super) fn start(&mut self, now: Time, count: u32, mode: TimerMode) {
        if mode != TimerMode::TscDeadline {
            self.initial = count;
            self.countdown = (count != 0).then_some(Countdown { origin: now, count });
        }
    }

    /// Writes the divide-configuration register; the count goes on from where it is.
    pub(super) fn set_divide(&mut self, now: Time, value: u32) {
        let count = self.current(now);
        self.divide = value & 0xb;
        if let Some(countdown) = &mut self.countdown {
            *countdown = Countdown { origin: now, count };
        }
    }

    /// Entering or leaving TSC-deadline mode disarms the timer; the other modes only decide what follows the end.
    pub(super) fn change_mode(&mut self, from: TimerMode, to: TimerMode) {
        if (from == TimerMode::TscDeadline) != (to == TimerMode::TscDeadline) {
            self.countdown = None;
            self.deadline = 0;
            if to == TimerMode::TscDeadline {
                self.initial = 0;
            }
        }
    }

    /// IA32_TSC_DEADLINE.
    pub(super) fn deadline(&self) -> u64 {
        self.deadline
    }

    /// Writes IA32_TSC_DEADLINE; ignored in the other modes.
    pub(super) fn set_deadline(&mut self, deadline: u64, mode: TimerMode) {
        if mode == TimerMode::TscDeadline {
            self.deadline = deadline;
        }
    }

    /// When the timer next comes to its end.
    pub(super) fn next_expiry(&self, now: Time, mode: TimerMode) -> Option<Time> {
        if mode == TimerMode::TscDeadline {
            let counter = now.0.wrapping_add(self.time_stamp_offset);
            return (self.deadline != 0).then(|| now.after(self.deadline.saturating_sub(counter))).flatten();
        }
        let countdown = self.countdown?;
        countdown.origin.after(self.period(countdown.count))
    }

    /// Lets the timer run up to `now`, through as many periods as there are.
    pub(super) fn advance(&mut self, now: Time, mode: TimerMode) -> Expiry {
        let Some(expiry) = self.next_expiry(now, mode) else { return Expiry::Pending };
        if expiry > now {
            return Expiry::Pending;
        }
        self.deadline = 0;
        self.countdown = match mode {
            TimerMode::Periodic => self.reloaded(expiry, now),
            TimerMode::OneShot | TimerMode::TscDeadline => None,
        };
        Expiry::Expired
    }

    /// The count of the period that `now` is in, when a period ended at `expiry`.
    fn reloaded(&self, expiry: Time, now: Time) -> Option<Countdown> {
        let period = self.period(self.initial);
        let into = now.since(expiry).checked_rem(period)?;
        Some(Countdown { origin: Time(now.0 - into), count: self.initial })
    }
}
