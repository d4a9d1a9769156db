//! A comparison on the terminal: one row for each strategy, and what it means in words.

use super::columns::{Cell, Column, table};
use super::result::{Comparison, StrategyResult, words};
use crate::number::grouped;
use std::fmt::Write;
use timing::stack::Cause;

/// The widest that sentences become.
const WIDEST: usize = 110;

const LEGEND: &str = "L1 misses: accesses whose translation was not in the first-level TLB. Walk refs: memory \
    references of page walks. Invalidations: operations that were executed. Entries dropped: cached mappings that they \
    removed; over-inval.: those that were still valid and were filled again with the same translation. Missing: \
    uses of translations that an invalidation would have removed which the architecture requires and the strategy \
    omitted. IPIs: interrupts to other processors. Relative: cycles, where the first strategy has 1.";

/// A whole comparison for readers who see it for the first time: the work, the table, what the columns mean, what the
/// best strategy does better, what each strategy does, and what was found.
///
/// No line is wider than `width`, except where a name alone is.
#[must_use]
pub fn report(comparison: &Comparison, width: usize) -> String {
    let prose = width.min(WIDEST);
    let mut parts = vec![work(comparison, prose), strategies(comparison, width), wrapped(LEGEND, prose)];
    parts.extend(best(comparison).map(|text| wrapped(&text, prose)));
    parts.push(sentences(comparison, prose));
    parts.extend(findings(comparison).iter().map(|text| wrapped(text, prose)));
    parts.retain(|part| !part.is_empty());
    parts.join("\n")
}

/// What all strategies did.
fn work(comparison: &Comparison, width: usize) -> String {
    let (instructions, accesses) = (grouped(comparison.instructions), grouped(comparison.accesses));
    let mut lines = vec![
        ("processor", comparison.processor.clone()),
        ("work", format!("{instructions} instructions, {accesses} accesses, the same for each strategy")),
    ];
    lines.extend(comparison.workload.iter().map(|(label, value)| (label.as_str(), value.clone())));
    described(&lines, width)
}

/// Labels at the left, and what belongs to them beside it.
pub(super) fn described(lines: &[(&str, String)], width: usize) -> String {
    let label_width = lines.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
    let indent = " ".repeat(label_width + 2);
    let line = |(label, value): &(&str, String)| {
        let first = format!("{label:<label_width$}  ");
        let options = options(width).initial_indent(&first).subsequent_indent(&indent);
        textwrap::fill(value, options) + "\n"
    };
    lines.iter().map(line).collect()
}

/// The text in lines that break between words only: names have hyphens in them.
pub(super) fn wrapped(text: &str, width: usize) -> String {
    textwrap::fill(text, options(width)) + "\n"
}

fn options<'a>(width: usize) -> textwrap::Options<'a> {
    textwrap::Options::new(width).word_splitter(textwrap::WordSplitter::NoHyphenation)
}

/// The table.
#[must_use]
pub fn strategies(comparison: &Comparison, width: usize) -> String {
    let rows = &comparison.strategies;
    let names: Vec<String> = rows.iter().map(|row| row.name.clone()).collect();
    let count = |heading, of: fn(&StrategyResult) -> u64| {
        Column::new(heading, rows.iter().map(|row| Cell::count(of(row))))
    };
    let relative = rows.iter().map(|row| Cell::text(format!("{:.3}", row.cycles_relative)));
    let columns = vec![
        count("L1\nmisses", |row| row.l1_misses),
        count("page\nwalks", |row| row.walks),
        count("walk\nrefs", |row| row.walk_refs),
        count("invali-\ndations", |row| row.invalidations),
        count("entries\ndropped", |row| row.entries_dropped),
        count("over-\ninval.", |row| row.over_invalidated),
        count("missing", |row| row.missing),
        count("IPIs", |row| row.ipis),
        count("cycles", |row| row.cycles),
        Column::new("relative", relative),
    ];
    table("strategy", &names, columns, width)
}

/// What the best strategy does better than the first.
fn best(comparison: &Comparison) -> Option<String> {
    let (first, best) = (comparison.strategies.first()?, comparison.best()?);
    if comparison.strategies.len() < 2 {
        return None;
    }
    if best.cycles >= first.cycles {
        return Some(format!("No sound strategy takes fewer cycles than {}.", first.name));
    }
    let mut text = format!(
        "Best: {} takes {} fewer cycles than {}",
        best.name,
        percent(first.cycles - best.cycles, first.cycles),
        first.name
    );
    let less: Vec<_> = [
        ("page walks", first.walks, best.walks),
        ("entries dropped", first.entries_dropped, best.entries_dropped),
        ("IPIs", first.ipis, best.ipis),
    ]
    .into_iter()
    .filter(|&(_, first, best)| best < first)
    .map(|(what, first, best)| match best {
        0 => format!("no {what}"),
        best => format!("{} fewer {what}", percent(first - best, first)),
    })
    .collect();
    if !less.is_empty() {
        let _ = write!(text, ", with {}", listed(&less));
    }
    text.push('.');
    if let Some((cause, saved)) = most_saved(first, best) {
        let _ = write!(text, " It saves the most in {}: {} cycles.", words(cause), grouped(saved));
    }
    Some(text)
}

/// The cause in which the second takes fewer cycles by the most.
fn most_saved(first: &StrategyResult, best: &StrategyResult) -> Option<(Cause, u64)> {
    let pairs = first.cycles_by_cause.iter().zip(best.cycles_by_cause.iter());
    let saved = pairs.map(|((cause, before), (_, after))| (cause, before.saturating_sub(after)));
    saved.max_by_key(|&(_, saved)| saved).filter(|&(_, saved)| saved > 0)
}

fn percent(part: u64, whole: u64) -> String {
    format!("{:.1} %", 100.0 * part as f64 / whole.max(1) as f64)
}

/// `a, b and c`.
fn listed(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [others @ .., last] => format!("{} and {last}", others.join(", ")),
    }
}

/// What each strategy does.
fn sentences(comparison: &Comparison, width: usize) -> String {
    let lines: Vec<_> =
        comparison.strategies.iter().map(|row| (row.name.as_str(), row.says.clone())).collect();
    described(&lines, width)
}

/// Findings of a strategy that a person reads on a terminal.
const FINDINGS: usize = 6;

/// What was found, a paragraph each.
fn findings(comparison: &Comparison) -> Vec<String> {
    let mut paragraphs = Vec::new();
    for row in &comparison.strategies {
        if !row.is_sound() {
            let (missing, incoherent) = (grouped(row.missing), grouped(row.judgement.incoherent));
            paragraphs.push(format!(
                "{} is not sound. Uses of translations that a required invalidation would have removed: {missing}; of \
                 translations that the processor should never have had: {incoherent}.",
                row.name
            ));
        }
        let said = row.findings.iter().take(FINDINGS);
        paragraphs.extend(said.map(|finding| format!("{}: {finding}", row.name)));
        let more = row.findings.len().saturating_sub(FINDINGS);
        if more > 0 {
            paragraphs.push(format!("{}: {more} more are in the result that --json writes.", row.name));
        }
    }
    paragraphs
}

#[cfg(test)]
mod tests;
