//! Where the order of two strategies changes.

use super::{Point, Scale};
use serde::Serialize;
use std::cmp::Ordering;

/// A value of the parameter at which two strategies change places.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Crossing {
    /// The value, interpolated between two values of the sweep along the axis of the parameter.
    pub at: f64,
    /// The strategy that takes fewer cycles below the value.
    pub below: String,
    /// The strategy that takes fewer cycles above it.
    pub above: String,
    /// Whether the two were the best of all, before and after.
    pub of_the_best: Rank,
}

/// Which places the strategies of a crossing change.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rank {
    /// The first: another strategy becomes the best.
    First,
    /// Later ones.
    Later,
}

/// Every crossing of two strategies, in ascending order.
///
/// Strategies that are equal for some values cross at the first of them, if their order differs before and after.
pub(super) fn all(points: &[Point], scale: Scale) -> Vec<Crossing> {
    let strategies = points.first().map_or(0, |point| point.comparison.strategies.len());
    let pairs = (0..strategies).flat_map(|first| (first + 1..strategies).map(move |second| (first, second)));
    let mut crossings: Vec<_> = pairs.flat_map(|pair| of_pair(points, pair, scale)).collect();
    crossings.sort_by(|one, other| one.at.total_cmp(&other.at));
    crossings
}

fn of_pair(points: &[Point], (first, second): (usize, usize), scale: Scale) -> Vec<Crossing> {
    let mut crossings = Vec::new();
    let mut last: Option<(usize, Ordering)> = None;
    for (index, point) in points.iter().enumerate() {
        let order = cycles(point, first).cmp(&cycles(point, second));
        if order == Ordering::Equal {
            continue;
        }
        if let Some((before, previous)) = last
            && previous != order
        {
            let pair = if previous == Ordering::Less { (first, second) } else { (second, first) };
            crossings.push(crossing(points, pair, (before, index), scale));
        }
        last = Some((index, order));
    }
    crossings
}

/// The crossing of `below`, which is better at the point `before`, and `above`, which is better at the point `after`.
fn crossing(
    points: &[Point],
    (below, above): (usize, usize),
    (before, after): (usize, usize),
    scale: Scale,
) -> Crossing {
    let [one, other] = [&points[before], &points[after]];
    let at = if after - before > 1 {
        points[before + 1].value as f64
    } else {
        let distance = |point| cycles(point, below).abs_diff(cycles(point, above)) as f64;
        let share = distance(one) / (distance(one) + distance(other));
        scale.between(one.value as f64, other.value as f64, share)
    };
    let leads = |point: &Point, at: usize| best(point) == Some(cycles(point, at));
    let rank = if leads(one, below) && leads(other, above) { Rank::First } else { Rank::Later };
    let name =
        |at: usize| one.comparison.strategies.get(at).map_or(String::new(), |found| found.name.clone());
    Crossing { at, below: name(below), above: name(above), of_the_best: rank }
}

fn cycles(point: &Point, strategy: usize) -> u64 {
    point.comparison.strategies.get(strategy).map_or(0, |found| found.cycles)
}

fn best(point: &Point) -> Option<u64> {
    point.comparison.best().map(|best| best.cycles)
}
