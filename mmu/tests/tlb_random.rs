//! Random insertions of all classes, selections and invalidations, against a list of everything that was inserted.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::cached::{Inserted, Item, context, guest_physical, invalidation, item, linear};
use common::{Numbers, cases};
use isa::address::{AccessKind, GuestPhysicalAddress, LinearAddress};
use mmu::tlb::{
    ArrayGeometry, Dropped, Geometry, Index, Invalidation, Lookup, Replacement, StructureArray,
    StructureGeometry, TagMeaning, Tlb,
};
use mmu::translation::Requirement;
use mmu::walk::WalkCaches;
use mmu::{Context, Mapping, PageSize, Space};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::collections::HashMap;

/// Capacity enough for everything that the tests insert.
fn ample() -> Geometry {
    let level = vec![ArrayGeometry::new(&PageSize::ALL, 64, 64)];
    let structures = structures(StructureArray { sets: 1, ways: 128 });
    Geometry {
        level1_instruction: level.clone(),
        level1_data: level.clone(),
        guest_physical: level,
        structures,
        ept_structures: structures,
        ..Geometry::default()
    }
}

fn structures(shape: StructureArray) -> StructureGeometry {
    let each = Some(shape);
    StructureGeometry { pml5e: each, pml4e: each, pdpte: each, pde: each }
}

/// Little enough that everything is evicted soon, in several policies.
fn tight(numbers: &mut Numbers) -> Geometry {
    use PageSize::{Size1G, Size2M, Size4K};
    let seed = numbers.next();
    let by = |replacement, shape: ArrayGeometry| ArrayGeometry { replacement, ..shape };
    let inclusive = numbers.one_in(2);
    let second = |shape| ArrayGeometry { inclusive, ..shape };
    Geometry {
        level1_instruction: vec![by(Replacement::TreePlru, ArrayGeometry::new(&[Size4K], 2, 4))],
        level1_data: vec![
            by(Replacement::Random { seed }, ArrayGeometry::new(&[Size4K], 4, 2)),
            ArrayGeometry::new(&[Size2M, Size1G], 1, 2),
        ],
        level1_store: vec![by(Replacement::Fifo, ArrayGeometry::new(&[Size4K, Size2M], 1, 3))],
        level2: vec![
            second(ArrayGeometry {
                index: Index::XorOfTwoSlices,
                ..ArrayGeometry::new(&[Size4K, Size2M], 4, 3)
            }),
            second(ArrayGeometry::new(&[Size4K, Size1G], 2, 2)),
        ],
        guest_physical: vec![
            by(Replacement::TreePlru, ArrayGeometry::new(&[Size4K], 2, 2)),
            ArrayGeometry::new(&[Size4K, Size2M], 2, 1),
        ],
        structures: StructureGeometry { pml5e: None, ..structures(StructureArray { sets: 2, ways: 1 }) },
        ept_structures: StructureGeometry { pde: None, ..structures(StructureArray { sets: 1, ways: 2 }) },
    }
}

/// Precision: what no invalidation covered is still there.
#[derive(Clone, Copy, PartialEq)]
enum Expect {
    Sound,
    SoundAndPrecise,
}

/// A TLB and the list of what was put into it.
struct Both {
    tlb: Tlb,
    list: Vec<Inserted>,
    context: Context,
    expect: Expect,
}

impl Both {
    fn step(&mut self, numbers: &mut Numbers, serial: u64) {
        if numbers.one_in(2) {
            self.context = context(numbers);
            self.tlb.select(&self.context);
        }
        match numbers.below(8) {
            0..=3 => self.insert(item(numbers, serial)),
            4 => self.invalidate(&invalidation(numbers)),
            5 => self.forget(guest_physical(numbers)),
            _ => {}
        }
        self.look(linear(numbers), guest_physical(numbers), numbers);
    }

    fn insert(&mut self, item: Item) {
        let space = Space::of(&self.context);
        if item.is_guest_physical() && space.ept.is_none() {
            return;
        }
        if let Item::Translation { translation, kind } = item {
            // Only what is missing is inserted, as after a walk.
            let requirement = Requirement::of(&self.context, kind);
            if self.tlb.lookup(translation.linear, kind, requirement) != Lookup::Miss {
                return;
            }
        }
        item.insert(&mut self.tlb);
        self.list.push(Inserted { space, item, live: true });
    }

    fn forget(&mut self, address: GuestPhysicalAddress) {
        let found = self.tlb.guest_physical(address);
        self.tlb.forget_guest_physical(address);
        assert_eq!(self.tlb.guest_physical(address), None);
        if found.is_none() {
            return;
        }
        let ept = self.context.ept.map(|ept| ept.root);
        for entry in self.list.iter_mut().filter(|entry| entry.space.ept == ept) {
            let (start, bytes) = entry.item.range();
            let gone = start / bytes == address.0 / bytes && self.expect == Expect::SoundAndPrecise;
            entry.live &= !(gone && matches!(entry.item, Item::GuestPhysical { .. }));
        }
    }

    /// Lookups of every kind.
    fn look(&mut self, linear: LinearAddress, guest_physical: GuestPhysicalAddress, numbers: &mut Numbers) {
        let kind = numbers.pick(&[AccessKind::Read, AccessKind::Write, AccessKind::Execute]);
        self.look_for_translation(linear, kind);
        let structure = self.tlb.structure(linear);
        self.compare(linear.0, structure.map(|found| found.table.0 >> 30), &|item| {
            matches!(item, Item::Structure { .. })
        });
        let mapping = self.tlb.guest_physical(guest_physical);
        self.compare(guest_physical.0, mapping.map(|found| found.host_physical.0 >> 30), &|item| {
            matches!(item, Item::GuestPhysical { .. })
        });
        if let Some(found) = mapping {
            let made = self.list.iter().find_map(|entry| match entry.item {
                Item::GuestPhysical { mapping, .. }
                    if mapping.host_physical.0 >> 30 == found.host_physical.0 >> 30 =>
                {
                    Some(mapping)
                }
                _ => None,
            });
            let made = made.unwrap();
            assert_eq!(found.host(guest_physical), made.host(guest_physical));
            assert!(found.size <= made.size);
            assert_eq!((found.permissions, found.dirty), (made.permissions, made.dirty));
        }
        let structure = self.tlb.ept_structure(guest_physical);
        self.compare(guest_physical.0, structure.map(|found| found.table.0 >> 30), &|item| {
            matches!(item, Item::EptStructure { .. })
        });
    }

    /// Compares what was found for an address with what the list permits, and in an ample TLB with what it says: of
    /// the entries for the smallest range, the one inserted last.
    fn compare(&self, address: u64, found: Option<u64>, class: &dyn Fn(&Item) -> bool) {
        let space = Space::of(&self.context);
        let may = self.list.iter().filter(|entry| {
            let (start, bytes) = entry.item.range();
            let here = class(&entry.item) && start / bytes == address / bytes;
            here && entry.live && entry.is_used_in(space)
        });
        if self.expect == Expect::SoundAndPrecise {
            let best = may.rev().min_by_key(|entry| entry.item.range().1);
            assert_eq!(found, best.map(|entry| entry.item.identity()), "{address:#x} {space:?}");
        } else if let Some(found) = found {
            assert!(
                may.map(|entry| entry.item.identity()).any(|one| one == found),
                "{address:#x} is not live"
            );
        }
    }

    fn look_for_translation(&mut self, at: LinearAddress, kind: AccessKind) {
        let requirement = Requirement::of(&self.context, kind);
        let space = Space::of(&self.context);
        let peeked = self.tlb.peek(at, kind, requirement);
        let found = self.tlb.lookup(at, kind, requirement);
        let mut may = self.list.iter().filter(|entry| {
            let (start, bytes) = entry.item.range();
            let translates = matches!(entry.item, Item::Translation { .. });
            translates && entry.live && entry.is_used_in(space) && start / bytes == at.0 / bytes
        });
        match found {
            Lookup::Hit { translation, .. } => {
                assert_eq!(peeked, Some(translation));
                let known = may.any(|entry| {
                    matches!(entry.item, Item::Translation { translation: made, .. }
                        if made.host(at) == translation.host(at) && translation.size <= made.size)
                });
                assert!(known, "{at:?} {space:?}: {translation:?} is not live");
            }
            Lookup::Miss => {
                assert_eq!(peeked, None);
                let fetch = kind == AccessKind::Execute;
                let lost = may.find(|entry| {
                    matches!(entry.item, Item::Translation { kind, .. }
                        if (kind == AccessKind::Execute) == fetch)
                });
                if self.expect == Expect::SoundAndPrecise {
                    assert!(lost.is_none(), "{lost:?} is lost");
                }
            }
            Lookup::Refused => panic!("every right was given"),
        }
    }

    /// Invalidates, and holds what disappears against what was foretold and against the list.
    fn invalidate(&mut self, by: &Invalidation) {
        let before = self.told();
        let mut covered = Vec::new();
        self.tlb.for_each_covered(by, |mapping| covered.push(mapping));
        for mapping in &before {
            let entry = self.entry_of(mapping);
            assert!(entry.live, "{entry:?} is told after its end");
            assert_eq!(covered.contains(mapping), entry.is_covered(by), "{by:?}: {entry:?}");
        }
        let dropped = self.tlb.invalidate(*by);
        assert_eq!(dropped, count(&covered), "{by:?}");
        let mut rest = multiset(&before);
        for mapping in covered {
            *rest.entry(mapping).or_default() -= 1;
        }
        rest.retain(|_, times| *times != 0);
        assert_eq!(rest, multiset(&self.told()), "{by:?}");
        for entry in &mut self.list {
            entry.live &= !entry.is_covered(by);
        }
    }

    /// All mappings told, of which the occupancy gives the numbers.
    fn told(&self) -> Vec<Mapping> {
        let mut told = Vec::new();
        self.tlb.for_each_mapping(|mapping| told.push(mapping));
        let mut numbers = BTreeMap::<TagMeaning, u64>::new();
        for mapping in &told {
            *numbers.entry(meaning(mapping)).or_default() += 1;
        }
        assert_eq!(self.tlb.occupancy(), numbers.into_iter().collect::<Vec<_>>());
        assert_eq!(self.tlb.entries(), count(&told).entries);
        told
    }

    /// The entry of the list that was inserted as this mapping.
    fn entry_of(&self, mapping: &Mapping) -> Inserted {
        let entry = self.list.iter().find(|entry| entry.is_told_by(mapping));
        *entry.unwrap_or_else(|| panic!("{mapping:?} was never inserted"))
    }
}

fn meaning(mapping: &Mapping) -> TagMeaning {
    match *mapping {
        Mapping::Translation { space, .. } if mapping.is_global() => TagMeaning::globals_of(space),
        Mapping::Translation { space, .. } => TagMeaning::Pcid(space),
        Mapping::Structure { space, .. } => TagMeaning::Structures(space),
        Mapping::GuestPhysical { ept, .. } => TagMeaning::GuestPhysical { ept },
        Mapping::EptStructure { ept, .. } => TagMeaning::EptStructures { ept },
    }
}

fn count(mappings: &[Mapping]) -> Dropped {
    let mut count = Dropped::default();
    for mapping in mappings {
        match mapping {
            Mapping::Translation { .. } => count.entries += 1,
            Mapping::Structure { .. } => count.structures += 1,
            Mapping::GuestPhysical { .. } | Mapping::EptStructure { .. } => count.guest_physical += 1,
        }
    }
    count
}

fn multiset(mappings: &[Mapping]) -> HashMap<Mapping, i64> {
    let mut set = HashMap::new();
    for mapping in mappings {
        *set.entry(*mapping).or_default() += 1;
    }
    set
}

fn run(mut numbers: Numbers, geometry: &Geometry, expect: Expect) {
    let tlb = Tlb::new(geometry).unwrap();
    let context = context(&mut numbers);
    let mut both = Both { tlb, list: vec![], context, expect };
    both.tlb.select(&context);
    for serial in 1..200 {
        both.step(&mut numbers, serial);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn what_is_found_was_inserted_under_the_tag_and_not_invalidated_since(seed: u64) {
        let mut numbers = Numbers(seed);
        let geometry = tight(&mut numbers);
        run(numbers, &geometry, Expect::Sound);
    }

    #[test]
    fn what_no_invalidation_covered_is_still_found(seed: u64) {
        run(Numbers(seed), &ample(), Expect::SoundAndPrecise);
    }
}
