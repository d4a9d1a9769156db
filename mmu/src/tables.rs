//! Builders of paging structures in RAM, for loaders and tests.
//!
//! [`PageTables`] maps linear to guest-physical addresses, [`EptTables`] guest-physical to host-physical ones. Both
//! take their frames from a [`FrameAllocator`]; they write entries through [`Ram`](crate::Ram) and keep nothing in memory of
//! their own, so that the guest may change the tables too.

mod builder;

pub use builder::{EptTables, Home, Leaf, PageTables};

use crate::context::PagingMode;
use crate::ram::AccessError;
use crate::translation::PageSize;
use isa::address::{GuestPhysicalAddress, HostPhysicalAddress, LinearAddress, PAGE_SIZE};

/// Why a mapping could not be made or changed. Pages before the one in question may have been mapped.
#[derive(Debug, thiserror::Error)]
pub enum TablesError {
    /// An address or the length is not a multiple of the page size.
    #[error("{address:#x} is not a multiple of the {size:?} page size")]
    Misaligned {
        /// The address or length.
        address: u64,
        /// The page size.
        size: PageSize,
    },
    /// The range leaves the addresses that the tables translate.
    #[error("{bytes:#x} bytes at {address:#x} are outside the addresses that the tables translate")]
    Range {
        /// Start of the range.
        address: u64,
        /// Length of the range.
        bytes: u64,
    },
    /// The page is mapped already, alone or within a larger page, or smaller pages are mapped in it.
    #[error("{address:#x} is mapped already, at level {level}")]
    Mapped {
        /// The page.
        address: u64,
        /// Level of the entry in the way.
        level: u8,
    },
    /// The page is not mapped.
    #[error("{address:#x} is not mapped")]
    NotMapped {
        /// The page.
        address: u64,
    },
    /// The page is mapped with another size than asked for.
    #[error("{address:#x} is mapped by an entry of level {level}, not of the page size asked for")]
    OtherSize {
        /// The page.
        address: u64,
        /// Level of the entry that maps it.
        level: u8,
    },
    /// The mode has no tables, or none that are made here: those of 32-bit paging.
    #[error("paging structures of paging mode {0:?} cannot be made")]
    NoTables(PagingMode),
    /// The mode has no pages of the size.
    #[error("paging mode {mode:?} has no {size:?} pages")]
    NoPages {
        /// The mode.
        mode: PagingMode,
        /// The page size.
        size: PageSize,
    },
    /// The frame allocator is empty.
    #[error("no frame is left for a paging structure")]
    OutOfFrames,
    /// The frame of a paging structure has no home in host-physical memory.
    #[error("EPT does not map the paging structure at guest-physical {0}")]
    NoHome(GuestPhysicalAddress),
    /// RAM refused an access to a paging structure.
    #[error(transparent)]
    Ram(#[from] AccessError),
}

bitflags::bitflags! {
    /// What an entry of guest paging that maps a page permits and says, at the positions of the entry's bits.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct PagePermissions: u64 {
        /// R/W.
        const WRITE = 1 << 1;
        /// U/S.
        const USER = 1 << 2;
        /// The accessed flag, set in advance.
        const ACCESSED = 1 << 5;
        /// The dirty flag, set in advance.
        const DIRTY = 1 << 6;
        /// A global page.
        const GLOBAL = 1 << 8;
        /// XD.
        const EXECUTE_DISABLE = 1 << 63;
    }
}

/// An address of memory, before or after EPT.
pub trait PhysicalAddress: Copy {
    /// The address with this value.
    fn from_value(value: u64) -> Self;
    /// The value.
    fn value(self) -> u64;
}

impl PhysicalAddress for GuestPhysicalAddress {
    fn from_value(value: u64) -> Self {
        Self(value)
    }
    fn value(self) -> u64 {
        self.0
    }
}

impl PhysicalAddress for HostPhysicalAddress {
    fn from_value(value: u64) -> Self {
        Self(value)
    }
    fn value(self) -> u64 {
        self.0
    }
}

/// Hands out 4-KByte frames: given back ones first, then the next of a range.
#[derive(Clone, Debug)]
pub struct FrameAllocator<A> {
    next: A,
    left: u64,
    free: Vec<A>,
}

impl<A: PhysicalAddress> FrameAllocator<A> {
    /// An allocator of `frames` frames from `start` on, which is rounded up to a frame.
    #[must_use]
    pub fn new(start: A, frames: u64) -> Self {
        let next = A::from_value(start.value().next_multiple_of(PAGE_SIZE));
        Self { next, left: frames, free: Vec::new() }
    }

    /// Takes a frame. What is in it is for the caller to clear.
    ///
    /// # Errors
    ///
    /// [`TablesError::OutOfFrames`].
    pub fn allocate(&mut self) -> Result<A, TablesError> {
        if let Some(frame) = self.free.pop() {
            return Ok(frame);
        }
        self.left = self.left.checked_sub(1).ok_or(TablesError::OutOfFrames)?;
        let frame = self.next;
        self.next = A::from_value(frame.value() + PAGE_SIZE);
        Ok(frame)
    }

    /// Gives a frame back.
    pub fn release(&mut self, frame: A) {
        self.free.push(frame);
    }

    /// The first frame that was never handed out.
    #[must_use]
    pub const fn next_frame(&self) -> A {
        self.next
    }

    /// Frames that can still be taken.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left + self.free.len() as u64
    }
}

/// The last page of a range of whole pages, counted from `address`.
pub(crate) fn pages_of(
    address: LinearAddress,
    target: u64,
    bytes: u64,
    size: PageSize,
) -> Result<u64, TablesError> {
    for value in [address.0, target, bytes] {
        if value & size.offset_mask() != 0 {
            return Err(TablesError::Misaligned { address: value, size });
        }
    }
    Ok(bytes >> size.shift())
}
