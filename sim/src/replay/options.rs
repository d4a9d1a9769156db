//! What a replay is asked to do.

use super::watch::Oracular;
use mmu::{Geometry, PageSize};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use timing::processor::Processor;

/// On what the program runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum RunAs {
    /// On the machine itself: one dimension of paging.
    #[default]
    Native,
    /// In VMX non-root operation with EPT and a VPID: two dimensions of paging.
    Guest,
}

/// Levels of a paging hierarchy.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Levels {
    /// 4-level paging or EPT.
    #[default]
    #[value(name = "4")]
    #[serde(rename = "4")]
    Four,
    /// 5-level paging or EPT.
    #[value(name = "5")]
    #[serde(rename = "5")]
    Five,
}

/// Whether the registers are compared with the record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verify {
    /// After each instruction.
    EachInstruction,
    /// Not at all: only what the engine cannot compute is taken from the record.
    #[default]
    No,
}

/// Whether page walks have caches of their own: for paging-structure entries and for guest-physical addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum WalkCaches {
    /// Those of the processor.
    #[default]
    On,
    /// None: every walk reads every level, 4 entries natively and 24 as a guest with 4 levels on 4.
    Off,
}

impl WalkCaches {
    /// The geometry with or without its caches for page walks.
    #[must_use]
    pub fn of(self, geometry: Geometry) -> Geometry {
        match self {
            Self::On => geometry,
            Self::Off => {
                let Geometry { level1_instruction, level1_data, level1_store, level2, .. } = geometry;
                Geometry { level1_instruction, level1_data, level1_store, level2, ..Geometry::default() }
            }
        }
    }
}

/// Everything that decides what a replay does and what its result is.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ReplayOptions {
    /// The trace.
    pub trace: PathBuf,
    /// On what the program runs.
    #[serde(rename = "as")]
    pub run_as: RunAs,
    /// Whether registers are compared.
    pub verify: Verify,
    /// Name or file of the processor whose TLB, caches and latencies are used.
    pub tlb: String,
    /// Whether page walks have the caches of the processor.
    pub walk_caches: WalkCaches,
    /// Pages of the program's own page tables.
    pub guest_pages: PageSize,
    /// Pages of EPT.
    pub host_pages: PageSize,
    /// Levels of the program's own page tables.
    pub guest_levels: Levels,
    /// Levels of EPT.
    pub host_levels: Levels,
    /// Whether an oracle checks every translation that is used.
    pub oracle: Oracular,
    /// Most instructions to replay.
    pub limit: Option<u64>,
    /// Address space of guest RAM in bytes; host memory is used only where the program touches it.
    pub memory: u64,
}

impl ReplayOptions {
    /// Address space of guest RAM unless said otherwise.
    pub const MEMORY: u64 = 64 << 30;
    /// The processor unless said otherwise.
    pub const PROCESSOR: &'static str = "skylake";

    /// The defaults for a trace: native, 4-KByte pages, 4 levels, no comparison.
    #[must_use]
    pub fn new(trace: PathBuf) -> Self {
        Self {
            trace,
            run_as: RunAs::Native,
            verify: Verify::No,
            tlb: Self::PROCESSOR.to_owned(),
            walk_caches: WalkCaches::On,
            guest_pages: PageSize::Size4K,
            host_pages: PageSize::Size4K,
            guest_levels: Levels::Four,
            host_levels: Levels::Four,
            oracle: Oracular::Off,
            limit: None,
            memory: Self::MEMORY,
        }
    }
}

/// The geometry of a processor's TLB is not one that this machine can have.
#[derive(Debug, thiserror::Error)]
#[error("{file}: [tlb]: {reason}")]
pub struct GeometryMismatch {
    file: String,
    reason: String,
}

/// The geometry of a processor's TLB, with its caches for page walks.
///
/// # Errors
///
/// [`GeometryMismatch`] names the file and the field.
pub fn geometry(processor: &Processor) -> Result<Geometry, GeometryMismatch> {
    let error = |reason: String| GeometryMismatch { file: processor.file().to_owned(), reason };
    let shape = |e: toml::de::Error| error(e.to_string().trim_end().replace('\n', " "));
    let geometry: Geometry = processor.tlb().clone().try_into().map_err(shape)?;
    geometry.validate().map_err(|e| error(e.to_string()))?;
    Ok(geometry)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_tlb_of_every_named_processor_can_be_built() {
        for name in Processor::known() {
            geometry(&Processor::named(name).unwrap()).unwrap();
        }
    }

    #[test]
    fn without_walk_caches_the_levels_of_the_tlb_stay_and_nothing_else() {
        for name in Processor::known() {
            let full = geometry(&Processor::named(name).unwrap()).unwrap();
            assert_eq!(WalkCaches::On.of(full.clone()), full);
            let bare = WalkCaches::Off.of(full.clone());
            assert_ne!(full, bare, "{name}");
            let Geometry { structures, guest_physical, ept_structures, .. } = full.clone();
            assert_eq!(Geometry { structures, guest_physical, ept_structures, ..bare.clone() }, full);
            assert_eq!(bare.structures, Geometry::default().structures);
            assert_eq!(bare.ept_structures, Geometry::default().ept_structures);
            assert!(bare.guest_physical.is_empty());
        }
    }
}
