//! What a start in 64-bit mode stands on: page tables and descriptors, placed by the loader.
//!
//! SDM Vol. 3A, 3.4.5 (descriptors) and 5.5 (4-level paging).

use super::error::{Place, Refusal};
use super::layout::{Layout, Window};
use super::{SegmentStart, Start, TableRegister};
use isa::address::HostPhysicalAddress;

/// The selector of the code segment: `__BOOT_CS` of Linux.
pub(super) const CODE: u16 = 0x10;
/// The selector of the data segment: `__BOOT_DS` of Linux.
pub(super) const DATA: u16 = 0x18;

const PRESENT_WRITABLE: u64 = 3;
const LARGE: u64 = 1 << 7;
const LARGE_PAGE: u64 = 2 << 20;
const TABLE: u64 = 0x1000;
const ENTRIES: u64 = TABLE / 8;
/// Page directories: one a GiB.
const DIRECTORIES: u64 = 4;

/// The descriptor of a segment whose limit is 4 GiB from 0.
fn descriptor(segment: SegmentStart) -> u64 {
    0x000f_0000_0000_ffff | u64::from(segment.access) << 40
}

/// Places a GDT with `code` and a data segment, at the selectors of Linux.
pub(super) fn descriptors(layout: &mut Layout<'_>, code: SegmentStart) -> Result<TableRegister, Refusal> {
    let table = [0, 0, descriptor(code), descriptor(SegmentStart::data(DATA))];
    let bytes: Vec<u8> = table.iter().flat_map(|entry| entry.to_le_bytes()).collect();
    let base = layout.put(Place::Information("the GDT"), &bytes, Window::LOW)?;
    Ok(TableRegister { base: HostPhysicalAddress(base), limit: bytes.len() as u16 - 1 })
}

/// The PML4 table, the page-directory-pointer table and the page directories that map the lowest 4 GiB to themselves,
/// for tables that lie at `base`.
fn tables(base: u64) -> Vec<u8> {
    let directory = |number: u64| base + (2 + number) * TABLE;
    let mut entries = vec![0u64; (ENTRIES * (2 + DIRECTORIES)) as usize];
    entries[0] = (base + TABLE) | PRESENT_WRITABLE;
    for number in 0..DIRECTORIES {
        entries[(ENTRIES + number) as usize] = directory(number) | PRESENT_WRITABLE;
    }
    for page in 0..ENTRIES * DIRECTORIES {
        entries[(2 * ENTRIES + page) as usize] = (page * LARGE_PAGE) | LARGE | PRESENT_WRITABLE;
    }
    entries.iter().flat_map(|entry| entry.to_le_bytes()).collect()
}

/// A start in 64-bit mode, with the tables that it needs.
pub(super) fn start(layout: &mut Layout<'_>, rip: u64, rsi: u64) -> Result<Start, Refusal> {
    let size = TABLE * (2 + DIRECTORIES);
    let base = layout.room(Place::Information("the page tables"), size, Window::LOW_PAGES)?;
    layout.push(base, tables(base), 0);
    let code = SegmentStart::code64(CODE);
    let gdt = descriptors(layout, code)?;
    let data = SegmentStart::data(DATA);
    Ok(Start::Long { rip, rsi, cr3: HostPhysicalAddress(base), code, data, gdt })
}
