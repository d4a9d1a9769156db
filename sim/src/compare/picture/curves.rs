//! A sweep: a line for each strategy, with a ring where the best one changes.

use super::axis::{Axis, GRID, LINE, name_below, name_beside};
use super::canvas::{Anchor, Canvas, Weight, text_width, wrap};
use super::series::line_colour;
use super::{MARGIN, SMALL, TEXT, WIDTH, heading, legend};
use crate::compare::sweep::report::{axis_name, sentences, what_stays};
use crate::compare::sweep::{Crossing, Sweep};
use crate::number::grouped;

const HEIGHT: f64 = 420.0;
/// Lines of different strategies have different dashes too, for those who do not tell their colours apart.
const DASHES: [&str; 5] = ["none", "8 3", "2 3", "10 3 2 3", "5 2"];

/// The sweep as SVG: cycles of each strategy over the values of the parameter, with a ring at each crossing.
#[must_use]
pub fn sweep_picture(sweep: &Sweep) -> String {
    let mut canvas = Canvas::default();
    let title = format!("Cycles of each strategy over {}", sweep.parameter);
    let lines = what_stays(sweep).into_iter();
    let text = lines.map(|(label, value)| format!("{label}: {value}")).collect::<Vec<_>>().join("; ");
    let top = heading(&mut canvas, &title, &text) + 10.0;
    let names = sweep.strategies();
    let mark = |canvas: &mut Canvas, number: usize, x: f64, y: f64| {
        let y = y - TEXT * 0.36;
        canvas.polyline([(x, y), (x + 34.0, y)].into_iter(), line_colour(number), dashes(number));
    };
    let top = legend::flow(&mut canvas, top, &names, 34.0, mark) + 8.0;
    let mut bottom = plot(&mut canvas, sweep, top);
    for line in sentences(sweep).iter().flat_map(|text| wrap(text, TEXT, WIDTH - 2.0 * MARGIN)) {
        bottom += TEXT + 6.0;
        canvas.text(&line).at(MARGIN, bottom).draw();
    }
    canvas.finish(WIDTH, bottom + MARGIN, &title)
}

const fn dashes(number: usize) -> &'static str {
    // Nine colours come again with the tenth strategy, then with other dashes.
    DASHES[number % DASHES.len()]
}

/// Where values and cycles are in the picture.
struct Place<'a> {
    sweep: &'a Sweep,
    cycles: Axis,
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

impl<'a> Place<'a> {
    fn of(sweep: &'a Sweep, top: f64) -> Self {
        let all =
            || sweep.points.iter().flat_map(|point| &point.comparison.strategies).map(|found| found.cycles);
        let (least, most) = (all().min().unwrap_or(0), all().max().unwrap_or(1));
        // The axis begins at 0 unless that would hide the differences.
        let from = if least < most / 2 { 0 } else { least };
        let cycles = Axis::holding(from as f64, most as f64, 6);
        let left = MARGIN + TEXT + 12.0 + cycles.label_width() + 6.0;
        Self { sweep, cycles, left, right: WIDTH - MARGIN - 24.0, top, bottom: top + HEIGHT }
    }

    fn x(&self, value: f64) -> f64 {
        let along = |value| self.sweep.scale.along(value);
        let [first, last] = [self.sweep.points.first(), self.sweep.points.last()]
            .map(|point| point.map_or(0, |point| point.value));
        let (first, last) = (along(first as f64), along(last as f64));
        if last > first {
            self.left + (along(value) - first) / (last - first) * (self.right - self.left)
        } else {
            self.left
        }
    }

    fn y(&self, cycles: f64) -> f64 {
        self.cycles.place(cycles, self.bottom, self.top)
    }
}

fn plot(canvas: &mut Canvas, sweep: &Sweep, top: f64) -> f64 {
    let place = Place::of(sweep, top);
    place.cycles.beside(canvas, (place.left, place.right), (place.bottom, place.top));
    values(canvas, &place);
    for number in 0..sweep.strategies().len() {
        let points = sweep.points.iter().filter_map(|point| {
            let strategy = point.comparison.strategies.get(number)?;
            Some((place.x(point.value as f64), place.y(strategy.cycles as f64)))
        });
        canvas.polyline(points, line_colour(number), dashes(number));
    }
    for crossing in &sweep.crossings {
        if let Some(cycles) = cycles_at(sweep, crossing) {
            canvas.ring((place.x(crossing.at), place.y(cycles)), 6.0, LINE);
        }
    }
    let begins = if place.cycles.from > 0.0 { "; the axis does not begin at 0" } else { "" };
    name_beside(
        canvas,
        MARGIN + TEXT,
        (place.bottom, place.top),
        &format!("cycles of all processors{begins}"),
    );
    let under = format!("{}; rings: two strategies change places", axis_name(sweep));
    name_below(canvas, (place.left, place.right), place.bottom + 8.0 + SMALL, &under)
}

/// Marks at the values of the sweep, with numbers where there is room.
fn values(canvas: &mut Canvas, place: &Place<'_>) {
    let mut free = f64::MIN;
    for point in &place.sweep.points {
        let (x, text) = (place.x(point.value as f64), grouped(point.value));
        canvas.line((x, place.top), (x, place.bottom), GRID);
        let half = text_width(&text, SMALL, Weight::Normal) / 2.0;
        if x - half >= free {
            canvas.text(&text).at(x, place.bottom + 4.0 + SMALL).size(SMALL).anchor(Anchor::Middle).draw();
            free = x + half + 8.0;
        }
    }
    canvas.line((place.left, place.bottom), (place.right, place.bottom), LINE);
}

/// The cycles of both strategies where they cross.
fn cycles_at(sweep: &Sweep, crossing: &Crossing) -> Option<f64> {
    let cycles = |at: usize| {
        let strategies = &sweep.points[at].comparison.strategies;
        Some(strategies.iter().find(|strategy| strategy.name == crossing.below)?.cycles as f64)
    };
    let after = sweep.points.iter().position(|point| point.value as f64 > crossing.at)?;
    let before = after.checked_sub(1)?;
    let along = |value| sweep.scale.along(value);
    let [from, to] = [before, after].map(|at| along(sweep.points[at].value as f64));
    let share = (along(crossing.at) - from) / (to - from);
    Some(cycles(before)? + (cycles(after)? - cycles(before)?) * share)
}
