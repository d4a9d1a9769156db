//! The TLB against a list of everything that was ever put into it.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Numbers, cases};
use isa::address::{AccessKind, HostPhysicalAddress, LinearAddress};
use mmu::Space;
use mmu::tlb::{
    ArrayGeometry, Geometry, GeometryProblem, Globals, Index, Invalidation, Level, Lookup, Pcids,
    Replacement, Structures, Tlb,
};
use mmu::translation::{Requirement, Rights, Scope, Translation};
use mmu::{Context, EptContext, PageSize, PagingMode};
use proptest::prelude::*;

const EVERYTHING: Rights = Rights::all();

fn context(numbers: &mut Numbers) -> Context {
    let root = HostPhysicalAddress(numbers.pick(&[0x1000, 0x2000]));
    let ept = numbers.one_in(2).then(|| EptContext::four_level(root));
    let (vpid, pcid) = (numbers.below(3) as u16, numbers.below(3) as u16);
    Context { vpid, pcid, ept, ..Context::user(PagingMode::FourLevel) }
}

/// A translation whose host page tells it apart from all others.
fn translation(numbers: &mut Numbers, serial: u64) -> Translation {
    let guest_size = numbers.pick(&[PageSize::Size4K, PageSize::Size4K, PageSize::Size2M, PageSize::Size1G]);
    let size = numbers.pick(&PageSize::ALL).min(guest_size);
    let mask = !size.offset_mask();
    Translation {
        linear: LinearAddress(address(numbers).0 & mask),
        host_physical: HostPhysicalAddress(serial << 30),
        size,
        guest_size,
        rights: EVERYTHING,
        scope: if numbers.one_in(4) { Scope::Global } else { Scope::Pcid },
    }
}

fn address(numbers: &mut Numbers) -> LinearAddress {
    let high = numbers.pick(&[0, 0xffff_8000_0000_0000]);
    LinearAddress(high | numbers.below(3) << 30 | numbers.below(3) << 21 | numbers.below(4) << 12)
}

fn invalidation(numbers: &mut Numbers) -> Invalidation {
    let vpid = numbers.below(3) as u16;
    let pcids = if numbers.one_in(2) { Pcids::All } else { Pcids::One(numbers.below(3) as u16) };
    let globals = numbers.pick(&[Globals::Keep, Globals::Drop]);
    match numbers.below(12) {
        0..=5 => Invalidation::Address {
            vpid,
            pcids,
            globals,
            structures: Structures::All,
            address: address(numbers),
        },
        6..=7 => Invalidation::Vpid { vpid, pcids, globals },
        8 => Invalidation::NonzeroVpids,
        9 => Invalidation::EptRoot { root: HostPhysicalAddress(numbers.pick(&[0x1000, 0x2000])) },
        10 => Invalidation::EptRoots,
        _ => Invalidation::Everything,
    }
}

/// One entry of the list, and whether it may still be used.
struct Inserted {
    context: Context,
    translation: Translation,
    fetch: bool,
    live: bool,
}

impl Inserted {
    /// Whether a lookup of `address` under `context` may return it, tags and address alone.
    fn matches(&self, context: &Context, address: LinearAddress) -> bool {
        let global = self.translation.scope == Scope::Global;
        self.context.vpid == context.vpid
            && (global || self.context.pcid == context.pcid)
            && self.context.ept.map(|ept| ept.root) == context.ept.map(|ept| ept.root)
            && address.0 & !self.translation.size.offset_mask() == self.translation.linear.0
    }

    /// The tables of SDM 5.10.4.1 and 31.4.3.1, as sentences.
    fn is_covered(&self, by: &Invalidation) -> bool {
        let global = self.translation.scope == Scope::Global;
        let by_vpid = |vpid: u16, pcids: Pcids, globals: Globals| {
            if self.context.vpid != vpid {
                false
            } else if global {
                globals == Globals::Drop
            } else {
                pcids == Pcids::All || pcids == Pcids::One(self.context.pcid)
            }
        };
        match *by {
            Invalidation::Address { vpid, pcids, globals, address, .. } => {
                let guest_page = self.translation.guest_size.bytes();
                by_vpid(vpid, pcids, globals)
                    && self.translation.linear.0 / guest_page == address.0 / guest_page
            }
            Invalidation::Vpid { vpid, pcids, globals } => by_vpid(vpid, pcids, globals),
            Invalidation::NonzeroVpids => self.context.vpid != 0,
            Invalidation::Vpids => true,
            Invalidation::Combined { space, address } => {
                let own = Space::of(&self.context);
                let guest_page = self.translation.guest_size.bytes();
                (own == space || (global && own.shares_globals(space)))
                    && self.translation.linear.0 / guest_page == address.0 / guest_page
            }
            Invalidation::GuestPhysical { .. } => false,
            Invalidation::Word { word, compare, globals, address } => {
                let guest_page = self.translation.guest_size.bytes();
                (self.context.tag_word ^ word) & compare == 0
                    && (!global || globals == Globals::Drop)
                    && address.is_none_or(|at| self.translation.linear.0 / guest_page == at.0 / guest_page)
            }
            Invalidation::EptRoot { root } => self.context.ept.is_some_and(|ept| ept.root == root),
            Invalidation::EptRoots => self.context.ept.is_some(),
            Invalidation::Everything => true,
        }
    }
}

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

/// Precision: what no invalidation covered is still there.
#[derive(PartialEq)]
enum Expect {
    Sound,
    SoundAndPrecise,
}

fn run(seed: u64, geometry: &Geometry, expect: &Expect) {
    let mut numbers = Numbers(seed);
    let mut tlb = Tlb::new(geometry).unwrap();
    let mut list: Vec<Inserted> = vec![];
    for serial in 0..120 {
        let context = context(&mut numbers);
        let kind = numbers.pick(&[AccessKind::Read, AccessKind::Write, AccessKind::Execute]);
        let requirement = Requirement::of(&context, kind);
        let fetch = kind == AccessKind::Execute;
        tlb.select(&context);
        match numbers.below(8) {
            0..=2 => {
                let made = translation(&mut numbers, serial);
                let probe = LinearAddress(made.linear.0 | numbers.below(1 << 12));
                // Only what is missing is inserted, as after a walk.
                if tlb.lookup(probe, kind, requirement) == Lookup::Miss {
                    tlb.insert(probe, kind, made);
                    list.push(Inserted { context, translation: made, fetch, live: true });
                }
            }
            3 => {
                let by = invalidation(&mut numbers);
                let before = tlb.entries();
                let dropped = tlb.invalidate(by).entries;
                assert_eq!(before - tlb.entries(), dropped);
                for entry in &mut list {
                    entry.live &= !entry.is_covered(&by);
                }
            }
            _ => {
                let at = LinearAddress(address(&mut numbers).0 | numbers.below(1 << 12));
                let peeked = tlb.peek(at, kind, requirement);
                let found = tlb.lookup(at, kind, requirement);
                let may: Vec<_> =
                    list.iter().filter(|entry| entry.live && entry.matches(&context, at)).collect();
                match found {
                    Lookup::Hit { translation, .. } => {
                        assert_eq!(peeked, Some(translation));
                        let host = translation.host(at);
                        let known = may.iter().any(|entry| {
                            entry.translation.host(at) == host && translation.size <= entry.translation.size
                        });
                        assert!(known, "{at:?} {context:?}: {translation:?} is not live");
                    }
                    Lookup::Miss => {
                        assert_eq!(peeked, None);
                        if *expect == Expect::SoundAndPrecise {
                            assert!(
                                may.iter().all(|entry| entry.fetch != fetch),
                                "{at:?} {context:?} is lost"
                            );
                        }
                    }
                    Lookup::Refused => panic!("every right was given"),
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn a_hit_was_inserted_under_the_tag_and_not_invalidated_since(seed: u64) {
        run(seed, &tight(), &Expect::Sound);
    }

    #[test]
    fn what_no_invalidation_covered_is_still_there(seed: u64) {
        run(seed, &ample(), &Expect::SoundAndPrecise);
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
}

fn translation_4k() -> Translation {
    Translation {
        linear: LinearAddress(0),
        host_physical: HostPhysicalAddress(0),
        size: PageSize::Size4K,
        guest_size: PageSize::Size4K,
        rights: EVERYTHING,
        scope: Scope::Pcid,
    }
}
