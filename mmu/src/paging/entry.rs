//! Entries of guest paging structures.

use crate::context::{Context, Controls, PagingMode};
use crate::ept;
use crate::translation::{GuestPageSize, Rights};

/// An entry of a guest paging structure (SDM tables 5-8 to 5-11 and 5-14 to 5-20).
#[derive(Clone, Copy)]
pub(super) struct Entry(pub(super) u64);

impl Entry {
    pub(super) const PRESENT: u64 = 1 << 0;
    pub(super) const WRITE: u64 = 1 << 1;
    pub(super) const USER: u64 = 1 << 2;
    pub(super) const ACCESSED: u64 = 1 << 5;
    pub(super) const DIRTY: u64 = 1 << 6;
    pub(super) const MAPS_PAGE: u64 = 1 << 7;
    pub(super) const GLOBAL: u64 = 1 << 8;
    pub(super) const EXECUTE_DISABLE: u64 = 1 << 63;
    pub(super) const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
    /// Bits 62:52: ignored by 4-level and 5-level paging, reserved by PAE paging.
    const IGNORED_BY_LONG_MODE: u64 = 0x7ff0_0000_0000_0000;

    pub(super) const fn has(self, bits: u64) -> bool {
        self.0 & bits == bits
    }

    pub(super) const fn page_size(self, level: u8) -> Option<GuestPageSize> {
        match level {
            1 => Some(GuestPageSize::Size4K),
            2 if self.has(Self::MAPS_PAGE) => Some(GuestPageSize::Size2M),
            3 if self.has(Self::MAPS_PAGE) => Some(GuestPageSize::Size1G),
            _ => None,
        }
    }

    pub(super) fn rights(self) -> Rights {
        let mut rights = Rights::empty();
        rights.set(Rights::WRITE, self.has(Self::WRITE));
        rights.set(Rights::USER, self.has(Self::USER));
        rights.set(Rights::EXECUTE, !self.has(Self::EXECUTE_DISABLE));
        rights
    }

    /// Whether the entry is present and nothing in it needs a closer look.
    #[inline(always)]
    pub(super) const fn is_plain(self, level: u8, always_reserved: u64) -> bool {
        let large = if level == 1 { 0 } else { Self::MAPS_PAGE };
        self.0 & (always_reserved | large | Self::PRESENT) == Self::PRESENT
    }

    /// The bits that must be 0 in a present entry of this level.
    pub(super) fn reserved_bits(self, level: u8, context: &Context) -> u64 {
        always_reserved(context)
            | match level {
                5 | 4 => Self::MAPS_PAGE,
                3 if !context.controls.contains(Controls::PAGES_1G) => Self::MAPS_PAGE,
                3 if self.has(Self::MAPS_PAGE) => 0x3fff_e000,
                2 if self.has(Self::MAPS_PAGE) => 0x001f_e000,
                _ => 0,
            }
    }
}

/// The bits that are reserved in every entry: those of SDM tables 5-9 to 5-11 under PAE paging.
pub(super) const fn always_reserved(context: &Context) -> u64 {
    let nxe = context.controls.contains(Controls::EXECUTE_DISABLE);
    let pae = matches!(context.mode, PagingMode::Pae);
    ept::address_bits_from(context.physical_address_width)
        | if nxe { 0 } else { Entry::EXECUTE_DISABLE }
        | if pae { Entry::IGNORED_BY_LONG_MODE } else { 0 }
}

/// The bits that are reserved in a PDPTE of PAE paging (SDM table 5-8).
pub(super) const fn reserved_in_pdpte(context: &Context) -> u64 {
    let address = ept::address_bits_from(context.physical_address_width);
    0x1e6 | address | Entry::IGNORED_BY_LONG_MODE | Entry::EXECUTE_DISABLE
}
