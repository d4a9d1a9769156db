//! Accesses through the whole of the crate.
#![allow(clippy::unwrap_used, reason = "tests")]

use isa::address::{AccessKind, GuestPhysicalAddress, HostPhysicalAddress, LinearAddress};
use mmu::fast::Allowed;
use mmu::fault::{Fault, PageFaultCode, PageFaultReason};
use mmu::mmu::{ContextChange, Hit};
use mmu::tables::{FrameAllocator, Home, PagePermissions, PageTables};
use mmu::tlb::{Globals, Invalidation, Pcids, Structures};
use mmu::{Context, Controls, Geometry, Mmu, PageSize, PagingMode, Privilege, Ram};

const BYTES: u64 = 0x80_0000;
/// Pages 0 and 1 may be written, 2 only read, 3 is not mapped, 4 is for the supervisor.
const BASE: LinearAddress = LinearAddress(0x40_0000);
const FRAME: u64 = 0x40_0000;

const fn page(number: u64) -> LinearAddress {
    LinearAddress(BASE.0 + number * 0x1000)
}

const fn frame(number: u64) -> HostPhysicalAddress {
    HostPhysicalAddress(FRAME + number * 0x1000)
}

fn machine<const OBSERVED: bool>() -> (Mmu<OBSERVED>, PageTables) {
    let ram = Ram::new(BYTES).unwrap();
    let frames = FrameAllocator::new(GuestPhysicalAddress(0x10_0000), 64);
    let mut tables = PageTables::new(&ram, PagingMode::FourLevel, frames, Home::Identity).unwrap();
    let user = PagePermissions::USER;
    for (number, permissions) in [
        (0, user | PagePermissions::WRITE),
        (1, user | PagePermissions::WRITE),
        (2, user),
        (4, PagePermissions::WRITE),
    ] {
        let to = GuestPhysicalAddress(frame(number).0);
        tables.map(&ram, page(number), to, 0x1000, PageSize::Size4K, permissions).unwrap();
    }
    let mut mmu = Mmu::new(ram, &Geometry::functional()).unwrap();
    mmu.set_context(Context { cr3: tables.root(), ..Context::user(PagingMode::FourLevel) });
    (mmu, tables)
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

fn reason(fault: Fault) -> (LinearAddress, PageFaultReason, PageFaultCode) {
    match fault {
        Fault::Page(fault) => (fault.address, fault.reason, fault.code),
        other => panic!("{other:?}"),
    }
}

fn every_width<const OBSERVED: bool>() {
    let (mut mmu, _) = machine::<OBSERVED>();
    // Twice: past the fast map and through it; the last address crosses the page.
    for _ in 0..2 {
        for address in [page(0), page(0).add(0x123), page(0).add(0xff8), page(0).add(0xffb)] {
            let value = 0x0123_4567_89ab_cdef_1122_3344_5566_7788_u128;
            mmu.write(address, value).unwrap();
            assert_eq!(mmu.read::<u128>(address), Ok(value));
            assert_eq!(mmu.read::<u64>(address), Ok(value as u64));
            assert_eq!(mmu.read::<u32>(address), Ok(value as u32));
            assert_eq!(mmu.read::<u16>(address), Ok(value as u16));
            assert_eq!(mmu.read::<u8>(address), Ok(value as u8));
            assert_eq!(mmu.modify(address, |old: u64| old.wrapping_add(1)), Ok(value as u64));
            assert_eq!(mmu.read::<u128>(address), Ok(value + 1));
        }
    }
    // The last write began 5 bytes before page 1.
    let rest = mmu.ram().read::<u64>(frame(1)).unwrap();
    assert_eq!(rest, (0x0123_4567_89ab_cdef_1122_3344_5566_7789_u128 >> 40) as u64);
}

#[test]
fn every_width_is_little_endian_within_and_across_pages() {
    every_width::<false>();
    every_width::<true>();
}

fn crossing_fault<const OBSERVED: bool>() {
    for (first, reason_of_second) in
        [(1, PageFaultReason::NotWritable), (2, PageFaultReason::NotPresent { level: 1 })]
    {
        let (mut mmu, mut tables) = machine::<OBSERVED>();
        if first == 2 {
            // Page 2 becomes writable, and page 3 behind it is not mapped.
            let permissions = PagePermissions::USER | PagePermissions::WRITE;
            tables.protect(mmu.ram(), page(2), 0x1000, PageSize::Size4K, permissions).unwrap();
        }
        let address = page(first).add(0xffd);
        mmu.copy_in(page(first).add(0xff0), &[0xaa; 16]).unwrap();
        let before = tables.leaf(mmu.ram(), page(first)).unwrap().unwrap();
        for access in 0..2 {
            let fault = match access {
                0 => mmu.write(address, u64::MAX).unwrap_err(),
                _ => mmu.modify(address, |_: u64| u64::MAX).unwrap_err(),
            };
            let code = if first == 1 { PageFaultCode::PRESENT } else { PageFaultCode::empty() };
            let code = code | PageFaultCode::WRITE | PageFaultCode::USER;
            assert_eq!(reason(fault), (page(first + 1), reason_of_second, code));
        }
        let mut bytes = [0; 16];
        mmu.copy_out(page(first).add(0xff0), &mut bytes).unwrap();
        assert_eq!(bytes, [0xaa; 16], "nothing was written");
        assert_eq!(tables.leaf(mmu.ram(), page(first)).unwrap().unwrap(), before, "no flag was set");
    }
}

#[test]
fn an_access_that_faults_on_its_second_page_writes_nothing() {
    crossing_fault::<false>();
    crossing_fault::<true>();
}

fn code_page<const OBSERVED: bool>() {
    let (mut mmu, _) = machine::<OBSERVED>();
    mmu.write(page(0), 1_u64).unwrap();
    mmu.write(page(1), 2_u64).unwrap();
    mmu.mark_code(frame(1));
    assert!(mmu.holds_code(frame(1)));
    let refused = Fault::CodePage { page: frame(1) };
    let crossing = page(0).add(0xffe);
    assert_eq!(mmu.write(page(1), 3_u64), Err(refused));
    assert_eq!(mmu.write(crossing, u32::MAX), Err(refused));
    assert_eq!(mmu.modify(page(1), |_: u8| panic!("called before the refusal")), Err(refused));
    assert_eq!(mmu.modify(crossing, |_: u32| panic!("called before the refusal")), Err(refused));
    assert_eq!(mmu.copy_in(page(0), &[9; 0x1001]), Err(refused));
    assert_eq!(mmu.run(page(1).add(8), AccessKind::Write, 8), Err(refused));
    assert!(mmu.ram().write(frame(1).add(0xfff), 1_u8).is_err());
    assert!(mmu.ram().copy_within(frame(0), frame(1), 1).is_err());
    assert!(mmu.ram().fill(frame(0), 1_u8, 0x1001).is_err());
    assert_eq!((mmu.read(page(0)), mmu.read(page(1))), (Ok(1_u64), Ok(2_u64)));
    assert_eq!(mmu.read::<u16>(crossing), Ok(0));
    // A read puts the page back into the fast map, for reads.
    assert_eq!(mmu.write(page(1), 3_u64), Err(refused));
    mmu.unmark_code(frame(1));
    mmu.write(page(1), 3_u64).unwrap();
    assert_eq!(mmu.read(page(1)), Ok(3_u64));
}

#[test]
fn a_store_to_a_code_page_is_refused_before_anything_is_written() {
    code_page::<false>();
    code_page::<true>();
}

#[test]
fn marking_a_code_page_closes_every_view_that_may_write_it() {
    let (mut mmu, _) = machine::<false>();
    let user = *mmu.context();
    let supervisor = Context { privilege: Privilege::Supervisor, ..user };
    mmu.write(page(0), 1_u64).unwrap();
    mmu.set_context(supervisor);
    mmu.write(page(0), 2_u64).unwrap();
    mmu.mark_code(frame(0));
    for context in [user, supervisor] {
        mmu.set_context(context);
        assert_eq!(mmu.write(page(0), 3_u64), Err(Fault::CodePage { page: frame(0) }));
        assert_eq!(mmu.read(page(0)), Ok(2_u64));
    }
}

#[test]
fn paging_structures_on_a_code_page_get_no_flags_before_it_is_unmarked() {
    let (mut mmu, mut tables) = machine::<false>();
    let leaf = tables.leaf(mmu.ram(), page(0)).unwrap().unwrap();
    mmu.mark_code(leaf.entry.page());
    assert_eq!(mmu.read::<u8>(page(0)), Err(Fault::CodePage { page: leaf.entry.page() }));
    assert_eq!(tables.leaf(mmu.ram(), page(0)).unwrap().unwrap(), leaf);
    mmu.unmark_code(leaf.entry.page());
    assert_eq!(mmu.read::<u8>(page(0)), Ok(0));
}

#[test]
fn a_read_sets_accessed_in_all_levels_and_a_write_dirty_in_the_last() {
    let (mut mmu, mut tables) = machine::<false>();
    let flags = |mmu: &Mmu<false>, tables: &mut PageTables| {
        // From the root: one entry on each level leads to the page.
        let mut table = tables.root().0;
        [39, 30, 21, 12].map(|shift| {
            let at = HostPhysicalAddress(table + (page(0).0 >> shift & 0x1ff) * 8);
            let entry = mmu.ram().read::<u64>(at).unwrap();
            table = entry & 0x000f_ffff_ffff_f000;
            entry & 0x60
        })
    };
    assert_eq!(flags(&mmu, &mut tables), [0, 0, 0, 0]);
    mmu.read::<u8>(page(0)).unwrap();
    assert_eq!(flags(&mmu, &mut tables), [0x20, 0x20, 0x20, 0x20]);
    mmu.write(page(0), 1_u8).unwrap();
    assert_eq!(flags(&mmu, &mut tables), [0x20, 0x20, 0x20, 0x60]);
}

#[test]
fn a_forgotten_invalidation_is_served_from_the_tlb_until_it_is_made() {
    let (mut mmu, mut tables) = machine::<false>();
    mmu.ram().write(frame(5), 5_u64).unwrap();
    mmu.write(page(0), 1_u64).unwrap();
    tables.unmap(mmu.ram(), page(0), 0x1000, PageSize::Size4K).unwrap();
    let permissions = PagePermissions::USER | PagePermissions::WRITE;
    tables
        .map(mmu.ram(), page(0), GuestPhysicalAddress(frame(5).0), 0x1000, PageSize::Size4K, permissions)
        .unwrap();
    assert_eq!(mmu.read(page(0)), Ok(1_u64), "stale, as on hardware");
    assert_eq!(mmu.invalidate(invlpg(page(0))).entries, 1);
    assert_eq!(mmu.read(page(0)), Ok(5_u64));
}

#[test]
fn an_epoch_ends_with_an_invalidation_of_a_page_that_was_fetched_from_and_of_no_other() {
    let (mut mmu, _) = machine::<false>();
    mmu.fetch(page(0)).unwrap();
    mmu.read::<u64>(page(2)).unwrap();
    let epoch = mmu.epoch();
    mmu.invalidate(invlpg(page(1)));
    assert_eq!(reason(mmu.write(page(2), 1_u64).unwrap_err()).1, PageFaultReason::NotWritable);
    assert_eq!(mmu.epoch(), epoch, "neither INVLPG nor a page fault elsewhere");
    mmu.invalidate(invlpg(page(0).add(5)));
    assert_ne!(mmu.epoch(), epoch);
    let (mut observed, _) = machine::<true>();
    let epoch = observed.epoch();
    observed.invalidate(invlpg(page(1)));
    assert_ne!(observed.epoch(), epoch, "its fetches may have been probes");
}

#[test]
fn a_page_fault_removes_the_page_so_that_the_retry_walks() {
    let (mut mmu, mut tables) = machine::<true>();
    mmu.read::<u64>(page(2)).unwrap();
    assert_eq!(mmu.tlb().entries(), 1);
    let fault = mmu.write(page(2), 1_u64).unwrap_err();
    assert_eq!(reason(fault).1, PageFaultReason::NotWritable);
    assert_eq!(mmu.tlb().entries(), 0);
    let permissions = PagePermissions::USER | PagePermissions::WRITE;
    tables.protect(mmu.ram(), page(2), 0x1000, PageSize::Size4K, permissions).unwrap();
    assert_eq!(mmu.write(page(2), 1_u64), Ok(()), "no invalidation was needed");
    let hits: Vec<Hit> = mmu.reports().map(|report| report.hit).collect();
    assert_eq!(hits, [Hit::Walk, Hit::Walk, Hit::Walk]);
    assert_eq!(mmu.counters().faults, 1);
}

#[test]
fn a_permission_that_was_given_is_noticed_without_an_invalidation() {
    let (mut mmu, mut tables) = machine::<false>();
    mmu.read::<u64>(page(2)).unwrap();
    let permissions = PagePermissions::USER | PagePermissions::WRITE;
    tables.protect(mmu.ram(), page(2), 0x1000, PageSize::Size4K, permissions).unwrap();
    assert_eq!(mmu.write(page(2), 7_u64), Ok(()), "the cached right is checked against the tables");
    assert_eq!(mmu.read(page(2)), Ok(7_u64));
}

#[test]
fn privilege_is_part_of_the_view() {
    let (mut mmu, _) = machine::<false>();
    let user = *mmu.context();
    let supervisor = Context { privilege: Privilege::Supervisor, ..user };
    assert_eq!(mmu.set_context(user), ContextChange::None);
    assert_eq!(mmu.set_context(supervisor), ContextChange::Translations);
    mmu.write(page(4), 4_u64).unwrap();
    assert!(mmu.fast().holds(page(4), Allowed::ReadWrite));
    let epoch = mmu.epoch();
    mmu.set_context(user);
    assert_ne!(mmu.epoch(), epoch);
    assert!(!mmu.fast().holds(page(4), Allowed::Read));
    assert_eq!(reason(mmu.read::<u64>(page(4)).unwrap_err()).1, PageFaultReason::SupervisorAddress);
    mmu.set_context(supervisor);
    assert_eq!(mmu.read(page(4)), Ok(4_u64));
    let smap = Context { controls: supervisor.controls | Controls::SMAP, ..supervisor };
    mmu.read::<u64>(page(0)).unwrap();
    mmu.set_context(smap);
    assert_eq!(reason(mmu.read::<u64>(page(0)).unwrap_err()).1, PageFaultReason::Smap);
    mmu.set_context(Context { controls: smap.controls | Controls::SMAP_OVERRIDE, ..smap });
    assert_eq!(mmu.read(page(0)), Ok(0_u64));
}

#[test]
fn a_view_that_comes_back_has_its_fast_map_and_epoch_unless_invalidated() {
    let (mut mmu, _) = machine::<false>();
    let user = *mmu.context();
    let other = Context { pcid: 1, ..user };
    mmu.read::<u64>(page(0)).unwrap();
    let epoch = mmu.epoch();
    mmu.set_context(other);
    assert!(!mmu.fast().holds(page(0), Allowed::Read));
    mmu.set_context(user);
    assert!(mmu.fast().holds(page(0), Allowed::Read));
    assert_eq!(mmu.epoch(), epoch);
    mmu.set_context(other);
    mmu.invalidate(Invalidation::Vpid { vpid: 0, pcids: Pcids::One(0), globals: Globals::Keep });
    mmu.set_context(user);
    assert!(!mmu.fast().holds(page(0), Allowed::Read));
    assert_ne!(mmu.epoch(), epoch);
}

#[test]
fn addresses_that_are_not_canonical_are_refused() {
    let (mut mmu, _) = machine::<false>();
    for address in [LinearAddress(1 << 47), LinearAddress(0xffff_7fff_ffff_ffff), LinearAddress(1 << 63)] {
        assert_eq!(mmu.read::<u8>(address), Err(Fault::NonCanonical { address }));
        assert_eq!(mmu.write(address, 1_u8), Err(Fault::NonCanonical { address }));
        assert_eq!(mmu.fetch(address), Err(Fault::NonCanonical { address }));
        assert_eq!(mmu.probe(address, AccessKind::Read), Err(Fault::NonCanonical { address }));
    }
    let last = LinearAddress(0x0000_7fff_ffff_fffe);
    assert!(mmu.read::<u32>(last).is_err());
    assert!(mmu.read::<u64>(LinearAddress(u64::MAX - 2)).is_err());
}

#[test]
fn a_fetch_gives_the_rest_of_the_page() {
    let (mut mmu, _) = machine::<false>();
    mmu.copy_in(page(0).add(0xff0), &[0x90; 16]).unwrap();
    let window = mmu.fetch(page(0).add(0xff1)).unwrap();
    assert_eq!((window.host_physical, window.length), (frame(0).add(0xff1), 15));
    let mut bytes = [0; 15];
    mmu.ram().copy_out(window.host_physical, &mut bytes).unwrap();
    assert_eq!(bytes, [0x90; 15]);
    assert_eq!(mmu.fetch(page(1)).unwrap().length, 4096);
    let fault = reason(mmu.fetch(page(3)).unwrap_err());
    let code = PageFaultCode::USER | PageFaultCode::INSTRUCTION;
    assert_eq!(fault, (page(3), PageFaultReason::NotPresent { level: 1 }, code));
}

#[test]
fn a_probe_has_no_effect() {
    let (mmu, mut tables) = machine::<true>();
    let before = tables.leaf(mmu.ram(), page(0)).unwrap();
    assert_eq!(mmu.probe(page(0).add(5), AccessKind::Write), Ok(frame(0).add(5)));
    assert!(mmu.probe(page(2), AccessKind::Write).is_err());
    assert_eq!(tables.leaf(mmu.ram(), page(0)).unwrap(), before);
    assert_eq!((mmu.tlb().entries(), mmu.reports().len(), mmu.counters().walks), (0, 0, 0));
}

#[test]
fn a_run_ends_with_the_page_or_with_what_was_wanted() {
    let (mut mmu, _) = machine::<false>();
    let run = mmu.run(page(0).add(0x10), AccessKind::Write, 0x20).unwrap();
    assert_eq!((run.host_physical, run.length), (frame(0).add(0x10), 0x20));
    let run = mmu.run(page(1).add(0x10), AccessKind::Read, u64::MAX).unwrap();
    assert_eq!((run.host_physical, run.length), (frame(1).add(0x10), 0xff0));
    assert!(mmu.run(page(2), AccessKind::Write, 1).is_err());
    mmu.ram().fill(frame(0), 0x1234_u16, 0x800).unwrap();
    mmu.ram().copy_within(frame(0), frame(1), 0x1000).unwrap();
    assert_eq!(mmu.read(page(1).add(0xffe)), Ok(0x1234_u16));
}

#[test]
fn loading_ignores_rights_but_not_absence() {
    let (mut mmu, mut tables) = machine::<false>();
    let before = tables.leaf(mmu.ram(), page(2)).unwrap();
    mmu.copy_in(page(2), b"read-only").unwrap();
    let mut bytes = [0; 9];
    mmu.copy_out(page(2), &mut bytes).unwrap();
    assert_eq!(&bytes, b"read-only");
    assert_eq!(tables.leaf(mmu.ram(), page(2)).unwrap(), before);
    assert!(mmu.copy_in(page(2), &[0xff; 0x1001]).is_err());
    mmu.copy_out(page(2), &mut bytes).unwrap();
    assert_eq!(&bytes, b"read-only", "nothing was written");
}

#[test]
fn data_outside_ram_is_named() {
    let (mut mmu, mut tables) = machine::<false>();
    let permissions = PagePermissions::USER | PagePermissions::WRITE;
    let outside = GuestPhysicalAddress(BYTES);
    tables.map(mmu.ram(), page(3), outside, 0x1000, PageSize::Size4K, permissions).unwrap();
    let fault = Fault::OutsideRam { address: HostPhysicalAddress(BYTES + 16) };
    assert_eq!(mmu.read::<u32>(page(3).add(16)), Err(fault));
    assert_eq!(mmu.write(page(3).add(16), 1_u32), Err(fault));
    assert_eq!(mmu.modify(page(3).add(16), |_: u32| panic!("called before the refusal")), Err(fault));
    assert_eq!(mmu.fetch(page(3).add(16)), Err(fault));
    assert_eq!(mmu.run(page(3).add(16), AccessKind::Write, 1), Err(fault));
    let crossing = mmu.write(page(2).add(0xffc), u64::MAX);
    assert!(crossing.is_err());
    tables.protect(mmu.ram(), page(2), 0x1000, PageSize::Size4K, permissions).unwrap();
    let beginning = Fault::OutsideRam { address: HostPhysicalAddress(BYTES) };
    assert_eq!(mmu.write(page(2).add(0xffc), u64::MAX), Err(beginning));
    assert_eq!(mmu.read::<u32>(page(2).add(0xffc)), Ok(0), "nothing was written");
}
