//! The keys of entries: address, size and tag in one word.

use super::tags::Tag;
use crate::translation::{GuestPageSize, PageSize};
use isa::address::{GuestPhysicalAddress, LinearAddress};

/// The addresses that keys are made of: canonical linear ones, and guest-physical ones.
pub(super) trait Address: Copy {
    /// The address as a number.
    fn bits(self) -> u64;

    /// The address from a key.
    fn from_bits(bits: u64) -> Self;
}

impl Address for LinearAddress {
    #[inline(always)]
    fn bits(self) -> u64 {
        self.0
    }

    fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

impl Address for GuestPhysicalAddress {
    #[inline(always)]
    fn bits(self) -> u64 {
        self.0
    }

    fn from_bits(bits: u64) -> Self {
        Self(bits & ((1 << 57) - 1))
    }
}

/// The size of the aligned range of addresses that an entry is used for: a page, or what an entry of a paging structure
/// controls.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Region(u8);

impl Region {
    /// Keys tell so many regions apart.
    pub(super) const CODES: usize = 4;

    /// The regions of pages, by code. The last has no page size.
    pub(super) const PAGES: [Self; Self::CODES] = [Self(0), Self(1), Self(2), Self(3)];

    /// A page of a size.
    #[inline(always)]
    pub(super) const fn page(size: PageSize) -> Self {
        Self(size as u8)
    }

    /// What an entry of level 2 to 5 controls: 2 MByte for level 2, 512 times as much for each level above.
    #[inline(always)]
    pub(super) const fn structure(level: u8) -> Self {
        Self(level - 1)
    }

    /// The level of the paging-structure entry that controls the region.
    pub(super) const fn level(self) -> u8 {
        self.0 + 1
    }

    /// The size of the page, or of the largest page in the region.
    pub(super) const fn page_size(self) -> PageSize {
        match self.0 {
            0 => PageSize::Size4K,
            1 => PageSize::Size2M,
            _ => PageSize::Size1G,
        }
    }

    /// How many low bits of an address are the offset in the region.
    #[inline(always)]
    pub(super) const fn shift(self) -> u32 {
        12 + 9 * self.0 as u32
    }

    /// The address bits below the region.
    #[inline(always)]
    pub(super) const fn offset_mask(self) -> u64 {
        (1 << self.shift()) - 1
    }

    /// What stands for the region in a key. An array never holds both regions of a code.
    #[inline(always)]
    pub(super) const fn code(self) -> usize {
        self.0 as usize % Self::CODES
    }
}

/// The size of what the tables map where an entry is from, when the entry may be a piece of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Origin(u8);

impl Origin {
    /// All origins that have pieces.
    pub(super) const ALL: [GuestPageSize; 3] =
        [GuestPageSize::Size2M, GuestPageSize::Size4M, GuestPageSize::Size1G];

    /// A page of a size, or what an entry controls that is as large.
    #[inline(always)]
    pub(super) const fn of(size: GuestPageSize) -> Self {
        Self(size.shift() as u8)
    }

    /// How many low bits of an address are the offset in it.
    #[inline(always)]
    pub(super) const fn shift(self) -> u32 {
        self.0 as u32
    }

    /// Whether an entry for a region is a piece of it.
    #[inline(always)]
    pub(super) const fn exceeds(self, region: Region) -> bool {
        self.shift() > region.shift()
    }
}

/// Address, region and tag in one word; 0 is a free way.
///
/// Bits 63:19 are address bits 56:12 (with the bits below the region 0), bits 18:17 the code of the region, bits 16:1
/// the tag, bit 0 is 1. Bits 63:57 of a canonical linear address equal bit 56; those of a guest-physical one are 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Key(u64);

impl Key {
    pub(super) const FREE: Self = Self(0);

    #[inline(always)]
    pub(super) const fn new(address: u64, region: Region, tag: Tag) -> Self {
        let page = (address & !region.offset_mask()) << 7;
        Self(page | (region.code() as u64) << 17 | (tag.0 as u64) << 1 | 1)
    }

    #[inline(always)]
    pub(super) const fn tag(self) -> Tag {
        Tag((self.0 >> 1) as u16)
    }

    #[inline(always)]
    pub(super) const fn code(self) -> usize {
        (self.0 >> 17) as usize % Region::CODES
    }

    /// The first address, with bits 63:57 equal to bit 56.
    #[inline(always)]
    pub(super) const fn address(self) -> u64 {
        (self.0 as i64 >> 7) as u64 & !0xfff
    }

    /// The bits in which two addresses differ for a key.
    #[inline(always)]
    pub(super) const fn differ(one: u64, other: u64) -> u64 {
        (one ^ other) << 7 >> 7
    }
}
