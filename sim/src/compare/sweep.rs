//! Comparisons over a range of a parameter: from where on another strategy is the better one.
//!
//! | module | what |
//! |---|---|
//! | [`range`] | which parameter takes which values |
//! | [`crossing`] | where the order of two strategies changes |
//! | [`report`](mod@report) | the sweep as a table, as sentences and as CSV |

pub mod crossing;
pub mod range;
pub mod report;

pub use crossing::Crossing;
pub use range::{Parameter, RangeError, SweepRange};

use super::result::Comparison;
use rayon::prelude::*;
use serde::Serialize;
use std::num::NonZeroUsize;

/// How an axis runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// Equal differences are equally long.
    Linear,
    /// Equal ratios are equally long.
    Logarithmic,
}

impl Scale {
    /// Where a value is along the axis; on a logarithmic one, 0 is where one half is.
    pub(super) fn along(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Logarithmic => value.max(0.5).ln(),
        }
    }

    /// The value a share of the way from one to another.
    fn between(self, from: f64, to: f64, share: f64) -> f64 {
        let along = self.along(from) + (self.along(to) - self.along(from)) * share;
        match self {
            Self::Linear => along,
            Self::Logarithmic => along.exp(),
        }
    }
}

/// The comparisons of a sweep.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Sweep {
    /// The parameter.
    pub parameter: Parameter,
    /// How its axis runs; crossings are interpolated along it.
    pub scale: Scale,
    /// What came out for each value, in ascending order.
    pub points: Vec<Point>,
    /// Where the order of two strategies changes, in ascending order.
    pub crossings: Vec<Crossing>,
}

/// What came out for one value.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Point {
    /// The value of the parameter.
    pub value: u64,
    /// The comparison; without the occupancy over time.
    #[serde(flatten)]
    pub comparison: Comparison,
}

impl Sweep {
    /// Runs a comparison for each value, `at_once` of them at once: each needs memory of its own. `progress` is told the
    /// number of values done.
    ///
    /// # Errors
    ///
    /// The error of the first value whose comparison fails.
    pub fn run<E: Send>(
        range: &SweepRange,
        at_once: NonZeroUsize,
        compare: impl Fn(u64) -> Result<Comparison, E> + Sync,
        mut progress: impl FnMut(usize),
    ) -> Result<Self, E> {
        let mut points = Vec::with_capacity(range.values.len());
        for values in range.values.chunks(at_once.get()) {
            let outcomes: Vec<_> = values.par_iter().map(|&value| (value, compare(value))).collect();
            for (value, outcome) in outcomes {
                let mut comparison = outcome?;
                comparison.strategies.iter_mut().for_each(|strategy| strategy.occupancy.clear());
                points.push(Point { value, comparison });
            }
            progress(points.len());
        }
        let crossings = crossing::all(&points, range.scale);
        Ok(Self { parameter: range.parameter, scale: range.scale, points, crossings })
    }

    /// The names of the strategies.
    #[must_use]
    pub fn strategies(&self) -> Vec<&str> {
        let first = self.points.first().map_or(&[][..], |point| &point.comparison.strategies);
        first.iter().map(|strategy| strategy.name.as_str()).collect()
    }

    /// Whether some strategy was not sound at some value.
    #[must_use]
    pub fn finds_something(&self) -> bool {
        self.points.iter().any(|point| point.comparison.finds_something())
    }
}

#[cfg(test)]
mod tests;
