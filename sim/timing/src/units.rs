//! Time: whole cycles, and the fixed-point fraction of a cycle in which costs are added.

use core::fmt;
use core::iter::Sum;
use core::ops::{Add, AddAssign, Sub};

use serde::{Deserialize, Serialize};

/// A time in 1/840 of a core clock cycle.
///
/// 840 is the least number that 1 to 8 all divide, so that one instruction of a processor that issues up to eight a
/// cycle costs a whole number of them and sums are exact. The range is 2^64 / 840, about 2.2 * 10^16 cycles: three
/// months of a 3-GHz processor, and far more than a run can reach.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SubCycles(pub u64);

impl SubCycles {
    /// No time.
    pub const ZERO: Self = Self(0);

    /// How many of them make a cycle.
    pub const PER_CYCLE: u64 = 840;

    /// The time of `cycles` whole cycles.
    ///
    /// ```
    /// use timing::units::SubCycles;
    /// assert_eq!(SubCycles::from_cycles(2), SubCycles(1680));
    /// ```
    #[inline]
    #[must_use]
    pub const fn from_cycles(cycles: u64) -> Self {
        Self(cycles * Self::PER_CYCLE)
    }

    /// The whole cycles in this time; a part of a cycle is left out.
    #[inline]
    #[must_use]
    pub const fn cycles(self) -> u64 {
        self.0 / Self::PER_CYCLE
    }
}

impl Add for SubCycles {
    type Output = Self;

    #[inline]
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl Sub for SubCycles {
    type Output = Self;

    #[inline]
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl AddAssign for SubCycles {
    #[inline]
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl Sum for SubCycles {
    fn sum<I: Iterator<Item = Self>>(times: I) -> Self {
        times.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for SubCycles {
    /// Writes cycles with two digits after the point, the rest left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hundredths = (self.0 % Self::PER_CYCLE) * 100 / Self::PER_CYCLE;
        write!(f, "{}.{hundredths:02}", self.cycles())
    }
}

#[cfg(test)]
mod tests {
    use super::SubCycles;

    #[test]
    fn every_width_up_to_eight_divides_a_cycle() {
        for width in 1..=8 {
            assert_eq!(SubCycles::PER_CYCLE % width, 0, "width {width}");
        }
    }

    #[test]
    fn a_time_prints_as_cycles_and_hundredths() {
        assert_eq!(SubCycles(840 * 3 + 210).to_string(), "3.25");
        assert_eq!(SubCycles(839).to_string(), "0.99");
        assert_eq!(SubCycles(7).to_string(), "0.00");
    }
}
