//! What is stacked: names with colours, the smallest together as one.

/// Colours that remain apart for people with each kind of colour blindness (Paul Tol's muted scheme).
const COLOURS: [&str; 9] =
    ["#332288", "#88ccee", "#44aa99", "#117733", "#ddcc77", "#cc6677", "#aa4499", "#999933", "#882255"];
/// The same for lines, where light colours would be hard to see.
const LINES: [&str; 9] =
    ["#332288", "#cc6677", "#117733", "#aa4499", "#0077bb", "#882255", "#44aa99", "#777722", "#555555"];
/// For what is the same everywhere.
pub(super) const BACKGROUND: &str = "#d0d0d0";
/// For all that has no colour of its own.
pub(super) const OTHERS: &str = "#6c6c6c";

/// One series of a stack.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Series {
    pub(super) label: String,
    pub(super) colour: &'static str,
    /// The names that it stands for.
    members: Vec<String>,
}

impl Series {
    /// A series that stands for one name.
    pub(super) fn one(name: &str, label: impl Into<String>, colour: &'static str) -> Self {
        Self { label: label.into(), colour, members: vec![name.to_owned()] }
    }

    /// What belongs to the series.
    pub(super) fn sum<'a>(&self, values: impl Iterator<Item = (&'a str, u64)>) -> u64 {
        values
            .filter(|(name, _)| self.members.iter().any(|member| member == name))
            .map(|(_, value)| value)
            .sum()
    }
}

/// The colour of the series with this number.
pub(super) const fn colour(number: usize) -> &'static str {
    COLOURS[number % COLOURS.len()]
}

/// The colour of the line with this number.
pub(super) const fn line_colour(number: usize) -> &'static str {
    LINES[number % LINES.len()]
}

/// Series for names with their weights, in the order of the names: one each for the heaviest, and the rest as one if
/// there are more names than colours. Names without weight have no series.
pub(super) fn stacked(weights: &[(String, u64)]) -> Vec<Series> {
    let mut by_weight: Vec<_> = weights.iter().filter(|(_, weight)| *weight > 0).collect();
    by_weight.sort_by_key(|(_, weight)| std::cmp::Reverse(*weight));
    let rest = by_weight.split_off(by_weight.len().min(COLOURS.len()));
    let own = weights.iter().filter(|name| by_weight.contains(name));
    let mut series: Vec<_> =
        own.enumerate().map(|(number, (name, _))| Series::one(name, name, colour(number))).collect();
    if !rest.is_empty() {
        let members = rest.iter().map(|(name, _)| name.clone()).collect();
        series.push(Series { label: format!("{} others", rest.len()), colour: OTHERS, members });
    }
    series
}

/// Dark or light, whichever can be read on the colour.
pub(super) fn ink_on(colour: &str) -> &'static str {
    if luminance(colour) > 0.19 { "#000000" } else { "#ffffff" }
}

/// Relative luminance of `#rrggbb`, from 0 for black to 1 for white; 1 for anything else.
pub(super) fn luminance(colour: &str) -> f64 {
    let channel = |at: usize| {
        let value = colour.get(at..at + 2).and_then(|digits| u8::from_str_radix(digits, 16).ok())?;
        let value = f64::from(value) / 255.0;
        Some(if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) })
    };
    match (channel(1), channel(3), channel(5)) {
        (Some(red), Some(green), Some(blue)) => 0.2126 * red + 0.7152 * green + 0.0722 * blue,
        _ => 1.0,
    }
}
