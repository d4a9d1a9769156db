//! Replay: a recorded program runs again, on the simulated machine.
//!
//! The record gives what a machine cannot compute (the content of memory that the program touches for the first
//! time, what the kernel wrote, results that silicon chose), each at its instruction. Everything else is computed:
//! instructions by the engine, translations by page tables in guest RAM through the TLB of a named processor.
//!
//! Reading order: [`options`], `space` (the address space), `machine`, `run` (the two loops: free and verifying),
//! `verify`, `watch` (the oracle), `meter` (accesses to the cost model), [`report`].

mod foreign;
mod machine;
pub(crate) mod meter;
pub mod options;
pub mod report;
mod run;
mod space;
mod verify;
mod watch;

pub use options::{ReplayOptions, RunAs, Verify, WalkCaches};
pub use report::ReplayReport;
pub use space::SpaceError;
pub use verify::Divergence;
pub use watch::{OracleReport, Oracular};

use mmu::tables::TablesError;
use traces::TraceError;

/// A trace cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The trace cannot be read.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The program's memory does not fit.
    #[error(transparent)]
    Space(#[from] SpaceError),
    /// The first page tables cannot be built.
    #[error("cannot build the page tables: {0}")]
    Tables(#[from] TablesError),
    /// There is no such processor, or its file is refused.
    #[error(transparent)]
    Processor(#[from] timing::processor::SelectError),
    /// Its TLB cannot be built.
    #[error(transparent)]
    Geometry(#[from] options::GeometryMismatch),
    /// Its TLB cannot be built.
    #[error(transparent)]
    Tlb(#[from] mmu::tlb::GeometryError),
    /// The host refuses the memory.
    #[error("cannot reserve guest RAM: {0}")]
    Ram(#[from] mmu::ram::RamError),
    /// The memory that an instruction touches cannot be there.
    #[error("instruction {index} of the trace: {source}")]
    Step {
        /// Instructions before it.
        index: u64,
        /// Why.
        source: SpaceError,
    },
    /// An option does not go with this kind of trace.
    #[error("{0}")]
    Option(&'static str),
}

/// Replays a trace of any known format.
///
/// `progress` is told now and then how many instructions are done.
///
/// # Errors
///
/// [`ReplayError`]; a divergence is not an error but a result.
pub fn replay(options: &ReplayOptions, progress: impl FnMut(u64)) -> Result<ReplayReport, ReplayError> {
    run::replay(options, progress)
}
