//! What a comparison found out: one set of counts for each strategy, all from the same work.

use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use timing::stack::{Cause, WholeCycles};

/// The result of a comparison.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Comparison {
    /// Instructions of the work, of all threads together.
    pub instructions: u64,
    /// Accesses to memory of the work, instruction fetches included.
    pub accesses: u64,
    /// The processor whose TLB, caches and latencies were used.
    pub processor: String,
    /// The work in words: a label and a value a line.
    #[serde(serialize_with = "in_order")]
    pub workload: Vec<(String, String)>,
    /// What each strategy cost, in the order in which they were asked for.
    pub strategies: Vec<StrategyResult>,
}

/// What one strategy cost.
///
/// Counts are sums over all processors.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct StrategyResult {
    /// The name by which the strategy is asked for.
    pub name: String,
    /// What it does, in one sentence.
    pub says: String,
    /// Whether a monitor could use it.
    pub standing: Standing,
    /// Accesses to memory, instruction fetches included.
    pub accesses: u64,
    /// Accesses whose translation was not in the first level of the TLB.
    pub l1_misses: u64,
    /// Page walks.
    pub walks: u64,
    /// References to memory in page walks.
    pub walk_refs: u64,
    /// Those to guest paging structures.
    pub walk_refs_guest: u64,
    /// Those to EPT paging structures.
    pub walk_refs_ept: u64,
    /// Walks that began at a cached paging-structure entry, native or combined.
    pub structure_hits: u64,
    /// Guest-physical addresses of walks that a cached guest-physical mapping translated.
    pub nested_hits: u64,
    /// Invalidating operations that were executed: instructions, and transitions that invalidate.
    pub invalidations: u64,
    /// The same by kind, such as `INVLPG` or `INVVPID 1`.
    pub invalidations_by: BTreeMap<String, u64>,
    /// Interprocessor interrupts sent.
    pub ipis: u64,
    /// VM exits.
    pub exits: u64,
    /// Page faults and EPT violations.
    pub faults: u64,
    /// Cached mappings that invalidations dropped.
    pub entries_dropped: u64,
    /// Those of them that were still valid and were filled again with the same translation.
    pub over_invalidated: u64,
    /// Uses of translations that an invalidation would have removed which the architecture requires and the strategy
    /// omitted.
    pub missing: u64,
    /// What the oracle found; all 0 if it was switched off.
    pub judgement: Judgement,
    /// Cycles of all processors together.
    pub cycles: u64,
    /// Cycles, where the first strategy has 1.
    pub cycles_relative: f64,
    /// Cycles by cause; they sum to `cycles`.
    pub cycles_by_cause: WholeCycles,
    /// Counts for each address space: the processes by name, and the monitor.
    pub tags: BTreeMap<String, TagCounts>,
    /// How many entries each tag had in the TLBs, over time.
    pub occupancy: Vec<Sample>,
    /// What the oracle has to say, each as a readable paragraph; there are at most so many that a person reads them.
    pub findings: Vec<String>,
}

/// What a strategy is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Monitors and kernels can use it.
    #[default]
    Strategy,
    /// It shows what no strategy can beat; no processor offers it.
    Bound,
    /// It omits what is required on purpose, to show what that looks like.
    Broken,
}

/// What an oracle thinks of invalidations and of translations.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Judgement {
    /// Invalidations that removed a stale mapping which could have been used.
    pub required: u64,
    /// Invalidations that removed nothing stale.
    pub redundant: u64,
    /// Mappings that were dropped while they were valid.
    pub valid_dropped: u64,
    /// Uses of a stale mapping that the architecture permits, because nothing has yet required it to be gone.
    pub in_window: u64,
    /// Uses of a translation that belongs to no state that the tables have had under the tag.
    pub incoherent: u64,
}

/// What the translations of one address space cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct TagCounts {
    /// Accesses.
    pub accesses: u64,
    /// Those whose translation was not in the first level of the TLB.
    pub l1_misses: u64,
    /// Those that needed a page walk.
    pub walks: u64,
}

/// The TLBs at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Sample {
    /// Instructions of the work until then.
    pub instructions: u64,
    /// Page walks until then.
    pub walks: u64,
    /// Entries of each tag; a tag that is not listed has none.
    #[serde(serialize_with = "in_order")]
    pub entries: Vec<(String, u64)>,
}

impl Comparison {
    /// Sets [`StrategyResult::cycles_relative`] of all strategies; each is 1 if the first strategy took no cycles.
    pub fn relate(&mut self) {
        let base = self.strategies.first().map_or(0, |first| first.cycles);
        for strategy in &mut self.strategies {
            strategy.cycles_relative = if base == 0 { 1.0 } else { strategy.cycles as f64 / base as f64 };
        }
    }

    /// The strategy that took the fewest cycles, the first of several, of those that are sound and no bound.
    #[must_use]
    pub fn best(&self) -> Option<&StrategyResult> {
        let sound = self.strategies.iter().filter(|strategy| strategy.is_sound());
        sound
            .filter(|strategy| strategy.standing == Standing::Strategy)
            .min_by_key(|strategy| strategy.cycles)
    }

    /// Whether a strategy was not sound that is not broken on purpose.
    #[must_use]
    pub fn finds_something(&self) -> bool {
        let serious = self.strategies.iter().filter(|strategy| strategy.standing != Standing::Broken);
        !serious.into_iter().all(StrategyResult::is_sound)
    }
}

impl StrategyResult {
    /// Whether it omitted no required invalidation and used no translation that the tables never gave.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        self.missing == 0 && self.judgement.incoherent == 0
    }
}

/// The name of a cause in words, for people.
pub(super) fn words(cause: Cause) -> String {
    let word = |word: &str| match word {
        "ept" | "tlb" | "l2" | "ipi" => word.to_uppercase(),
        "vm" => "VM".to_owned(),
        _ => word.to_owned(),
    };
    cause.name().split('_').map(word).collect::<Vec<_>>().join(" ")
}

/// Pairs as a map, in the order in which they stand.
fn in_order<K: Serialize, V: Serialize, S: Serializer>(pairs: &[(K, V)], to: S) -> Result<S::Ok, S::Error> {
    let mut map = to.serialize_map(Some(pairs.len()))?;
    for (key, value) in pairs {
        map.serialize_entry(key, value)?;
    }
    map.end()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::compare::example;

    /// The keys that those who read a comparison by program find in each strategy.
    const KEYS: [&str; 11] = [
        "name",
        "accesses",
        "l1_misses",
        "walks",
        "walk_refs",
        "invalidations",
        "entries_dropped",
        "over_invalidated",
        "missing",
        "cycles",
        "cycles_relative",
    ];

    #[test]
    fn a_comparison_as_data_has_all_keys_and_keeps_the_order_of_the_work() {
        let value = serde_json::to_value(example::three()).unwrap();
        for strategy in value["strategies"].as_array().unwrap() {
            for key in KEYS {
                assert!(strategy.get(key).is_some(), "{key} is missing");
            }
            let causes = strategy["cycles_by_cause"].as_object().unwrap();
            let sum: u64 = causes.values().map(|cycles| cycles.as_u64().unwrap()).sum();
            assert_eq!(strategy["cycles"], sum);
        }
        assert_eq!(
            value["workload"].to_string(),
            r#"{"traces":"btree, hash, sort","guests":"2 on 2 processors"}"#
        );
        assert_eq!(
            value["strategies"][0]["occupancy"][9]["entries"].to_string(),
            r#"{"guest 0":4,"guest 1":2,"guest 2":1}"#
        );
    }

    #[test]
    fn cycles_are_related_to_the_first_strategy_also_if_it_took_none() {
        let relative = |cycles: [u64; 3]| {
            let strategies = cycles.map(|cycles| StrategyResult { cycles, ..StrategyResult::default() });
            let mut comparison = Comparison { strategies: strategies.into(), ..Comparison::default() };
            comparison.relate();
            comparison.strategies.iter().map(|strategy| strategy.cycles_relative).collect::<Vec<_>>()
        };
        assert_eq!(relative([200, 100, 300]), [1.0, 0.5, 1.5]);
        assert_eq!(relative([0, 100, 0]), [1.0, 1.0, 1.0]);
    }

    #[test]
    fn the_best_strategy_is_sound_and_no_bound_and_one_broken_on_purpose_is_no_finding() {
        let mut comparison = example::three();
        assert!(
            comparison.strategies[2].cycles < comparison.strategies[1].cycles,
            "the unsound one is fastest"
        );
        assert_eq!(comparison.best().unwrap().name, "per-address");
        assert!(comparison.finds_something());
        comparison.strategies[1].standing = Standing::Bound;
        assert_eq!(comparison.best().unwrap().name, "flush-all");
        comparison.strategies[2].standing = Standing::Broken;
        assert!(!comparison.finds_something());
    }

    #[test]
    fn a_missing_invalidation_and_an_incoherent_use_are_each_enough_to_be_unsound() {
        let missing = StrategyResult { missing: 1, ..StrategyResult::default() };
        let judgement = Judgement { incoherent: 1, ..Judgement::default() };
        let incoherent = StrategyResult { judgement, ..StrategyResult::default() };
        let judgement = Judgement { in_window: 1, redundant: 1, ..Judgement::default() };
        let permitted = StrategyResult { judgement, ..StrategyResult::default() };
        assert_eq!([missing, incoherent, permitted].map(|result| result.is_sound()), [false, false, true]);
    }
}
