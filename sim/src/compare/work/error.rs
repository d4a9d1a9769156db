//! Why there is no work.

use isa::address::LinearAddress;
use std::fmt::Display;
use std::path::PathBuf;
use traces::TraceError;

/// The work cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkError {
    /// An option cannot be.
    #[error("{field} is {value}, expected {expected}")]
    Option {
        /// The field of [`WorkOptions`](super::WorkOptions), as its file has it.
        field: &'static str,
        /// Its value; of a list the number of entries.
        value: String,
        /// What is possible.
        expected: String,
    },
    /// A trace cannot be read.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// A trace touches an address that 4-level paging does not translate.
    #[error("{}: instruction {instruction} touches {address}, which is not canonical", trace.display())]
    Address {
        /// The trace.
        trace: PathBuf,
        /// Instructions of the trace before the one in question.
        instruction: u64,
        /// The address.
        address: LinearAddress,
    },
    /// The processes of a guest touch more than fits into its memory.
    #[error("guest {guest} needs more than {} GByte of memory; use smaller guest-pages or more guests", .bytes >> 30)]
    Memory {
        /// The guest, an index into [`Topology::guests`](super::Topology::guests).
        guest: u16,
        /// Bytes that it has.
        bytes: u64,
    },
}

impl WorkError {
    pub(super) fn option(field: &'static str, value: impl Display, expected: impl Into<String>) -> Self {
        Self::Option { field, value: value.to_string(), expected: expected.into() }
    }
}
