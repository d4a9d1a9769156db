//! The two formats of guest paging structures.

use super::entry::{Entry, always_reserved};
use crate::context::{Context, Controls};
use crate::ram::{AccessError, Ram};
use crate::translation::GuestPageSize;
use crate::walk::EntryWidth;
use isa::address::{HostPhysicalAddress, LinearAddress};

/// How entries are laid out in tables and bits in entries. P, R/W, U/S, A, D, PS and G are the same in all formats.
pub(super) trait Format {
    /// The width of an entry.
    const WIDTH: EntryWidth;
    /// The bits of CR3 and of entries that locate tables.
    const ADDRESS: u64;

    /// Where in a table of a level the entry for an address is.
    fn offset(address: LinearAddress, level: u8) -> u64;

    /// Reads an entry.
    fn read(ram: &Ram, at: HostPhysicalAddress) -> Result<Entry, AccessError>;

    /// The bits that are reserved in every entry.
    fn always_reserved(context: &Context) -> u64;

    /// The bits that must be 0 in a present entry of a level.
    fn reserved_bits(entry: Entry, level: u8, context: &Context) -> u64;

    /// The size of the page that a present entry maps, if it maps one.
    fn page_size(entry: Entry, level: u8, context: &Context) -> Option<GuestPageSize>;

    /// The address of the page that an entry maps.
    fn frame(entry: Entry, size: GuestPageSize) -> u64;

    /// The protection key of the page that an entry maps.
    fn key(entry: Entry) -> u8;
}

/// PAE, 4-level and 5-level paging: 512 entries of 8 bytes (SDM tables 5-8 to 5-11 and 5-14 to 5-20).
pub(super) struct Wide;

impl Format for Wide {
    const WIDTH: EntryWidth = EntryWidth::Eight;
    const ADDRESS: u64 = Entry::ADDRESS;

    #[inline(always)]
    fn offset(address: LinearAddress, level: u8) -> u64 {
        8 * (address.0 >> (3 + 9 * level) & 0x1ff)
    }

    #[inline(always)]
    fn read(ram: &Ram, at: HostPhysicalAddress) -> Result<Entry, AccessError> {
        Ok(Entry(ram.read::<u64>(at)?))
    }

    #[inline(always)]
    fn always_reserved(context: &Context) -> u64 {
        always_reserved(context)
    }

    fn reserved_bits(entry: Entry, level: u8, context: &Context) -> u64 {
        entry.reserved_bits(level, context)
    }

    #[inline(always)]
    fn page_size(entry: Entry, level: u8, _: &Context) -> Option<GuestPageSize> {
        entry.page_size(level)
    }

    #[inline(always)]
    fn frame(entry: Entry, size: GuestPageSize) -> u64 {
        entry.0 & Entry::ADDRESS & !size.offset_mask()
    }

    /// Bits 62:59, which are 0 under PAE paging.
    #[inline(always)]
    fn key(entry: Entry) -> u8 {
        (entry.0 >> 59 & 0xf) as u8
    }
}

/// 32-bit paging: 1024 entries of 4 bytes (SDM tables 5-4 to 5-6).
pub(super) struct Narrow;

impl Format for Narrow {
    const WIDTH: EntryWidth = EntryWidth::Four;
    const ADDRESS: u64 = 0xffff_f000;

    #[inline(always)]
    fn offset(address: LinearAddress, level: u8) -> u64 {
        4 * (address.0 >> (2 + 10 * level) & 0x3ff)
    }

    fn read(ram: &Ram, at: HostPhysicalAddress) -> Result<Entry, AccessError> {
        Ok(Entry(u64::from(ram.read::<u32>(at)?)))
    }

    fn always_reserved(_: &Context) -> u64 {
        0
    }

    /// Bits 21 to M-19 of a PDE that maps a page, M being 40 or MAXPHYADDR, whichever is less, and 32 without PSE-36.
    fn reserved_bits(entry: Entry, level: u8, context: &Context) -> u64 {
        if Self::page_size(entry, level, context) != Some(GuestPageSize::Size4M) {
            return 0;
        }
        let pse_36 = context.controls.contains(Controls::PSE_36);
        let width = if pse_36 { context.physical_address_width.clamp(32, 40) } else { 32 };
        (1 << 22) - (1 << (width - 19))
    }

    fn page_size(entry: Entry, level: u8, context: &Context) -> Option<GuestPageSize> {
        let extended = context.controls.contains(Controls::PAGE_SIZE_EXTENSIONS);
        match level {
            1 => Some(GuestPageSize::Size4K),
            _ if extended && entry.has(Entry::MAPS_PAGE) => Some(GuestPageSize::Size4M),
            _ => None,
        }
    }

    /// Bits 20:13 of a PDE that maps a page are bits 39:32 of the address; those that do not exist are reserved.
    fn frame(entry: Entry, size: GuestPageSize) -> u64 {
        match size {
            GuestPageSize::Size4M => entry.0 & 0xffc0_0000 | (entry.0 >> 13 & 0xff) << 32,
            _ => entry.0 & Self::ADDRESS,
        }
    }

    fn key(_: Entry) -> u8 {
        0
    }
}
