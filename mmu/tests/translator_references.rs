//! How many references a walk makes that starts from what is cached.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::guest::{Behind, Machine, PAGE, all_caches, page};
use isa::address::{AccessKind, LinearAddress};
use mmu::tlb::{Geometry, StructureGeometry};
use mmu::translator::Hit;
use mmu::{PageSize, PagingMode};

const EPT_4K: Behind = Behind::Ept(PageSize::Size4K);

/// The references of two walks: of the first page, and of one that has only the structures above some level in common.
fn counts(mode: PagingMode, behind: Behind, geometry: &Geometry, next: LinearAddress) -> [(usize, usize); 2] {
    let mut machine = Machine::new(mode, behind, geometry);
    let mut count = |address| {
        assert_eq!(machine.access(address, AccessKind::Read).unwrap().hit, Hit::Walk);
        machine.counts()
    };
    [count(PAGE), count(next)]
}

fn none() -> Geometry {
    Geometry::functional()
}

#[test]
fn a_native_walk_reads_what_is_below_the_lowest_cached_structure() {
    let next = page(1);
    for (mode, whole) in [(PagingMode::FourLevel, 4), (PagingMode::FiveLevel, 5), (PagingMode::Pae, 2)] {
        assert_eq!(counts(mode, Behind::Nothing, &none(), next), [(whole, 0), (whole, 0)]);
        // The PDE is cached: the PTE is read.
        assert_eq!(counts(mode, Behind::Nothing, &all_caches(), next), [(whole, 0), (1, 0)]);
        // Another page table: the PDE is read too. PAE paging caches no PDPTE, since those are in registers.
        assert_eq!(counts(mode, Behind::Nothing, &all_caches(), page(512)), [(whole, 0), (2, 0)]);
        // Only one level has a cache.
        let all = all_caches().structures;
        let only = |structures| Geometry { structures, ..none() };
        let pml4e = only(StructureGeometry { pml4e: all.pml4e, ..StructureGeometry::default() });
        let pdpte = only(StructureGeometry { pdpte: all.pdpte, ..StructureGeometry::default() });
        let expected = |cached: usize| if mode == PagingMode::Pae { 2 } else { cached };
        assert_eq!(counts(mode, Behind::Nothing, &pml4e, next)[1], (expected(3), 0));
        assert_eq!(counts(mode, Behind::Nothing, &pdpte, next)[1], (expected(2), 0));
        let pml5e = only(StructureGeometry { pml5e: all.pml5e, ..StructureGeometry::default() });
        assert_eq!(counts(mode, Behind::Nothing, &pml5e, next)[1], (whole.min(4), 0));
    }
}

#[test]
fn a_walk_behind_ept_needs_no_ept_for_tables_whose_place_is_cached() {
    let mode = PagingMode::FourLevel;
    let whole = (4, 20);
    let all = all_caches();
    // Guest structures alone: the PTE without EPT, and the page by a whole walk of EPT.
    let structures = Geometry { structures: all.structures, ..none() };
    assert_eq!(counts(mode, EPT_4K, &structures, page(1)), [whole, (1, 4)]);
    // The PDE is read through EPT when its place is not cached, as is the PTE after it.
    assert_eq!(counts(mode, EPT_4K, &structures, page(512)), [whole, (2, 8)]);
    // EPT structures alone: each table and the page by one EPT reference.
    let ept_structures = Geometry { ept_structures: all.ept_structures, ..none() };
    assert_eq!(counts(mode, EPT_4K, &ept_structures, page(1)), [whole, (4, 5)]);
    // Guest-physical mappings alone: tables without EPT references, the new page with all.
    let nested = Geometry { guest_physical: all.guest_physical.clone(), ..none() };
    assert_eq!(counts(mode, EPT_4K, &nested, page(1)), [whole, (4, 4)]);
    // All: one guest entry, one EPT entry.
    assert_eq!(counts(mode, EPT_4K, &all, page(1)), [whole, (1, 1)]);
}

#[test]
fn a_large_ept_page_that_is_cached_serves_tables_and_pages() {
    let ept = Behind::Ept(PageSize::Size2M);
    let all = all_caches();
    // The tables are in one large page, the data in the next.
    assert_eq!(counts(PagingMode::FourLevel, ept, &all, page(1)), [(4, 15), (1, 0)]);
    let nested = Geometry { guest_physical: all.guest_physical, ..none() };
    assert_eq!(counts(PagingMode::FourLevel, ept, &nested, page(1))[1], (4, 0));
}

#[test]
fn without_paging_ept_alone_is_walked_and_cached() {
    let mut machine = Machine::new(PagingMode::FourLevel, EPT_4K, &all_caches());
    let context = mmu::Context { mode: PagingMode::None, ..machine.context() };
    machine.translator.set_context(context);
    machine.read(LinearAddress(0x20_0000)).unwrap();
    assert_eq!(machine.counts(), (0, 4));
    machine.read(LinearAddress(0x20_1000)).unwrap();
    assert_eq!(machine.counts(), (0, 1));
    machine.access(LinearAddress(0x20_0000), AccessKind::Execute).unwrap();
    assert_eq!(machine.counts(), (0, 0), "the mapping of the page is cached, and no translation for fetches");
}

#[test]
fn a_faulting_walk_teaches_nothing() {
    for behind in [Behind::Nothing, EPT_4K] {
        let mut machine = Machine::new(PagingMode::FourLevel, behind, &all_caches());
        let unmapped = page(1024);
        let whole = |machine: &Machine| machine.counts();
        assert!(machine.read(unmapped).is_err());
        let first = whole(&machine);
        assert!(machine.read(unmapped).is_err());
        assert_eq!(whole(&machine), first);
        let mut cached = 0;
        machine.translator.tlb().for_each_mapping(|_| cached += 1);
        assert_eq!(cached, 0);
    }
}

#[test]
fn a_fault_after_a_short_walk_was_checked_from_the_root() {
    let mut machine = Machine::new(PagingMode::FourLevel, Behind::Nothing, &all_caches());
    machine.read(PAGE).unwrap();
    machine.tables.unmap(&machine.ram, page(1), 0x1000, PageSize::Size4K).unwrap();
    assert!(machine.read(page(1)).is_err());
    assert_eq!(machine.counts(), (1 + 4, 0));
}
