//! What tags are worth: policies on an exact experiment and on recorded programs.
//!
//!     cargo run --release --example tag_policies
//!
//! First a guest touches 64 pages and leaves for its monitor, which touches 32, a hundred times; every tenth time its
//! kernel loads CR3. Without tags all 96 pages miss in each round. With any kind of tag nothing misses after the first
//! round but the guest's 64 pages after a load of CR3: the monitor's pages survive what guests do.
//!
//! Then the bundled traces run as processes of two guests, each with its churn, under each policy.
//!
//! `tag_policies.txt` beside this file is what it prints, and a test prints it again.

use std::fmt::Write;
use timing::processor::Processor;
use vmxsim::compare::options::Oracle;
use vmxsim::compare::result::{Comparison, StrategyResult};
use vmxsim::compare::work::{Churn, Exits, Work, WorkOptions};
use vmxsim::compare::{Bench, CompareError, Rounds, compare_on, named};

/// No tags, a bit, words, VPIDs, VPIDs with PCIDs: the same invalidations under each.
const POLICIES: [&str; 5] = ["flush-on-transition", "mode-bit", "tag-word", "vpid", "per-address"];
const TRACES: [&str; 6] = ["btree", "hash", "json", "matrix", "pointer_chase", "sort"];

/// Everything, as text.
pub(crate) fn report() -> Result<String, CompareError> {
    let mut text = String::new();
    rounds(&mut text)?;
    traces(&mut text)?;
    Ok(text)
}

fn bench(monitor_pages: u32) -> Result<Bench, CompareError> {
    let processor =
        Processor::named("skylake").map_err(|error| CompareError::Processor(error.to_string()))?;
    Bench::new(processor, monitor_pages)
}

fn line(text: &mut String, cells: &[String]) {
    let mut cells = cells.iter();
    let first = cells.next().map_or("", String::as_str);
    let rest: String = cells.map(|cell| format!("{cell:>15}")).collect();
    // Writing to a string does not fail.
    let _ = writeln!(text, "{first:<22}{rest}");
}

fn headings(text: &mut String, names: &[&str]) {
    line(text, &names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
}

fn rounds(text: &mut String) -> Result<(), CompareError> {
    let rounds = Rounds::default();
    let strategies = named(&POLICIES.map(str::to_owned))?;
    let comparison = compare_on(&mut rounds.script(), &strategies, &bench(rounds.monitor_pages)?, |_| ())?;
    headings(text, &["page walks", "first round", "each round", "after CR3", "by the monitor", "in all"]);
    for strategy in &comparison.strategies {
        let walks = Rounds::walks(strategy);
        let monitor = strategy.tags["monitor"].walks;
        let cells = [walks[0], walks[1], walks[10], monitor, strategy.walks].map(|count| count.to_string());
        line(text, &[std::slice::from_ref(&strategy.name), cells.as_slice()].concat());
    }
    Ok(())
}

fn traces(text: &mut String) -> Result<(), CompareError> {
    let file = |name| format!("{}/../traces/{name}.vmxt", env!("CARGO_MANIFEST_DIR")).into();
    let churn = Churn { unmap: 20.0, protect: 20.0, copy_on_write: 20.0, batch: 4, ..Churn::default() };
    let options = WorkOptions {
        traces: TRACES.map(file).to_vec(),
        quantum: 10_000,
        exits: Exits { system_calls: true, every: Some(10_000), timer: None },
        churn,
        limit: Some(100_000),
        ..WorkOptions::default()
    };
    let strategies = named(&POLICIES.map(str::to_owned))?;
    let bench = Bench { oracle: Oracle::Judges, ..bench(8)? };
    let comparison: Comparison = compare_on(&mut Work::new(&options)?, &strategies, &bench, |_| ())?;
    text.push('\n');
    headings(text, &["recorded programs", "walks", "guest refs", "EPT refs", "over-inval.", "missing"]);
    for strategy in &comparison.strategies {
        line(text, &row(strategy));
    }
    Ok(())
}

fn row(strategy: &StrategyResult) -> Vec<String> {
    let counts = [
        strategy.walks,
        strategy.walk_refs_guest,
        strategy.walk_refs_ept,
        strategy.over_invalidated,
        strategy.missing,
    ];
    [std::slice::from_ref(&strategy.name), counts.map(|count| count.to_string()).as_slice()].concat()
}

fn main() -> Result<(), CompareError> {
    print!("{}", report()?);
    Ok(())
}
