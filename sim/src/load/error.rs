//! Why an image is refused: which file, which place in it, and what was expected there.

use isa::address::HostPhysicalAddress;
use std::fmt;
use thiserror::Error;

/// An image that cannot be loaded.
#[derive(Debug, Error)]
#[error("{file}: {place}: {problem}")]
pub struct LoadError {
    /// The image.
    pub file: String,
    /// Where in it, or which of the things that go with it.
    pub place: Place,
    /// What is wrong there.
    pub problem: Box<Problem>,
}

/// A place in an image, or one of the things that go with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// The image as a whole.
    Image,
    /// A field of a header.
    Field {
        /// The header.
        header: &'static str,
        /// The field, as the format's document names it.
        field: &'static str,
    },
    /// A program header of an ELF image or what it loads, from 0.
    Segment(usize),
    /// What the kernel's part of an image becomes in memory.
    Kernel,
    /// The compressed kernel in a bzImage.
    Payload,
    /// A module, from 0.
    Module(usize),
    /// The initial RAM disk.
    Initrd,
    /// The command line.
    CommandLine,
    /// What the protocol hands over beside the image; the name says which structure.
    Information(&'static str),
    /// The amount of memory.
    Memory,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image => write!(f, "the image"),
            Self::Field { header, field } => write!(f, "{header}, {field}"),
            Self::Segment(number) => write!(f, "segment {number}"),
            Self::Kernel => write!(f, "the kernel"),
            Self::Payload => write!(f, "the compressed kernel"),
            Self::Module(number) => write!(f, "module {number}"),
            Self::Initrd => write!(f, "the initial RAM disk"),
            Self::CommandLine => write!(f, "the command line"),
            Self::Information(structure) => write!(f, "{structure}"),
            Self::Memory => write!(f, "the memory"),
        }
    }
}

/// What is wrong at a [`Place`].
#[derive(Debug, Error)]
pub enum Problem {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Read(#[from] std::io::Error),
    /// The file ends before what the headers promise.
    #[error("{needs:#x} bytes from offset {offset:#x} are promised, and the file has {has:#x} bytes")]
    Truncated {
        /// Where the bytes begin.
        offset: u64,
        /// How many.
        needs: u64,
        /// The length of the file.
        has: u64,
    },
    /// A value that cannot be.
    #[error("{found:#x}; expected {expected}")]
    Unexpected {
        /// The value.
        found: u64,
        /// What would be right.
        expected: &'static str,
    },
    /// Something that must be there.
    #[error("expected {0}")]
    Missing(&'static str),
    /// Something that the protocol does not have or that is not modelled.
    #[error("{0}")]
    Unsupported(&'static str),
    /// Bytes that would lie outside RAM.
    #[error("{bytes:#x} bytes at {address} are outside RAM; {ram}")]
    OutsideRam {
        /// Where they would begin.
        address: HostPhysicalAddress,
        /// How many they are.
        bytes: u64,
        /// The RAM that there is.
        ram: String,
    },
    /// Bytes that would lie where something else lies.
    #[error("{bytes:#x} bytes at {address} overlap {other} at {at}")]
    Overlap {
        /// Where they would begin.
        address: HostPhysicalAddress,
        /// How many they are.
        bytes: u64,
        /// What lies there.
        other: Place,
        /// Where that begins.
        at: HostPhysicalAddress,
    },
    /// No free RAM of this size where the protocol wants it.
    #[error("no {bytes:#x} free bytes of RAM between {from:#x} and {below:#x}; {ram}")]
    NoRoom {
        /// How many bytes.
        bytes: u64,
        /// The lowest address.
        from: u64,
        /// The address behind the highest.
        below: u64,
        /// The RAM that there is.
        ram: String,
    },
    /// More than the protocol or the image takes.
    #[error("{given} is more than {most}, the most that {limit}")]
    TooMany {
        /// How many or how much.
        given: u64,
        /// The most.
        most: u64,
        /// What sets the limit.
        limit: &'static str,
    },
    /// A byte of 0 in a string that ends at its first byte of 0.
    #[error("byte {0} is 0, where the string would end")]
    Nul(usize),
    /// Compressed data that cannot be decompressed.
    #[error("not {format}: {reason}")]
    Compressed {
        /// The format.
        format: &'static str,
        /// What the decompressor says.
        reason: String,
    },
}

/// A place and its problem; the file is added by [`load`](super::load).
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) place: Place,
    pub(super) problem: Problem,
}

impl Refusal {
    pub(super) fn of(self, file: &str) -> LoadError {
        LoadError { file: file.to_owned(), place: self.place, problem: Box::new(self.problem) }
    }
}

impl Place {
    /// This place, refused.
    pub(super) const fn refused(self, problem: Problem) -> Refusal {
        Refusal { place: self, problem }
    }

    /// A field of a header that holds an impossible value.
    pub(super) fn unexpected(self, found: impl Into<u64>, expected: &'static str) -> Refusal {
        self.refused(Problem::Unexpected { found: found.into(), expected })
    }
}
