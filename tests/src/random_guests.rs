//! Guests of random bytes, in every mode, on machines of every kind: nothing panics, each run ends when it is told to, and
//! its report is whole.
//!
//! A share of them runs by default; VMXSIM_CASES says how many, VMXSIM_SEED which is the first:
//!
//! ```text
//! VMXSIM_CASES=100000 cargo test --release -p vmxsim-tests random_guests -- --nocapture
//! ```
#![allow(clippy::unwrap_used, reason = "tests")]

mod code;

use code::Random;
use std::panic::{AssertUnwindSafe, catch_unwind};
use vmxsim::load::{FlatMode, Image, LoadOptions, Protocol, load};
use vmxsim::machine::report::{RunReport, StopKind};
use vmxsim::machine::{Go, Hypercalls, Machine, MachineOptions, OnReset};

/// Cases that every run of the tests has time for.
const DEFAULT: u64 = 150;
/// The most instructions of a guest.
const LIMIT: u64 = 3000;
/// How often a guest that waits is looked at before it is stopped.
const LOOKS: u64 = 2000;
/// RAM of a guest.
const MEMORY: u64 = 4 << 20;
/// Where its code is.
const CODE: u64 = 0x7000;
/// The bytes of its code and of the tables and handlers around it, all of which is random.
const BYTES: usize = 0x6000;

fn options(random: &mut Random) -> MachineOptions {
    MachineOptions {
        memory: MEMORY,
        processors: 1 + random.below(2) as u32,
        model: random.one_of(&["kvm-unit", "kvm-unit", "minimal", "amd"]).to_string(),
        acpi: random.below(2) == 0,
        quantum: 1 + random.below(200),
        hypercalls: random.one_of(&[Hypercalls::None, Hypercalls::Kvm]),
        on_reset: random.one_of(&[OnReset::Stop, OnReset::Restart]),
        seed: random.next(),
    }
}

/// A machine and what it is to do, all of which follows from the seed.
fn machine(seed: u64) -> Machine {
    let mut random = Random(seed);
    let options = options(&mut random);
    let mode = random.one_of(&[FlatMode::Real, FlatMode::Protected, FlatMode::Long]);
    let mut bytes = code::bytes(&mut random, mode, BYTES);
    bytes.truncate(BYTES);
    let image = Image { name: "guest".to_owned(), bytes };
    let load_options = LoadOptions {
        protocol: Protocol::Flat { address: CODE, mode },
        ..LoadOptions::new(options.memory_map().unwrap())
    };
    let loaded = load(&image, &load_options).unwrap();
    Machine::new(&options, &loaded, Box::new(std::io::sink())).unwrap()
}

fn run(seed: u64) -> RunReport {
    let mut machine = machine(seed);
    let mut looks = 0;
    let report = machine.run(Some(LIMIT), |platform, _| {
        looks += 1;
        if looks % 16 == 0 {
            platform.serial_receive(platform.now(), b"x");
        }
        if looks < LOOKS { Go::On } else { Go::Stop }
    });
    for processor in 0..=report.processors.len() {
        let text = machine.death(processor);
        assert_eq!(text.is_empty(), processor == report.processors.len());
    }
    report
}

/// What must hold of every report.
fn check(report: &RunReport) {
    assert_eq!(report.instructions, report.processors.iter().sum::<u64>());
    // Each processor may have finished the turn in which the limit was reached.
    assert!(report.instructions <= 2 * LIMIT, "{report:?}");
    assert_eq!(report.stop.code.is_some(), report.stop.kind == StopKind::DebugExit);
    assert!(report.stop.processor.is_none_or(|number| number < report.processors.len()));
    if report.stop.kind == StopKind::Limit {
        assert!(report.instructions >= LIMIT, "{report:?}");
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn random_guests_end_as_they_should() {
    let (first, cases) = (number("VMXSIM_SEED").unwrap_or(0), number("VMXSIM_CASES").unwrap_or(DEFAULT));
    let mut ends = std::collections::BTreeMap::new();
    let mut instructions = 0;
    for seed in first..first + cases {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let report = run(seed);
            check(&report);
            report
        }));
        let Ok(report) = outcome else { panic!("VMXSIM_SEED={seed} VMXSIM_CASES=1") };
        *ends.entry(report.stop.kind.to_string()).or_insert(0) += 1;
        instructions += report.instructions;
    }
    println!("{cases} guests, {instructions} instructions, {ends:?}");
}

#[test]
fn the_same_random_guest_is_the_same_twice() {
    for seed in 0..20 {
        let [first, second] = [run(seed), run(seed)];
        assert_eq!(
            (first.stop, first.cycles, first.processors),
            (second.stop, second.cycles, second.processors)
        );
    }
}
