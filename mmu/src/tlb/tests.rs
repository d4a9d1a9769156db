#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::context::{Context, PagingMode};
use crate::translation::Rights;
use isa::address::HostPhysicalAddress;

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
    tlb.invalidate(Invalidation::Vpids);
    assert_eq!(tlb.tags.live(), 2, "those of the current space stay");
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
    let mut random = 1_u64;
    let mut below = |limit: u64| {
        random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (random >> 33) % limit
    };
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
