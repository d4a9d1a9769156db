//! Accesses through the whole of the crate, behind EPT.
#![allow(clippy::unwrap_used, reason = "tests")]

use isa::address::{GuestPhysicalAddress, HostPhysicalAddress, LinearAddress};
use mmu::ept::{EptLevels, EptPermissions, EptTarget};
use mmu::tables::{EptTables, FrameAllocator, Home, PagePermissions, PageTables};
use mmu::tlb::{Globals, Invalidation, Pcids, Structures};
use mmu::{Context, Fault, Geometry, Mmu, PageSize, PagingMode, Ram};

const BYTES: u64 = 0x80_0000;
const BASE: LinearAddress = LinearAddress(0x40_0000);

const fn page(number: u64) -> LinearAddress {
    LinearAddress(BASE.0 + number * 0x1000)
}

fn invlpg(address: LinearAddress) -> Invalidation {
    Invalidation::Address {
        vpid: 0,
        pcids: Pcids::One(0),
        globals: Globals::Drop,
        structures: Structures::All,
        address,
    }
}

#[test]
fn a_load_outside_ept_is_a_violation_and_changes_nothing() {
    let ram = Ram::new(BYTES).unwrap();
    let mut ept =
        EptTables::new(&ram, EptLevels::Four, FrameAllocator::new(HostPhysicalAddress(0), 64)).unwrap();
    // Guest-physical 0 to 2 MByte are host-physical 4 MByte to 6 MByte.
    let all = EptPermissions::all();
    ept.map(&ram, GuestPhysicalAddress(0), HostPhysicalAddress(0x40_0000), 0x20_0000, PageSize::Size4K, all)
        .unwrap();
    let home = Home::Ept(ept.context());
    let frames = FrameAllocator::new(GuestPhysicalAddress(0x10_0000), 16);
    let mut tables = PageTables::new(&ram, PagingMode::FourLevel, frames, home).unwrap();
    let permissions = PagePermissions::USER | PagePermissions::WRITE;
    let outside = GuestPhysicalAddress(0x70_0000);
    tables.map(&ram, page(0), GuestPhysicalAddress(0x1000), 0x1000, PageSize::Size4K, permissions).unwrap();
    tables.map(&ram, page(1), outside, 0x1000, PageSize::Size4K, permissions).unwrap();
    let mut mmu = Mmu::<false>::new(ram, &Geometry::functional()).unwrap();
    let context = Context::user(PagingMode::FourLevel);
    mmu.set_context(Context { cr3: tables.root(), ept: Some(ept.context()), vpid: 1, ..context });
    mmu.write(page(0), 0xab_u8).unwrap();
    assert_eq!(mmu.ram().read::<u8>(HostPhysicalAddress(0x40_1000)).unwrap(), 0xab);
    let before = tables.leaf(mmu.ram(), page(1)).unwrap();
    let Err(Fault::EptViolation(violation)) = mmu.read::<u64>(page(1).add(8)) else { panic!("no violation") };
    assert_eq!(violation.guest_physical, outside.add(8));
    assert_eq!(violation.linear, Some(page(1).add(8)));
    assert_eq!(violation.access, EptPermissions::READ);
    assert_eq!(violation.permissions, EptPermissions::empty());
    assert!(matches!(violation.target, EptTarget::Final(_)));
    assert_eq!(tables.leaf(mmu.ram(), page(1)).unwrap(), before);
    // An entry that becomes present needs no invalidation.
    ept.map(mmu.ram(), outside, HostPhysicalAddress(0x60_0000), 0x1000, PageSize::Size4K, all).unwrap();
    assert_eq!(mmu.read::<u64>(page(1).add(8)), Ok(0));
}

#[test]
fn invlpg_of_a_large_page_removes_all_its_pieces() {
    let ram = Ram::new(BYTES).unwrap();
    let mut ept =
        EptTables::new(&ram, EptLevels::Four, FrameAllocator::new(HostPhysicalAddress(0), 64)).unwrap();
    let all = EptPermissions::all();
    ept.map(&ram, GuestPhysicalAddress(0), HostPhysicalAddress(0x40_0000), 0x40_0000, PageSize::Size4K, all)
        .unwrap();
    let home = Home::Ept(ept.context());
    let frames = FrameAllocator::new(GuestPhysicalAddress(0x10_0000), 16);
    let mut tables = PageTables::new(&ram, PagingMode::FourLevel, frames, home).unwrap();
    let permissions = PagePermissions::USER | PagePermissions::WRITE;
    tables
        .map(&ram, BASE, GuestPhysicalAddress(0x20_0000), 0x20_0000, PageSize::Size2M, permissions)
        .unwrap();
    let mut mmu = Mmu::<false>::new(ram, &Geometry::functional()).unwrap();
    let context = Context::user(PagingMode::FourLevel);
    mmu.set_context(Context { cr3: tables.root(), ept: Some(ept.context()), ..context });
    mmu.write(page(0), 1_u64).unwrap();
    mmu.write(page(9), 9_u64).unwrap();
    assert_eq!(mmu.tlb().entries(), 2);
    assert_eq!(mmu.invalidate(invlpg(page(100))).entries, 2);
    assert_eq!(mmu.fast().pages().count(), 0);
    tables.unmap(mmu.ram(), BASE, 0x20_0000, PageSize::Size2M).unwrap();
    assert!(mmu.read::<u64>(page(9)).is_err());
}
