//! The TLB, rule by rule.
#![allow(clippy::unwrap_used, reason = "tests")]

use isa::address::{AccessKind, GuestPhysicalAddress, HostPhysicalAddress, LinearAddress};
use mmu::ept::{Dirty, EptMapping, EptPermissions};
use mmu::tlb::{
    ArrayGeometry, Geometry, GeometryProblem, Index, Invalidation, Level, Lookup, Replacement,
    StructureArray, Tlb,
};
use mmu::translation::{Requirement, Rights, Scope, Translation};
use mmu::walk::WalkCaches;
use mmu::{Context, EptContext, PageSize, PagingMode};

const EVERYTHING: Rights = Rights::all();

/// Capacity enough for everything that the tests insert.
fn ample() -> Geometry {
    let level = vec![ArrayGeometry::new(&PageSize::ALL, 64, 64)];
    Geometry { level1_instruction: level.clone(), level1_data: level, ..Geometry::default() }
}

/// Little enough that everything is evicted soon.
fn tight() -> Geometry {
    use PageSize::{Size1G, Size2M, Size4K};
    Geometry {
        level1_instruction: vec![ArrayGeometry::new(&[Size4K], 2, 2)],
        level1_data: vec![ArrayGeometry::new(&[Size4K], 4, 2), ArrayGeometry::new(&[Size2M, Size1G], 1, 2)],
        level1_store: vec![ArrayGeometry {
            replacement: Replacement::Fifo,
            ..ArrayGeometry::new(&[Size4K, Size2M], 1, 3)
        }],
        level2: vec![
            ArrayGeometry { index: Index::XorOfTwoSlices, ..ArrayGeometry::new(&[Size4K, Size2M], 4, 3) },
            ArrayGeometry::new(&[Size4K, Size1G], 2, 2),
        ],
        ..Geometry::default()
    }
}

#[test]
fn a_hit_in_the_second_level_is_copied_to_the_first() {
    let mut tlb = Tlb::new(&tight()).unwrap();
    let context = Context::user(PagingMode::FourLevel);
    let requirement = Requirement::of(&context, AccessKind::Read);
    tlb.select(&context);
    let page = |number: u64| LinearAddress(number << 12);
    let insert = |tlb: &mut Tlb, number| {
        let made = Translation { linear: page(number), ..translation_4k() };
        tlb.insert(page(number), AccessKind::Read, made);
    };
    // Three pages of one set of two ways: the first leaves the first level and stays in the second.
    for number in [0, 4, 8] {
        insert(&mut tlb, number);
    }
    let level = |tlb: &mut Tlb| match tlb.lookup(page(0), AccessKind::Read, requirement) {
        Lookup::Hit { level, .. } => level,
        other => panic!("{other:?}"),
    };
    assert_eq!(level(&mut tlb), Level::L2);
    assert_eq!(level(&mut tlb), Level::L1);
}

#[test]
fn the_least_recently_used_way_is_given_up() {
    let mut tlb = Tlb::new(&Geometry { level2: vec![], ..tight() }).unwrap();
    let context = Context::user(PagingMode::FourLevel);
    let requirement = Requirement::of(&context, AccessKind::Read);
    tlb.select(&context);
    let page = |number: u64| LinearAddress(number << 12);
    for number in [0, 4] {
        tlb.insert(page(number), AccessKind::Read, Translation { linear: page(number), ..translation_4k() });
    }
    assert!(matches!(tlb.lookup(page(0), AccessKind::Read, requirement), Lookup::Hit { .. }));
    tlb.insert(page(8), AccessKind::Read, Translation { linear: page(8), ..translation_4k() });
    let held: Vec<bool> =
        [0, 4, 8].map(|number| tlb.peek(page(number), AccessKind::Read, requirement).is_some()).to_vec();
    assert_eq!(held, [true, false, true]);
}

#[test]
fn retired_tags_leave_free_ways_that_are_taken_before_used_ones() {
    let mut tlb = Tlb::new(&Geometry { level2: vec![], ..tight() }).unwrap();
    let host = Context::user(PagingMode::FourLevel);
    let guest = Context { vpid: 1, ..host };
    let requirement = Requirement::of(&host, AccessKind::Read);
    let page = |number: u64| LinearAddress(number << 12);
    tlb.select(&host);
    tlb.insert(page(0), AccessKind::Read, Translation { linear: page(0), ..translation_4k() });
    tlb.select(&guest);
    tlb.insert(page(0), AccessKind::Read, Translation { linear: page(0), ..translation_4k() });
    tlb.invalidate(Invalidation::NonzeroVpids);
    tlb.insert(page(4), AccessKind::Read, Translation { linear: page(4), ..translation_4k() });
    tlb.select(&host);
    assert!(tlb.peek(page(0), AccessKind::Read, requirement).is_some(), "the older entry is still in use");
}

#[test]
fn low_bits_of_the_eptp_are_no_part_of_the_tag() {
    let mut tlb = Tlb::new(&ample()).unwrap();
    let ept = EptContext::four_level(HostPhysicalAddress(0x5000));
    let context = Context { ept: Some(ept), ..Context::user(PagingMode::FourLevel) };
    let requirement = Requirement::of(&context, AccessKind::Read);
    tlb.select(&context);
    tlb.insert(LinearAddress(0), AccessKind::Read, translation_4k());
    let other = EptContext { root: HostPhysicalAddress(0x5058), ..ept };
    tlb.select(&Context { ept: Some(other), ..context });
    assert!(tlb.peek(LinearAddress(0), AccessKind::Read, requirement).is_some());
    assert_eq!(tlb.invalidate(Invalidation::EptRoot { root: HostPhysicalAddress(0x501e) }).entries, 1);
}

#[test]
fn a_geometry_that_cannot_be_is_refused_by_the_name_of_the_field() {
    let refuse = |change: &dyn Fn(&mut Geometry)| {
        let mut geometry = tight();
        change(&mut geometry);
        let error = Tlb::new(&geometry).unwrap_err();
        (error.field, error.problem)
    };
    let field = |name: &str, problem| (name.to_owned(), problem);
    assert_eq!(refuse(&|g| g.level2[1].sets = 3), field("level2[1].sets", GeometryProblem::Sets(3)));
    assert_eq!(
        refuse(&|g| g.level1_data[0].ways = 0),
        field("level1_data[0].ways", GeometryProblem::Ways(0))
    );
    assert_eq!(
        refuse(&|g| g.level1_store[0].page_sizes.clear()),
        field("level1_store[0].page_sizes", GeometryProblem::NoPageSize)
    );
    assert_eq!(
        refuse(&|g| g.level2[0].page_sizes.push(PageSize::Size4K)),
        field("level2[0].page_sizes", GeometryProblem::RepeatedPageSize)
    );
    assert_eq!(refuse(&|g| g.level1_instruction.clear()), field("level1_instruction", GeometryProblem::No4K));
    let nine = |g: &mut Geometry| g.level2 = vec![g.level2[0].clone(); 9];
    assert_eq!(refuse(&nine), field("level2", GeometryProblem::Arrays(9)));
    assert_eq!(
        refuse(&|g| g.guest_physical = vec![ArrayGeometry::new(&[PageSize::Size2M], 1, 4)]),
        field("guest_physical", GeometryProblem::No4K)
    );
    assert_eq!(
        refuse(&|g| g.guest_physical = vec![ArrayGeometry::new(&[PageSize::Size4K], 5, 4)]),
        field("guest_physical[0].sets", GeometryProblem::Sets(5))
    );
    assert_eq!(
        refuse(&|g| g.structures.pde = Some(StructureArray { sets: 1, ways: 129 })),
        field("structures.pde.ways", GeometryProblem::Ways(129))
    );
    assert_eq!(
        refuse(&|g| g.ept_structures.pml5e = Some(StructureArray { sets: 0, ways: 1 })),
        field("ept_structures.pml5e.sets", GeometryProblem::Sets(0))
    );
    assert_eq!(
        refuse(&|g| g.level2[0].replacement = Replacement::TreePlru),
        field("level2[0].ways", GeometryProblem::WaysOfTree(3))
    );
    assert_eq!(
        refuse(&|g| g.level1_data[1].inclusive = true),
        field("level1_data[1].inclusive", GeometryProblem::Inclusive)
    );
}

/// The pages that one set of four ways holds after these uses of pages, each inserted when it is missing.
fn held_after(replacement: Replacement, uses: &[u64]) -> Vec<u64> {
    let shape = ArrayGeometry { replacement, ..ArrayGeometry::new(&[PageSize::Size4K], 1, 4) };
    let level = vec![shape];
    let geometry = Geometry { level1_instruction: level.clone(), level1_data: level, ..Geometry::default() };
    let mut tlb = Tlb::new(&geometry).unwrap();
    let context = Context::user(PagingMode::FourLevel);
    let requirement = Requirement::of(&context, AccessKind::Read);
    tlb.select(&context);
    for &number in uses {
        let page = LinearAddress(number << 12);
        if tlb.lookup(page, AccessKind::Read, requirement) == Lookup::Miss {
            tlb.insert(page, AccessKind::Read, Translation { linear: page, ..translation_4k() });
        }
    }
    let held = |number: &u64| tlb.peek(LinearAddress(number << 12), AccessKind::Read, requirement).is_some();
    (0..100).filter(held).collect()
}

#[test]
fn each_policy_gives_up_the_way_that_it_is_named_for() {
    // Page 0 is used again before page 4 needs a way.
    let uses = [0, 1, 2, 3, 0, 4];
    assert_eq!(held_after(Replacement::Lru, &uses), [0, 2, 3, 4]);
    assert_eq!(held_after(Replacement::Fifo, &uses), [1, 2, 3, 4]);
    // The root points to the half of pages 2 and 3, its node there to page 2.
    assert_eq!(held_after(Replacement::TreePlru, &uses), [0, 1, 3, 4]);
}

#[test]
fn equal_seeds_make_equal_random_choices_and_every_way_is_chosen_at_times() {
    let uses: Vec<u64> = (0..100).collect();
    let random = |seed, count| held_after(Replacement::Random { seed }, &uses[..count]);
    let lost = |seed| (0..4).find(|page| !random(seed, 5).contains(page)).unwrap();
    let mut chosen: Vec<u64> = (0..64).map(lost).collect();
    chosen.sort_unstable();
    chosen.dedup();
    assert_eq!(chosen, [0, 1, 2, 3]);
    assert_eq!(random(1, 100), random(1, 100));
    assert!(random(1, 100)[0] > 3, "one array chooses every way at times");
    assert!((2..10).any(|seed| random(seed, 100) != random(1, 100)));
}

#[test]
fn an_inclusive_second_level_takes_what_it_evicts_from_the_first() {
    let held = |inclusive| {
        let level = vec![ArrayGeometry::new(&[PageSize::Size4K], 1, 4)];
        let level2 = vec![ArrayGeometry { inclusive, ..ArrayGeometry::new(&[PageSize::Size4K], 1, 2) }];
        let (level1_instruction, level1_data) = (level.clone(), level);
        let geometry = Geometry { level1_instruction, level1_data, level2, ..Geometry::default() };
        let mut tlb = Tlb::new(&geometry).unwrap();
        let context = Context::user(PagingMode::FourLevel);
        tlb.select(&context);
        for number in 0..4 {
            let page = LinearAddress(number << 12);
            tlb.insert(page, AccessKind::Read, Translation { linear: page, ..translation_4k() });
        }
        let requirement = Requirement::of(&context, AccessKind::Read);
        [0, 1, 2, 3]
            .map(|number| tlb.peek(LinearAddress(number << 12), AccessKind::Read, requirement).is_some())
    };
    assert_eq!(held(false), [true; 4]);
    assert_eq!(held(true), [false, false, true, true]);
}

#[test]
fn a_guest_physical_page_larger_than_the_arrays_hold_is_found_in_pieces() {
    let guest_physical = vec![ArrayGeometry::new(&[PageSize::Size4K], 4, 4)];
    let mut tlb = Tlb::new(&Geometry { guest_physical, ..ample() }).unwrap();
    let root = HostPhysicalAddress(0x5000);
    let ept = Some(EptContext::four_level(root));
    tlb.select(&Context { ept, ..Context::user(PagingMode::FourLevel) });
    let whole = EptMapping {
        host_physical: HostPhysicalAddress(0x4000_0000),
        size: PageSize::Size2M,
        permissions: EptPermissions::READ,
        dirty: Dirty::Set,
    };
    let page = |number: u64| GuestPhysicalAddress(0x20_0000 + (number << 12));
    tlb.insert_guest_physical(page(3), whole);
    tlb.insert_guest_physical(page(5), whole);
    let piece =
        |host| Some(EptMapping { host_physical: HostPhysicalAddress(host), size: PageSize::Size4K, ..whole });
    let found = [3, 4, 5].map(|number| tlb.guest_physical(page(number)));
    assert_eq!(found, [piece(0x4000_3000), None, piece(0x4000_5000)]);
    let dropped = tlb.invalidate(Invalidation::GuestPhysical { root, address: page(4) });
    assert_eq!((dropped.entries, dropped.structures, dropped.guest_physical), (0, 0, 2));
}

#[test]
fn the_properties_of_an_array_are_read_from_data() {
    let json =
        r#"{"page_sizes":["4K"],"sets":4,"ways":4,"replacement":{"random":{"seed":7}},"inclusive":true}"#;
    let array: ArrayGeometry = serde_json::from_str(json).unwrap();
    assert_eq!((array.replacement, array.inclusive), (Replacement::Random { seed: 7 }, true));
    let json = r#"{"page_sizes":["4K"],"sets":4,"ways":4,"replacement":"tree_plru"}"#;
    let array: ArrayGeometry = serde_json::from_str(json).unwrap();
    assert_eq!((array.replacement, array.inclusive), (Replacement::TreePlru, false));
}

fn translation_4k() -> Translation {
    Translation {
        linear: LinearAddress(0),
        host_physical: HostPhysicalAddress(0),
        size: PageSize::Size4K,
        guest_size: PageSize::Size4K.into(),
        rights: EVERYTHING,
        scope: Scope::Pcid,
    }
}
