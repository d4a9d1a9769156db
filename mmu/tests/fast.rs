//! The fast map as a subset of the TLB, and plain memory as the equal of observed memory, over random histories.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Numbers, cases, naive, random::caches};
use isa::address::{AccessKind, GuestPhysicalAddress, HostPhysicalAddress, LinearAddress};
use mmu::ept::{EptControls, EptLevels, EptPermissions};
use mmu::fast::Allowed;
use mmu::tables::{EptTables, FrameAllocator, Home, PagePermissions, PageTables};
use mmu::tlb::{ArrayGeometry, Geometry, Globals, Invalidation, Pcids, Structures};
use mmu::translation::Requirement;
use mmu::{Context, Controls, Fault, Mmu, PageSize, PagingMode, Privilege, Ram, Scalar};
use proptest::prelude::*;
use std::collections::HashMap;

/// Guest-physical memory: tables below 2 MByte, data in 2 to 8 MByte. Through EPT it is 8 MByte higher.
const DATA: u64 = 0x20_0000;
const DATA_PAGES: u64 = 64;
const GUEST: u64 = 0x80_0000;
const EPT_TABLES: u64 = 0x100_0000;
const RAM: u64 = 0x120_0000;
/// Two regions of 4-KByte pages, a large page, and a page that is the same and global everywhere.
const SMALL: [LinearAddress; 2] = [LinearAddress(0x1000_0000), LinearAddress(0xffff_8000_0000_0000)];
const LARGE: LinearAddress = LinearAddress(0x4000_0000);
const GLOBAL: LinearAddress = LinearAddress(0x5000_0000);

/// The frames that can hold data, natively and through EPT.
fn data_frames() -> impl Iterator<Item = u64> {
    let guest =
        [DATA, 0x40_0000].into_iter().flat_map(|start| (0..DATA_PAGES).map(move |page| start / 4096 + page));
    guest.flat_map(|page| [page, page + GUEST / 4096])
}

/// The frames that can hold paging structures.
fn table_frames() -> impl Iterator<Item = u64> {
    let guest = [1, 2].into_iter().flat_map(|index| (0..64).map(move |page| index * 0x80 + page));
    guest.flat_map(|page| [page, page + GUEST / 4096]).chain((0..64).map(|page| EPT_TABLES / 4096 + page))
}

struct World {
    contexts: Vec<Context>,
    tables: Vec<PageTables>,
    /// What fetches found, by epoch and page.
    fetched: HashMap<(u64, LinearAddress), HostPhysicalAddress>,
}

fn permissions(numbers: &mut Numbers) -> PagePermissions {
    let common = PagePermissions::USER | PagePermissions::WRITE;
    if numbers.one_in(3) {
        PagePermissions::from_bits_truncate(numbers.next()) - PagePermissions::GLOBAL
    } else {
        common
    }
}

fn data_page(numbers: &mut Numbers) -> GuestPhysicalAddress {
    GuestPhysicalAddress(DATA + (numbers.below(DATA_PAGES) << 12))
}

fn world(numbers: &mut Numbers) -> (Ram, World) {
    let ram = Ram::new(RAM).unwrap();
    for page in data_frames() {
        ram.write(HostPhysicalAddress(page * 4096), (page + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)).unwrap();
    }
    let frames = FrameAllocator::new(HostPhysicalAddress(EPT_TABLES), 64);
    let mut ept = EptTables::new(&ram, EptLevels::Four, frames).unwrap();
    let size = numbers.pick(&[PageSize::Size4K, PageSize::Size2M]);
    let all = EptPermissions::all();
    ept.map(&ram, GuestPhysicalAddress(0), HostPhysicalAddress(GUEST), GUEST, size, all).unwrap();
    let mut ept_context = ept.context();
    ept_context.controls.set(EptControls::ACCESSED_DIRTY, numbers.one_in(2));

    let mut world = World { contexts: vec![], tables: vec![], fetched: HashMap::new() };
    for (ept, home) in [(None, Home::Identity), (Some(ept_context), Home::Ept(ept_context))] {
        let global = data_page(numbers);
        for pcid in 0..2 {
            let frames = FrameAllocator::new(GuestPhysicalAddress(0x8_0000 * (u64::from(pcid) + 1)), 64);
            let mut tables = PageTables::new(&ram, PagingMode::FourLevel, frames, home).unwrap();
            fill(&ram, &mut tables, numbers, global);
            for privilege in [Privilege::User, Privilege::Supervisor] {
                for vpid in 0..2 {
                    let cr3 = tables.root();
                    let context = Context::user(PagingMode::FourLevel);
                    let mut controls = context.controls;
                    controls.set(Controls::WRITE_PROTECT, vpid == 0);
                    controls.set(Controls::PROTECTION_KEYS, numbers.one_in(2));
                    // Key 0 is for everybody.
                    let pkru = (numbers.next() & numbers.next()) as u32 & !3;
                    let context = Context { cr3, ept, vpid, pcid, privilege, controls, pkru, ..context };
                    world.contexts.push(context);
                }
            }
            world.tables.push(tables);
        }
    }
    // A global translation of one PCID serves the others too, which then set no flags in their own tables.
    for context in &world.contexts {
        let walk = mmu::paging::walk(&ram, context, GLOBAL, AccessKind::Write, &mut ()).unwrap();
        walk.updates.commit(&ram).unwrap();
    }
    (ram, world)
}

fn fill(ram: &Ram, tables: &mut PageTables, numbers: &mut Numbers, global: GuestPhysicalAddress) {
    for region in SMALL {
        for page in 0..6 {
            let at = region.add(page << 12);
            if !numbers.one_in(6) {
                tables
                    .map(ram, at, data_page(numbers), 0x1000, PageSize::Size4K, permissions(numbers))
                    .unwrap();
                let leaf = tables.leaf(ram, at).unwrap().unwrap();
                let key = if numbers.one_in(2) { numbers.below(16) } else { 0 };
                ram.write(leaf.entry, leaf.value | key << 59).unwrap();
            }
        }
    }
    let large = GuestPhysicalAddress(numbers.pick(&[0x20_0000, 0x40_0000]));
    tables.map(ram, LARGE, large, 0x20_0000, PageSize::Size2M, permissions(numbers)).unwrap();
    let everyone = PagePermissions::USER | PagePermissions::WRITE | PagePermissions::GLOBAL;
    tables.map(ram, GLOBAL, global, 0x1000, PageSize::Size4K, everyone).unwrap();
}

fn geometry(numbers: &mut Numbers) -> Geometry {
    use PageSize::{Size2M, Size4K};
    let caches = caches(numbers);
    if numbers.one_in(3) {
        return Geometry {
            level1_instruction: Geometry::functional().level1_instruction,
            level1_data: Geometry::functional().level1_data,
            ..caches
        };
    }
    let level1 = vec![ArrayGeometry::new(&[Size4K], 2, 2), ArrayGeometry::new(&[Size2M], 1, 2)];
    let level2 = if numbers.one_in(2) { vec![ArrayGeometry::new(&[Size4K, Size2M], 2, 4)] } else { vec![] };
    Geometry { level1_instruction: level1.clone(), level1_data: level1, level2, ..caches }
}

fn address(numbers: &mut Numbers) -> LinearAddress {
    let offset = numbers.pick(&[0, 0xff9, 0xffe, 0x800, 3]);
    match numbers.below(6) {
        0..=3 => numbers.pick(&SMALL).add(numbers.below(6) << 12).add(offset),
        4 => LARGE.add(numbers.below(4) << 12).add(offset),
        _ => GLOBAL.add(offset % 0xff0),
    }
}

/// What happens to the machine, the same for plain and observed memory.
fn step<const OBSERVED: bool>(
    mmu: &mut Mmu<OBSERVED>,
    world: &mut World,
    numbers: &mut Numbers,
) -> Vec<String> {
    let at = address(numbers);
    let mut log = vec![];
    match numbers.below(16) {
        0..=4 => access::<u64, OBSERVED>(mmu, at, numbers, &mut log),
        5..=7 => access::<u128, OBSERVED>(mmu, at, numbers, &mut log),
        8..=9 => access::<u8, OBSERVED>(mmu, at, numbers, &mut log),
        10 => {
            let expected = naive::walk(mmu.ram(), mmu.context(), at, AccessKind::Execute);
            let found = mmu.fetch(at);
            assert_eq!(found.map(|window| window.host_physical), expected.map(|found| found.host));
            if let Ok(window) = found {
                let page =
                    world.fetched.entry((mmu.epoch(), at.page())).or_insert(window.host_physical.page());
                assert_eq!(*page, window.host_physical.page(), "one epoch, one page");
            }
            log.push(format!("{found:?}"));
        }
        11..=13 => {
            let context = numbers.pick(&world.contexts);
            mmu.set_context(context);
        }
        14 => {
            let (vpid, pcids) = (numbers.below(2) as u16, Pcids::One(numbers.below(2) as u16));
            let globals = numbers.pick(&[Globals::Keep, Globals::Drop]);
            mmu.invalidate(numbers.pick(&[
                Invalidation::Vpid { vpid, pcids, globals },
                Invalidation::Address { vpid, pcids, globals, structures: Structures::All, address: at },
                Invalidation::NonzeroVpids,
                Invalidation::EptRoots,
            ]));
        }
        _ => change_tables(mmu, world, numbers),
    }
    log
}

/// Changes a page, and makes the invalidations that the change requires.
fn change_tables<const OBSERVED: bool>(mmu: &mut Mmu<OBSERVED>, world: &mut World, numbers: &mut Numbers) {
    let index = numbers.below(world.tables.len() as u64) as usize;
    let tables = &mut world.tables[index];
    let at = numbers.pick(&SMALL).add(numbers.below(6) << 12);
    let (to, permissions) = (data_page(numbers), permissions(numbers));
    let _ = tables.unmap(mmu.ram(), at, 0x1000, PageSize::Size4K);
    if !numbers.one_in(4) {
        tables.map(mmu.ram(), at, to, 0x1000, PageSize::Size4K, permissions).unwrap();
    }
    for vpid in 0..2 {
        let (pcids, globals) = (Pcids::All, Globals::Drop);
        mmu.invalidate(Invalidation::Address {
            vpid,
            pcids,
            globals,
            structures: Structures::All,
            address: at.add(5),
        });
    }
}

/// One access, compared with the naive walker and RAM.
fn access<W: Scalar, const OBSERVED: bool>(
    mmu: &mut Mmu<OBSERVED>,
    at: LinearAddress,
    numbers: &mut Numbers,
    log: &mut Vec<String>,
) {
    let value = W::from_bytes(core::array::from_fn(|_| numbers.next() as u8));
    let kind = numbers.pick(&[AccessKind::Read, AccessKind::Write]);
    let expected = naive_value::<W>(mmu.ram(), mmu.context(), at, kind);
    let found = match (kind, numbers.one_in(2)) {
        (AccessKind::Read, _) => mmu.read::<W>(at),
        (_, true) => mmu.modify(at, |_: W| value),
        (_, false) => mmu.write(at, value).and(expected),
    };
    assert_eq!(found, expected, "{kind:?} {at:?} {:?}", mmu.context());
    if kind == AccessKind::Write && found.is_ok() {
        let now = naive_value::<W>(mmu.ram(), mmu.context(), at, kind);
        assert_eq!(now, Ok(value), "what was written is what is there");
    }
    log.push(format!("{kind:?} {at:?} {found:?}"));
}

fn naive_value<W: Scalar>(
    ram: &Ram,
    context: &Context,
    at: LinearAddress,
    kind: AccessKind,
) -> Result<W, Fault> {
    let mut bytes = [0; 16];
    let in_first = W::BYTES.min(4096 - at.page_offset());
    let mut hosts = vec![];
    for part in [at, at.add(in_first as u64)].into_iter().take(if in_first < W::BYTES { 2 } else { 1 }) {
        hosts.push(naive::walk(ram, context, part, kind)?.host);
    }
    for (index, byte) in bytes.iter_mut().take(W::BYTES).enumerate() {
        let host = if index < in_first {
            hosts[0].add(index as u64)
        } else {
            hosts[1].add((index - in_first) as u64)
        };
        *byte = ram.read(host).unwrap();
    }
    Ok(W::from_bytes(bytes))
}

/// Every page in the fast map is in the TLB, permits what the map says, and is what a walk finds now.
fn check_subset(mmu: &Mmu<false>) {
    for (page, allowed) in mmu.fast().pages() {
        let kinds: &[AccessKind] = match allowed {
            Allowed::Read => &[AccessKind::Read],
            Allowed::ReadWrite => &[AccessKind::Read, AccessKind::Write],
        };
        for &kind in kinds {
            let held = mmu.tlb().peek(page, kind, Requirement::of(mmu.context(), kind));
            let held = held.unwrap_or_else(|| panic!("{page:?} {kind:?} is not in the TLB")).host(page);
            let walked = naive::walk(mmu.ram(), mmu.context(), page, kind).unwrap();
            assert_eq!(held, walked.host);
            assert!(walked.flags.is_empty(), "{page:?} {kind:?} has flags to set");
            assert_eq!(mmu.fast().read::<u64>(page), Some(mmu.ram().read::<u64>(held).unwrap()));
        }
    }
}

fn history<const OBSERVED: bool>(seed: u64, mut check: impl FnMut(&Mmu<OBSERVED>)) -> (Vec<String>, Vec<u8>) {
    let mut numbers = Numbers(seed);
    let (ram, mut world) = world(&mut numbers);
    let geometry = geometry(&mut numbers);
    let mut mmu = Mmu::<OBSERVED>::new(ram, &geometry).unwrap();
    mmu.set_context(world.contexts[0]);
    let mut log = vec![];
    for _ in 0..80 {
        log.extend(step(&mut mmu, &mut world, &mut numbers));
        check(&mmu);
    }
    let mut bytes = vec![];
    for page in data_frames().chain(table_frames()) {
        let mut frame = [0; 4096];
        mmu.ram().copy_out(HostPhysicalAddress(page * 4096), &mut frame).unwrap();
        bytes.extend(frame);
    }
    (log, bytes)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases() / 2))]

    #[test]
    fn every_page_of_the_fast_map_is_in_the_tlb_and_equals_a_walk(seed: u64) {
        history::<false>(seed, check_subset);
    }

    #[test]
    fn plain_and_observed_memory_give_the_same_values_faults_and_contents(seed: u64) {
        let (plain_log, plain) = history::<false>(seed, |_| {});
        let (observed_log, observed) = history::<true>(seed, |_| {});
        prop_assert_eq!(plain_log, observed_log);
        prop_assert!(plain == observed);
    }
}

#[test]
fn the_histories_use_the_fast_map_and_fault_too() {
    let (mut pages, mut faults, mut done) = (0, 0, 0);
    for seed in 0..40 {
        let (log, _) = history::<false>(seed, |mmu| pages += mmu.fast().pages().count());
        faults += log.iter().filter(|line| line.contains("Err")).count();
        done += log.iter().filter(|line| line.contains("Ok")).count();
    }
    assert!(pages > 1000 && faults > 100 && done > 500, "{pages} {faults} {done}");
}
