//! When something is due, in counted instructions.

use super::random::Random;

/// The moments of something that happens again and again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moments {
    next: u64,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Never,
    /// At every multiple of a number.
    Periodic(u64),
    /// Once in each period, anywhere in it: this often within any time, and in step with nothing.
    Anywhere {
        period: f64,
        done: u64,
        random: Random,
    },
}

impl Moments {
    pub(super) const NEVER: Self = Self { next: u64::MAX, kind: Kind::Never };

    /// At every multiple of `period`.
    pub(super) const fn periodic(period: u64) -> Self {
        Self { next: period, kind: Kind::Periodic(period) }
    }

    /// Once in each `period`.
    pub(super) fn anywhere(period: f64, random: Random) -> Self {
        let mut moments = Self { next: 0, kind: Kind::Anywhere { period, done: 0, random } };
        moments.advance();
        moments
    }

    /// `rate` times in a million.
    pub(super) fn per_million(rate: f64, random: Random) -> Self {
        if rate > 0.0 { Self::anywhere(1e6 / rate, random) } else { Self::NEVER }
    }

    /// The next moment.
    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    /// Whether the next moment has come at `now`; then the one after it is next.
    pub(super) fn is_due(&mut self, now: u64) -> bool {
        let due = self.next <= now;
        if due {
            self.advance();
        }
        due
    }

    fn advance(&mut self) {
        match &mut self.kind {
            Kind::Never => self.next = u64::MAX,
            Kind::Periodic(period) => self.next = self.next.saturating_add(*period),
            Kind::Anywhere { period, done, random } => {
                let at = (*done as f64 + random.fraction()) * *period;
                *done += 1;
                // Moments are counted after an instruction, the first at 1.
                self.next = (at as u64).saturating_add(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn until(mut moments: Moments, end: u64) -> Vec<u64> {
        let mut found = Vec::new();
        while moments.next() <= end {
            found.push(moments.next());
            assert!(moments.is_due(moments.next()));
        }
        found
    }

    #[test]
    fn periodic_moments_are_the_multiples() {
        assert_eq!(until(Moments::periodic(7), 22), [7, 14, 21]);
        assert!(until(Moments::NEVER, u64::MAX - 1).is_empty());
        assert!(until(Moments::per_million(0.0, Random::new(1, 1)), u64::MAX - 1).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn each_period_has_one_moment_and_moments_are_in_order(seed: u64, period in 1.0..1000f64) {
            let found = until(Moments::anywhere(period, Random::new(seed, 3)), (period * 50.0) as u64);
            prop_assert!(found.is_sorted());
            prop_assert!((49..=50).contains(&found.len()), "{}", found.len());
            for (k, at) in found.iter().enumerate() {
                let (at, start) = ((at - 1) as f64, k as f64 * period);
                prop_assert!(at >= start.floor() && at <= start + period);
            }
        }
    }
}
