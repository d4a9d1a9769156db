//! What can go wrong with a trace file, with the file, the place and what was expected there.

use std::io;
use std::path::{Path, PathBuf};

/// A trace could not be read or written.
///
/// Offsets are bytes from the start of the file, for compressed files (`.gz`, `.xz`) of the decompressed data.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The operating system refused an operation.
    #[error("{}: cannot {action}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What was attempted.
        action: &'static str,
        /// The reason that the operating system gave.
        source: io::Error,
    },
    /// The file does not start as a file of this kind does.
    #[error("{}: expected {expected} at offset 0, found {found}", file.display())]
    Foreign {
        /// The file.
        file: PathBuf,
        /// Which kind of file was expected.
        expected: &'static str,
        /// The first bytes of the file in hexadecimal.
        found: String,
    },
    /// The file has a format version that this reader does not know.
    #[error("{}: format version {found} at offset 8, expected {supported}", file.display())]
    Version {
        /// The file.
        file: PathBuf,
        /// The version of the file.
        found: u32,
        /// The version that can be read.
        supported: u32,
    },
    /// The file ends where more was expected.
    #[error("{}: the file ends at offset {offset}, expected {expected}", file.display())]
    Truncated {
        /// The file.
        file: PathBuf,
        /// Where the part that is missing should start.
        offset: u64,
        /// What was expected there.
        expected: &'static str,
    },
    /// A part of the file does not have the checksum that was stored with it.
    #[error("{}: checksum of the {part} at offset {offset} is {computed:#010x}, expected {stored:#010x}", file.display())]
    Checksum {
        /// The file.
        file: PathBuf,
        /// Where the part starts.
        offset: u64,
        /// Which part.
        part: &'static str,
        /// The checksum in the file.
        stored: u32,
        /// The checksum of what was read.
        computed: u32,
    },
    /// The file claims a size that no writer produces; nothing was allocated.
    #[error("{}: {part} at offset {offset} claims {claimed}, expected at most {limit}", file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
        /// Where the claim stands.
        offset: u64,
        /// What is too large.
        part: &'static str,
        /// The claim.
        claimed: u64,
        /// The largest value that is accepted.
        limit: u64,
    },
    /// A value is not one that belongs there.
    #[error("{}: at offset {offset} expected {expected}", file.display())]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// Where.
        offset: u64,
        /// What was expected there.
        expected: String,
    },
    /// A compressed section holds something that no writer produces.
    #[error(
        "{}: section '{section}' of the chunk at offset {offset}: at byte {at} expected {expected}",
        file.display()
    )]
    Section {
        /// The file.
        file: PathBuf,
        /// Where the chunk starts.
        offset: u64,
        /// Which section of the chunk.
        section: &'static str,
        /// The byte within the decompressed section (for steps: within the column that ran out).
        at: usize,
        /// What was expected there.
        expected: &'static str,
    },
    /// A line of a text trace cannot be read.
    #[error("{}: line {line}: expected {expected}", file.display())]
    Line {
        /// The file.
        file: PathBuf,
        /// The number of the line, from 1.
        line: u64,
        /// What was expected.
        expected: &'static str,
    },
    /// The writer was asked for something that a trace cannot hold.
    #[error("{}: the trace cannot hold this: {reason}", file.display())]
    Refused {
        /// The file that is being written.
        file: PathBuf,
        /// Why not.
        reason: &'static str,
    },
}

impl TraceError {
    pub(crate) fn io(file: &Path, action: &'static str, source: io::Error) -> Self {
        Self::Io { file: file.to_owned(), action, source }
    }

    pub(crate) fn corrupt(file: &Path, offset: u64, expected: impl Into<String>) -> Self {
        Self::Corrupt { file: file.to_owned(), offset, expected: expected.into() }
    }

    /// The bytes of `head` in hexadecimal, for [`TraceError::Foreign`].
    pub(crate) fn hex(head: &[u8]) -> String {
        if head.is_empty() {
            return "an empty file".to_owned();
        }
        head.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
    }
}

/// A decompressed section cannot be decoded; the chunk turns it into a [`TraceError::Section`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Malformed {
    /// The byte within the section.
    pub(crate) at: usize,
    /// What was expected there.
    pub(crate) expected: &'static str,
}
