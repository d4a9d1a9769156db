//! Tables of numbers that fit into a width.
//!
//! Exact figures are shown where they fit. Where they do not, the widest columns are shortened one after the other until
//! the table fits; and where even that is not enough, the columns are dealt to several tables, which repeat the first.

use std::iter;
use textwrap::core::display_width;

/// Columns between columns.
const GAP: usize = 2;

/// A column of numbers.
#[derive(Clone, Debug)]
pub(super) struct Column {
    /// Its heading, a line each.
    pub(super) heading: Vec<String>,
    /// What each row has in it.
    pub(super) cells: Vec<Cell>,
}

/// One figure, exactly and in few characters.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) exact: String,
    pub(super) short: String,
}

impl Cell {
    /// A count.
    pub(super) fn count(number: u64) -> Self {
        Self { exact: crate::number::grouped(number), short: crate::number::short(number) }
    }

    /// Text that is always shown as it is.
    pub(super) fn text(text: impl Into<String>) -> Self {
        let exact = text.into();
        Self { short: exact.clone(), exact }
    }
}

impl Column {
    /// A column whose heading has a line for each line of `heading`.
    pub(super) fn new(heading: &str, cells: impl IntoIterator<Item = Cell>) -> Self {
        Self { heading: heading.lines().map(str::to_owned).collect(), cells: cells.into_iter().collect() }
    }

    fn shown(self) -> Shown {
        let [exact, short]: [Vec<String>; 2] = [
            self.cells.iter().map(|cell| cell.exact.clone()).collect(),
            self.cells.into_iter().map(|cell| cell.short).collect(),
        ];
        Shown { heading: self.heading, cells: exact, short: Some(short) }
    }
}

/// A column as it is printed.
struct Shown {
    heading: Vec<String>,
    cells: Vec<String>,
    /// The shorter cells, until they are taken.
    short: Option<Vec<String>>,
}

impl Shown {
    fn width(&self) -> usize {
        widest(self.heading.iter().chain(&self.cells))
    }

    /// How much narrower the column becomes with its short cells.
    fn gain(&self) -> usize {
        let short =
            self.short.as_ref().map_or(self.width(), |short| widest(self.heading.iter().chain(short)));
        self.width().saturating_sub(short)
    }

    fn shorten(&mut self) {
        if let Some(short) = self.short.take() {
            self.cells = short;
        }
    }
}

fn widest<'a>(texts: impl Iterator<Item = &'a String>) -> usize {
    texts.map(|text| display_width(text)).max().unwrap_or(0)
}

/// The table: `names` at the left, the columns beside it. No line is wider than `width`, unless one column together
/// with the names is.
pub(super) fn table(name_heading: &str, names: &[String], columns: Vec<Column>, width: usize) -> String {
    let name_width = widest(names.iter().chain(iter::once(&name_heading.to_owned())));
    let mut columns: Vec<Shown> = columns.into_iter().map(Column::shown).collect();
    shorten_to_fit(&mut columns, width.saturating_sub(name_width));
    let tables = deal(columns, width.saturating_sub(name_width));
    let tables: Vec<_> =
        tables.iter().map(|columns| one_table(name_heading, names, name_width, columns)).collect();
    tables.join("\n")
}

fn total(columns: &[Shown]) -> usize {
    columns.iter().map(|column| GAP + column.width()).sum()
}

fn shorten_to_fit(columns: &mut [Shown], room: usize) {
    while total(columns) > room {
        let widest =
            columns.iter_mut().filter(|column| column.gain() > 0).max_by_key(|column| column.width());
        let Some(column) = widest else { return };
        column.shorten();
    }
}

/// Deals the columns to as few tables as hold them in their order.
fn deal(columns: Vec<Shown>, room: usize) -> Vec<Vec<Shown>> {
    let mut tables: Vec<Vec<Shown>> = Vec::new();
    for column in columns {
        match tables.last_mut() {
            Some(last) if total(last) + GAP + column.width() <= room => last.push(column),
            _ => tables.push(vec![column]),
        }
    }
    tables
}

fn one_table(name_heading: &str, names: &[String], name_width: usize, columns: &[Shown]) -> String {
    let height = columns.iter().map(|column| column.heading.len()).max().unwrap_or(0).max(1);
    let mut text = String::new();
    for line in 0..height {
        // Headings stand at the bottom, next to their figures.
        let name = if line + 1 == height { name_heading } else { "" };
        let heading = |column: &Shown| match (line + column.heading.len()).checked_sub(height) {
            Some(at) => column.heading[at].clone(),
            None => String::new(),
        };
        push_row(&mut text, name, name_width, columns.iter().map(|column| (heading(column), column.width())));
    }
    let rule = name_width + total(columns);
    text.push_str(&"-".repeat(rule));
    text.push('\n');
    for (row, name) in names.iter().enumerate() {
        let cell = |column: &Shown| column.cells.get(row).cloned().unwrap_or_default();
        push_row(&mut text, name, name_width, columns.iter().map(|column| (cell(column), column.width())));
    }
    text
}

fn push_row(text: &mut String, name: &str, name_width: usize, cells: impl Iterator<Item = (String, usize)>) {
    let mut line = padded(name, name_width, Side::Left);
    for (cell, width) in cells {
        line.push_str(&padded(&cell, GAP + width, Side::Right));
    }
    text.push_str(line.trim_end());
    text.push('\n');
}

/// The side on which text stands.
enum Side {
    Left,
    Right,
}

/// By the width on a terminal, which is not the number of characters for all scripts.
fn padded(text: &str, width: usize, side: Side) -> String {
    let space = " ".repeat(width.saturating_sub(display_width(text)));
    match side {
        Side::Left => format!("{text}{space}"),
        Side::Right => format!("{space}{text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn example(width: usize) -> String {
        let column = |heading: &str, numbers: [u64; 2]| Column::new(heading, numbers.map(Cell::count));
        let columns = vec![
            column("page\nwalks", [1_234_567, 12]),
            column("IPIs", [0, 7]),
            column("cycles", [9_876_543_210, 10_000]),
        ];
        table("strategy", &["flush".to_owned(), "tag".to_owned()], columns, width)
    }

    #[test]
    fn exact_figures_are_shown_where_they_fit() {
        assert_eq!(
            example(80),
            "               page
strategy      walks  IPIs         cycles
----------------------------------------
flush     1,234,567     0  9,876,543,210
tag              12     7         10,000
"
        );
        assert_eq!(example(40), example(80), "40 columns are just enough");
    }

    #[test]
    fn the_widest_column_is_shortened_first() {
        assert_eq!(
            example(39),
            "               page
strategy      walks  IPIs  cycles
---------------------------------
flush     1,234,567     0   9.88G
tag              12     7   10.0k
"
        );
    }

    #[test]
    fn columns_that_do_not_fit_go_into_a_further_table() {
        assert_eq!(
            example(22),
            "           page
strategy  walks  IPIs
---------------------
flush     1.23M     0
tag          12     7

strategy  cycles
----------------
flush      9.88G
tag        10.0k
"
        );
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_asked_unless_one_column_is(
            rows in prop::collection::vec(("[a-z]{0,12}", prop::collection::vec(any::<u64>(), 6)), 0..9),
            width in 0usize..120,
        ) {
            let names: Vec<String> = rows.iter().map(|(name, _)| name.clone()).collect();
            let columns = (0..6).map(|at| Column::new("a\nheading", rows.iter().map(|row| Cell::count(row.1[at]))));
            let text = table("name", &names, columns.collect(), width);
            let narrowest = names.iter().map(String::len).max().unwrap_or(0).max(4) + GAP + "heading".len();
            for line in text.lines() {
                prop_assert!(display_width(line) <= width.max(narrowest), "{text}");
            }
            for name in &names {
                let lines = text.lines().filter(|line| line.split(' ').next() == Some(name)).count();
                prop_assert!(lines >= 1, "{text}");
            }
        }
    }
}
