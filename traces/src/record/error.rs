//! Why a recording fails.

use crate::error::TraceError;
use std::io;
use std::path::PathBuf;

/// A program could not be recorded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// There is no such program, also not in a folder of `PATH`.
    #[error("{}: no such program: {source}", program.display())]
    NotFound {
        /// The program as it was named.
        program: PathBuf,
        /// The reason that the operating system gave.
        source: io::Error,
    },
    /// The file exists and cannot be executed.
    #[error("{}: cannot be executed: {source}", program.display())]
    NotExecutable {
        /// The program as it was named.
        program: PathBuf,
        /// The reason that the operating system gave.
        source: io::Error,
    },
    /// The program is not a 64-bit x86 program.
    #[error("{}: starts with code segment {code_segment:#x}, expected a 64-bit x86 program", program.display())]
    NotX8664 {
        /// The program as it was named.
        program: PathBuf,
        /// The code segment in which it starts.
        code_segment: u64,
    },
    /// The operating system refused to trace the program.
    #[error("{}: cannot {action}: {source}", program.display())]
    Refused {
        /// The program as it was named.
        program: PathBuf,
        /// What was attempted.
        action: &'static str,
        /// The reason that the operating system gave.
        source: io::Error,
    },
    /// The program executes instructions that cannot be read.
    #[error("{}: the instruction at {rip:#x} was executed but cannot be read", program.display())]
    Unreadable {
        /// The program as it was named.
        program: PathBuf,
        /// The address.
        rip: u64,
    },
    /// The trace could not be written.
    #[error(transparent)]
    Trace(#[from] TraceError),
}
