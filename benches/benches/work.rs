//! How fast is the work for comparisons made, and how fast are the bundled traces decoded for it?
//!
//! Prints million instructions and million accesses a second, medians of several runs. VMXSIM_RUNS is their number.

use std::path::{Path, PathBuf};
use std::time::Instant;
use vmxsim::compare::work::{Block, Churn, Exits, Work, WorkOptions};

type Failure = Box<dyn std::error::Error>;

/// Instructions and accesses.
type Counted = (u64, u64);

const TRACES: [&str; 6] = ["btree", "hash", "json", "matrix", "pointer_chase", "sort"];

fn main() -> Result<(), Failure> {
    let runs = std::env::var("VMXSIM_RUNS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    for name in TRACES {
        measure(runs, &format!("decode {name}"), || decode(&path(name)))?;
    }
    for name in TRACES {
        let options = WorkOptions { traces: vec![path(name)], ..WorkOptions::default() };
        measure(runs, &format!("work {name}"), || work(&options))?;
    }
    let churn = Churn { unmap: 100.0, protect: 100.0, host_cut: 100.0, ..Churn::default() };
    let exits = Exits { every: Some(10_000), ..Exits::default() };
    let traces = TRACES.map(path).to_vec();
    let options = WorkOptions { traces, churn, exits, ..WorkOptions::default() };
    measure(runs, "work of all with churn", || work(&options))
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../traces").join(name).with_extension("vmxt")
}

fn decode(trace: &Path) -> Result<Counted, Failure> {
    let mut trace = traces::open_any(trace)?.touches();
    let (mut counted, mut touches) = ((0, 0), Vec::new());
    while let more @ 1.. = trace.fill(&mut touches, 2048)? {
        counted = (counted.0 + more as u64, counted.1 + touches.len() as u64);
        touches.clear();
    }
    Ok(counted)
}

fn work(options: &WorkOptions) -> Result<Counted, Failure> {
    let mut work = Work::new(options)?;
    let (mut counted, mut block) = ((0, 0), Block::default());
    while let Some(next) = work.next_block(block)? {
        counted = (counted.0 + next.instructions, counted.1 + next.accesses.len() as u64);
        block = next;
    }
    Ok(counted)
}

fn measure(runs: usize, name: &str, run: impl Fn() -> Result<Counted, Failure>) -> Result<(), Failure> {
    let mut times = Vec::new();
    let mut counted = (0, 0);
    for _ in 0..runs.max(1) {
        let started = Instant::now();
        counted = run()?;
        times.push(started.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    let rate = |count: u64| count as f64 / times[times.len() / 2] / 1e6;
    println!("{name:<24} {:>7.1} M instructions/s {:>7.1} M accesses/s", rate(counted.0), rate(counted.1));
    Ok(())
}
