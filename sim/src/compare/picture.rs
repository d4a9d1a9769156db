//! Comparisons as pictures: SVG that needs nothing but a viewer.
//!
//! The text is dark on white and at least 11 units high; colours are told apart also by people who do not see all of
//! them. Every text is placed by its width in a wide font, so that no two overlap whatever font the viewer has.

mod areas;
mod axis;
mod bars;
mod canvas;
mod curves;
mod legend;
mod series;

pub use curves::sweep_picture;

use super::result::Comparison;
use crate::number::grouped;
use canvas::{Canvas, Weight, wrap};

/// Units of the picture from left to right.
const WIDTH: f64 = 1000.0;
/// Units that stay free at each side.
const MARGIN: f64 = 24.0;
/// Height of the title.
const TITLE: f64 = 19.0;
/// Height of the headings of the parts.
const HEADING: f64 = 15.0;
/// Height of ordinary text.
const TEXT: f64 = 12.0;
/// Height of the smallest text.
const SMALL: f64 = 11.0;

/// The comparison as SVG: cycles by cause for each strategy, and below it the entries of each tag over time.
#[must_use]
pub fn picture(comparison: &Comparison) -> String {
    let mut canvas = Canvas::default();
    let title = "TLB invalidation strategies on the same work";
    let bottom = heading(&mut canvas, title, &description(comparison));
    let bottom = bars::draw(&mut canvas, bottom, comparison);
    let bottom = areas::draw(&mut canvas, bottom, comparison);
    canvas.finish(WIDTH, bottom + MARGIN, title)
}

fn description(comparison: &Comparison) -> String {
    let (instructions, accesses) = (grouped(comparison.instructions), grouped(comparison.accesses));
    let mut text = format!("{}; {instructions} instructions, {accesses} accesses", comparison.processor);
    for (label, value) in &comparison.workload {
        text.push_str(&format!("; {label}: {value}"));
    }
    text
}

/// Title and description; the place below them.
fn heading(canvas: &mut Canvas, title: &str, description: &str) -> f64 {
    let mut y = MARGIN + TITLE;
    canvas.text(title).at(MARGIN, y).size(TITLE).weight(Weight::Bold).draw();
    y += 3.0;
    for line in wrap(description, TEXT, WIDTH - 2.0 * MARGIN) {
        y += TEXT + 6.0;
        canvas.text(&line).at(MARGIN, y).size(TEXT).draw();
    }
    y
}

/// The heading of a part; the place below it.
fn part(canvas: &mut Canvas, top: f64, text: &str) -> f64 {
    let y = top + 22.0 + HEADING;
    canvas.text(text).at(MARGIN, y).size(HEADING).weight(Weight::Bold).draw();
    y + 8.0
}

#[cfg(test)]
mod tests;
