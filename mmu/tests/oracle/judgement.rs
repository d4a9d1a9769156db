//! Judgements on invalidations, exact on small scripts.

use crate::machine::{DATA, Machine, map};
use isa::address::{GuestPhysicalAddress, LinearAddress};
use mmu::PageSize;
use mmu::operation::{Invept, Invpcid, Operation};
use mmu::oracle::{Judgement, Summary, Verdict};
use mmu::tables::PageTables;

const PAGES: u64 = 8;

fn page(number: u64) -> LinearAddress {
    LinearAddress(0x40_0000 + 0x1000 * number)
}

/// A processor that has read eight pages.
fn read_all() -> (Machine, PageTables) {
    let mut machine = Machine::new(1);
    let mut tables = machine.tables(0x10_0000);
    for number in 0..PAGES {
        map(&machine.ram, &mut tables, page(number), DATA + 0x1000 * number, PageSize::Size4K);
    }
    machine.perform(0, Operation::MovToCr3(tables.root().0));
    read_again(&mut machine);
    (machine, tables)
}

fn read_again(machine: &mut Machine) {
    for number in 0..PAGES {
        assert_eq!(machine.read(0, page(number)), Some(Verdict::Coherent));
    }
}

fn unmap(machine: &mut Machine, tables: &mut PageTables, number: u64) {
    let context = machine.context(0);
    let id = machine.edit_leaf((0, "munmap"), tables, context, page(number), |_| 0);
    machine.perform(0, Operation::Invlpg(page(number)));
    machine.completed(id);
}

/// The first load of CR3 finds nothing cached.
const FIRST_LOAD: Summary = Summary {
    required: 0,
    redundant: 1,
    over_broad: 0,
    valid_dropped: 0,
    in_window: 0,
    missing: 0,
    incoherent: 0,
};

#[test]
fn an_invlpg_after_an_unmap_is_required_and_drops_the_structures_of_its_pcid_too() {
    let (mut machine, mut tables) = read_all();
    unmap(&mut machine, &mut tables, 0);
    // The translation is stale; the PML4E, PDPTE and PDE are valid.
    let expected = Summary { required: 1, valid_dropped: 3, ..FIRST_LOAD };
    assert_eq!(machine.oracle.summary(), expected);
}

#[test]
fn an_invlpg_of_an_unchanged_page_is_redundant_and_its_refill_counts_once() {
    let (mut machine, _) = read_all();
    let judgement = machine.perform(0, Operation::Invlpg(page(3)));
    assert_eq!(judgement, Judgement { stale: 0, valid: 4 });
    read_again(&mut machine);
    read_again(&mut machine);
    let expected = Summary { redundant: 2, valid_dropped: 4, over_broad: 1, ..FIRST_LOAD };
    assert_eq!(machine.oracle.summary(), expected);
}

#[test]
fn an_invalidation_of_nothing_is_redundant_and_drops_nothing() {
    let (mut machine, _) = read_all();
    let judgement = machine.perform(0, Operation::Invept(Invept::All));
    assert_eq!(judgement, Judgement::default());
    read_again(&mut machine);
    assert_eq!(machine.oracle.summary(), Summary { redundant: 2, ..FIRST_LOAD });
}

#[test]
fn a_flush_for_one_page_is_required_and_over_broad_by_what_is_used_again() {
    let (mut machine, mut tables) = read_all();
    let context = machine.context(0);
    let id = machine.edit_leaf((0, "munmap"), &mut tables, context, page(0), |_| 0);
    let judgement = machine.perform(0, Operation::MovToCr3(tables.root().0));
    machine.completed(id);
    assert_eq!(judgement, Judgement { stale: 1, valid: 7 + 3 });
    for number in 1..5 {
        machine.read(0, page(number));
    }
    let expected = Summary { required: 1, redundant: 1, valid_dropped: 10, over_broad: 4, ..FIRST_LOAD };
    assert_eq!(machine.oracle.summary(), expected);
}

#[test]
fn what_has_changed_before_it_is_used_again_is_no_refill() {
    let (mut machine, mut tables) = read_all();
    machine.perform(0, Operation::MovToCr3(tables.root().0));
    let context = machine.context(0);
    machine.edit_leaf((0, "mremap"), &mut tables, context, page(0), |entry| entry + 0x10_0000);
    assert_eq!(machine.read(0, page(0)), Some(Verdict::Coherent));
    assert_eq!(machine.oracle.summary().over_broad, 0);
    machine.read(0, page(1));
    assert_eq!(machine.oracle.summary().over_broad, 1);
}

#[test]
fn a_load_of_another_cr3_is_required_where_the_tag_is_the_same() {
    let (mut machine, _) = read_all();
    let other = machine.tables(0x20_0000);
    let judgement = machine.perform(0, Operation::MovToCr3(other.root().0));
    assert_eq!(judgement, Judgement { stale: 8 + 3, valid: 0 });
}

#[test]
fn entries_of_another_tag_are_judged_by_their_own_tables() {
    let mut machine = Machine::new(1);
    machine.with_pcids();
    let [mut one, mut other] = [0x10_0000, 0x20_0000].map(|frames| machine.tables(frames));
    for tables in [&mut one, &mut other] {
        map(&machine.ram, tables, page(0), DATA, PageSize::Size4K);
    }
    machine.load(0, one.root(), 1, true);
    machine.read(0, page(0));
    let context = machine.context(0);
    machine.load(0, other.root(), 2, true);
    machine.read(0, page(0));
    machine.edit_leaf((0, "munmap"), &mut one, context, page(0), |_| 0);
    let of_pcid = |pcid| Operation::Invpcid(Invpcid::Address { pcid, address: page(0) });
    assert_eq!(machine.perform(0, of_pcid(2)), Judgement { stale: 0, valid: 4 });
    assert_eq!(machine.perform(0, of_pcid(1)), Judgement { stale: 1, valid: 3 });
}

#[test]
fn a_vm_exit_without_a_vpid_drops_what_the_guest_finds_again() {
    let mut machine = Machine::new(1);
    let ept = machine.ept(1, PageSize::Size4K).context();
    let mut tables = machine.guest_tables(ept, 0x10_0000);
    map(&machine.ram, &mut tables, page(0), DATA, PageSize::Size4K);
    machine.enter(0, None, Some(ept), tables.root().0);
    machine.read(0, page(0));
    machine.exit(0);
    let after_exit = machine.oracle.summary();
    machine.enter(0, None, Some(ept), tables.root().0);
    machine.read(0, page(0));
    let summary = machine.oracle.summary();
    assert_eq!((after_exit.over_broad, summary.over_broad, summary.required), (0, 1, 0));
}

#[test]
fn guest_physical_mappings_are_judged_by_ept() {
    let mut machine = Machine::new(1);
    let mut ept = machine.ept(1, PageSize::Size4K);
    let mut tables = machine.guest_tables(ept.context(), 0x10_0000);
    map(&machine.ram, &mut tables, page(0), DATA, PageSize::Size4K);
    let cr3 = tables.root().0;
    machine.enter(0, Some(5), Some(ept.context()), cr3);
    machine.read(0, page(0));
    machine.exit(0);
    let of_root = Operation::Invept(Invept::Context { eptp: ept.context().root.0 });
    let all = machine.perform(0, of_root);
    assert_eq!(all.stale, 0);
    machine.enter(0, Some(5), Some(ept.context()), cr3);
    machine.read(0, page(0));
    machine.exit(0);
    // The page that holds the root table moves: its guest-physical mapping and the PML4E's translation are stale.
    let frame = GuestPhysicalAddress(0x10_0000);
    let moved = |entry: u64| entry ^ 0x100_0000;
    machine.edit_ept_leaf((0, "balloon"), &mut ept, frame, moved);
    let judgement = machine.perform(0, of_root);
    assert_eq!(judgement.stale + judgement.valid, all.valid);
    assert!(judgement.stale >= 2, "{judgement:?}");
}

#[test]
fn copies_in_several_levels_are_one_mapping() {
    let (mut machine, _) = read_all();
    // The page is in the first level for data, for fetches, and in the second level.
    machine.access(0, page(0), isa::address::AccessKind::Execute);
    assert_eq!(machine.perform(0, Operation::Invlpg(page(0))), Judgement { stale: 0, valid: 4 });
}
