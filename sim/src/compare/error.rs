//! Why a comparison could not be made.

use super::work::WorkError;
use isa::address::LinearAddress;
use mmu::Fault;
use mmu::ram::RamError;
use mmu::tables::TablesError;
use mmu::tlb::GeometryError;

/// The machine of a strategy could not be built, or could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// The host has no room for guest memory.
    #[error(transparent)]
    Ram(#[from] RamError),
    /// A geometry that cannot be.
    #[error("the TLB of the processor: {0}")]
    Geometry(#[from] GeometryError),
    /// A table edit failed.
    #[error("edit {edit}: {source}")]
    Edit {
        /// The number of the edit.
        edit: u64,
        /// Why.
        source: TablesError,
    },
    /// The tag words of the profile `extended`.
    #[error("tag words: {0}")]
    TagWord(#[from] mmu::tag_word::TagWordError),
    /// The tables of an address space could not be made.
    #[error("page tables: {0}")]
    Tables(#[from] TablesError),
    /// An access to a mapped page was refused.
    #[error("strategy {strategy}: an access to {address}, which is mapped, was refused: {fault}")]
    Refused {
        /// Which strategy.
        strategy: String,
        /// Where.
        address: LinearAddress,
        /// Why.
        fault: Fault,
    },
    /// More guests or processes than there is room for.
    #[error("{what}: {given} are more than {most}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        given: usize,
        /// How many there may be.
        most: usize,
    },
}

/// A comparison could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// The work.
    #[error(transparent)]
    Work(#[from] WorkError),
    /// A machine.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// No such strategy.
    #[error("there is no strategy {name}; there are {known}")]
    UnknownStrategy {
        /// The name.
        name: String,
        /// The names that there are.
        known: String,
    },
    /// No such processor.
    #[error("{0}")]
    Processor(String),
}

impl CompareError {
    /// The processor of a name or file, with its geometry, as an error.
    pub(super) fn processor(reason: impl ToString) -> Self {
        Self::Processor(reason.to_string())
    }
}
