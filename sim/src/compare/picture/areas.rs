//! TLB entries by tag over time: a small chart for each strategy, all at the same scale.

use super::axis::{Axis, name_below, name_beside};
use super::canvas::{Canvas, Weight, elided};
use super::series::{Series, stacked};
use super::{MARGIN, TEXT, WIDTH, legend, part};
use crate::compare::result::{Comparison, Sample, StrategyResult};

const HEIGHT: f64 = 110.0;
const GAP: f64 = 22.0;

/// Draws the part, if there is anything to show; the place below it.
pub(super) fn draw(canvas: &mut Canvas, top: f64, comparison: &Comparison) -> f64 {
    let shown: Vec<_> =
        comparison.strategies.iter().filter(|strategy| strategy.occupancy.len() > 1).collect();
    if shown.is_empty() {
        return top;
    }
    let series = tags(&shown);
    let top = part(canvas, top, "TLB entries by tag over time");
    let mut top = legend::draw(canvas, top, &series);
    let start = top;
    let axes = Axes::of(&shown, &series);
    let columns = columns(shown.len());
    let left = MARGIN + TEXT + 8.0;
    let width = (WIDTH - MARGIN - left - GAP * (columns - 1) as f64) / columns as f64;
    for row in shown.chunks(columns) {
        let mut below = top;
        for (column, strategy) in row.iter().enumerate() {
            let left = left + (width + GAP) * column as f64;
            below = chart(canvas, (left, left + width), top, strategy, &series, &axes);
        }
        top = below;
    }
    name_beside(canvas, MARGIN + TEXT, (top, start), "entries");
    name_below(canvas, (left, WIDTH - MARGIN), top, "instructions of the work")
}

/// The scales that all charts share.
struct Axes {
    time: Axis,
    entries: Axis,
}

impl Axes {
    fn of(shown: &[&StrategyResult], series: &[Series]) -> Self {
        let samples = || shown.iter().flat_map(|strategy| &strategy.occupancy);
        let latest = samples().map(|sample| sample.instructions).max().unwrap_or(0);
        let total = |sample: &Sample| series.iter().map(|series| amount(series, sample)).sum::<u64>();
        let most = samples().map(total).max().unwrap_or(0);
        Self { time: Axis::up_to(latest, 3), entries: Axis::holding(0.0, most.max(1) as f64, 4) }
    }
}

/// Charts beside each other.
const fn columns(charts: usize) -> usize {
    match charts {
        0 | 1 => 1,
        2 | 4 => 2,
        _ => 3,
    }
}

/// A series for each tag that had entries, in the order in which they came.
fn tags(shown: &[&StrategyResult]) -> Vec<Series> {
    let mut weights: Vec<(String, u64)> = Vec::new();
    let samples = shown.iter().flat_map(|strategy| &strategy.occupancy);
    for (name, entries) in samples.flat_map(|sample| &sample.entries) {
        match weights.iter_mut().find(|(known, _)| known == name) {
            Some((_, weight)) => *weight += entries,
            None => weights.push((name.clone(), *entries)),
        }
    }
    stacked(&weights)
}

fn amount(series: &Series, sample: &Sample) -> u64 {
    series.sum(sample.entries.iter().map(|(name, entries)| (name.as_str(), *entries)))
}

fn chart(
    canvas: &mut Canvas,
    (left, right): (f64, f64),
    top: f64,
    strategy: &StrategyResult,
    series: &[Series],
    axes: &Axes,
) -> f64 {
    let name_line = top + 12.0 + TEXT;
    let name = elided(&strategy.name, TEXT, Weight::Bold, right - left);
    canvas.text(&name).at(left, name_line).weight(Weight::Bold).draw();
    let (top, bottom) = (name_line + 10.0, name_line + 10.0 + HEIGHT);
    let left = left + axes.entries.label_width() + 6.0;
    axes.entries.beside(canvas, (left, right), (bottom, top));
    // The last mark stands in the middle below the end of the axis.
    let below = axes.time.below(canvas, (left, right - 14.0), (bottom, bottom));
    let mut lower: Vec<u64> = vec![0; strategy.occupancy.len()];
    for one in series {
        let upper: Vec<u64> = strategy
            .occupancy
            .iter()
            .zip(&lower)
            .map(|(sample, lower)| lower + amount(one, sample))
            .collect();
        let times = || strategy.occupancy.iter().map(|sample| sample.instructions);
        let point = |(time, entries): (u64, &u64)| {
            let x = axes.time.place(time as f64, left, right - 14.0);
            (x, axes.entries.place(*entries as f64, bottom, top))
        };
        if upper != lower {
            let back = times().zip(&lower).collect::<Vec<_>>();
            canvas.polygon(times().zip(&upper).chain(back.into_iter().rev()).map(point), one.colour);
        }
        lower = upper;
    }
    below
}
