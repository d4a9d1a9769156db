#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::context::{Context, PagingMode};
use crate::ept::EptContext;
use crate::translation::Rights;
use crate::walk::WalkCaches;
use isa::address::{GuestPhysicalAddress, HostPhysicalAddress};

const PAGE: LinearAddress = LinearAddress(0x1000);

fn context(pcid: u16) -> Context {
    Context { pcid, ..Context::user(PagingMode::FourLevel) }
}

fn translation(serial: u64) -> Translation {
    Translation {
        linear: PAGE,
        host_physical: HostPhysicalAddress(serial << 12),
        size: PageSize::Size4K,
        guest_size: PageSize::Size4K.into(),
        rights: Rights::all(),
        scope: Scope::Pcid,
    }
}

fn with_few_tags(limit: usize) -> Tlb {
    let mut tlb = Tlb::new(&Geometry::functional()).unwrap();
    tlb.tags = Tags::with_limit(limit);
    tlb
}

fn peek(tlb: &Tlb, pcid: u16) -> Option<u64> {
    let requirement = Requirement::of(&context(pcid), AccessKind::Read);
    tlb.peek(PAGE, AccessKind::Read, requirement).map(|found| found.host_physical.0 >> 12)
}

#[test]
fn retired_tags_are_used_again_without_a_loss() {
    let mut tlb = with_few_tags(6);
    for serial in 0..1000 {
        let pcid = serial as u16 % 3;
        assert_eq!(tlb.select(&context(pcid)), Selected::AsBefore);
        assert_eq!(peek(&tlb, pcid), None, "the translation of an earlier round is gone");
        tlb.insert(PAGE, AccessKind::Read, translation(serial));
        assert_eq!(peek(&tlb, pcid), Some(serial));
        let (vpid, globals) = (0, Globals::Keep);
        let dropped = tlb.invalidate(Invalidation::Vpid { vpid, pcids: Pcids::One(pcid), globals });
        assert_eq!(dropped.entries, 1);
    }
}

#[test]
fn want_of_tags_forgets_everything_and_mixes_nothing() {
    let mut tlb = with_few_tags(6);
    let mut losses = 0;
    for serial in 0..100 {
        let pcid = serial as u16 % 20;
        losses += u32::from(tlb.select(&context(pcid)) == Selected::AfterLoss);
        let found = peek(&tlb, pcid);
        assert!(found.is_none_or(|found| found % 20 == u64::from(pcid)), "{found:?} is of another PCID");
        tlb.insert(PAGE, AccessKind::Read, translation(serial));
        assert_eq!(peek(&tlb, pcid), Some(serial));
        assert_ne!(tlb.current.translations.own, tlb.current.translations.global);
    }
    assert!(losses > 10);
}

#[test]
fn an_invalidation_counts_the_entries_of_each_level() {
    let mut geometry = Geometry::functional();
    geometry.level2 = geometry.level1_data.clone();
    let mut tlb = Tlb::new(&geometry).unwrap();
    tlb.insert(PAGE, AccessKind::Read, translation(1));
    tlb.insert(PAGE, AccessKind::Execute, translation(1));
    assert_eq!(tlb.entries(), 3);
    let (vpid, pcids, globals) = (0, Pcids::All, Globals::Drop);
    assert_eq!(
        tlb.invalidate(Invalidation::Address {
            vpid,
            pcids,
            globals,
            structures: Structures::All,
            address: PAGE
        })
        .entries,
        3
    );
    assert_eq!(tlb.entries(), 0);
}

#[test]
fn tags_without_entries_are_forgotten_by_the_next_invalidation() {
    let mut tlb = Tlb::new(&Geometry::functional()).unwrap();
    for pcid in 0..1000 {
        tlb.select(&context(pcid));
    }
    assert!(tlb.tags.live() > 1000);
    let current = tlb.current;
    tlb.invalidate(Invalidation::Vpids);
    assert_eq!(tlb.tags.live(), 2, "those of the current space stay");
    assert_eq!(tlb.current, current, "and keep their numbers");
    tlb.check();
}

#[test]
fn the_number_of_a_retired_tag_is_used_again_when_its_last_entry_is_gone() {
    let mut tlb = with_few_tags(8);
    let (vpid, globals) = (0, Globals::Keep);
    tlb.select(&context(0));
    for serial in 0..1000 {
        // The entry of the retired tag gives its way to the next.
        tlb.insert(PAGE, AccessKind::Read, translation(serial));
        tlb.invalidate(Invalidation::Vpid { vpid, pcids: Pcids::One(0), globals });
    }
    assert!(tlb.tags.numbers() < 6, "{} numbers", tlb.tags.numbers());
}

#[test]
fn when_numbers_run_out_tags_that_entries_have_survive() {
    let mut tlb = with_few_tags(6);
    tlb.select(&context(0));
    tlb.insert(PAGE, AccessKind::Read, translation(7));
    for pcid in 1..100 {
        assert_eq!(tlb.select(&context(pcid)), Selected::AsBefore, "PCID {pcid}");
        tlb.check();
    }
    assert_eq!(tlb.select(&context(0)), Selected::AsBefore);
    assert_eq!(peek(&tlb, 0), Some(7));
}

#[test]
fn an_invalidation_by_root_looks_at_no_tag_of_another_root() {
    let mut tlb = Tlb::new(&inclusive()).unwrap();
    for number in 0..100 {
        tlb.select(&behind_ept(number, number << 12));
    }
    let live = tlb.tags.live();
    tlb.invalidate(Invalidation::EptRoot { root: HostPhysicalAddress(7 << 12) });
    assert_eq!(tlb.tags.live(), live - 2, "tags without entries go when they are looked at");
    tlb.check();
}

fn behind_ept(vpid: u64, root: u64) -> Context {
    let ept = Some(EptContext::four_level(HostPhysicalAddress(root)));
    Context { vpid: vpid as u16, ept, ..context(0) }
}

/// Numbers in no order.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) % limit
    }
}

/// Everything that entries have tags of, in few ways.
fn all_stores() -> Geometry {
    let array = Some(StructureArray { sets: 1, ways: 2 });
    let structures = StructureGeometry { pde: array, ..StructureGeometry::default() };
    let guest_physical = vec![ArrayGeometry::new(&[PageSize::Size4K], 1, 4)];
    Geometry { guest_physical, structures, ept_structures: structures, ..inclusive() }
}

fn any_invalidation(random: &mut Random) -> Invalidation {
    let (vpid, root) = (random.below(3) as u16, HostPhysicalAddress(random.below(3) << 12));
    let (pcids, globals) = (Pcids::One(random.below(2) as u16), Globals::Drop);
    match random.below(12) {
        0..=2 => Invalidation::Vpid { vpid, pcids, globals },
        3..=5 => Invalidation::EptRoot { root },
        6..=8 => Invalidation::GuestPhysical { root, address: GuestPhysicalAddress(PAGE.0) },
        9 => Invalidation::Vpids,
        10 => Invalidation::EptRoots,
        _ => Invalidation::Everything,
    }
}

#[test]
fn tags_agree_with_entries_after_every_operation() {
    let (mut tlb, mut random) = (Tlb::new(&all_stores()).unwrap(), Random(1));
    tlb.tags = Tags::with_limit(16);
    tlb.select(&context(0));
    let mut reused = 0;
    for serial in 0..20_000 {
        let at = random.below(3) << 12;
        match random.below(8) {
            0 => {
                let context = behind_ept(random.below(3), at);
                tlb.select(&Context { pcid: random.below(2) as u16, ..context });
            }
            1 | 2 => tlb.insert(PAGE, AccessKind::Read, translation(serial)),
            3 => tlb.insert_structure(LinearAddress(at << 9), Structure { level: 2, ..Entry::NOTHING }),
            4 => tlb.insert_guest_physical(GuestPhysicalAddress(at), Entry::NOTHING),
            5 => {
                let structure = EptStructure { level: 2, ..Entry::NOTHING };
                tlb.insert_ept_structure(GuestPhysicalAddress(at << 9), structure);
            }
            _ => {
                let invalidation = any_invalidation(&mut random);
                let mut covered = 0;
                tlb.for_each_covered(&invalidation, |_| covered += 1);
                let dropped = tlb.invalidate(invalidation);
                assert_eq!(dropped.entries + dropped.structures + dropped.guest_physical, covered);
                tlb.for_each_covered(&invalidation, |mapping| panic!("{mapping:?} is left"));
            }
        }
        tlb.check();
        reused += usize::from(tlb.tags.numbers() == 15);
    }
    assert!(reused > 1000, "numbers hardly ever ran out");
}

impl Tlb {
    /// Panics unless the tags agree with themselves and with the entries.
    fn check(&self) {
        self.tags.check();
        let mut counts = vec![0; self.tags.numbers() + 1];
        self.arrays.iter().for_each(|array| count(array, &mut counts));
        self.nested.arrays.iter().for_each(|array| count(array, &mut counts));
        self.structures.levels.iter().for_each(|(_, array)| count(array, &mut counts));
        self.ept_structures.levels.iter().for_each(|(_, array)| count(array, &mut counts));
        assert_eq!(self.tags.counts(), counts);
    }
}

fn count<E: Entry>(array: &Array<E>, counts: &mut [u32]) {
    array.slots().for_each(|(_, tag, ..)| counts[tag.index()] += 1);
}

/// Little, with an inclusive second level that has an array for every size.
fn inclusive() -> Geometry {
    use PageSize::{Size1G, Size2M, Size4K};
    let level2 = ArrayGeometry { inclusive: true, ..ArrayGeometry::new(&PageSize::ALL, 2, 4) };
    Geometry {
        level1_instruction: vec![ArrayGeometry::new(&[Size4K], 1, 8)],
        level1_data: vec![ArrayGeometry::new(&[Size4K], 4, 2), ArrayGeometry::new(&[Size2M, Size1G], 1, 4)],
        level2: vec![level2],
        ..Geometry::default()
    }
}

#[test]
fn what_the_first_levels_hold_an_inclusive_second_level_holds_too() {
    let mut tlb = Tlb::new(&inclusive()).unwrap();
    let mut random = Random(1);
    let mut below = |limit| random.below(limit);
    for serial in 0..20_000 {
        let context = context(below(2) as u16);
        tlb.select(&context);
        let kind = [AccessKind::Read, AccessKind::Execute][below(2) as usize];
        let address = LinearAddress(below(4) << 30 | below(2) << 21 | below(8) << 12);
        let size = PageSize::ALL[[0, 0, 0, 0, 0, 0, 1, 2][below(8) as usize]];
        let requirement = Requirement::of(&context, kind);
        if tlb.lookup(address, kind, requirement) == Lookup::Miss {
            let linear = LinearAddress(address.0 & !size.offset_mask());
            let host_physical = HostPhysicalAddress(serial << 30);
            let scope = if below(4) == 0 { Scope::Global } else { Scope::Pcid };
            let made =
                Translation { linear, host_physical, size, guest_size: size.into(), scope, ..translation(0) };
            tlb.insert(address, kind, made);
        }
        let (first, second) = tlb.arrays.split_at(tlb.first_of_level2);
        for (slot, tag, address, _) in first.iter().flat_map(Array::slots) {
            let held = second.iter().flat_map(|array| array.slots().map(move |held| (array, held)));
            let mut covers = held.filter(|(_, (_, other, ..))| *other == tag);
            assert!(covers.any(|(array, (slot, ..))| array.is_around(slot, address)), "slot {slot}");
        }
    }
}
