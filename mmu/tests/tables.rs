//! The builders of paging structures, and RAM.
#![allow(clippy::unwrap_used, reason = "tests")]

use isa::address::{AccessKind, GuestPhysicalAddress, HostPhysicalAddress, LinearAddress};
use mmu::ept::{EptLevels, EptPermissions};
use mmu::paging::walk;
use mmu::ram::{AccessError, RamError};
use mmu::tables::{EptTables, FrameAllocator, Home, PagePermissions, PageTables, TablesError};
use mmu::{Context, PageSize, PagingMode, Ram};

const USER: PagePermissions = PagePermissions::USER.union(PagePermissions::WRITE);

fn tables(ram: &Ram, mode: PagingMode, frames: u64) -> PageTables {
    PageTables::new(ram, mode, FrameAllocator::new(GuestPhysicalAddress(0x1000), frames), Home::Identity)
        .unwrap()
}

#[test]
fn every_size_in_both_modes_translates_as_mapped() {
    for mode in [PagingMode::FourLevel, PagingMode::FiveLevel] {
        for size in PageSize::ALL {
            let ram = Ram::new(0x10_0000).unwrap();
            let mut tables = tables(&ram, mode, 16);
            // The last pages of the lower half, and the first of the upper.
            let half = if mode == PagingMode::FourLevel { 1_u64 << 47 } else { 1 << 56 };
            for start in [half - 2 * size.bytes(), half.wrapping_neg()] {
                let to = GuestPhysicalAddress(4 << 30);
                tables.map(&ram, LinearAddress(start), to, 2 * size.bytes(), size, USER).unwrap();
                let context = Context { cr3: tables.root(), ..Context::user(mode) };
                let at = LinearAddress(start + size.bytes() + 0x123);
                let found = walk(&ram, &context, at, AccessKind::Write, &mut ()).unwrap().translation;
                assert_eq!((found.host(at).0, found.size), (to.0 + size.bytes() + 0x123, size));
                let leaf = tables.leaf(&ram, at).unwrap().unwrap();
                assert_eq!(leaf.size, size);
            }
        }
    }
}

#[test]
fn a_mapping_that_cannot_be_is_refused_with_its_reason() {
    let ram = Ram::new(0x10_0000).unwrap();
    let mut tables = tables(&ram, PagingMode::FourLevel, 4);
    let (small, large) = (PageSize::Size4K, PageSize::Size2M);
    let mut map = |address: u64, to, bytes, size| {
        tables.map(&ram, LinearAddress(address), GuestPhysicalAddress(to), bytes, size, USER)
    };
    map(0x1000, 0, 0x1000, small).unwrap();
    assert!(matches!(map(0x1800, 0, 0x1000, small), Err(TablesError::Misaligned { address: 0x1800, .. })));
    assert!(matches!(map(0x2000, 1, 0x1000, small), Err(TablesError::Misaligned { address: 1, .. })));
    assert!(matches!(map(0x2000, 0, 0x800, small), Err(TablesError::Misaligned { address: 0x800, .. })));
    assert!(matches!(map(0x1000, 0, 0x1000, small), Err(TablesError::Mapped { address: 0x1000, level: 1 })));
    assert!(matches!(map(0, 0, 0x20_0000, large), Err(TablesError::Mapped { address: 0, level: 2 })));
    map(0x20_0000, 0, 0x20_0000, large).unwrap();
    assert!(matches!(map(0x20_1000, 0, 0x1000, small), Err(TablesError::Mapped { level: 2, .. })));
    assert!(matches!(map(1 << 47, 0, 0x1000, small), Err(TablesError::Range { .. })));
    assert!(matches!(map((1 << 47) - 0x1000, 0, 0x2000, small), Err(TablesError::Range { .. })));
    assert!(matches!(map(u64::MAX - 0xfff, 0, 0x2000, small), Err(TablesError::Range { .. })));
    assert!(matches!(map(1 << 40, 0, 0x1000, small), Err(TablesError::OutOfFrames)));
    let (ram, address) = (&ram, LinearAddress(0x2000));
    assert!(matches!(
        tables.unmap(ram, address, 0x1000, small),
        Err(TablesError::NotMapped { address: 0x2000 })
    ));
    let inside = LinearAddress(0x20_0000);
    assert!(matches!(
        tables.protect(ram, inside, 0x1000, small, USER),
        Err(TablesError::OtherSize { level: 2, .. })
    ));
    let frames = FrameAllocator::new(GuestPhysicalAddress(0), 1);
    let none = PageTables::new(ram, PagingMode::None, frames, Home::Identity);
    assert!(matches!(none, Err(TablesError::NoTables(PagingMode::None))));
}

#[test]
fn protect_keeps_the_frame_and_unmap_removes_it() {
    let ram = Ram::new(0x10_0000).unwrap();
    let mut tables = tables(&ram, PagingMode::FourLevel, 4);
    let at = LinearAddress(0x5000);
    tables.map(&ram, at, GuestPhysicalAddress(0x9000), 0x1000, PageSize::Size4K, USER).unwrap();
    tables.protect(&ram, at, 0x1000, PageSize::Size4K, PagePermissions::EXECUTE_DISABLE).unwrap();
    assert_eq!(tables.leaf(&ram, at).unwrap().unwrap().value, 0x8000_0000_0000_9001);
    tables.unmap(&ram, at, 0x1000, PageSize::Size4K).unwrap();
    assert_eq!(tables.leaf(&ram, at).unwrap(), None);
}

#[test]
fn a_large_page_takes_the_place_of_a_table_only_when_that_is_empty() {
    let ram = Ram::new(0x40_0000).unwrap();
    let mut tables = tables(&ram, PagingMode::FourLevel, 4);
    let (at, frame) = (LinearAddress(0x5000), GuestPhysicalAddress(0x20_0000));
    tables.map(&ram, at, GuestPhysicalAddress(0x9000), 0x1000, PageSize::Size4K, USER).unwrap();
    let region = LinearAddress(0);
    let refused = tables.map(&ram, region, frame, 0x20_0000, PageSize::Size2M, USER);
    assert!(matches!(refused, Err(TablesError::Mapped { level: 2, .. })));
    tables.unmap(&ram, at, 0x1000, PageSize::Size4K).unwrap();
    let left = tables.frames().left();
    tables.map(&ram, region, frame, 0x20_0000, PageSize::Size2M, USER).unwrap();
    assert_eq!(tables.leaf(&ram, at).unwrap().unwrap().size, PageSize::Size2M);
    assert_eq!(tables.frames().left(), left + 1, "the frame of the table can be used again");
    let refused = tables.map(&ram, at, GuestPhysicalAddress(0x9000), 0x1000, PageSize::Size4K, USER);
    assert!(matches!(refused, Err(TablesError::Mapped { level: 2, .. })));
}

#[test]
fn page_tables_behind_ept_need_their_frames_mapped() {
    let ram = Ram::new(0x10_0000).unwrap();
    let frames = FrameAllocator::new(HostPhysicalAddress(0x8_0000), 8);
    let mut ept = EptTables::new(&ram, EptLevels::Five, frames).unwrap();
    let home = Home::Ept(ept.context());
    let frames = FrameAllocator::new(GuestPhysicalAddress(0x3000), 2);
    let refused = PageTables::new(&ram, PagingMode::FourLevel, frames.clone(), home);
    assert!(matches!(refused, Err(TablesError::NoHome(GuestPhysicalAddress(0x3000)))));
    let (from, to) = (GuestPhysicalAddress(0x3000), HostPhysicalAddress(0x1_3000));
    ept.map(&ram, from, to, 0x1000, PageSize::Size4K, EptPermissions::READ).unwrap();
    assert!(PageTables::new(&ram, PagingMode::FourLevel, frames, home).is_ok());
    let wide = GuestPhysicalAddress(1 << 52);
    let refused = ept.map(&ram, wide, to, 0x1000, PageSize::Size4K, EptPermissions::READ);
    assert!(matches!(refused, Err(TablesError::Range { .. })));
}

#[test]
fn frames_given_back_are_handed_out_again() {
    let mut frames = FrameAllocator::new(HostPhysicalAddress(0x1001), 2);
    let first = frames.allocate().unwrap();
    assert_eq!((first, frames.left()), (HostPhysicalAddress(0x2000), 1));
    frames.allocate().unwrap();
    assert!(matches!(frames.allocate(), Err(TablesError::OutOfFrames)));
    frames.release(first);
    assert_eq!(frames.allocate().unwrap(), first);
}

#[test]
fn ram_refuses_sizes_that_cannot_be_and_addresses_outside() {
    for bytes in [0, 4095, 4097, 1 << 47] {
        assert!(matches!(Ram::new(bytes), Err(RamError::Size { bytes: refused, .. }) if refused == bytes));
    }
    let ram = Ram::new(0x2000).unwrap();
    let last = HostPhysicalAddress(0x1fff);
    ram.write(last, 1_u8).unwrap();
    assert_eq!(ram.read::<u8>(last).unwrap(), 1);
    let outside = AccessError::Outside { address: HostPhysicalAddress(0x2000) };
    assert_eq!(ram.read::<u16>(last), Err(outside), "the first byte that is not in RAM");
    assert!(ram.write(HostPhysicalAddress(u64::MAX), 1_u128).is_err());
    assert!(ram.copy_out(last, &mut [0; 2]).is_err());
    assert!(ram.copy_in(last, &[0; 2]).is_err());
    assert!(ram.copy_within(HostPhysicalAddress(0), last, 2).is_err());
    assert!(ram.fill(HostPhysicalAddress(0), 0_u64, u64::MAX / 2).is_err());
    assert!(ram.fill(HostPhysicalAddress(0x1ff8), 0_u64, 2).is_err());
    assert_eq!(ram.read::<u8>(last).unwrap(), 1, "nothing was written");
}

#[cfg(not(miri))]
#[test]
fn address_space_costs_nothing_before_it_is_touched() {
    let ram = Ram::new(64 << 30).unwrap();
    let far = HostPhysicalAddress((64 << 30) - 8);
    assert_eq!(ram.read::<u64>(far).unwrap(), 0);
    ram.write(far, u64::MAX).unwrap();
    assert_eq!(ram.read::<u64>(far).unwrap(), u64::MAX);
}
