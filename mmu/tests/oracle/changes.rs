//! Changes that are less plain than an unmapped page: flags, global pages, other contexts.

use crate::bugs::{PAGE, only};
use crate::machine::{DATA, Machine, map};
use isa::address::AccessKind;
use mmu::operation::Operation;
use mmu::oracle::{Origin, Verdict};
use mmu::{Context, PageSize, Privilege};

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
