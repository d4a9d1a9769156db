//! The page-modification log.

use super::common::{Numbers, cases};
use super::world::{KINDS, World, ample};
use isa::address::{AccessKind, GuestPhysicalAddress, HostPhysicalAddress};
use mmu::operation::{Paging, Registers, VmxOperation};
use mmu::walk::PageModificationLog;
use mmu::{Fault, Privilege, Ram, Translator};
use std::collections::HashMap;

const DIRTY: u64 = 1 << 9;
const ACCESSED: u64 = 1 << 8;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
/// The page of the log.
const LOG: u64 = 0xf0_0000;

/// The entries of the EPT that map pages, with their flags, by the address that they map.
fn leaves(world: &World) -> HashMap<u64, u64> {
    let mut leaves = HashMap::new();
    collect(&world.ram, world.epts[0].context().root.0, 4, 0, &mut leaves);
    leaves
}

fn collect(ram: &Ram, table: u64, level: u32, start: u64, leaves: &mut HashMap<u64, u64>) {
    for index in 0..512 {
        let entry = ram.read::<u64>(HostPhysicalAddress(table + 8 * index)).unwrap();
        let start = start | index << (3 + 9 * level);
        if entry & 7 == 0 {
            continue;
        }
        if level == 1 || entry & 1 << 7 != 0 {
            leaves.insert(start, entry & (ACCESSED | DIRTY));
        } else {
            collect(ram, entry & ADDRESS, level - 1, start, leaves);
        }
    }
}

/// The addresses in the log above an index, the oldest first.
fn logged(ram: &Ram, above: u16) -> Vec<u64> {
    let read = |number: u64| ram.read::<u64>(HostPhysicalAddress(LOG + 8 * number)).unwrap();
    (u64::from(above.wrapping_add(1))..512).rev().map(read).collect()
}

/// What each access sees: the machine, its log before and after, the flags before and after, and the result.
struct Seen<'a> {
    ram: &'a Ram,
    before: u16,
    after: u16,
    flags_before: &'a HashMap<u64, u64>,
    flags_after: &'a HashMap<u64, u64>,
    result: Result<(), Fault>,
}

/// Random accesses with a log that starts at `index` and is not emptied.
fn run(seed: u64, index: u16, mut look: impl FnMut(&Seen<'_>)) {
    let (world, mut numbers) = (World::new(), Numbers(seed));
    let (universe, eptp) = (world.universe(), world.eptps()[2]);
    let mut translator = Translator::new(&ample()).unwrap();
    translator
        .set_page_modification_log(Some(PageModificationLog { address: HostPhysicalAddress(LOG), index }));
    for _ in 0..60 {
        let paging = Paging::four_level(numbers.pick(&universe.roots));
        let vmx = VmxOperation::NonRoot { vpid: Some(1 + numbers.below(2) as u16), eptp: Some(eptp) };
        let registers = Registers { vmx, ..Registers::outside(paging) };
        translator.set_context(registers.context(Privilege::User));
        let flags_before = leaves(&world);
        let before = translator.page_modification_log().unwrap().index;
        let (address, kind) = (universe.address(&mut numbers), numbers.pick(&KINDS));
        let result = translator.translate(&world.ram, address, kind, &mut ()).map(|_| ());
        let after = translator.page_modification_log().unwrap().index;
        let flags_after = leaves(&world);
        look(&Seen {
            ram: &world.ram,
            before,
            after,
            flags_before: &flags_before,
            flags_after: &flags_after,
            result,
        });
    }
}

/// The pages whose dirty flag an access has set.
fn dirtied(seen: &Seen<'_>) -> Vec<u64> {
    let set = |(page, flags): (&u64, &u64)| {
        (flags & DIRTY != 0 && seen.flags_before[page] & DIRTY == 0).then_some(*page)
    };
    let mut pages: Vec<u64> = seen.flags_after.iter().filter_map(set).collect();
    pages.sort_unstable();
    pages
}

#[test]
fn tlb_pml_log() {
    let mut entries = 0;
    for seed in 0..u64::from(cases().div_ceil(16)) {
        run(seed, 511, |seen| {
            assert_eq!(seen.result, Ok(()));
            // Newest last: one entry for each page that was clean, and none for those that were dirty.
            let new = usize::from(seen.before - seen.after);
            let all = logged(seen.ram, seen.after);
            let added = &all[all.len() - new..];
            assert!(added.iter().all(|address| address & 0xfff == 0));
            let page = |address: &u64| {
                seen.flags_after.keys().copied().filter(|start| start <= address).max().unwrap()
            };
            let mut pages: Vec<u64> = added.iter().map(page).collect();
            pages.sort_unstable();
            assert_eq!(pages, dirtied(seen), "seed {seed}");
            entries += new;
        });
    }
    assert!(entries > 100);
}

#[test]
fn tlb_pml_order() {
    let mut full = 0;
    for seed in 0..u64::from(cases().div_ceil(16)) {
        for index in [0, 3, 0xffff, 512] {
            run(seed, index, |seen| {
                let space = if seen.before < 512 { seen.before + 1 } else { 0 };
                let set = dirtied(seen);
                assert!(set.len() <= usize::from(space), "a flag is set that has no place in the log");
                match seen.result {
                    Ok(()) => assert_eq!(seen.before.wrapping_sub(seen.after), set.len() as u16),
                    Err(Fault::PageModificationLogFull { .. }) => {
                        // What had a place is in it; the next flag is as it was, and the index says why.
                        assert!(seen.after > 511, "{}", seen.after);
                        assert_eq!(seen.before.wrapping_sub(seen.after), set.len() as u16);
                        full += 1;
                    }
                    other => panic!("{other:?}"),
                }
            });
        }
    }
    assert!(full > 100);
}

#[test]
fn a_page_that_was_read_and_logged_again_needs_an_invalidation() {
    let world = World::new();
    let (eptp, page) = (world.eptps()[2], GuestPhysicalAddress(0x20_0000));
    let address = isa::address::LinearAddress(0x40_0000);
    let vmx = VmxOperation::NonRoot { vpid: Some(1), eptp: Some(eptp) };
    let paging = Paging::four_level(world.universe().roots[0]);
    let registers = Registers { vmx, ..Registers::outside(paging) };
    let mut translator = Translator::new(&ample()).unwrap();
    translator.set_context(registers.context(Privilege::User));
    let log = PageModificationLog { address: HostPhysicalAddress(LOG), index: 511 };
    translator.set_page_modification_log(Some(log));
    let write = |translator: &mut Translator| {
        translator.translate(&world.ram, address, AccessKind::Write, &mut ()).unwrap();
        logged(&world.ram, translator.page_modification_log().unwrap().index)
            .into_iter()
            .filter(|&logged| logged == page.0)
            .count()
    };
    assert_eq!(write(&mut translator), 1);
    let leaf = world.epts[0].clone().leaf(&world.ram, page).unwrap().unwrap();
    world.ram.write(leaf.entry, leaf.value & !DIRTY).unwrap();
    assert_eq!(write(&mut translator), 1, "the dirty flag is cached");
    let root = HostPhysicalAddress(eptp & !0xfff);
    translator.invalidate(mmu::tlb::Invalidation::EptRoot { root });
    assert_eq!(write(&mut translator), 2);
}
