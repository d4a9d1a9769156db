//! How near do REP MOVS and REP STOS come to the memory of the host?
//!
//! Prints GByte/s of the guest's instruction and of the host's copy or fill of as many bytes, medians of several runs that
//! take turns. VMXSIM_RUNS sets the number of runs.

use iced_x86::IcedError;
use iced_x86::code_asm::*;
use std::hint::black_box;
use std::time::Instant;
use vmxsim_benches::machine::{CODE, DATA, PlainMachine};
use vmxsim_benches::median;

/// Bytes that one measurement moves.
const TOTAL: u64 = 1 << 30;
/// Where copies come from.
const SOURCE: u64 = DATA + (64 << 20);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Copy,
    Fill,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runs = vmxsim_benches::runs();
    println!(
        "{:<12} {:>10} {:>13} {:>11} {:>7}",
        "instruction", "bytes", "vmxsim GB/s", "host GB/s", "ratio"
    );
    for (name, kind) in [("rep movsq", Kind::Copy), ("rep stosq", Kind::Fill)] {
        for bytes in [256, 4096, 64 << 10, 1 << 20, 32 << 20] {
            let (mut guest, mut host) = (Vec::new(), Vec::new());
            for _ in 0..runs {
                guest.push(of_guest(kind, bytes)?);
                host.push(of_host(kind, bytes));
            }
            let [guest, host] = [&mut guest, &mut host].map(|rates| median(rates).unwrap_or(f64::NAN));
            println!("{name:<12} {bytes:>10} {guest:>13.1} {host:>11.1} {:>7.2}", guest / host);
        }
    }
    Ok(())
}

/// GByte/s of the instruction, run again and again over the same bytes.
fn of_guest(kind: Kind, bytes: u64) -> Result<f64, Box<dyn std::error::Error>> {
    let mut machine = PlainMachine::new(&code(kind, bytes)?)?;
    machine.set_iterations(2);
    machine.run(u64::MAX);
    let rounds = TOTAL / bytes;
    machine.restart(rounds);
    let started = Instant::now();
    let run = machine.run(u64::MAX);
    let seconds = started.elapsed().as_secs_f64();
    if run.stop == Some(isa::cpu::Stop::Halt) {
        Ok((rounds * bytes) as f64 / seconds / 1e9)
    } else {
        Err(format!("ended with {:?}", run.stop).into())
    }
}

fn code(kind: Kind, bytes: u64) -> Result<Vec<u8>, IcedError> {
    let mut a = CodeAssembler::new(64)?;
    let mut again = a.create_label();
    a.set_label(&mut again)?;
    a.mov(rdi, DATA)?;
    a.mov(rsi, SOURCE)?;
    a.mov(rcx, bytes / 8)?;
    match kind {
        Kind::Copy => a.rep().movsq()?,
        Kind::Fill => a.rep().stosq()?,
    }
    a.dec(r15)?;
    a.jne(again)?;
    a.hlt()?;
    a.assemble(CODE)
}

fn of_host(kind: Kind, bytes: u64) -> f64 {
    let source = vec![1_u8; bytes as usize];
    let mut target = vec![2_u8; bytes as usize];
    let rounds = TOTAL / bytes;
    let started = Instant::now();
    for _ in 0..rounds {
        match kind {
            Kind::Copy => black_box(&mut target).copy_from_slice(black_box(&source)),
            Kind::Fill => black_box(&mut target).fill(0),
        }
    }
    (rounds * bytes) as f64 / started.elapsed().as_secs_f64() / 1e9
}
