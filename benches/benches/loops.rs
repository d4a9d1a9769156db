//! How fast is the plain engine on guest loops, beside Unicorn 2 without hooks in the same run?
//!
//! Prints million guest instructions a second, medians of several runs that take turns. Unicorn is asked through
//! Python; without it (`pip install unicorn`) its column is empty. VMXSIM_RUNS sets the number of runs; a name after `--` runs that loop alone.

use std::process::Command;
use std::time::Instant;
use vmxsim_benches::loops::{self, Loop};
use vmxsim_benches::machine::{CODE, DATA, DATA_BYTES, PlainMachine, STACK};
use vmxsim_benches::median;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runs = vmxsim_benches::runs();
    println!("{:<16} {:>12} {:>16} {:>8}", "loop", "vmxsim MIPS", "Unicorn 2 MIPS", "ratio");
    let only = std::env::args().nth(1).filter(|word| !word.starts_with('-'));
    for guest in loops::all()?.iter().filter(|guest| only.as_deref().is_none_or(|word| guest.name == word)) {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..runs {
            let (instructions, seconds) = vmxsim(guest)?;
            ours.push(instructions as f64 / seconds / 1e6);
            theirs.extend(unicorn(guest).map(|seconds| instructions as f64 / seconds / 1e6));
        }
        let ours = median(&mut ours).unwrap_or(f64::NAN);
        match median(&mut theirs) {
            Some(theirs) => println!("{:<16} {ours:>12.0} {theirs:>16.0} {:>8.2}", guest.name, ours / theirs),
            None => println!("{:<16} {ours:>12.0} {:>16} {:>8}", guest.name, "absent", "-"),
        }
    }
    Ok(())
}

fn vmxsim(guest: &Loop) -> Result<(u64, f64), Box<dyn std::error::Error>> {
    let mut machine = PlainMachine::new(&guest.code)?;
    machine.set_iterations(guest.iterations / 100 + 1);
    machine.run(u64::MAX);
    machine.restart(guest.iterations);
    let started = Instant::now();
    let run = machine.run(u64::MAX);
    let seconds = started.elapsed().as_secs_f64();
    match run.stop {
        Some(isa::cpu::Stop::Halt) => Ok((run.executed, seconds)),
        other => Err(format!("{} ended with {other:?} at {:#x}", guest.name, machine.registers().rip).into()),
    }
}

fn unicorn(guest: &Loop) -> Option<f64> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/unicorn_loop.py");
    let code: String = guest.code.iter().map(|byte| format!("{byte:02x}")).collect();
    let numbers = [guest.iterations, CODE, DATA, DATA_BYTES, STACK].map(|number| number.to_string());
    let output = Command::new("python3").arg(script).arg(code).args(numbers).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}
