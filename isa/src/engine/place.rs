//! Where blocks are, and how they are found again.

use crate::address::HostPhysicalAddress;
use crate::mode::CodeMode;

/// The number of a block.
pub(super) type BlockId = u32;

/// Where a block is, and for what it was decoded.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place {
    /// The first byte.
    pub(super) first: HostPhysicalAddress,
    /// The page of its last byte, if that is another.
    pub(super) second: Option<HostPhysicalAddress>,
    pub(super) mode: CodeMode,
    /// Bytes up to the limit of CS, as far as a block looks.
    pub(super) in_segment: usize,
}

/// A block at a linear address, valid while the stamp is current.
#[derive(Clone, Copy)]
pub(super) struct Link {
    pub(super) rip: u64,
    pub(super) stamp: u64,
    pub(super) block: BlockId,
}

impl Link {
    pub(super) const NONE: Self = Self { rip: 0, stamp: u64::MAX, block: 0 };

    #[inline(always)]
    pub(super) fn leads_to(self, rip: u64, stamp: u64) -> bool {
        self.rip == rip && self.stamp == stamp
    }
}
