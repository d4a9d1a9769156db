//! Runs strategies on the same work, side by side.

use super::error::{CompareError, MachineError};
use super::machine::Parts;
use super::options::{CompareOptions, Oracle};
use super::processor::Counts;
use super::result::{Comparison, Judgement, Sample, StrategyResult, TagCounts};
use super::strategy::{KNOWN, Known, StrategyOptions};
use super::system::System;
use super::work::{Block, Topology, Work, WorkError};
use crate::replay::options::geometry;
use mmu::Geometry;
use rayon::prelude::*;
use std::collections::BTreeMap;
use timing::processor::Processor;

/// Where the work of a comparison comes from, block by block.
pub trait Source: Send {
    /// Who runs on what.
    fn topology(&self) -> &Topology;

    /// The next block; `spare` is one that is done with, whose memory may be used again.
    ///
    /// # Errors
    ///
    /// Those of reading traces.
    fn next_block(&mut self, spare: Block) -> Result<Option<Block>, WorkError>;
}

impl Source for Work {
    fn topology(&self) -> &Topology {
        Self::topology(self)
    }

    fn next_block(&mut self, spare: Block) -> Result<Option<Block>, WorkError> {
        Self::next_block(self, spare)
    }
}

/// Blocks made by hand, for exact experiments.
#[derive(Clone, Debug)]
pub struct Blocks {
    /// Who runs on what.
    pub topology: Topology,
    /// What happens, in order.
    pub blocks: std::collections::VecDeque<Block>,
}

impl Source for Blocks {
    fn topology(&self) -> &Topology {
        &self.topology
    }

    fn next_block(&mut self, _: Block) -> Result<Option<Block>, WorkError> {
        Ok(self.blocks.pop_front())
    }
}

/// What strategies run on.
#[derive(Clone, Debug)]
pub struct Bench {
    /// The processor.
    pub processor: Processor,
    /// Its TLB.
    pub geometry: Geometry,
    /// What may be chosen about strategies.
    pub strategy: StrategyOptions,
    /// Whether an oracle judges each use and each invalidation. It costs host time and no cycles.
    pub oracle: Oracle,
    /// Pages that the monitor touches at each VM exit.
    pub monitor_pages: u32,
}

impl Bench {
    /// A processor under the eyes of an oracle.
    ///
    /// # Errors
    ///
    /// [`CompareError::Processor`] when its TLB cannot be built.
    pub fn new(processor: Processor, monitor_pages: u32) -> Result<Self, CompareError> {
        let geometry = geometry(&processor).map_err(CompareError::processor)?;
        let strategy = StrategyOptions::default();
        Ok(Self { processor, geometry, strategy, oracle: Oracle::Judges, monitor_pages })
    }
}

/// The strategies of these names; the default ones when there are none.
///
/// # Errors
///
/// [`CompareError::UnknownStrategy`], with the names that there are.
pub fn named(names: &[String]) -> Result<Vec<&'static Known>, CompareError> {
    if names.is_empty() {
        return Ok(KNOWN.iter().filter(|known| known.default).collect());
    }
    let find = |name: &String| {
        KNOWN.iter().find(|known| known.name == name).ok_or_else(|| CompareError::UnknownStrategy {
            name: name.clone(),
            known: KNOWN.iter().map(|known| known.name).collect::<Vec<_>>().join(", "),
        })
    };
    names.iter().map(find).collect()
}

/// Makes the work of `options` and runs its strategies on it.
///
/// `progress` is told the instructions done.
///
/// # Errors
///
/// [`CompareError`].
pub fn compare(options: &CompareOptions, progress: impl FnMut(u64)) -> Result<Comparison, CompareError> {
    let strategies = named(&options.strategies)?;
    let processor = Processor::select(&options.processor).map_err(CompareError::processor)?;
    let bench = Bench {
        strategy: options.strategy,
        oracle: options.oracle,
        ..Bench::new(processor, options.monitor_pages)?
    };
    let mut work = Work::new(&options.work)?;
    let comparison = compare_on(&mut work, &strategies, &bench, progress)?;
    Ok(Comparison { workload: options.workload(), ..comparison })
}

/// Runs `strategies` on the work of `source`. The work is read once; the strategies share it and run in parallel.
///
/// # Errors
///
/// [`CompareError`]: the work cannot be read, or a machine cannot be built.
pub fn compare_on(
    source: &mut dyn Source,
    strategies: &[&'static Known],
    bench: &Bench,
    mut progress: impl FnMut(u64),
) -> Result<Comparison, CompareError> {
    let topology = source.topology().clone();
    let parts = Parts {
        topology: &topology,
        processor: &bench.processor,
        geometry: &bench.geometry,
        tags: super::TagPolicy::None,
        tag_bits: bench.strategy.tag_bits,
        oracle: bench.oracle == Oracle::Judges,
        monitor_pages: bench.monitor_pages,
    };
    let mut runs = strategies
        .iter()
        .map(|known| Ok(Run::new(System::new(known, &bench.strategy, &parts)?)))
        .collect::<Result<Vec<_>, MachineError>>()?;
    let mut instructions = 0;
    let mut spare = Block::default();
    let mut next = source.next_block(Block::default())?;
    while let Some(block) = next {
        let (done, read) = rayon::join(
            || runs.par_iter_mut().with_max_len(1).try_for_each(|run| run.block(&topology, &block)),
            || source.next_block(std::mem::take(&mut spare)),
        );
        done?;
        next = read?;
        instructions += block.instructions;
        spare = block;
        progress(instructions);
    }
    Ok(collect(&topology, bench, instructions, runs))
}

/// A strategy with the samples of its run.
struct Run {
    system: System,
    instructions: u64,
    samples: Vec<Sample>,
    /// Blocks between two samples; it doubles when there are too many.
    every: u32,
    blocks: u32,
}

/// Most samples of a run.
const SAMPLES: usize = 256;

impl Run {
    const fn new(system: System) -> Self {
        Self { system, instructions: 0, samples: Vec::new(), every: 1, blocks: 0 }
    }

    fn block(&mut self, topology: &Topology, block: &Block) -> Result<(), MachineError> {
        self.system.run(block)?;
        self.instructions += block.instructions;
        self.blocks += 1;
        if self.blocks.is_multiple_of(self.every) {
            self.sample(topology);
        }
        Ok(())
    }

    fn sample(&mut self, topology: &Topology) {
        let (instructions, walks) = (self.instructions, self.system.total().walks);
        self.samples.push(Sample { instructions, walks, entries: self.system.machine.occupancy(topology) });
        if self.samples.len() == SAMPLES {
            let mut index = 0;
            self.samples.retain(|_| {
                index += 1;
                index % 2 == 0
            });
            self.every *= 2;
        }
    }

    fn result(self, topology: &Topology) -> StrategyResult {
        let Self { system, samples, .. } = self;
        let total = system.total();
        let (machine, known) = (system.machine, system.known);
        let cycles = machine.cycles_by_cause();
        let summary = machine.oracle.as_ref().map(mmu::oracle::Oracle::summary).unwrap_or_default();
        let dropped = machine.tally.dropped;
        StrategyResult {
            name: known.name.to_owned(),
            says: known.says.to_owned(),
            standing: known.standing,
            accesses: total.accesses,
            l1_misses: total.l1_misses,
            walks: total.walks,
            walk_refs: total.guest_references + total.ept_references,
            walk_refs_guest: total.guest_references,
            walk_refs_ept: total.ept_references,
            invalidations: machine.tally.invalidations.values().sum(),
            invalidations_by: machine.tally.invalidations.iter().map(|(&k, &v)| (k.to_owned(), v)).collect(),
            ipis: machine.tally.ipis,
            exits: machine.tally.exits,
            faults: machine.tally.faults,
            entries_dropped: dropped.entries + dropped.structures + dropped.guest_physical,
            over_invalidated: summary.over_broad,
            missing: summary.missing,
            judgement: Judgement {
                required: summary.required,
                redundant: summary.redundant,
                valid_dropped: summary.valid_dropped,
                in_window: summary.in_window,
                incoherent: summary.incoherent,
            },
            cycles: cycles.total(),
            cycles_relative: 1.0,
            cycles_by_cause: cycles,
            tags: tags(topology, &machine.tally.counts),
            occupancy: samples,
            structure_hits: total.structure_hits,
            nested_hits: total.nested_hits,
            findings: machine
                .oracle
                .iter()
                .flat_map(|oracle| oracle.findings())
                .map(ToString::to_string)
                .collect(),
        }
    }
}

fn tags(topology: &Topology, counts: &[Counts]) -> BTreeMap<String, TagCounts> {
    let names = topology.processes.iter().map(|process| process.name.clone());
    let named = names.chain(["monitor".to_owned()]).zip(counts);
    named
        .map(|(name, counts)| {
            let (accesses, l1_misses, walks) = (counts.accesses, counts.l1_misses, counts.walks);
            (name, TagCounts { accesses, l1_misses, walks })
        })
        .collect()
}

fn collect(topology: &Topology, bench: &Bench, instructions: u64, runs: Vec<Run>) -> Comparison {
    let strategies: Vec<_> = runs.into_iter().map(|run| run.result(topology)).collect();
    let mut comparison = Comparison {
        instructions,
        accesses: strategies.first().map_or(0, |first| first.accesses),
        processor: bench.processor.description().to_owned(),
        strategies,
        ..Comparison::default()
    };
    comparison.relate();
    comparison
}
