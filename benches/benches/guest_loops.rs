//! How fast are the guest loops as software of a whole machine, beside the bare engine in the same run?
//!
//! The machine has paging on, interrupts enabled and the timer of the local APIC ticking. Prints million guest instructions
//! a second, medians of several runs that take turns. VMXSIM_RUNS sets the number of runs; a name after `--` runs that
//! loop alone.

use std::time::Instant;
use vmxsim_benches::loops::{self, Loop};
use vmxsim_benches::machine::PlainMachine;
use vmxsim_benches::median;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runs = vmxsim_benches::runs();
    println!("{:<16} {:>13} {:>13} {:>8}", "loop", "machine MIPS", "engine MIPS", "ratio");
    let only = std::env::args().nth(1).filter(|word| !word.starts_with('-'));
    for guest in loops::all()?.iter().filter(|guest| only.as_deref().is_none_or(|word| guest.name == word)) {
        let (mut machine, mut engine) = (Vec::new(), Vec::new());
        for _ in 0..runs {
            machine.push(vmxsim_benches::guest::run(guest)?.mips);
            engine.push(bare(guest)?);
        }
        let [machine, engine] = [&mut machine, &mut engine].map(|mips| median(mips).unwrap_or(f64::NAN));
        println!("{:<16} {machine:>13.0} {engine:>13.0} {:>8.2}", guest.name, machine / engine);
    }
    Ok(())
}

fn bare(guest: &Loop) -> Result<f64, Box<dyn std::error::Error>> {
    let mut machine = PlainMachine::new(&guest.code)?;
    machine.set_iterations(guest.iterations / 100 + 1);
    machine.run(u64::MAX);
    machine.restart(guest.iterations);
    let started = Instant::now();
    let run = machine.run(u64::MAX);
    Ok(run.executed as f64 / started.elapsed().as_secs_f64() / 1e6)
}
