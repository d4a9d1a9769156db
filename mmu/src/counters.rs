//! What the translations of a run cost.

use serde::{Deserialize, Serialize};

/// Hits and misses of one level of the TLB.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct HitsMisses {
    /// Lookups that found a translation which permits the access.
    pub hits: u64,
    /// All other lookups.
    pub misses: u64,
}

impl HitsMisses {
    pub(crate) fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Hit => self.hits += 1,
            Outcome::Miss => self.misses += 1,
        }
    }
}

/// How a lookup of one level ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    Hit,
    Miss,
}

/// Counters of an observed [`Mmu`](crate::Mmu). A plain one counts nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Counters {
    /// First level, instruction fetches.
    pub level1_instruction: HitsMisses,
    /// First level, reads and writes.
    pub level1_data: HitsMisses,
    /// Second level; stays 0 in a geometry without one.
    pub level2: HitsMisses,
    /// Walks, those that end in a fault among them.
    pub walks: u64,
    /// References of walks to guest (or native) paging structures.
    pub guest_references: u64,
    /// References of walks to EPT paging structures.
    pub ept_references: u64,
    /// Accesses that ended in a fault.
    pub faults: u64,
}
