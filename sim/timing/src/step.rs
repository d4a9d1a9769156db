//! What the machine reports: the accesses of an instruction and how each was translated.

use isa::address::{AccessKind, HostPhysicalAddress};

/// Work that has happened and is to be charged.
#[derive(Clone, Copy, Debug, Default)]
pub struct Step<'a> {
    /// How many instructions completed: 1 for a plain step, 0 for work between instructions (delivery of an event, an
    /// instruction that faulted), more where the accesses of several are handed over together.
    pub instructions: u32,
    /// Instruction fetches and data accesses, in the order in which they happened.
    pub accesses: &'a [Access<'a>],
}

/// One memory access of a step, within one page.
///
/// An access that crosses a page boundary is two accesses, because each page has its own translation. One that crosses
/// a cache line is a single access; the model touches both lines.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    /// Whether it is an instruction fetch, a data read or a data write.
    pub kind: AccessKind,
    /// The first byte, after all translation.
    pub address: HostPhysicalAddress,
    /// How many bytes; 0 for an access that was translated and then not made, because it faulted or only asked for the
    /// translation. Its address is not looked at.
    pub bytes: u16,
    /// What the TLB did for it.
    pub translation: Translation<'a>,
}

/// Where the translation of an access came from.
#[derive(Clone, Copy, Debug)]
pub enum Translation<'a> {
    /// No translation was looked up: paging is off, or an earlier access of the step has already been charged for it.
    None,
    /// A hit in the first-level TLB.
    L1,
    /// A miss in the first level and a hit in the second.
    L2,
    /// A miss in both levels, then a page walk.
    Walk {
        /// The paging-structure entries that the walk read from memory, in order. What paging-structure caches saved
        /// is not among them.
        references: &'a [WalkReference],
    },
}

/// One paging-structure entry that a page walk read (SDM Vol. 3A, chapter 5, and Vol. 3C, 31.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WalkReference {
    /// Which of the two translations it belongs to.
    pub dimension: Dimension,
    /// The level of the table that holds the entry: 1 for a page table (or the EPT page table) up to 5.
    pub level: u8,
    /// Where the entry lies in the machine's memory.
    pub address: HostPhysicalAddress,
}

/// The two translations of a two-dimensional page walk.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Dimension {
    /// The paging structures that CR3 locates, from linear to guest-physical addresses. Without EPT all references are
    /// of this kind.
    Guest,
    /// The EPT paging structures that EPTP locates, from guest-physical to host-physical addresses.
    Ept,
}
