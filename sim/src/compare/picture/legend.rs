//! Legends: what each colour means, in as many lines as they need.

use super::canvas::{Canvas, Weight, elided, text_width};
use super::series::Series;
use super::{MARGIN, TEXT, WIDTH};

const SWATCH: f64 = 12.0;
const LINE: f64 = 20.0;

/// Draws a legend with a swatch for each series; the place below it.
pub(super) fn draw(canvas: &mut Canvas, top: f64, series: &[Series]) -> f64 {
    let swatch = |canvas: &mut Canvas, number: usize, x: f64, y: f64| {
        canvas.rectangle((x, y - SWATCH + 2.0), (SWATCH, SWATCH), series[number].colour);
    };
    let labels: Vec<&str> = series.iter().map(|series| series.label.as_str()).collect();
    flow(canvas, top, &labels, SWATCH, swatch)
}

/// Draws labels in lines, each behind a mark of this width that `mark` draws, which gets the number of the label and the
/// place where the mark begins; the place below.
pub(super) fn flow(
    canvas: &mut Canvas,
    top: f64,
    labels: &[&str],
    mark_width: f64,
    mark: impl Fn(&mut Canvas, usize, f64, f64),
) -> f64 {
    let most = WIDTH - 2.0 * MARGIN - mark_width - 5.0;
    let (mut x, mut y) = (MARGIN, top + TEXT + 4.0);
    for (number, label) in labels.iter().enumerate() {
        let label = elided(label, TEXT, Weight::Normal, most);
        let width = mark_width + 5.0 + text_width(&label, TEXT, Weight::Normal);
        if x > MARGIN && x + width > WIDTH - MARGIN {
            (x, y) = (MARGIN, y + LINE);
        }
        mark(canvas, number, x, y);
        canvas.text(&label).at(x + mark_width + 5.0, y).size(TEXT).draw();
        x += width + 16.0;
    }
    y + 8.0
}
