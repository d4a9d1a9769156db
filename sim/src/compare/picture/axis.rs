//! Axes: round numbers at even distances.

use super::canvas::{Anchor, Canvas, Weight, text_width};
use super::{SMALL, TEXT};

/// The colour of lines behind the data.
pub(super) const GRID: &str = "#dddddd";
/// The colour of axes.
pub(super) const LINE: &str = "#555555";

/// From what to what an axis goes, and where it has marks.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Axis {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) ticks: Vec<f64>,
    step: f64,
}

impl Axis {
    /// An axis that holds `from` and `to` and begins and ends at round numbers, with about `count` steps.
    pub(super) fn holding(from: f64, to: f64, count: u32) -> Self {
        let step = round_step((to - from) / f64::from(count));
        let (first, last) = ((from / step).floor(), (to / step).ceil().max((from / step).floor() + 1.0));
        let steps = (last - first) as u32;
        let ticks = (0..=steps).map(|at| (first + f64::from(at)) * step).collect();
        Self { from: first * step, to: last * step, ticks, step }
    }

    /// An axis that begins at 0 and ends exactly at `to`.
    pub(super) fn up_to(to: u64, count: u32) -> Self {
        let whole = Self::holding(0.0, to.max(1) as f64, count);
        let to = to.max(1) as f64;
        let ticks = whole.ticks.iter().copied().filter(|&tick| tick <= to).collect();
        Self { to, ticks, ..whole }
    }

    /// Where a value is between `near` and `far`.
    pub(super) fn place(&self, value: f64, near: f64, far: f64) -> f64 {
        near + (value - self.from) / (self.to - self.from) * (far - near)
    }

    /// The text of a mark, with as many decimals as the distance between marks needs.
    pub(super) fn label(&self, tick: f64) -> String {
        let units = [(1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
        let (scale, unit) = units.into_iter().find(|&(scale, _)| self.to >= scale).unwrap_or((1.0, ""));
        let step = self.step / scale;
        let decimals = (0..6).find(|&decimals| is_whole(step * 10f64.powi(decimals))).unwrap_or(6) as usize;
        if tick == 0.0 { "0".to_owned() } else { format!("{:.decimals$}{unit}", tick / scale) }
    }

    /// Marks below a line at `y` from `left` to `right`, with lines up to `top` behind the data; the place below.
    pub(super) fn below(&self, canvas: &mut Canvas, (left, right): (f64, f64), (top, y): (f64, f64)) -> f64 {
        for &tick in &self.ticks {
            let x = self.place(tick, left, right);
            canvas.line((x, top), (x, y), GRID);
            canvas.text(&self.label(tick)).at(x, y + 4.0 + SMALL).size(SMALL).anchor(Anchor::Middle).draw();
        }
        canvas.line((left, y), (right, y), LINE);
        y + 8.0 + SMALL
    }

    /// Marks beside a line at `x` from `bottom` to `top`, with lines to `right` behind the data.
    pub(super) fn beside(&self, canvas: &mut Canvas, (x, right): (f64, f64), (bottom, top): (f64, f64)) {
        for &tick in &self.ticks {
            let y = self.place(tick, bottom, top);
            canvas.line((x, y), (right, y), GRID);
            canvas
                .text(&self.label(tick))
                .at(x - 5.0, y + SMALL * 0.36)
                .size(SMALL)
                .anchor(Anchor::End)
                .draw();
        }
        canvas.line((x, bottom), (x, top), LINE);
    }

    /// The width of the widest mark.
    pub(super) fn label_width(&self) -> f64 {
        let widths = self.ticks.iter().map(|&tick| text_width(&self.label(tick), SMALL, Weight::Normal));
        widths.fold(0.0, f64::max)
    }
}

/// What an axis below the data shows.
pub(super) fn name_below(canvas: &mut Canvas, (left, right): (f64, f64), y: f64, text: &str) -> f64 {
    let y = y + 4.0 + TEXT;
    canvas.text(text).at(f64::midpoint(left, right), y).anchor(Anchor::Middle).draw();
    y + 4.0
}

/// What an axis at the left shows.
pub(super) fn name_beside(canvas: &mut Canvas, x: f64, (bottom, top): (f64, f64), text: &str) {
    canvas.text(text).at(x, f64::midpoint(bottom, top)).anchor(Anchor::Middle).upwards().draw();
}

fn is_whole(value: f64) -> bool {
    (value - value.round()).abs() < 1e-6
}

/// The next of 1, 2, 5, 10, 20, 50 and so on; at least 1.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.max(1.0).log10().floor());
    let times = [1.0, 2.0, 5.0, 10.0].into_iter().find(|times| times * power >= step.max(1.0) * 0.999_999);
    times.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn marks_are_round_and_say_no_more_digits_than_they_need() {
        let labels = |axis: &Axis| axis.ticks.iter().map(|&tick| axis.label(tick)).collect::<Vec<_>>();
        assert_eq!(labels(&Axis::up_to(7, 4)), ["0", "2", "4", "6"]);
        assert_eq!(labels(&Axis::up_to(2_000_000, 4)), ["0", "0.5M", "1.0M", "1.5M", "2.0M"]);
        assert_eq!(
            labels(&Axis::holding(1_180.0, 1_220.0, 4)),
            ["1.18k", "1.19k", "1.20k", "1.21k", "1.22k"]
        );
        assert_eq!(labels(&Axis::up_to(0, 4)), ["0", "1"]);
    }

    proptest! {
        #[test]
        fn an_axis_holds_its_data_and_has_few_marks(from in 0u64..1 << 50, more in 0u64..1 << 50) {
            let (from, to) = (from as f64, (from + more) as f64);
            let axis = Axis::holding(from, to, 5);
            prop_assert!(axis.from <= from && to <= axis.to, "{axis:?}");
            prop_assert!((2..=9).contains(&axis.ticks.len()), "{axis:?}");
            prop_assert!(axis.ticks.windows(2).all(|pair| axis.label(pair[0]) != axis.label(pair[1])), "{axis:?}");
        }
    }
}
