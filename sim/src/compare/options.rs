//! What a comparison is asked to do.

use super::work::WorkOptions;
use serde::Serialize;

/// Everything that decides what a comparison does and what its result is.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct CompareOptions {
    /// The work, the same for all strategies.
    pub work: WorkOptions,
    /// Names of the strategies, each perhaps with parameters; the first is the one that others are related to. None
    /// stands for the default list.
    pub strategies: Vec<String>,
    /// Pages up to which strategies invalidate by address before they invalidate whole contexts; each strategy has its
    /// own unless it is given.
    pub threshold: Option<u64>,
    /// Name of the processor whose TLB, caches and latencies are used, or the path of a file that describes one.
    pub processor: String,
    /// Whether every translation and every invalidation is judged.
    pub oracle: Oracle,
    /// How often the occupancy of the TLBs is sampled over the whole work.
    pub samples: u32,
}

/// Whether an oracle judges every translation and every invalidation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Oracle {
    /// It does.
    #[default]
    Judges,
    /// It does not: counts of missing and unnecessary invalidations stay 0.
    Off,
}

impl CompareOptions {
    /// The processor unless said otherwise.
    pub const PROCESSOR: &'static str = "skylake";
    /// Samples of the occupancy unless said otherwise.
    pub const SAMPLES: u32 = 200;

    /// The defaults for some work: all default strategies, judged.
    #[must_use]
    pub fn new(work: WorkOptions) -> Self {
        Self {
            work,
            strategies: Vec::new(),
            threshold: None,
            processor: Self::PROCESSOR.to_owned(),
            oracle: Oracle::Judges,
            samples: Self::SAMPLES,
        }
    }
}
