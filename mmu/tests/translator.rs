//! Translation with caches against the naive walk, over random tables.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Numbers, cases, naive, random};
use isa::address::{AccessKind, HostPhysicalAddress, LinearAddress};
use mmu::tlb::{ArrayGeometry, Geometry, Globals, Invalidation, Pcids, Structures};
use mmu::translation::{Requirement, Rights, Scope};
use mmu::translator::{Hit, Translator};
use mmu::{Context, Controls, PageSize, PagingMode, Ram, Reference};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn geometry(numbers: &mut Numbers) -> Geometry {
    use PageSize::{Size2M, Size4K};
    let level1 = vec![ArrayGeometry::new(&[Size4K], 1, 2), ArrayGeometry::new(&[Size2M], 1, 1)];
    let level2 = if numbers.one_in(3) { vec![ArrayGeometry::new(&[Size4K, Size2M], 2, 2)] } else { vec![] };
    let caches = random::caches(numbers);
    Geometry { level1_instruction: level1.clone(), level1_data: level1, level2, ..caches }
}

/// A machine and contexts of which none uses the tables of another under the same tag.
///
/// Contexts with one tag differ in what is asked of rights at each access, and in nothing else. Global pages are
/// shared by the contexts of a VPID, so that there is one context for each.
fn machine(numbers: &mut Numbers) -> (Ram, Vec<Context>) {
    let (ram, first) = random::machine(numbers);
    let mut contexts = vec![];
    for vpid in 0..3 {
        let mut context = random::context(numbers);
        context.physical_address_width = first.physical_address_width;
        context.vpid = vpid;
        context.ept = if numbers.one_in(3) { None } else { first.ept };
        contexts.push(context);
        let optional = Controls::WRITE_PROTECT
            | Controls::SMEP
            | Controls::SMAP
            | Controls::SMAP_OVERRIDE
            | Controls::PROTECTION_KEYS;
        let controls = Controls::from_bits_truncate(numbers.next() as u16) & optional;
        let controls = (context.controls - optional) | controls;
        let privilege = numbers.pick(&random::PRIVILEGES);
        let pkru = if numbers.one_in(3) { numbers.next() as u32 } else { 0 };
        contexts.push(Context { controls, privilege, pkru, ..context });
    }
    (ram, contexts)
}

/// Addresses near each other, so that walks share structures.
fn addresses(numbers: &mut Numbers, contexts: &[Context]) -> Vec<(Context, LinearAddress)> {
    let mut pairs = vec![];
    for &context in contexts {
        for _ in 0..2 {
            let address = random::address(numbers, &context);
            let near = LinearAddress(address.0 ^ numbers.pick(&[0x1000, 0x10_0000, 0x20_0000, 0x1000_0000]));
            pairs.extend([(context, address), (context, near)]);
        }
    }
    pairs
}

fn contents(ram: &Ram) -> Vec<u8> {
    let mut bytes = vec![0; ((random::GUEST_FRAMES + random::EPT_FRAMES) * 4096) as usize];
    ram.copy_out(HostPhysicalAddress(0), &mut bytes).unwrap();
    bytes
}

fn with_flags(mut bytes: Vec<u8>, flags: &BTreeMap<u64, u64>) -> Vec<u8> {
    for (&at, &bits) in flags {
        for (position, byte) in bits.to_le_bytes().into_iter().enumerate() {
            bytes[at as usize + position] |= byte;
        }
    }
    bytes
}

/// Invalidations that leave much in place.
fn invalidation(numbers: &mut Numbers, address: LinearAddress) -> Invalidation {
    let vpid = numbers.below(3) as u16;
    let globals = numbers.pick(&[Globals::Keep, Globals::Drop]);
    let structures = numbers.pick(&[Structures::All, Structures::OfAddress]);
    let pcids = numbers.pick(&[Pcids::All, Pcids::One(0)]);
    numbers.pick(&[
        Invalidation::Address { vpid, pcids, globals, structures, address },
        Invalidation::Vpid { vpid, pcids, globals },
        Invalidation::NonzeroVpids,
        Invalidation::EptRoots,
    ])
}

#[derive(Default, Debug)]
struct Seen {
    hits: u64,
    whole_walks: u64,
    short_walks: u64,
    faults: u64,
    flags: u64,
}

/// One access where nothing that is cached is older than the tables.
fn access_current(
    ram: &Ram,
    translator: &mut Translator,
    address: LinearAddress,
    kind: AccessKind,
    seen: &mut Seen,
) {
    let context = *translator.context();
    let before = contents(ram);
    let expected = naive::walk(ram, &context, address, kind);
    let mut references = Vec::<Reference>::new();
    let found = translator.translate(ram, address, kind, &mut references);
    let (expected, found) = match (expected, found) {
        (Ok(expected), Ok(found)) => (expected, found),
        (expected, found) => {
            assert_eq!(found.err(), expected.err(), "{context:?} {address:?} {kind:?}");
            assert_eq!(contents(ram), before, "a fault sets no flag");
            seen.faults += 1;
            return;
        }
    };
    let translation = found.translation;
    assert_eq!(translation.host(address), expected.host, "{context:?} {address:?} {kind:?}");
    assert!(translation.size <= naive::size_of(expected.size));
    assert_eq!(translation.scope == Scope::Global, expected.global);
    assert!(Requirement::of(&context, kind).allows(translation.rights));
    assert!(expected.dirty || !translation.rights.contains(Rights::DIRTY));
    assert_eq!(contents(ram), with_flags(before, &expected.flags), "{context:?} {address:?} {kind:?}");
    match found.hit {
        Hit::Walk if references.len() == expected.references as usize => seen.whole_walks += 1,
        Hit::Walk => {
            assert!(references.len() < expected.references as usize);
            seen.short_walks += 1;
        }
        _ => {
            assert!(references.is_empty());
            seen.hits += 1;
        }
    }
    if !expected.flags.is_empty() {
        // Frames serve as tables of every level and of EPT: a flag may change what they mean.
        translator.invalidate(Invalidation::Everything);
        seen.flags += 1;
    }
}

fn current(seed: u64, seen: &mut Seen) {
    let mut numbers = Numbers(seed);
    let (ram, contexts) = machine(&mut numbers);
    let pairs = addresses(&mut numbers, &contexts);
    let mut translator = Translator::new(&geometry(&mut numbers)).unwrap();
    for _ in 0..120 {
        let (context, address) = numbers.pick(&pairs);
        translator.set_context(context);
        if numbers.one_in(16) {
            translator.invalidate(invalidation(&mut numbers, address));
        } else {
            let kind = numbers.pick(&random::KINDS);
            access_current(&ram, &mut translator, address, kind, seen);
        }
    }
}

/// As before, but tables change and nobody says so.
fn stale(seed: u64) -> u64 {
    let mut numbers = Numbers(seed);
    let (ram, contexts) = machine(&mut numbers);
    let pairs = addresses(&mut numbers, &contexts);
    let mut translator = Translator::new(&geometry(&mut numbers)).unwrap();
    let mut old = 0;
    for _ in 0..120 {
        let (context, address) = numbers.pick(&pairs);
        translator.set_context(context);
        if numbers.one_in(4) {
            let at = numbers.below(random::GUEST_FRAMES + random::EPT_FRAMES) * 4096
                + numbers.pick(&random::INDEXES) * 8;
            let from = numbers.below(random::GUEST_FRAMES + random::EPT_FRAMES) * 4096
                + numbers.pick(&random::INDEXES) * 8;
            let entry = ram.read::<u64>(HostPhysicalAddress(from)).unwrap();
            ram.write(HostPhysicalAddress(at), entry).unwrap();
            continue;
        }
        let kind = numbers.pick(&random::KINDS);
        let expected = naive::walk(&ram, &context, address, kind);
        match translator.translate(&ram, address, kind, &mut ()) {
            Ok(found) => {
                old += u64::from(expected.map(|found| found.host) != Ok(found.translation.host(address)))
            }
            Err(fault) => assert_eq!(Some(fault), expected.err(), "{context:?} {address:?} {kind:?}"),
        }
    }
    old
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn what_was_not_changed_is_translated_as_by_the_naive_walk(seed: u64) {
        current(seed, &mut Seen::default());
    }

    #[test]
    fn a_fault_is_always_that_of_the_present_tables(seed: u64) {
        stale(seed);
    }
}

#[test]
fn the_random_sequences_reach_every_outcome() {
    let mut seen = Seen::default();
    (0..300).for_each(|seed| current(seed, &mut seen));
    let Seen { hits, whole_walks, short_walks, faults, flags } = seen;
    assert!([hits, whole_walks, short_walks, faults, flags].iter().all(|&count| count > 500), "{seen:?}");
    assert!((0..300).map(stale).sum::<u64>() > 500);
}

#[test]
fn a_context_without_paging_keeps_no_structures() {
    let mut numbers = Numbers(3);
    let mut checked = 0;
    for _ in 0..200 {
        let (ram, _) = random::machine(&mut numbers);
        let context = Context { mode: PagingMode::None, ..random::context(&mut numbers) };
        let mut translator = Translator::new(&geometry(&mut numbers)).unwrap();
        translator.set_context(context);
        let address = random::address(&mut numbers, &context);
        checked += u64::from(translator.translate(&ram, address, AccessKind::Read, &mut ()).is_ok());
        let mut structures = 0;
        translator.tlb().for_each_mapping(|mapping| {
            structures += u32::from(matches!(mapping, mmu::Mapping::Structure { .. }));
        });
        assert_eq!(structures, 0);
    }
    assert!(checked > 50);
}
