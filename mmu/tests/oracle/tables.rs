//! Bugs about entries that reference tables.

use crate::bugs::{PAGE, only};
use crate::machine::{DATA, Machine, map};
use isa::address::{HostPhysicalAddress, LinearAddress};
use mmu::PageSize;
use mmu::operation::Operation;
use mmu::oracle::{ChangeId, Verdict, What};
use mmu::tables::PageTables;
use mmu::translator::Hit;

const NEXT: LinearAddress = LinearAddress(PAGE.0 + 0x1000);

/// A processor that has read PAGE, and NEXT under the same PDE.
fn two_pages() -> (Machine, PageTables) {
    let mut machine = Machine::new(1);
    machine.with_pcids();
    let mut tables = machine.tables(0x10_0000);
    map(&machine.ram, &mut tables, PAGE, DATA, PageSize::Size4K);
    map(&machine.ram, &mut tables, NEXT, DATA + 0x1000, PageSize::Size4K);
    machine.load(0, tables.root(), 1, false);
    (machine, tables)
}

/// Replaces the page table of the two pages by one that maps NEXT to another frame and PAGE not at all.
fn replace_table(machine: &mut Machine, tables: &mut PageTables) -> ChangeId {
    let leaf = tables.leaf(&machine.ram, NEXT).unwrap().unwrap();
    let new_table = HostPhysicalAddress(0x70_0000);
    machine.ram.write(new_table.add(leaf.entry.0 & 0xfff), (DATA + 0x5000) | 7_u64).unwrap();
    // The frames of tables are taken one after the other: the page directory is the one before.
    let pde = HostPhysicalAddress(leaf.entry.page().0 - 0x1000 + 8 * (PAGE.0 >> 21));
    let context = machine.context(0);
    let what = What::GuestEntry { context, page: PAGE, size: 2 << 20 };
    machine.edit((0, "collapse"), what, 2, pde, new_table.0 | 7)
}

/// Replaces the table, performs an operation, and walks for a page from a cached PDE or a fresh one.
fn after_replaced_table(operation: Option<Operation>) -> (Machine, Option<Verdict>) {
    let (mut machine, mut tables) = two_pages();
    machine.read(0, PAGE);
    let id = replace_table(&mut machine, &mut tables);
    if let Some(operation) = operation {
        machine.perform(0, operation);
    }
    machine.completed(id);
    let verdict = machine.read(0, NEXT);
    (machine, verdict)
}

#[test]
fn a_stale_entry_of_a_paging_structure_cache_is_found() {
    let (machine, verdict) = after_replaced_table(None);
    assert_eq!(verdict, Some(Verdict::Missing));
    let finding = only(&machine);
    assert_eq!(finding.used.hit, Hit::Walk);
    assert_eq!(finding.origin.change().unwrap().level, 2);
    // INVLPG of any address removes all entries of the paging-structure caches.
    for right in [Operation::Invlpg(LinearAddress(0x7000_0000)), Operation::MovToCr3(0x10_0001)] {
        let (machine, verdict) = after_replaced_table(Some(right));
        assert_eq!(verdict, Some(Verdict::Coherent));
        assert!(machine.is_silent());
    }
}

#[test]
fn a_translation_from_before_two_changes_is_blamed_on_the_one_that_software_relies_on() {
    let (mut machine, mut tables) = two_pages();
    machine.read(0, PAGE);
    let context = machine.context(0);
    let leaf = tables.leaf(&machine.ram, PAGE).unwrap().unwrap();
    replace_table(&mut machine, &mut tables);
    let what = What::GuestEntry { context, page: PAGE, size: 0x1000 };
    let id = machine.edit((0, "munmap"), what, 1, leaf.entry, 0);
    assert_eq!(machine.read(0, PAGE), Some(Verdict::InWindow));
    machine.completed(id);
    assert_eq!(machine.read(0, PAGE), Some(Verdict::Missing));
    assert_eq!(only(&machine).origin.change().unwrap().by.who, "munmap");
}

#[test]
fn a_page_that_is_gone_can_come_back_from_a_structure_that_is_not() {
    let (mut machine, mut tables) = two_pages();
    let leaf = tables.leaf(&machine.ram, PAGE).unwrap().unwrap();
    machine.ram.write(leaf.entry, leaf.value | 1 << 8).unwrap();
    machine.read(0, PAGE);
    let id = replace_table(&mut machine, &mut tables);
    // Under another PCID INVLPG removes the global page, and no entry of a paging-structure cache of this one.
    machine.load(0, tables.root(), 2, true);
    machine.perform(0, Operation::Invlpg(PAGE));
    machine.completed(id);
    machine.load(0, tables.root(), 1, true);
    assert_eq!(machine.read(0, PAGE), Some(Verdict::Missing));
    assert_eq!(only(&machine).used.hit, Hit::Walk);
}
