//! Page-modification logging (SDM 31.3.6).
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::guest::{Behind, DATA, EPT_TABLES, HOME, Machine, PAGE, all_caches, data, invlpg, page};
use isa::address::{AccessKind, GuestPhysicalAddress, HostPhysicalAddress, LinearAddress};
use mmu::ept::EptControls;
use mmu::mmu::Mmu;
use mmu::tlb::Invalidation;
use mmu::walk::PageModificationLog;
use mmu::{Context, EptContext, Fault, Geometry, PageSize, PagingMode};

const FLAGS: Behind = Behind::EptWithFlags(PageSize::Size4K);
/// A page behind the tables of EPT.
const LOG: HostPhysicalAddress = HostPhysicalAddress(EPT_TABLES + 0xf_f000);
const ACCESSED: u64 = 1 << 8;
const DIRTY: u64 = 1 << 9;

fn machine(behind: Behind, index: u16) -> Machine {
    let mut machine = Machine::new(PagingMode::FourLevel, behind, &all_caches());
    machine.translator.set_page_modification_log(Some(PageModificationLog { address: LOG, index }));
    machine
}

fn index(machine: &Machine) -> u16 {
    machine.translator.page_modification_log().unwrap().index
}

/// What is in the log above the index.
fn logged(machine: &Machine, first: u16) -> Vec<u64> {
    (index(machine).wrapping_add(1)..=first)
        .rev()
        .map(|index| machine.load(LOG.add(8 * u64::from(index))))
        .collect()
}

/// The pages of the guest's tables for an address, from the root.
fn table_pages(machine: &Machine, address: LinearAddress) -> Vec<u64> {
    (1..=4).rev().map(|level| machine.guest_entry(address, level).page().0 - HOME).collect()
}

fn ept_leaf(machine: &mut Machine, address: u64) -> HostPhysicalAddress {
    let ept = machine.ept.as_mut().unwrap();
    ept.leaf(&machine.ram, GuestPhysicalAddress(address)).unwrap().unwrap().entry
}

#[test]
fn a_walk_logs_the_pages_of_tables_and_a_write_the_page_in_the_order_of_the_accesses() {
    let mut machine = machine(FLAGS, 511);
    let tables = table_pages(&machine, PAGE);
    machine.read(PAGE.add(0x123)).unwrap();
    assert_eq!(
        logged(&machine, 511),
        tables,
        "reads of tables count as writes, the read of the page does not"
    );
    machine.write(PAGE.add(0x123)).unwrap();
    assert_eq!(logged(&machine, 511), [&tables[..], &[DATA]].concat());
    assert_eq!(index(&machine), 511 - 5);
}

#[test]
fn a_dirty_page_is_not_logged_again() {
    let mut machine = machine(FLAGS, 511);
    machine.write(PAGE).unwrap();
    assert_eq!(index(&machine), 506);
    machine.write(PAGE).unwrap();
    machine.translator.invalidate(Invalidation::Everything);
    machine.write(PAGE).unwrap();
    assert_eq!(index(&machine), 506);
    // Once the flag was cleared, the invalidation decides.
    let leaf = ept_leaf(&mut machine, DATA);
    machine.store(leaf, machine.load(leaf) & !DIRTY);
    machine.write(PAGE).unwrap();
    assert_eq!(index(&machine), 506);
    machine.translator.invalidate(Invalidation::EptRoots);
    machine.write(PAGE).unwrap();
    assert_eq!((index(&machine), machine.load(LOG.add(8 * 506))), (505, DATA));
}

#[test]
fn a_large_ept_page_is_logged_once_by_the_first_address() {
    let mut machine = machine(Behind::EptWithFlags(PageSize::Size2M), 511);
    let root = table_pages(&machine, PAGE)[0];
    machine.write(page(5).add(8)).unwrap();
    assert_eq!(logged(&machine, 511), [root, DATA + 0x5000]);
    machine.write(page(6)).unwrap();
    assert_eq!(index(&machine), 509);
}

#[test]
fn an_accessed_flag_alone_is_not_logged() {
    let mut machine = machine(FLAGS, 511);
    machine.write(PAGE).unwrap();
    let leaf = ept_leaf(&mut machine, DATA);
    machine.store(leaf, machine.load(leaf) & !ACCESSED);
    machine.translator.invalidate(Invalidation::Everything);
    machine.write(PAGE).unwrap();
    assert_eq!(machine.load(leaf) & (ACCESSED | DIRTY), ACCESSED | DIRTY);
    assert_eq!(index(&machine), 506);
}

#[test]
fn a_full_log_refuses_every_access_that_must_set_a_flag_of_ept_and_changes_nothing() {
    for full in [512, 0xffff] {
        let mut machine = machine(FLAGS, full);
        let mut before = vec![0; (EPT_TABLES + 0x10_0000) as usize];
        machine.ram.copy_out(HostPhysicalAddress(0), &mut before).unwrap();
        let root = table_pages(&machine, PAGE)[0] + 8 * (PAGE.0 >> 39 & 0x1ff);
        for kind in [AccessKind::Read, AccessKind::Write, AccessKind::Execute] {
            let refused = Fault::PageModificationLogFull { guest_physical: GuestPhysicalAddress(root) };
            assert_eq!(machine.access(PAGE, kind), Err(refused));
        }
        let mut after = vec![0; before.len()];
        machine.ram.copy_out(HostPhysicalAddress(0), &mut after).unwrap();
        assert!(before == after);
        assert_eq!(index(&machine), full);
        let mut cached = 0;
        machine.translator.tlb().for_each_mapping(|_| cached += 1);
        assert_eq!(cached, 0);
        // An accessed flag alone needs a place in the log too, and takes none.
        machine.translator.set_page_modification_log(None);
        machine.write(PAGE).unwrap();
        let leaf = ept_leaf(&mut machine, DATA);
        machine.store(leaf, machine.load(leaf) & !ACCESSED);
        machine.translator.invalidate(Invalidation::Everything);
        machine.translator.set_page_modification_log(Some(PageModificationLog { address: LOG, index: full }));
        let refused = Fault::PageModificationLogFull { guest_physical: GuestPhysicalAddress(DATA) };
        assert_eq!(machine.access(PAGE, AccessKind::Read), Err(refused));
        machine.store(leaf, machine.load(leaf) | ACCESSED);
        assert!(machine.access(PAGE, AccessKind::Read).is_ok(), "nothing to set, no need of the log");
    }
}

#[test]
fn a_log_that_fills_up_within_a_walk_holds_the_accesses_before() {
    let mut machine = machine(FLAGS, 1);
    let tables = table_pages(&machine, PAGE);
    let third = machine.guest_entry(PAGE, 2).0 - HOME;
    let refused = Fault::PageModificationLogFull { guest_physical: GuestPhysicalAddress(third) };
    assert_eq!(machine.write(PAGE), Err(refused));
    assert_eq!(logged(&machine, 1), tables[..2]);
    assert_eq!(index(&machine), 0xffff);
    let dirty: Vec<bool> = tables
        .iter()
        .chain([&DATA])
        .map(|&at| {
            let leaf = ept_leaf(&mut machine, at);
            machine.load(leaf) & DIRTY != 0
        })
        .collect();
    assert_eq!(dirty, [true, true, false, false, false]);
    for level in 1..=4 {
        assert_eq!(machine.load(machine.guest_entry(PAGE, level)) & 0x60, 0, "no flag of the guest is set");
    }
    // The monitor empties the log, and the access is made again.
    machine.translator.set_page_modification_log(Some(PageModificationLog { address: LOG, index: 511 }));
    machine.write(PAGE).unwrap();
    assert_eq!(logged(&machine, 511), [tables[2], tables[3], DATA]);
}

#[test]
fn the_last_place_is_used_before_the_log_is_full() {
    let mut machine = machine(FLAGS, 511);
    machine.read(PAGE).unwrap();
    machine.translator.set_page_modification_log(Some(PageModificationLog { address: LOG, index: 0 }));
    machine.write(PAGE).unwrap();
    assert_eq!((index(&machine), machine.load(LOG)), (0xffff, DATA));
    assert_eq!(machine.write(PAGE), Ok(data(FLAGS, 0)));
    assert!(machine.write(page(1)).is_err());
}

#[test]
fn without_flags_of_ept_nothing_is_logged() {
    for behind in [Behind::Nothing, Behind::Ept(PageSize::Size4K)] {
        let mut machine = machine(behind, 0xffff);
        machine.write(PAGE).unwrap();
        assert_eq!(index(&machine), 0xffff);
    }
}

#[test]
fn a_log_outside_ram_or_on_a_code_page_is_refused_before_a_flag_is_set() {
    let mut machine = machine(FLAGS, 511);
    let outside = HostPhysicalAddress(0x1_0000_0000);
    machine.translator.set_page_modification_log(Some(PageModificationLog { address: outside, index: 511 }));
    assert_eq!(machine.write(PAGE), Err(Fault::OutsideRam { address: outside.add(8 * 511) }));
    let leaf = ept_leaf(&mut machine, DATA);
    assert_eq!(machine.load(leaf) & (ACCESSED | DIRTY), 0);
    machine.translator.set_page_modification_log(None);
    machine.write(PAGE).unwrap();
}

#[test]
fn memory_passes_the_log_on() {
    let machine = machine(FLAGS, 511);
    let context = machine.context();
    let mut mmu = Mmu::<false>::new(machine.ram, &Geometry::functional()).unwrap();
    mmu.set_context(context);
    mmu.set_page_modification_log(Some(PageModificationLog { address: LOG, index: 511 }));
    mmu.mark_code(LOG);
    assert_eq!(mmu.write(PAGE, 1_u8), Err(Fault::CodePage { page: LOG }));
    mmu.unmark_code(LOG);
    mmu.write(PAGE, 1_u8).unwrap();
    assert_eq!(mmu.page_modification_log().unwrap().index, 506);
    mmu.write(PAGE, 2_u8).unwrap();
    assert_eq!(mmu.page_modification_log().unwrap().index, 506);
    mmu.set_page_modification_log(Some(PageModificationLog { address: LOG, index: 512 }));
    let refused = Fault::PageModificationLogFull { guest_physical: GuestPhysicalAddress(DATA + 0x1000) };
    assert_eq!(mmu.write(page(1), 1_u8), Err(refused));
    assert_eq!(mmu.write(PAGE, 3_u8), Ok(()));
}

#[test]
fn entries_made_before_flags_came_into_use_are_not_logged_before_invept() {
    let mut machine = machine(FLAGS, 511);
    let ept = machine.ept_context();
    let without = EptContext { controls: ept.controls - EptControls::ACCESSED_DIRTY, ..ept };
    let context = machine.context();
    machine.translator.set_context(Context { ept: Some(without), ..context });
    machine.write(PAGE).unwrap();
    machine.translator.set_context(context);
    machine.translator.invalidate(invlpg(PAGE));
    machine.write(PAGE).unwrap();
    assert_eq!(index(&machine), 511);
    machine.translator.invalidate(Invalidation::EptRoots);
    machine.write(PAGE).unwrap();
    assert_eq!(index(&machine), 506);
}
