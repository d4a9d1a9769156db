//! Comparisons that nobody ran, for tests.

use super::result::{Comparison, Judgement, Sample, Standing, StrategyResult, TagCounts};
use timing::stack::{Cause, CycleStack, WholeCycles};
use timing::units::SubCycles;

/// Three strategies: one that drops much, one that drops little, and one that forgets.
pub(super) fn three() -> Comparison {
    let mut comparison = Comparison {
        instructions: 12_345_678,
        accesses: 16_543_210,
        processor: "Intel Skylake client".to_owned(),
        workload: vec![
            ("traces".to_owned(), "btree, hash, sort".to_owned()),
            ("guests".to_owned(), "2 on 2 processors".to_owned()),
        ],
        strategies: vec![
            strategy("flush-all", "Empties the TLBs at each change.", 3),
            strategy("per-address", "Invalidates the pages that changed.", 1),
            StrategyResult {
                missing: 2,
                judgement: Judgement { incoherent: 1, ..Judgement::default() },
                findings: vec![
                    "A write to 0x7000 used a translation that the unmapping at instruction 4,711 had ended."
                        .to_owned(),
                ],
                ..strategy("forgetful", "Invalidates nothing.", 0)
            },
        ],
    };
    comparison.relate();
    comparison
}

/// A strategy whose costs grow with `cost`.
pub(super) fn strategy(name: &str, says: &str, cost: u64) -> StrategyResult {
    let cycles_by_cause = cycles(cost);
    StrategyResult {
        name: name.to_owned(),
        says: says.to_owned(),
        standing: Standing::Strategy,
        accesses: 16_543_210,
        l1_misses: 400_000 + 300_000 * cost,
        walks: 20_000 + 100_000 * cost,
        walk_refs: 100_000 + 900_000 * cost,
        walk_refs_guest: 40_000 + 300_000 * cost,
        walk_refs_ept: 60_000 + 600_000 * cost,
        structure_hits: 10_000,
        nested_hits: 20_000,
        invalidations: 1_000 * cost,
        invalidations_by: if cost > 0 {
            [("INVLPG".to_owned(), 400 * cost), ("INVVPID 1".to_owned(), 600 * cost)].into()
        } else {
            [].into()
        },
        ipis: 70 * cost,
        exits: 1_234,
        faults: 56,
        entries_dropped: 250_000 * cost,
        over_invalidated: 200_000 * cost,
        missing: 0,
        judgement: Judgement { required: 40 * cost, redundant: 960 * cost, ..Judgement::default() },
        cycles: cycles_by_cause.total(),
        cycles_relative: 1.0,
        cycles_by_cause,
        tags: [("guest 0".to_owned(), TagCounts { accesses: 16_000_000, l1_misses: 20_000, walks: 9 })]
            .into(),
        occupancy: occupancy(3, cost),
        findings: Vec::new(),
    }
}

fn cycles(cost: u64) -> WholeCycles {
    let mut stack = CycleStack::default();
    stack.add(Cause::Base, SubCycles::from_cycles(4_000_000));
    stack.add(Cause::DataTlbL2, SubCycles::from_cycles(900_000 + 300_000 * cost));
    stack.add(Cause::DataWalkGuest, SubCycles::from_cycles(200_000 + 400_000 * cost));
    stack.add(Cause::DataWalkEpt, SubCycles::from_cycles(150_000 + 900_000 * cost));
    stack.add(Cause::DataCache, SubCycles::from_cycles(2_000_000));
    stack.whole_cycles()
}

/// Samples of some tags, which the strategy empties the more often the more it costs.
pub(super) fn occupancy(tags: u64, cost: u64) -> Vec<Sample> {
    let sample = |at: u64| Sample {
        instructions: at * 12_345_678 / 60,
        walks: at * cost,
        entries: (0..tags)
            .map(|tag| {
                let since = 24_u64.checked_div(cost).map_or(at, |often| at % often);
                (format!("guest {tag}"), since * (3 + (at + tag * 7) % 11) / tags)
            })
            .collect(),
    };
    (0..=60).map(sample).collect()
}
