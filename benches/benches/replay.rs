//! How fast are recorded programs replayed: with the modelled TLB on every access, as a guest, and verifying?
//!
//! Prints million instructions a second over a bundled trace repeated whole, medians of several runs.
//! VMXSIM_TRACE names another trace, VMXSIM_RUNS the number of runs.

use std::path::{Path, PathBuf};
use vmxsim::replay::{ReplayOptions, RunAs, Verify, replay};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runs: usize = std::env::var("VMXSIM_RUNS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let bundled = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../traces/sort.vmxt");
    let trace = std::env::var_os("VMXSIM_TRACE").map_or_else(bundled, PathBuf::from);
    let native = ReplayOptions::new(trace);
    let guest = ReplayOptions { run_as: RunAs::Guest, ..native.clone() };
    let verifying = ReplayOptions { verify: Verify::EachInstruction, ..native.clone() };
    println!("{}", native.trace.display());
    for (name, options) in [("native", native), ("guest", guest), ("native --verify", verifying)] {
        let mut rates = Vec::new();
        for _ in 0..runs {
            rates.push(replay(&options, |_| {})?.mips);
        }
        rates.sort_by(f64::total_cmp);
        println!("{name:<18} {:>8.1} MIPS", rates[rates.len() / 2]);
    }
    Ok(())
}
