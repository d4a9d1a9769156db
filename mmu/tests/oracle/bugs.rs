//! Each bug that the oracle is for, and its correct version, on which the oracle is silent.

use crate::machine::{DATA, Machine, map};
use isa::address::{AccessKind, GuestPhysicalAddress, LinearAddress};
use mmu::ept::EptPermissions;
use mmu::operation::{Invept, Invpcid, Invvpid, Operation};
use mmu::oracle::{Finding, Origin, Verdict, What};
use mmu::translation::{Requirement, Rights, Scope};
use mmu::{PageSize, Space, Translation};

pub const PAGE: LinearAddress = LinearAddress(0x40_0000);

/// The only finding.
pub(super) fn only(machine: &Machine) -> &Finding {
    let findings = machine.oracle.findings();
    assert_eq!(findings.len(), 1, "{findings:#?}");
    &findings[0]
}

/// Unmaps a page that the processors have read, performs operations, and reads once more on the last processor.
fn after_unmap(processors: usize, operations: &[(usize, Operation)]) -> (Machine, Option<Verdict>) {
    let mut machine = Machine::new(processors);
    let mut tables = machine.tables(0x10_0000);
    map(&machine.ram, &mut tables, PAGE, DATA, PageSize::Size4K);
    for processor in 0..processors {
        machine.perform(processor, Operation::MovToCr3(tables.root().0));
        assert_eq!(machine.read(processor, PAGE), Some(Verdict::Coherent));
    }
    let context = machine.context(0);
    let id = machine.edit_leaf((0, "munmap"), &mut tables, context, PAGE, |_| 0);
    for &(processor, operation) in operations {
        machine.perform(processor, operation);
    }
    machine.completed(id);
    let verdict = machine.read(processors - 1, PAGE);
    (machine, verdict)
}

#[test]
fn a_forgotten_invlpg_after_an_unmap_is_found() {
    let (machine, verdict) = after_unmap(1, &[]);
    assert_eq!(verdict, Some(Verdict::Missing));
    let finding = only(&machine);
    assert_eq!(finding.needed, [Operation::Invlpg(PAGE)]);
    assert_eq!(finding.performed, []);
    let change = finding.origin.change().unwrap();
    assert_eq!((change.by.who.as_ref(), change.level, change.new, change.at), ("munmap", 1, 0, 30));
    assert_eq!((machine.oracle.summary().missing, machine.oracle.summary().incoherent), (1, 0));
}

#[test]
fn an_unmap_with_its_invlpg_is_in_order() {
    let (machine, verdict) = after_unmap(1, &[(0, Operation::Invlpg(PAGE))]);
    assert_eq!(verdict, None);
    assert!(machine.is_silent());
}

#[test]
fn an_invlpg_of_the_next_page_does_not_do() {
    let other = Operation::Invlpg(PAGE.add(0x1000));
    let (machine, verdict) = after_unmap(1, &[(0, other)]);
    assert_eq!(verdict, Some(Verdict::Missing));
    assert_eq!(only(&machine).performed, [other]);
}

#[test]
fn before_software_relies_on_a_change_either_translation_may_be_used() {
    let mut machine = Machine::new(1);
    let mut tables = machine.tables(0x10_0000);
    map(&machine.ram, &mut tables, PAGE, DATA, PageSize::Size4K);
    machine.perform(0, Operation::MovToCr3(tables.root().0));
    machine.read(0, PAGE);
    let context = machine.context(0);
    let id = machine.edit_leaf((0, "munmap"), &mut tables, context, PAGE, |_| 0);
    for _ in 0..3 {
        assert_eq!(machine.read(0, PAGE), Some(Verdict::InWindow));
    }
    assert_eq!(machine.oracle.summary().in_window, 3);
    assert!(machine.is_silent());
    machine.completed(id);
    for _ in 0..3 {
        assert_eq!(machine.read(0, PAGE), Some(Verdict::Missing));
    }
    assert_eq!((only(&machine).count, machine.oracle.summary().missing), (3, 3));
}

#[test]
fn a_missing_shootdown_to_a_second_processor_is_found() {
    let here = Operation::Invlpg(PAGE);
    let (machine, verdict) = after_unmap(2, &[(0, here)]);
    assert_eq!(verdict, Some(Verdict::Missing));
    let finding = only(&machine);
    assert_eq!((finding.processor, finding.origin.change().unwrap().by.processor), (1, 0));
    let (machine, verdict) = after_unmap(2, &[(0, here), (1, here)]);
    assert_eq!(verdict, None);
    assert!(machine.is_silent());
}

/// A guest with VPID 5 unmaps a page; the monitor performs an operation between exit and entry.
fn after_unmap_in_guest(operation: Option<Operation>) -> (Machine, Option<Verdict>) {
    let mut machine = Machine::new(1);
    let ept = machine.ept(1, PageSize::Size4K).context();
    let mut tables = machine.guest_tables(ept, 0x10_0000);
    map(&machine.ram, &mut tables, PAGE, DATA, PageSize::Size4K);
    let cr3 = tables.root().0;
    machine.enter(0, Some(5), Some(ept), cr3);
    machine.read(0, PAGE);
    let context = machine.context(0);
    machine.exit(0);
    let id = machine.edit_leaf((0, "the monitor"), &mut tables, context, PAGE, |_| 0);
    if let Some(operation) = operation {
        machine.perform(0, operation);
    }
    machine.completed(id);
    machine.enter(0, Some(5), Some(ept), cr3);
    let verdict = machine.read(0, PAGE);
    (machine, verdict)
}

#[test]
fn an_invvpid_of_the_wrong_vpid_is_found() {
    let wrong = Operation::Invvpid(Invvpid::Context { vpid: 6 });
    let (machine, verdict) = after_unmap_in_guest(Some(wrong));
    assert_eq!(verdict, Some(Verdict::Missing));
    let finding = only(&machine);
    assert_eq!(finding.space.vpid, 5);
    assert_eq!(finding.performed, [wrong]);
    assert!(finding.needed.contains(&Operation::Invvpid(Invvpid::Address { vpid: 5, address: PAGE })));
    for right in [Invvpid::Context { vpid: 5 }, Invvpid::Address { vpid: 5, address: PAGE }, Invvpid::All] {
        let (machine, verdict) = after_unmap_in_guest(Some(Operation::Invvpid(right)));
        assert_eq!(verdict, None);
        assert!(machine.is_silent());
    }
}

/// The monitor takes the right to write from a page of a guest.
fn after_permission_cut(operation: Option<Operation>) -> (Machine, Option<Verdict>) {
    let mut machine = Machine::new(1);
    let mut ept = machine.ept(1, PageSize::Size4K);
    let mut tables = machine.guest_tables(ept.context(), 0x10_0000);
    map(&machine.ram, &mut tables, PAGE, DATA, PageSize::Size4K);
    let cr3 = tables.root().0;
    machine.enter(0, Some(5), Some(ept.context()), cr3);
    machine.write(0, PAGE);
    machine.exit(0);
    let cut = |entry| entry & !u64::from(EptPermissions::WRITE.bits());
    let id = machine.edit_ept_leaf((0, "live migration"), &mut ept, GuestPhysicalAddress(DATA), cut);
    if let Some(operation) = operation {
        machine.perform(0, operation);
    }
    machine.completed(id);
    machine.enter(0, Some(5), Some(ept.context()), cr3);
    assert_eq!(machine.read(0, PAGE), Some(Verdict::Coherent), "reads are as before");
    let verdict = machine.write(0, PAGE);
    (machine, verdict)
}

#[test]
fn an_invept_that_is_forgotten_after_a_permission_cut_is_found() {
    let (machine, verdict) = after_permission_cut(None);
    assert_eq!(verdict, Some(Verdict::Missing));
    let root = machine.ept(1, PageSize::Size4K).context().root.0;
    let right = Operation::Invept(Invept::Context { eptp: root });
    assert_eq!(only(&machine).needed, [right]);
    assert!(matches!(only(&machine).origin.change().unwrap().what, What::EptEntry { .. }));
    let (machine, verdict) = after_permission_cut(Some(right));
    assert_eq!(verdict, None);
    assert!(machine.is_silent());
}

#[test]
fn an_invvpid_does_not_settle_a_change_of_ept() {
    let (machine, verdict) = after_permission_cut(Some(Operation::Invvpid(Invvpid::Context { vpid: 5 })));
    // The guest-physical mapping may stay, and the translation is made from it again.
    assert!(matches!(verdict, None | Some(Verdict::Missing)), "{verdict:?}");
    assert_eq!(machine.oracle.summary().incoherent, 0);
}

/// PCID 3 is given from one process to another.
fn after_reuse(keep: bool, before: Option<Operation>) -> (Machine, Option<Verdict>) {
    let mut machine = Machine::new(1);
    machine.with_pcids();
    let [mut one, mut other] = [0x10_0000, 0x20_0000].map(|frames| machine.tables(frames));
    map(&machine.ram, &mut one, PAGE, DATA, PageSize::Size4K);
    map(&machine.ram, &mut other, PAGE, DATA + 0x1000, PageSize::Size4K);
    machine.load(0, one.root(), 3, false);
    machine.read(0, PAGE);
    machine.load(0, one.root(), 4, false);
    machine.read(0, PAGE);
    if let Some(operation) = before {
        machine.perform(0, operation);
    }
    machine.load(0, other.root(), 3, keep);
    let verdict = machine.read(0, PAGE);
    (machine, verdict)
}

#[test]
fn a_cr3_load_with_bit_63_on_a_reused_pcid_is_found() {
    let (machine, verdict) = after_reuse(true, None);
    assert_eq!(verdict, Some(Verdict::Missing));
    let finding = only(&machine);
    assert_eq!(finding.needed[0], Operation::MovToCr3(0x20_0000 | 3));
    let change = finding.origin.change().unwrap();
    assert_eq!((change.old, change.new, change.by.who.as_ref()), (0x10_0000, 0x20_0000, "MOV to CR3"));
    for (keep, before) in [(false, None), (true, Some(Operation::Invpcid(Invpcid::Context { pcid: 3 })))] {
        let (machine, verdict) = after_reuse(keep, before);
        assert_eq!(verdict, Some(Verdict::Coherent));
        assert!(machine.is_silent());
    }
}

#[test]
fn a_vpid_that_is_given_to_another_guest_without_invvpid_is_found() {
    for (operation, expected) in [
        (None, Verdict::Missing),
        (Some(Operation::Invvpid(Invvpid::Context { vpid: 5 })), Verdict::Coherent),
    ] {
        // Shadow paging: no EPT tells the guests apart.
        let mut machine = Machine::new(1);
        let [mut one, mut other] = [0x10_0000, 0x20_0000].map(|frames| machine.tables(frames));
        map(&machine.ram, &mut one, PAGE, DATA, PageSize::Size4K);
        map(&machine.ram, &mut other, PAGE, DATA + 0x1000, PageSize::Size4K);
        machine.enter(0, Some(5), None, one.root().0);
        machine.read(0, PAGE);
        machine.exit(0);
        if let Some(operation) = operation {
            machine.perform(0, operation);
        }
        machine.enter(0, Some(5), None, other.root().0);
        assert_eq!(machine.read(0, PAGE), Some(expected));
        assert_eq!(machine.is_silent(), expected == Verdict::Coherent);
    }
}

#[test]
fn a_walk_that_is_installed_under_the_wrong_tag_is_found() {
    let mut machine = Machine::new(1);
    machine.with_pcids();
    let [mut one, mut other] = [0x10_0000, 0x20_0000].map(|frames| machine.tables(frames));
    map(&machine.ram, &mut one, PAGE, DATA, PageSize::Size4K);
    map(&machine.ram, &mut other, PAGE, DATA + 0x1000, PageSize::Size4K);
    machine.load(0, one.root(), 1, false);
    machine.read(0, PAGE);
    let context = machine.context(0);
    let read = AccessKind::Read;
    let mut tlb = mmu::tlb::Tlb::new(&crate::machine::geometry()).unwrap();
    tlb.select(&context);
    // By hand: the walk of PCID 1 under the tag of PCID 2.
    let walked = mmu::paging::walk(&machine.ram, &context, PAGE, read, &mut ()).unwrap().translation;
    machine.load(0, other.root(), 2, false);
    let wrong = machine.context(0);
    tlb.select(&wrong);
    tlb.insert(PAGE, read, walked);
    let translation = tlb.peek(PAGE, read, Requirement::of(&wrong, read)).unwrap();
    let found = mmu::translator::Found { translation, hit: mmu::translator::Hit::L1 };
    let verdict = machine.oracle.used(&machine.ram, 0, &wrong, PAGE, read, &found, 99);
    assert_eq!(verdict, Verdict::Incoherent);
    let finding = only(&machine);
    assert_eq!(finding.rule, Some("TLB.USE.LINEAR"));
    assert_eq!(finding.origin, Origin::OtherTag(Space::of(&context)));
}

#[test]
fn a_translation_that_no_walk_has_found_breaks_a_rule_of_tags() {
    let mut machine = Machine::new(1);
    let tables = machine.tables(0x10_0000);
    machine.perform(0, Operation::MovToCr3(tables.root().0));
    let context = machine.context(0);
    let found = invented(0x30_0000);
    let verdict = machine.oracle.used(&machine.ram, 0, &context, PAGE, AccessKind::Read, &found, 7);
    assert_eq!(verdict, Verdict::Incoherent);
    assert_eq!(only(&machine).rule, Some("TLB.TAG.NO_NOTPRESENT"));
}

fn invented(host: u64) -> mmu::translator::Found {
    let translation = Translation {
        linear: PAGE,
        host_physical: isa::address::HostPhysicalAddress(host),
        size: PageSize::Size4K,
        guest_size: PageSize::Size4K.into(),
        rights: Rights::all(),
        scope: Scope::Pcid,
    };
    mmu::translator::Found { translation, hit: mmu::translator::Hit::L2 }
}

#[test]
fn a_translation_that_outlives_its_invlpg_is_the_processors_fault() {
    let (mut machine, verdict) = after_unmap(1, &[(0, Operation::Invlpg(PAGE))]);
    assert_eq!(verdict, None);
    let context = machine.context(0);
    let found = invented(DATA);
    let verdict = machine.oracle.used(&machine.ram, 0, &context, PAGE, AccessKind::Read, &found, 77);
    assert_eq!(verdict, Verdict::Incoherent);
    assert_eq!(only(&machine).rule, Some("TLB.OP.INVLPG"));
}
