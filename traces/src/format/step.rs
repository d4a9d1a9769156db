//! A step as the writer takes it and the reader gives it.

use super::registers::Written;
use isa::registers::Registers;

/// The longest instruction (SDM Vol. 2A, 2.3.11).
pub const MAX_INSTRUCTION: usize = 15;

/// How a replay obtains the effect of a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StepKind {
    /// The engine computes it; the record serves to verify.
    Computed,
    /// It is taken from the record, because silicon or the kernel chose it or the engine does not model it.
    Taken,
}

/// What a store left in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content<'a> {
    /// The bytes.
    Bytes(&'a [u8]),
    /// The CRC-32 (as in gzip) of many bytes that a computed step stored.
    Checksum {
        /// How many bytes.
        size: u32,
        /// Their checksum.
        crc32: u32,
    },
}

/// Memory that a step wrote: after the step, these addresses hold this content.
///
/// A conditional store (MASKMOVDQU, CMPXCHG that fails) appears with its full operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Store<'a> {
    /// The lowest linear address.
    pub address: u64,
    /// What is there now.
    pub content: Content<'a>,
}

impl Store<'_> {
    /// Bytes stored.
    #[must_use]
    pub const fn size(&self) -> usize {
        match self.content {
            Content::Bytes(bytes) => bytes.len(),
            Content::Checksum { size, .. } => size as usize,
        }
    }
}

/// A step to be written.
#[derive(Clone, Copy, Debug)]
pub struct StepRecord<'a> {
    /// How a replay obtains its effect.
    pub kind: StepKind,
    /// The bytes of the instruction, 1 to 15.
    pub bytes: &'a [u8],
    /// All registers after it.
    pub after: &'a Registers,
    /// The memory that it wrote. A taken step gives all bytes.
    pub stores: &'a [Store<'a>],
}

/// A step as it is read.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// Steps before this one.
    pub index: u64,
    /// The address of the instruction.
    pub rip: u64,
    /// How a replay obtains its effect.
    pub kind: StepKind,
    /// The bytes of the instruction.
    pub bytes: &'a [u8],
    /// Registers that may have changed; every other register is unchanged.
    pub written: Written,
    /// All registers after the step.
    pub after: &'a Registers,
    /// The memory that it wrote.
    pub stores: Stores<'a>,
    /// The number of the instruction among those of its chunk.
    pub(crate) entry: u32,
}

/// The stores of a step.
#[derive(Clone, Copy, Debug)]
pub struct Stores<'a> {
    pub(crate) list: &'a [StoreAt],
    pub(crate) bytes: &'a [u8],
}

/// Where the content of a store lies among the bytes of its step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoreAt {
    pub(crate) address: u64,
    pub(crate) size: u32,
    pub(crate) place: Place,
}

/// The place of a store's content.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    From(u32),
    Checksum(u32),
}

impl<'a> Stores<'a> {
    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether the step stored nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The stores in the order in which they were recorded.
    pub fn iter(&self) -> impl Iterator<Item = Store<'a>> + use<'a> {
        let Self { list, bytes } = *self;
        list.iter().map(move |at| at.view(bytes))
    }
}

impl StoreAt {
    pub(crate) fn view<'a>(&self, bytes: &'a [u8]) -> Store<'a> {
        let content = match self.place {
            Place::From(start) => {
                let start = start as usize;
                Content::Bytes(&bytes[start..start + self.size as usize])
            }
            Place::Checksum(crc32) => Content::Checksum { size: self.size, crc32 },
        };
        Store { address: self.address, content }
    }
}
