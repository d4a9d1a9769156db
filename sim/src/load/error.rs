//! Why an image cannot be loaded.

use super::Range;

/// Why an image cannot be loaded.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LoadError {
    /// No header of a protocol that is known.
    #[error(
        "no multiboot header in the first 8192 bytes (1BADB002H, flags and a checksum, on a multiple of 4)"
    )]
    NoHeader,
    /// The header asks for something that is not offered.
    #[error("the multiboot header asks for {asked} (flags {flags:#x}), which is not offered")]
    Asked {
        /// What.
        asked: &'static str,
        /// The flags of the header.
        flags: u32,
    },
    /// The ELF file is damaged.
    #[error("the ELF file is damaged: {0}")]
    Elf(String),
    /// A segment would be outside RAM.
    #[error("{what} is to be at {range}, and RAM is {ram}")]
    OutsideRam {
        /// What would be there.
        what: String,
        /// Where.
        range: Range,
        /// Where there is RAM.
        ram: String,
    },
    /// Two pieces would overlap.
    #[error("{one} at {at} overlaps {other}")]
    Overlap {
        /// What.
        one: String,
        /// Where it is.
        at: Range,
        /// What else is there.
        other: String,
    },
    /// Not enough RAM for what belongs to the image.
    #[error("no room in RAM for {what} of {bytes} bytes")]
    NoRoom {
        /// What.
        what: String,
        /// Its size.
        bytes: u64,
    },
    /// The entry point does not fit the protocol.
    #[error("the entry point {0:#x} is not below 4 GiB")]
    Entry(u64),
}
