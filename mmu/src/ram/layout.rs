//! Where memory is.

use super::RamError;
use isa::address::{HostPhysicalAddress, PAGE_SIZE};

/// Whether memory can be written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MemoryKind {
    /// Reads and writes.
    ReadWrite,
    /// Reads; writes are ignored, as of a ROM.
    ReadOnly,
}

/// Consecutive host-physical addresses that are memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct MemoryRange {
    /// The first address, a multiple of the page size.
    pub start: HostPhysicalAddress,
    /// How many bytes: a multiple of the page size.
    pub bytes: u64,
    /// What can be done with them.
    pub kind: MemoryKind,
}

impl MemoryRange {
    /// Memory that can be written.
    #[must_use]
    pub const fn ram(start: HostPhysicalAddress, bytes: u64) -> Self {
        Self { start, bytes, kind: MemoryKind::ReadWrite }
    }

    /// Memory whose writes are ignored.
    #[must_use]
    pub const fn rom(start: HostPhysicalAddress, bytes: u64) -> Self {
        Self { start, bytes, kind: MemoryKind::ReadOnly }
    }

    /// The pages of the range.
    pub(super) const fn pages(&self) -> core::ops::Range<u64> {
        self.start.page_number()..self.start.page_number() + self.bytes / PAGE_SIZE
    }
}

/// Memory between two holes, of whatever kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Extent {
    start: u64,
    bytes: u64,
}

impl Extent {
    const NOTHING: Self = Self { start: 0, bytes: 0 };

    const fn end(self) -> u64 {
        self.start + self.bytes
    }

    /// Whether bytes are in the extent.
    #[inline(always)]
    pub(super) const fn contains(self, address: u64, bytes: u64) -> bool {
        // An address below the start is far behind the end.
        match address.wrapping_sub(self.start).checked_add(bytes) {
            Some(end) => end <= self.bytes,
            None => false,
        }
    }
}

/// All extents in the order of their addresses, with holes between them.
#[derive(Clone, Debug, Default)]
pub(super) struct Extents(Vec<Extent>);

impl Extents {
    /// The extents of some ranges in any order.
    ///
    /// # Errors
    ///
    /// [`RamError::Size`] and [`RamError::Overlap`].
    pub(super) fn of(ranges: &[MemoryRange], limit: u64) -> Result<Self, RamError> {
        let mut sorted = ranges.to_vec();
        sorted.sort_unstable_by_key(|range| range.start);
        let mut extents: Vec<Extent> = Vec::new();
        for MemoryRange { start, bytes, .. } in sorted {
            let fits = start.0.checked_add(bytes).is_some_and(|end| end <= limit);
            if bytes == 0 || !(start.0 | bytes).is_multiple_of(PAGE_SIZE) || !fits {
                return Err(RamError::Size { start, bytes });
            }
            match extents.last_mut() {
                Some(last) if last.end() > start.0 => return Err(RamError::Overlap { address: start }),
                Some(last) if last.end() == start.0 => last.bytes += bytes,
                _ => extents.push(Extent { start: start.0, bytes }),
            }
        }
        if extents.is_empty() {
            return Err(RamError::Size { start: HostPhysicalAddress(0), bytes: 0 });
        }
        Ok(Self(extents))
    }

    /// The largest, where most accesses go.
    pub(super) fn largest(&self) -> Extent {
        self.0.iter().copied().max_by_key(|extent| extent.bytes).unwrap_or(Extent::NOTHING)
    }

    /// The first address behind all.
    pub(super) fn end(&self) -> u64 {
        self.0.last().map_or(0, |last| last.end())
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> u64 {
        self.0.iter().map(|extent| extent.bytes).sum()
    }

    /// Whether bytes are in one extent.
    ///
    /// # Errors
    ///
    /// The first address that is not.
    pub(super) fn check(&self, address: HostPhysicalAddress, bytes: u64) -> Result<(), HostPhysicalAddress> {
        match self.0.iter().find(|extent| extent.contains(address.0, 0)) {
            Some(extent) if extent.contains(address.0, bytes) => Ok(()),
            Some(extent) => Err(HostPhysicalAddress(extent.end())),
            None => Err(address),
        }
    }
}
