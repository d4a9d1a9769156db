//! What a comparison is asked to do.

use super::strategy::StrategyOptions;
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
    /// Name of the processor whose TLB, caches and latencies are used, or the path of a file that describes one.
    pub processor: String,
    /// What may be chosen about strategies.
    pub strategy: StrategyOptions,
    /// Pages that the monitor touches at each VM exit of the work.
    pub monitor_pages: u32,
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
    /// Pages of the monitor unless said otherwise: what a short exit handler touches.
    pub const MONITOR_PAGES: u32 = 8;
    /// Samples of the occupancy unless said otherwise.
    pub const SAMPLES: u32 = 200;

    /// The defaults for some work: all default strategies, judged.
    #[must_use]
    pub fn new(work: WorkOptions) -> Self {
        Self {
            work,
            strategies: Vec::new(),
            processor: Self::PROCESSOR.to_owned(),
            strategy: StrategyOptions::default(),
            monitor_pages: Self::MONITOR_PAGES,
            oracle: Oracle::Judges,
            samples: Self::SAMPLES,
        }
    }
}
