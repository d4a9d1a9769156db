//! Changes that are less plain than an unmapped page: tables, flags, global pages, other contexts.

use crate::bugs::{PAGE, only};
use crate::machine::{DATA, Machine, map};
use isa::address::{AccessKind, LinearAddress};
use mmu::operation::Operation;
use mmu::oracle::{Origin, Verdict, What};
use mmu::{Context, PageSize, Privilege};

/// A page table is replaced by another; the page is walked for again from a cached PDE.
fn after_replaced_table(operation: Option<Operation>) -> (Machine, Option<Verdict>) {
    let mut machine = Machine::new(1);
    let mut tables = machine.tables(0x10_0000);
    let next = PAGE.add(0x1000);
    map(&machine.ram, &mut tables, PAGE, DATA, PageSize::Size4K);
    map(&machine.ram, &mut tables, next, DATA + 0x1000, PageSize::Size4K);
    machine.perform(0, Operation::MovToCr3(tables.root().0));
    machine.read(0, PAGE);
    let leaf = tables.leaf(&machine.ram, next).unwrap().unwrap();
    let old_table = leaf.entry.page();
    let pde = (0..512).map(|index| isa::address::HostPhysicalAddress(0x10_2000 + 8 * index));
    let holds = |at: &isa::address::HostPhysicalAddress| {
        machine.ram.read::<u64>(*at).unwrap() & 0xf_ffff_f000 == old_table.0
    };
    let pde = pde.into_iter().find(holds).unwrap();
    let new_table = isa::address::HostPhysicalAddress(0x70_0000);
    machine.ram.write(new_table.add(leaf.entry.0 & 0xfff), (DATA + 0x5000) | 7_u64).unwrap();
    let context = machine.context(0);
    let what = What::GuestEntry { context, page: PAGE, size: 2 << 20 };
    let id = machine.edit((0, "collapse"), what, 2, pde, new_table.0 | 7);
    if let Some(operation) = operation {
        machine.perform(0, operation);
    }
    machine.completed(id);
    let verdict = machine.read(0, next);
    (machine, verdict)
}

#[test]
fn a_stale_entry_of_a_paging_structure_cache_is_found() {
    let (machine, verdict) = after_replaced_table(None);
    assert_eq!(verdict, Some(Verdict::Missing));
    let finding = only(&machine);
    assert_eq!(finding.used.hit, mmu::translator::Hit::Walk);
    assert_eq!(finding.origin.change().unwrap().level, 2);
    // INVLPG of any address removes all entries of the paging-structure caches.
    for right in [Operation::Invlpg(LinearAddress(0x7000_0000)), Operation::MovToCr3(0x10_0000)] {
        let (machine, verdict) = after_replaced_table(Some(right));
        assert_eq!(verdict, Some(Verdict::Coherent));
        assert!(machine.is_silent());
    }
}

#[test]
fn a_dirty_flag_that_is_cleared_without_an_invalidation_is_found() {
    for (operation, expected) in
        [(None, Verdict::Missing), (Some(Operation::Invlpg(PAGE)), Verdict::Coherent)]
    {
        let mut machine = Machine::new(1);
        let mut tables = machine.tables(0x10_0000);
        map(&machine.ram, &mut tables, PAGE, DATA, PageSize::Size4K);
        machine.perform(0, Operation::MovToCr3(tables.root().0));
        machine.write(0, PAGE);
        let context = machine.context(0);
        let id = machine.edit_leaf((0, "writeback"), &mut tables, context, PAGE, |entry| entry & !0x40);
        if let Some(operation) = operation {
            machine.perform(0, operation);
        }
        machine.completed(id);
        assert_eq!(machine.read(0, PAGE), Some(Verdict::Coherent));
        assert_eq!(machine.write(0, PAGE), Some(expected));
        assert_eq!(machine.is_silent(), expected == Verdict::Coherent);
    }
}

#[test]
fn a_plain_store_to_a_table_is_a_change_by_an_unknown_writer() {
    let mut machine = Machine::new(1);
    let mut tables = machine.tables(0x10_0000);
    map(&machine.ram, &mut tables, PAGE, DATA, PageSize::Size4K);
    // The tables map themselves at a page, so that the program can write them.
    let leaf = tables.leaf(&machine.ram, PAGE).unwrap().unwrap();
    let window = PAGE.add(0x1000);
    map(&machine.ram, &mut tables, window, leaf.entry.page().0, PageSize::Size4K);
    machine.perform(0, Operation::MovToCr3(tables.root().0));
    assert_eq!(machine.read(0, PAGE), Some(Verdict::Coherent));
    assert_eq!(machine.read(0, PAGE), Some(Verdict::Coherent));
    assert_eq!(machine.write(0, window.add(leaf.entry.0 & 0xfff)), Some(Verdict::Coherent));
    machine.ram.write(leaf.entry, 0_u64).unwrap();
    assert_eq!(machine.read(0, PAGE), Some(Verdict::Missing));
    let finding = only(&machine);
    assert!(matches!(finding.origin, Origin::UnknownWriter { .. }), "{finding:?}");
    assert_eq!(finding.needed, [Operation::Invlpg(PAGE)]);
}

#[test]
fn a_global_page_that_another_pcid_maps_otherwise_is_found() {
    let mut machine = Machine::new(1);
    machine.with_pcids();
    let [mut one, other] = [0x10_0000, 0x20_0000].map(|frames| machine.tables(frames));
    map(&machine.ram, &mut one, PAGE, DATA, PageSize::Size4K);
    let leaf = one.leaf(&machine.ram, PAGE).unwrap().unwrap();
    machine.ram.write(leaf.entry, leaf.value | 1 << 8).unwrap();
    machine.load(0, one.root(), 1, false);
    machine.read(0, PAGE);
    machine.load(0, other.root(), 2, false);
    assert_eq!(machine.read(0, PAGE), Some(Verdict::Missing));
    assert!(matches!(only(&machine).origin, Origin::GlobalPage(_)));
}

#[test]
fn supervisor_pages_are_judged_in_their_own_context() {
    let mut machine = Machine::new(1);
    let mut tables = machine.tables(0x10_0000);
    map(&machine.ram, &mut tables, PAGE, DATA, PageSize::Size4K);
    machine.perform(0, Operation::MovToCr3(tables.root().0));
    machine.read(0, PAGE);
    let user = machine.context(0);
    let change = |entry: u64| entry & !4;
    let id = machine.edit_leaf((0, "mprotect"), &mut tables, user, PAGE, change);
    machine.completed(id);
    let supervisor = Context { privilege: Privilege::Supervisor, ..user };
    let read = AccessKind::Read;
    let found = machine.processors[0].translator.translate(&machine.ram, PAGE, read, &mut ()).unwrap();
    let verdict =
        |machine: &mut Machine, context| machine.oracle.used(&machine.ram, 0, context, PAGE, read, &found, 1);
    assert_eq!(verdict(&mut machine, &supervisor), Verdict::Coherent);
    assert_eq!(verdict(&mut machine, &user), Verdict::Missing);
}
