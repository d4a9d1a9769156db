//! What is cached is used until it is invalidated, flags of paging-structure entries included.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::guest::{Behind, DATA, HOME, Machine, PAGE, all_caches, data, invlpg, page};
use isa::address::{AccessKind, GuestPhysicalAddress, HostPhysicalAddress};
use mmu::ept::{EptControls, EptPermissions};
use mmu::fault::PageFaultReason;
use mmu::tlb::{Geometry, Invalidation, StructureGeometry};
use mmu::{Context, Dimension, EptContext, Fault, Mapping, PageSize, PagingMode, Reference};

const EPT_4K: Behind = Behind::Ept(PageSize::Size4K);
const EPT_FLAGS: Behind = Behind::EptWithFlags(PageSize::Size4K);
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const EPT_ACCESSED: u64 = 1 << 8;
const EPT_DIRTY: u64 = 1 << 9;

/// Gives the page table of `PAGE` a copy in which pages 1 and 2 change places, without an invalidation.
fn move_page_table(machine: &mut Machine) {
    let pde = machine.guest_entry(PAGE, 2);
    let old = machine.load(pde);
    let copy = machine.copy_table(old);
    machine.store(pde, old & !0x000f_ffff_ffff_f000 | copy.0);
    let entries = [1, 2].map(|number| machine.guest_entry(page(number), 1));
    let values = entries.map(|entry| machine.load(entry));
    machine.store(entries[0], values[1]);
    machine.store(entries[1], values[0]);
}

#[test]
fn a_pde_that_was_changed_is_used_until_invlpg_of_any_address() {
    for behind in [Behind::Nothing, EPT_4K, EPT_FLAGS] {
        for mode in [PagingMode::Pae, PagingMode::FourLevel, PagingMode::FiveLevel] {
            let mut machine = Machine::new(mode, behind, &all_caches());
            machine.read(PAGE).unwrap();
            move_page_table(&mut machine);
            assert_eq!(machine.read(page(1)), Ok(data(behind, 1)), "by the old page table");
            machine.translator.invalidate(invlpg(page(700)));
            assert_eq!(machine.read(page(2)), Ok(data(behind, 1)), "by the new page table");
            assert_eq!(machine.read(page(1)), Ok(data(behind, 1)), "the translation is still cached");
            machine.translator.invalidate(invlpg(page(1)));
            assert_eq!(machine.read(page(1)), Ok(data(behind, 2)));
        }
    }
}

#[test]
fn an_entry_that_becomes_present_behind_a_cached_one_needs_no_invalidation() {
    let mut machine = Machine::new(PagingMode::FourLevel, Behind::Nothing, &all_caches());
    machine.read(PAGE).unwrap();
    let entry = machine.guest_entry(page(1), 1);
    let value = machine.load(entry);
    machine.store(entry, 0);
    assert!(matches!(machine.read(page(1)), Err(Fault::Page(_))));
    machine.store(entry, value);
    assert_eq!(machine.read(page(1)), Ok(data(Behind::Nothing, 1)));
}

#[test]
fn a_right_that_was_given_above_a_cached_structure_is_noticed() {
    let mut machine = Machine::new(PagingMode::FourLevel, Behind::Nothing, &all_caches());
    let pdpte = machine.guest_entry(PAGE, 3);
    let value = machine.load(pdpte);
    machine.store(pdpte, value & !2);
    machine.read(PAGE).unwrap();
    machine.store(pdpte, value | ACCESSED);
    assert_eq!(machine.write(page(1)), Ok(data(Behind::Nothing, 1)), "no spurious fault");
    machine.write(page(2)).unwrap();
    assert_eq!(machine.counts(), (1, 0), "what was cached has been replaced");
}

#[test]
fn a_right_that_was_taken_above_a_cached_structure_is_kept_until_it_is_invalidated() {
    let mut machine = Machine::new(PagingMode::FourLevel, Behind::Nothing, &all_caches());
    machine.read(PAGE).unwrap();
    let pdpte = machine.guest_entry(PAGE, 3);
    let value = machine.load(pdpte);
    machine.store(pdpte, value & !2);
    assert_eq!(machine.write(page(1)), Ok(data(Behind::Nothing, 1)));
    machine.translator.invalidate(invlpg(PAGE));
    assert!(matches!(machine.write(page(2)), Err(Fault::Page(_))));
}

/// Where EPT maps a guest-physical page: the leaf entry.
fn ept_leaf(machine: &mut Machine, address: GuestPhysicalAddress) -> HostPhysicalAddress {
    machine.ept.as_mut().unwrap().leaf(&machine.ram, address).unwrap().unwrap().entry
}

#[test]
fn a_guest_physical_mapping_of_a_table_is_used_until_invept() {
    let mut machine = Machine::new(PagingMode::FourLevel, EPT_4K, &all_caches());
    machine.read(PAGE).unwrap();
    // The page directory moves in host-physical memory, and loses the entry of the second page table.
    let pde = machine.guest_entry(page(512), 2);
    let directory = GuestPhysicalAddress(pde.page().0 - HOME);
    let leaf = ept_leaf(&mut machine, directory);
    let to = HostPhysicalAddress(HOME + 0xf0_0000);
    machine.ram.copy_within(pde.page(), to, 0x1000).unwrap();
    machine.store(to.add(pde.page_offset() as u64), 0);
    machine.store(leaf, machine.load(leaf) & 0xfff | to.0);
    // Structures are forgotten, guest-physical mappings stay.
    machine.translator.invalidate(invlpg(PAGE));
    assert_eq!(machine.read(page(512)), Ok(data(EPT_4K, 512)), "by the old place");
    machine.translator.invalidate(Invalidation::EptRoot { root: machine.ept_context().root });
    assert!(matches!(machine.read(page(513)), Err(Fault::Page(_))), "by the new place");
}

#[test]
fn a_guest_physical_mapping_of_a_page_is_used_for_translations_made_anew() {
    let mut machine = Machine::new(PagingMode::FourLevel, EPT_4K, &all_caches());
    machine.read(PAGE).unwrap();
    let leaf = ept_leaf(&mut machine, GuestPhysicalAddress(DATA));
    machine.store(leaf, machine.load(leaf) & 0xfff | (HOME + DATA + 0x9000));
    machine.translator.invalidate(invlpg(PAGE));
    assert_eq!(machine.read(PAGE), Ok(data(EPT_4K, 0)), "INVLPG leaves guest-physical mappings");
    machine.translator.invalidate(Invalidation::EptRoots);
    assert_eq!(machine.read(PAGE), Ok(data(EPT_4K, 9)));
}

#[test]
fn an_ept_structure_that_was_changed_is_used_until_invept() {
    let mut machine = Machine::new(PagingMode::FourLevel, EPT_4K, &all_caches());
    machine.read(PAGE).unwrap();
    let pde = machine.ept_entry(PAGE, 2);
    let (table, to) = (machine.load(pde) & !0xfff, HostPhysicalAddress(HOME + 0xf0_0000));
    machine.ram.copy_within(HostPhysicalAddress(table), to, 0x1000).unwrap();
    let leaf = to.add(8);
    machine.store(leaf, machine.load(leaf) & 0xfff | (HOME + DATA + 0x9000));
    machine.store(pde, machine.load(pde) & 0xfff | to.0);
    assert_eq!(machine.read(page(1)), Ok(data(EPT_4K, 1)), "by the old EPT page table");
    machine.translator.invalidate(Invalidation::EptRoots);
    assert_eq!(machine.read(page(1)), Ok(data(EPT_4K, 9)));
}

#[test]
fn what_is_above_a_cached_ept_structure_still_limits_the_permissions() {
    let mut machine = Machine::new(PagingMode::FourLevel, EPT_4K, &all_caches());
    let pde = machine.ept_entry(PAGE, 2);
    machine.store(pde, machine.load(pde) & !2);
    machine.read(PAGE).unwrap();
    let Err(Fault::EptViolation(violation)) = machine.write(page(1)) else { panic!("no violation") };
    assert_eq!(violation.permissions, EptPermissions::READ | EptPermissions::EXECUTE);
}

#[test]
fn a_structure_of_a_level_that_the_mode_has_not_is_not_used() {
    let structures = StructureGeometry { pde: None, ..all_caches().structures };
    let mut machine =
        Machine::new(PagingMode::FourLevel, Behind::Nothing, &Geometry { structures, ..all_caches() });
    machine.read(PAGE).unwrap();
    machine.translator.set_context(Context { mode: PagingMode::Pae, ..machine.context() });
    let Err(Fault::Page(fault)) = machine.access(PAGE, AccessKind::Execute) else { panic!("no fault") };
    assert_eq!(fault.reason, PageFaultReason::NotPresent { level: 3 }, "the PDPTE registers are not loaded");
}

/// The references of an access after one that something cached would have refused wrongly.
fn counts_after_recovery(machine: &mut Machine) -> (usize, usize) {
    machine.read(page(1)).unwrap();
    machine.translator.invalidate(invlpg(PAGE));
    machine.access(page(2), AccessKind::Execute).unwrap();
    machine.counts()
}

#[test]
fn a_structure_that_was_found_to_be_old_is_forgotten() {
    let mut machine = Machine::new(PagingMode::FourLevel, Behind::Nothing, &all_caches());
    machine.read(PAGE).unwrap();
    let pde = machine.guest_entry(PAGE, 2);
    let table = HostPhysicalAddress(machine.load(pde) & !0xfff);
    machine.store(pde, DATA | 0xe7);
    machine.ram.fill(table, 0_u64, 512).unwrap();
    assert_eq!(machine.read(page(1)), Ok(data(Behind::Nothing, 1)), "by the large page that is there now");
    machine.access(page(2), AccessKind::Execute).unwrap();
    assert_eq!(machine.counts(), (1, 0), "the PDE");
}

/// Maps the first 2 MByte of the guest, its tables among them, by one EPT page, and clears what mapped them.
fn enlarge_ept_page(machine: &mut Machine) {
    let root = GuestPhysicalAddress(machine.guest_entry(PAGE, 4).page().0 - HOME);
    let pt = ept_leaf(machine, root).page();
    let mut references = Vec::<Reference>::new();
    mmu::paging::walk(&machine.ram, &machine.context(), PAGE, AccessKind::Read, &mut references).unwrap();
    let pde =
        references.iter().find(|r| r.dimension == Dimension::Ept && r.level == 2).unwrap().host_physical;
    let to = HostPhysicalAddress(HOME + 0xc0_0000);
    machine.ram.copy_within(HostPhysicalAddress(HOME), to, 0x20_0000).unwrap();
    let table = machine.guest_entry(PAGE, 1).page();
    machine.store(pde, to.0 | 0xb7 | 1 << 10);
    machine.ram.fill(table, 0_u64, 512).unwrap();
    machine.ram.fill(pt, 0_u64, 512).unwrap();
}

#[test]
fn a_guest_physical_mapping_that_was_found_to_be_old_is_forgotten() {
    let geometry = Geometry { guest_physical: all_caches().guest_physical, ..Geometry::functional() };
    let mut machine = Machine::new(PagingMode::FourLevel, EPT_4K, &geometry);
    machine.read(PAGE).unwrap();
    enlarge_ept_page(&mut machine);
    assert_eq!(counts_after_recovery(&mut machine), (4, 4), "the tables by the large page, the page anew");
}

#[test]
fn an_ept_structure_that_was_found_to_be_old_is_forgotten() {
    let geometry = Geometry { ept_structures: all_caches().ept_structures, ..Geometry::functional() };
    let mut machine = Machine::new(PagingMode::FourLevel, EPT_4K, &geometry);
    machine.read(PAGE).unwrap();
    enlarge_ept_page(&mut machine);
    assert_eq!(
        counts_after_recovery(&mut machine),
        (4, 4 + 1),
        "the EPT PDE for each table, a PTE for the page"
    );
}

#[test]
fn an_ept_permission_that_was_given_needs_no_invept() {
    let mut machine = Machine::new(PagingMode::FourLevel, EPT_4K, &all_caches());
    let leaf = ept_leaf(&mut machine, GuestPhysicalAddress(DATA));
    let value = machine.load(leaf);
    machine.store(leaf, value & !2);
    machine.read(PAGE).unwrap();
    let Err(Fault::EptViolation(violation)) = machine.write(PAGE) else { panic!("no violation") };
    assert_eq!(violation.permissions, EptPermissions::READ | EptPermissions::EXECUTE);
    machine.read(PAGE).unwrap();
    machine.store(leaf, value);
    assert_eq!(machine.write(PAGE), Ok(data(EPT_4K, 0)));
}

#[test]
fn accessed_flags_above_a_cached_structure_are_left_as_software_cleared_them() {
    let mut machine = Machine::new(PagingMode::FourLevel, Behind::Nothing, &all_caches());
    machine.read(PAGE).unwrap();
    let entries = [4, 3, 2].map(|level| machine.guest_entry(PAGE, level));
    for entry in entries {
        assert_ne!(machine.load(entry) & ACCESSED, 0);
        machine.store(entry, machine.load(entry) & !ACCESSED);
    }
    machine.write(page(1)).unwrap();
    assert_eq!(machine.load(machine.guest_entry(page(1), 1)) & (ACCESSED | DIRTY), ACCESSED | DIRTY);
    assert_eq!(entries.map(|entry| machine.load(entry) & ACCESSED), [0; 3], "they were not read");
    machine.translator.invalidate(invlpg(PAGE));
    machine.read(page(2)).unwrap();
    assert_eq!(entries.map(|entry| machine.load(entry) & ACCESSED), [ACCESSED; 3]);
}

#[test]
fn flags_are_set_where_the_entry_was_read_though_the_tables_have_moved() {
    let mut machine = Machine::new(PagingMode::FourLevel, EPT_FLAGS, &all_caches());
    machine.read(PAGE).unwrap();
    let old = machine.guest_entry(page(1), 1);
    move_page_table(&mut machine);
    let new = machine.guest_entry(page(1), 1);
    machine.write(page(1)).unwrap();
    assert_eq!(machine.load(old) & (ACCESSED | DIRTY), ACCESSED | DIRTY);
    assert_eq!(machine.load(new) & (ACCESSED | DIRTY), 0);
}

#[test]
fn flags_are_set_by_the_guest_physical_mapping_that_the_entry_was_read_by() {
    let geometry = Geometry { guest_physical: all_caches().guest_physical, ..Geometry::functional() };
    let mut machine = Machine::new(PagingMode::FourLevel, EPT_4K, &geometry);
    machine.read(PAGE).unwrap();
    let old = machine.guest_entry(page(1), 1);
    let leaf = ept_leaf(&mut machine, GuestPhysicalAddress(old.page().0 - HOME));
    let to = HostPhysicalAddress(HOME + 0xf0_0000);
    machine.ram.copy_within(old.page(), to, 0x1000).unwrap();
    machine.store(leaf, machine.load(leaf) & 0xfff | to.0);
    machine.write(page(1)).unwrap();
    assert_eq!(machine.load(old) & (ACCESSED | DIRTY), ACCESSED | DIRTY);
    assert_eq!(machine.load(machine.guest_entry(page(1), 1)) & (ACCESSED | DIRTY), 0);
}

#[test]
fn every_cached_structure_is_of_an_accessed_entry() {
    for behind in [Behind::Nothing, EPT_4K, EPT_FLAGS] {
        let mut machine = Machine::new(PagingMode::FourLevel, behind, &all_caches());
        machine.read(PAGE).unwrap();
        let mut levels = vec![];
        machine.translator.tlb().for_each_mapping(|mapping| {
            if let Mapping::Structure { level, linear, table, .. } = mapping {
                levels.push(level);
                let value = machine.load(machine.guest_entry(PAGE, level));
                assert_ne!(value & ACCESSED, 0);
                assert_eq!(machine.guest_entry(PAGE, level - 1).page(), table);
                assert_eq!(linear.0, PAGE.0 & !((8 << (9 * level)) - 1));
            }
        });
        levels.sort_unstable();
        assert_eq!(levels, [2, 3, 4]);
    }
}

#[test]
fn an_ept_dirty_flag_that_was_cleared_is_set_again_after_invept() {
    let mut machine = Machine::new(PagingMode::FourLevel, EPT_FLAGS, &all_caches());
    machine.write(PAGE).unwrap();
    let leaf = ept_leaf(&mut machine, GuestPhysicalAddress(DATA));
    let flags = EPT_ACCESSED | EPT_DIRTY;
    assert_eq!(machine.load(leaf) & flags, flags);
    machine.store(leaf, machine.load(leaf) & !flags);
    machine.write(PAGE).unwrap();
    machine.translator.invalidate(invlpg(PAGE));
    machine.write(PAGE).unwrap();
    assert_eq!(machine.load(leaf) & flags, 0, "the guest-physical mapping is dirty already");
    machine.translator.invalidate(Invalidation::EptRoots);
    machine.write(PAGE).unwrap();
    assert_eq!(machine.load(leaf) & flags, flags);
}

#[test]
fn a_write_through_a_clean_guest_physical_mapping_sets_the_dirty_flag() {
    let mut machine = Machine::new(PagingMode::FourLevel, EPT_FLAGS, &all_caches());
    machine.read(PAGE).unwrap();
    let leaf = ept_leaf(&mut machine, GuestPhysicalAddress(DATA));
    assert_eq!(machine.load(leaf) & EPT_DIRTY, 0);
    machine.translator.invalidate(invlpg(PAGE));
    machine.write(PAGE).unwrap();
    assert_eq!(machine.load(leaf) & EPT_DIRTY, EPT_DIRTY);
}

#[test]
fn pages_of_guest_tables_are_dirty_for_ept_when_it_has_flags() {
    let mut machine = Machine::new(PagingMode::FourLevel, EPT_FLAGS, &all_caches());
    machine.read(PAGE).unwrap();
    for level in 1..=4 {
        let table = machine.guest_entry(PAGE, level).page();
        let leaf = ept_leaf(&mut machine, GuestPhysicalAddress(table.0 - HOME));
        assert_eq!(machine.load(leaf) & (EPT_ACCESSED | EPT_DIRTY), EPT_ACCESSED | EPT_DIRTY);
    }
}

#[test]
fn flags_of_ept_that_come_into_use_may_wait_for_invept() {
    let mut machine = Machine::new(PagingMode::FourLevel, EPT_4K, &all_caches());
    machine.write(PAGE).unwrap();
    let ept = machine.ept_context();
    let controls = ept.controls | EptControls::ACCESSED_DIRTY;
    let context = Context { ept: Some(EptContext { controls, ..ept }), ..machine.context() };
    machine.translator.set_context(context);
    let leaf = ept_leaf(&mut machine, GuestPhysicalAddress(DATA));
    machine.write(PAGE).unwrap();
    assert_eq!(machine.load(leaf) & EPT_DIRTY, 0);
    machine.translator.invalidate(Invalidation::EptRoots);
    machine.write(PAGE).unwrap();
    assert_eq!(machine.load(leaf) & EPT_DIRTY, EPT_DIRTY);
}

#[test]
fn a_shared_ept_is_tagged_with_the_private_root() {
    let mut machine = Machine::new(PagingMode::FourLevel, EPT_4K, &all_caches());
    let private = HostPhysicalAddress(0x7000);
    let shared = machine.ept_context();
    let root = shared.root;
    assert_eq!(shared.eptrta(), root);
    let ept = Some(EptContext { tagged_with: Some(private), ..shared });
    machine.translator.set_context(Context { ept, ..machine.context() });
    assert_eq!(machine.read(PAGE), Ok(data(EPT_4K, 0)), "by the tables of the shared EPTP");
    let mut tags = vec![];
    machine.translator.tlb().for_each_mapping(|mapping| tags.push(mapping.ept()));
    assert!(!tags.is_empty() && tags.iter().all(|&tag| tag == Some(private)), "{tags:?}");
    let none = machine.translator.invalidate(Invalidation::EptRoot { root });
    assert_eq!(none, mmu::tlb::Dropped::default());
    let all = machine.translator.invalidate(Invalidation::EptRoot { root: private });
    assert_eq!(all.entries + all.structures + all.guest_physical, tags.len() as u64);
    // A violation drops by the tag too.
    machine.read(page(1)).unwrap();
    let leaf = ept_leaf(&mut machine, GuestPhysicalAddress(DATA + 0x1000));
    machine.store(leaf, 0);
    assert!(machine.read(page(1)).is_ok());
    machine.translator.invalidate(Invalidation::EptRoot { root: private });
    assert!(machine.access(page(1), AccessKind::Read).is_err());
}
