//! How many accesses a second one strategy takes: two-level TLB, paging-structure caches and nested walks of a guest,
//! with the caches of the processor behind them.
//!
//! Work is made beforehand: the trace once, which makes its pages, and then its accesses again and again, which is what
//! a long trace of the same program is. An access is what the trace has: each instruction fetch and each operand in memory;
//! fetches in a row from one cache line are handed over together. `friendly` stays in the first level of the TLB,
//! `hostile` chases pointers through 32 MByte.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::collections::VecDeque;
use timing::processor::Processor;
use vmxsim::compare::options::Oracle;
use vmxsim::compare::run::Blocks;
use vmxsim::compare::work::{Block, Event, Exits, Work, WorkOptions};
use vmxsim::compare::{Bench, compare_on, named};

/// How often the accesses of a trace are made.
const PASSES: usize = 10;

fn blocks(trace: &str) -> Blocks {
    let traces = vec![format!("{}/../traces/{trace}.vmxt", env!("CARGO_MANIFEST_DIR")).into()];
    let exits = Exits { system_calls: false, ..Exits::default() };
    let options = WorkOptions { traces, processors: 1, guests: 1, exits, ..WorkOptions::default() };
    let mut work = Work::new(&options).expect("the trace is bundled");
    let topology = work.topology().clone();
    let mut blocks = VecDeque::new();
    while let Some(block) = work.next_block(Block::default()).expect("the trace is whole") {
        blocks.push_back(block);
    }
    let again: Vec<Block> = blocks.iter().map(accesses_alone).collect();
    blocks.extend((1..PASSES).flat_map(|_| again.iter().cloned()));
    Blocks { topology, blocks }
}

/// A block whose pages are there already.
fn accesses_alone(block: &Block) -> Block {
    let runs = block.events.iter().filter(|event| matches!(event, Event::Run { .. }));
    Block { events: runs.cloned().collect(), ..block.clone() }
}

/// What the trace has, whether handed over one by one or together.
fn accesses(blocks: &Blocks) -> u64 {
    let of_block = |block: &Block| {
        let accesses = block.accesses.iter();
        accesses.map(|access| u64::from(access.instructions).max(1)).sum::<u64>()
    };
    blocks.blocks.iter().map(of_block).sum()
}

fn strategies(c: &mut Criterion) {
    let mut group = c.benchmark_group("compare");
    group.sample_size(10);
    let processor = Processor::named("skylake").expect("it is shipped");
    let known = named(&["per-address".to_owned()]).expect("it is known");
    for (name, trace) in [("friendly", "matrix"), ("mixed", "json"), ("hostile", "pointer_chase")] {
        let blocks = blocks(trace);
        group.throughput(Throughput::Elements(accesses(&blocks)));
        for (oracle, suffix) in [(Oracle::Off, ""), (Oracle::Judges, ", judged")] {
            let bench = Bench::new(processor.clone(), 8).expect("its TLB can be built");
            let bench = Bench { oracle, ..bench };
            group.bench_function(format!("{name}{suffix}"), |b| {
                b.iter_batched(
                    || blocks.clone(),
                    |mut blocks| compare_on(&mut blocks, &known, &bench, |_| ()).expect("it runs"),
                    BatchSize::PerIteration,
                );
            });
        }
    }
    group.finish();
}

criterion_group!(benches, strategies);
criterion_main!(benches);
