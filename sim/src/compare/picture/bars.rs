//! Cycles by cause: a bar for each strategy.

use super::axis::{Axis, name_below};
use super::canvas::{Anchor, Canvas, INK, Weight, elided, text_width};
use super::series::{BACKGROUND, Series, ink_on, stacked};
use super::{MARGIN, SMALL, TEXT, WIDTH, legend, part};
use crate::compare::result::{Comparison, StrategyResult, words};
use crate::number::short;
use timing::stack::Cause;

const ROW: f64 = 26.0;
const BAR: f64 = 19.0;
const WIDEST_NAME: f64 = 230.0;
/// Dark enough on white to be read, and red.
const WARNING: &str = "#a00000";

/// A text that says something of a strategy.
type Value = fn(&StrategyResult) -> String;

/// What stands at the right of the bars, with its heading.
const VALUES: [(&str, Value); 3] = [
    ("cycles", |strategy| short(strategy.cycles)),
    ("relative", |strategy| format!("{:.3}", strategy.cycles_relative)),
    ("", |strategy| if strategy.is_sound() { String::new() } else { "unsound".to_owned() }),
];
const BETWEEN: f64 = 12.0;

/// Draws the part; the place below it.
pub(super) fn draw(canvas: &mut Canvas, top: f64, comparison: &Comparison) -> f64 {
    let series = causes(comparison);
    let top = part(canvas, top, "Cycles by cause");
    let heading = legend::draw(canvas, top, &series) + TEXT + 2.0;
    let top = heading + 4.0;
    let bottom = top + ROW * comparison.strategies.len() as f64;
    let sides = Sides::of(comparison);
    let most = comparison.strategies.iter().map(|strategy| strategy.cycles).max().unwrap_or(0);
    let axis = Axis::up_to(most, 6);
    let below = axis.below(canvas, (sides.left, sides.right), (top, bottom));
    for ((name, _), right) in VALUES.iter().zip(sides.values) {
        canvas.text(name).at(right, heading).size(SMALL).anchor(Anchor::End).draw();
    }
    for (row, strategy) in comparison.strategies.iter().enumerate() {
        bar(canvas, top + ROW * row as f64, &sides, strategy, &series, &axis);
    }
    name_below(canvas, (sides.left, sides.right), below, "cycles of all processors")
}

/// A series for each cause that took cycles; the work itself is the background.
fn causes(comparison: &Comparison) -> Vec<Series> {
    let total = |cause| comparison.strategies.iter().map(|strategy| strategy.cycles_by_cause[cause]).sum();
    let name = |cause: Cause| cause.name().to_owned();
    let others = Cause::ALL.into_iter().filter(|&cause| cause != Cause::Base);
    let weights: Vec<_> = others.map(|cause| (name(cause), total(cause))).collect();
    let mut series = vec![Series::one(Cause::Base.name(), Cause::Base.name(), BACKGROUND)];
    series.extend(stacked(&weights));
    for series in &mut series {
        if let Some(cause) = Cause::ALL.into_iter().find(|cause| cause.name() == series.label) {
            series.label = words(cause);
        }
    }
    series
}

/// Where things are from left to right.
struct Sides {
    /// Where bars begin.
    left: f64,
    /// Where the longest bar ends.
    right: f64,
    /// Where each of the values ends.
    values: [f64; VALUES.len()],
}

impl Sides {
    fn of(comparison: &Comparison) -> Self {
        let widest = |texts: &mut dyn Iterator<Item = String>| {
            texts.map(|text| text_width(&text, TEXT, Weight::Normal)).fold(0.0, f64::max)
        };
        let rows = &comparison.strategies;
        let names = widest(&mut rows.iter().map(|row| row.name.clone())).min(WIDEST_NAME);
        let mut right = WIDTH - MARGIN;
        let mut values = [right; VALUES.len()];
        for (end, (heading, value)) in values.iter_mut().zip(VALUES).rev() {
            *end = right;
            let width = widest(&mut rows.iter().map(value).chain([heading.to_owned()]));
            right -= if width > 0.0 { width + BETWEEN } else { 0.0 };
        }
        Self { left: MARGIN + names + 8.0, right, values }
    }
}

fn bar(
    canvas: &mut Canvas,
    top: f64,
    sides: &Sides,
    strategy: &StrategyResult,
    series: &[Series],
    axis: &Axis,
) {
    let baseline = top + ROW / 2.0 + TEXT * 0.36;
    let name = elided(&strategy.name, TEXT, Weight::Normal, WIDEST_NAME);
    canvas.text(&name).at(sides.left - 8.0, baseline).anchor(Anchor::End).draw();
    let mut sum = 0;
    for one in series {
        let cycles = one.sum(strategy.cycles_by_cause.iter().map(|(cause, cycles)| (cause.name(), cycles)));
        let [from, to] = [sum, sum + cycles].map(|value| axis.place(value as f64, sides.left, sides.right));
        sum += cycles;
        if cycles > 0 {
            canvas.rectangle((from, top + (ROW - BAR) / 2.0), (to - from, BAR), one.colour);
            share(canvas, (from, to), baseline, cycles as f64 / strategy.cycles.max(1) as f64, one.colour);
        }
    }
    let colour = if strategy.is_sound() { INK } else { WARNING };
    for ((_, value), right) in VALUES.iter().zip(sides.values) {
        canvas.text(&value(strategy)).at(right, baseline).anchor(Anchor::End).draw_in(colour);
    }
}

/// The share of a piece, where it has room.
fn share(canvas: &mut Canvas, (from, to): (f64, f64), baseline: f64, share: f64, colour: &str) {
    let text = format!("{:.0} %", 100.0 * share);
    if text_width(&text, SMALL, Weight::Normal) + 6.0 <= to - from {
        let middle = f64::midpoint(from, to);
        canvas.text(&text).at(middle, baseline).size(SMALL).anchor(Anchor::Middle).draw_in(ink_on(colour));
    }
}
