//! The one simulated clock, and the clocks that are derived from it.

/// How many [`Time`] ticks make a second: the time-stamp counter runs at 1 GHz.
pub const TICKS_PER_SECOND: u64 = 1_000_000_000;

/// A moment of simulated time, in ticks of the time-stamp counter since power-on: one tick is one nanosecond, and in
/// functional mode one instruction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Time(pub u64);

impl Time {
    /// This moment and `ticks` more, or `None` beyond the end of time.
    #[must_use]
    pub fn after(self, ticks: u64) -> Option<Self> {
        self.0.checked_add(ticks).map(Self)
    }

    /// The ticks since `earlier`; none when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The earlier of two moments that may never come.
#[must_use]
pub fn earlier(one: Option<Time>, other: Option<Time>) -> Option<Time> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// A clock of a fixed frequency whose first edge was at power-on.
///
/// ```
/// use platform::time::{Clock, Time};
///
/// // The counters of the 8254 tick every 838 nanoseconds or so; no error accumulates.
/// assert_eq!(Clock::COUNTER.ticks_at(Time(838)), 0);
/// assert_eq!(Clock::COUNTER.ticks_at(Time(839)), 1);
/// assert_eq!(Clock::COUNTER.ticks_at(Time(3_600_000_000_000)), 1_193_182 * 3600);
/// assert_eq!(Clock::COUNTER.time_of(1), Some(Time(839)));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Clock {
    hertz: u64,
}

impl Clock {
    /// The clock of the 8254's counters.
    pub const COUNTER: Self = Self { hertz: 1_193_182 };
    /// The ACPI power-management timer (ACPI 4.8.3.3).
    pub const POWER_MANAGEMENT: Self = Self { hertz: 3_579_545 };
    /// The HPET's main counter: a period of 10 ns.
    pub const HPET: Self = Self { hertz: 100_000_000 };
    /// The time base of the real-time clock's periodic interrupt.
    pub const REAL_TIME: Self = Self { hertz: 32_768 };

    /// How many ticks this clock has made by `time`.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "no clock here is faster than the time-stamp counter")]
    pub const fn ticks_at(self, time: Time) -> u64 {
        (time.0 as u128 * self.hertz as u128 / TICKS_PER_SECOND as u128) as u64
    }

    /// The first moment at which this clock has made `ticks` ticks, or `None` beyond the end of time.
    #[must_use]
    pub fn time_of(self, ticks: u64) -> Option<Time> {
        let time = (u128::from(ticks) * u128::from(TICKS_PER_SECOND)).div_ceil(u128::from(self.hertz));
        u64::try_from(time).ok().map(Time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_time_of_a_tick_is_the_first_moment_that_has_it(ticks in 0_u64..1 << 50) {
            for clock in [Clock::COUNTER, Clock::POWER_MANAGEMENT, Clock::HPET, Clock::REAL_TIME] {
                if let Some(time) = clock.time_of(ticks) {
                    prop_assert_eq!(clock.ticks_at(time), ticks);
                    prop_assert!(time.0 == 0 || clock.ticks_at(Time(time.0 - 1)) < ticks);
                }
            }
        }
    }

    #[test]
    fn the_end_of_time_overflows_nothing() {
        assert_eq!(Clock::COUNTER.time_of(u64::MAX), None);
        assert_eq!(Clock::HPET.ticks_at(Time(u64::MAX)), u64::MAX / 10);
        assert_eq!(Time(u64::MAX).after(1), None);
    }
}
