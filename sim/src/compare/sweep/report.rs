//! A sweep as a table, as sentences and as comma-separated values.

use super::crossing::{Crossing, Rank};
use super::{Point, Sweep};
use crate::compare::columns::{Cell, Column, table};
use crate::compare::csv::{fields, kinds};
use crate::compare::result::StrategyResult;
use crate::compare::table::{described, wrapped};
use crate::number::grouped;

/// The widest that sentences become.
const WIDEST: usize = 110;
/// Crossings that are said in sentences; all are in the data.
const MOST_SENTENCES: usize = 12;

/// The sweep for readers: cycles for each value and strategy, and from where on another strategy is the better one.
#[must_use]
pub fn report(sweep: &Sweep, width: usize) -> String {
    let mut text = described(&what_stays(sweep), width.min(WIDEST));
    text.push_str(&format!("\ncycles by {}:\n\n", axis_name(sweep)));
    text.push_str(&cycles(sweep, width));
    text.push('\n');
    for sentence in sentences(sweep) {
        text.push_str(&wrapped(&sentence, width.min(WIDEST)));
    }
    text
}

/// What all comparisons of the sweep have in common, a label and a value each.
pub(in crate::compare) fn what_stays(sweep: &Sweep) -> Vec<(&str, String)> {
    let Some(first) = sweep.points.first() else { return Vec::new() };
    let same =
        |line: &&(String, String)| sweep.points.iter().all(|point| point.comparison.workload.contains(line));
    let mut lines = vec![("processor", first.comparison.processor.clone())];
    let workload = first.comparison.workload.iter().filter(same);
    lines.extend(workload.map(|(label, value)| (label.as_str(), value.clone())));
    lines
}

/// The parameter, and what it counts where the name does not say it.
pub(in crate::compare) fn axis_name(sweep: &Sweep) -> String {
    let (name, unit) = (sweep.parameter.name(), sweep.parameter.unit());
    if name == unit { name.to_owned() } else { format!("{name} ({unit})") }
}

fn cycles(sweep: &Sweep, width: usize) -> String {
    let values: Vec<String> = sweep.points.iter().map(|point| grouped(point.value)).collect();
    let names = sweep.strategies();
    let count =
        |point: &Point, at: usize| point.comparison.strategies.get(at).map_or(0, |found| found.cycles);
    let column = |(at, name): (usize, &&str)| {
        Column::new(name, sweep.points.iter().map(move |point| Cell::count(count(point, at))))
    };
    table(sweep.parameter.name(), &values, names.iter().enumerate().map(column).collect(), width)
}

/// What the crossings mean, those of the best strategies first.
#[must_use]
pub fn sentences(sweep: &Sweep) -> Vec<String> {
    let mut ordered: Vec<_> = sweep.crossings.iter().collect();
    ordered.sort_by_key(|crossing| crossing.of_the_best);
    let mut sentences: Vec<_> =
        ordered.iter().take(MOST_SENTENCES).map(|crossing| sentence(sweep, crossing)).collect();
    if ordered.is_empty() {
        sentences
            .push(format!("The order of the strategies is the same for every value of {}.", sweep.parameter));
    }
    if ordered.len() > MOST_SENTENCES {
        sentences.push(format!("{} further crossings are in the data.", ordered.len() - MOST_SENTENCES));
    }
    sentences.extend(unsound(sweep));
    sentences
}

fn sentence(sweep: &Sweep, crossing: &Crossing) -> String {
    let Crossing { at, below, above, of_the_best } = crossing;
    let place = match of_the_best {
        Rank::First => "the best strategy changes:",
        Rank::Later => "two strategies change places:",
    };
    let at = rounded(*at);
    format!("At {}={at} {place} below it {below} takes fewer cycles, above it {above}.", sweep.parameter)
}

/// A value with three digits, or all those in front of its point.
fn rounded(value: f64) -> String {
    let decimals = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    let text = format!("{value:.decimals$}");
    let trimmed = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    trimmed.to_owned()
}

fn unsound(sweep: &Sweep) -> impl Iterator<Item = String> + '_ {
    sweep.strategies().into_iter().enumerate().filter_map(|(at, name)| {
        let found =
            |point: &&Point| point.comparison.strategies.get(at).is_some_and(|found| !found.is_sound());
        let point = sweep.points.iter().find(found)?;
        Some(format!("{name} is not sound, first at {}={}.", sweep.parameter, point.value))
    })
}

/// The sweep as CSV with a header: a record for each value and strategy, with the value as `parameter` and `value` in
/// front of the fields that [`to_csv`](crate::compare::csv::to_csv) has.
///
/// # Errors
///
/// Those of the writer, which writing to memory does not have.
pub fn to_csv(sweep: &Sweep) -> csv::Result<Vec<u8>> {
    let comparisons = sweep.points.iter().map(|point| &point.comparison);
    let kinds = kinds(comparisons);
    let mut writer = csv::Writer::from_writer(Vec::new());
    let names = fields(&StrategyResult::default(), &kinds).into_iter().map(|(name, _)| name);
    writer.write_record(["parameter".to_owned(), "value".to_owned()].into_iter().chain(names))?;
    for point in &sweep.points {
        for strategy in &point.comparison.strategies {
            let front = [sweep.parameter.name().to_owned(), point.value.to_string()];
            let values = fields(strategy, &kinds).into_iter().map(|(_, value)| value);
            writer.write_record(front.into_iter().chain(values))?;
        }
    }
    writer.into_inner().map_err(|error| error.into_error().into())
}
