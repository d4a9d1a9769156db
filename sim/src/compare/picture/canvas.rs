//! Where a picture is drawn: shapes and texts become elements of SVG.

use std::fmt::Write;

/// Widths of the characters from space to `~` in thousandths of the font size, in DejaVu Sans: as wide as the fonts get
/// that a viewer may take for `sans-serif`.
const WIDTHS: [u16; 95] = [
    318, 401, 460, 838, 636, 950, 780, 275, 390, 390, 500, 838, 318, 361, 318, 337, 636, 636, 636, 636, 636,
    636, 636, 636, 636, 636, 337, 337, 838, 838, 838, 531, 1000, 684, 686, 698, 770, 632, 575, 775, 752, 295,
    295, 656, 557, 863, 748, 787, 603, 787, 695, 635, 611, 732, 684, 989, 685, 611, 685, 390, 337, 390, 838,
    500, 500, 613, 635, 550, 635, 615, 352, 635, 634, 278, 278, 579, 278, 974, 634, 612, 635, 635, 411, 521,
    392, 634, 592, 818, 592, 592, 525, 636, 337, 636, 838,
];

/// How much wider bold text is, at most in words.
const BOLD: f64 = 1.17;

/// The colour of text.
pub(super) const INK: &str = "#222222";

/// A picture that is being drawn.
#[derive(Default)]
pub(super) struct Canvas {
    body: String,
}

/// On which side of its place a text stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Anchor {
    /// The text begins there.
    Start,
    /// The text has its middle there.
    Middle,
    /// The text ends there.
    End,
}

/// How strong a text is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Weight {
    Normal,
    Bold,
}

/// In which direction a text runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Direction {
    Right,
    Up,
}

/// A text that is being placed.
pub(super) struct Text<'a> {
    canvas: &'a mut Canvas,
    text: &'a str,
    x: f64,
    y: f64,
    size: f64,
    anchor: Anchor,
    weight: Weight,
    direction: Direction,
}

impl Canvas {
    /// The whole picture.
    pub(super) fn finish(self, width: f64, height: f64, title: &str) -> String {
        let (width, height, title) = (unit(width), unit(height), escaped(title));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\" \
             font-family=\"Helvetica, Arial, 'DejaVu Sans', sans-serif\" fill=\"{INK}\">\n<title>{title}</title>\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n{}</svg>\n",
            self.body
        )
    }

    /// A text, to be placed.
    pub(super) fn text<'a>(&'a mut self, text: &'a str) -> Text<'a> {
        Text {
            canvas: self,
            text,
            x: 0.0,
            y: 0.0,
            size: super::TEXT,
            anchor: Anchor::Start,
            weight: Weight::Normal,
            direction: Direction::Right,
        }
    }

    /// A filled rectangle with a thin white edge, which separates it from its neighbours.
    pub(super) fn rectangle(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), colour: &str) {
        let (x, y, width, height) = (unit(x), unit(y), unit(width), unit(height));
        let _ = writeln!(
            self.body,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"{colour}\" stroke=\"#ffffff\" \
             stroke-width=\"0.6\"/>"
        );
    }

    /// A straight line.
    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), colour: &str) {
        let (x1, y1, x2, y2) = (unit(from.0), unit(from.1), unit(to.0), unit(to.1));
        let _ = writeln!(
            self.body,
            "<line x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\" stroke=\"{colour}\"/>"
        );
    }

    /// A filled polygon with a thin white edge.
    pub(super) fn polygon(&mut self, points: impl Iterator<Item = (f64, f64)>, colour: &str) {
        let points = joined(points);
        let _ = writeln!(
            self.body,
            "<polygon points=\"{points}\" fill=\"{colour}\" stroke=\"#ffffff\" stroke-width=\"0.3\"/>"
        );
    }

    /// Lines from point to point, dashed as `dashes` says.
    pub(super) fn polyline(&mut self, points: impl Iterator<Item = (f64, f64)>, colour: &str, dashes: &str) {
        let points = joined(points);
        let _ = writeln!(
            self.body,
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" \
             stroke-dasharray=\"{dashes}\"/>"
        );
    }

    /// A ring with nothing in it.
    pub(super) fn ring(&mut self, (x, y): (f64, f64), radius: f64, colour: &str) {
        let (x, y, radius) = (unit(x), unit(y), unit(radius));
        let _ = writeln!(
            self.body,
            "<circle cx=\"{x}\" cy=\"{y}\" r=\"{radius}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>"
        );
    }
}

impl Text<'_> {
    /// At this place, which is on the line that letters stand on.
    pub(super) fn at(mut self, x: f64, y: f64) -> Self {
        (self.x, self.y) = (x, y);
        self
    }

    /// So high.
    pub(super) fn size(mut self, size: f64) -> Self {
        self.size = size;
        self
    }

    /// On this side of its place.
    pub(super) fn anchor(mut self, anchor: Anchor) -> Self {
        self.anchor = anchor;
        self
    }

    /// So strong.
    pub(super) fn weight(mut self, weight: Weight) -> Self {
        self.weight = weight;
        self
    }

    /// Running upwards.
    pub(super) fn upwards(mut self) -> Self {
        self.direction = Direction::Up;
        self
    }

    /// In another colour than that of all text.
    pub(super) fn draw_in(mut self, colour: &str) {
        if self.text.is_empty() {
            return;
        }
        let Text { canvas, text, x, y, size, anchor, weight, direction, .. } = &mut self;
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let weight = match weight {
            Weight::Normal => "normal",
            Weight::Bold => "bold",
        };
        let (x, y, size, text) = (unit(*x), unit(*y), unit(*size), escaped(text));
        let turned = match direction {
            Direction::Right => String::new(),
            Direction::Up => format!(" transform=\"rotate(-90 {x} {y})\""),
        };
        let _ = writeln!(
            canvas.body,
            "<text x=\"{x}\" y=\"{y}\" font-size=\"{size}\" font-weight=\"{weight}\" text-anchor=\"{anchor}\" \
             fill=\"{colour}\"{turned}>{text}</text>"
        );
    }

    /// Draws it.
    pub(super) fn draw(self) {
        self.draw_in(INK);
    }
}

fn joined(points: impl Iterator<Item = (f64, f64)>) -> String {
    let mut text = String::new();
    for (x, y) in points {
        let _ = write!(text, "{},{} ", unit(x), unit(y));
    }
    text.truncate(text.trim_end().len());
    text
}

/// A coordinate, to a tenth of a unit.
fn unit(value: f64) -> String {
    let rounded = (value * 10.0).round() / 10.0;
    // Not `-0`.
    format!("{}", rounded + 0.0)
}

/// Text as XML has it. Characters that XML cannot hold are replaced.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\t' | '\n' | '\r' => safe.push(' '),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            other => safe.push(other),
        }
    }
    safe
}

/// The width of a text, or more.
pub(super) fn text_width(text: &str, size: f64, weight: Weight) -> f64 {
    let width = |character: char| match WIDTHS.get((character as usize).wrapping_sub(32)) {
        Some(&width) => f64::from(width),
        None => 1000.0,
    };
    let stretched = if weight == Weight::Bold { BOLD } else { 1.0 };
    text.chars().map(width).sum::<f64>() * size * stretched / 1000.0
}

/// The text, or as much of its beginning as `width` has room for with dots behind it.
pub(super) fn elided(text: &str, size: f64, weight: Weight, width: f64) -> String {
    if text_width(text, size, weight) <= width {
        return text.to_owned();
    }
    let mut short = text.to_owned();
    while short.pop().is_some() {
        let candidate = format!("{}…", short.trim_end());
        if text_width(&candidate, size, weight) <= width {
            return candidate;
        }
    }
    short
}

/// The text in lines, none wider than `width`; words that are wider are cut short.
pub(super) fn wrap(text: &str, size: f64, width: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let word = elided(word, size, Weight::Normal, width);
        if let Some(last) = lines.last_mut() {
            let longer = format!("{last} {word}");
            if text_width(&longer, size, Weight::Normal) <= width {
                *last = longer;
                continue;
            }
        }
        lines.push(word);
    }
    lines
}
