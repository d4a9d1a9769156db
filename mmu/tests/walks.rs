//! Every walk against a walker written another way, over random tables.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Numbers, cases, naive, random};
use isa::address::{AccessKind, HostPhysicalAddress};
use mmu::fault::{Fault, PageFaultReason};
use mmu::paging::walk;
use mmu::translation::{Requirement, Rights, Scope};
use mmu::{Ram, Reference};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn contents(ram: &Ram) -> Vec<u8> {
    let mut bytes = vec![0; ((random::GUEST_FRAMES + random::EPT_FRAMES) * 4096) as usize];
    ram.copy_out(HostPhysicalAddress(0), &mut bytes).unwrap();
    bytes
}

/// Compares one machine's walks; returns what was seen.
fn compare(seed: u64) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut numbers = Numbers(seed);
    let (ram, context) = random::machine(&mut numbers);
    for _ in 0..8 {
        let address = random::address(&mut numbers, &context);
        let kind = numbers.pick(&random::KINDS);
        let before = contents(&ram);
        let expected = naive::walk(&ram, &context, address, kind);
        let mut references = Vec::<Reference>::new();
        let found = walk(&ram, &context, address, kind, &mut references);
        assert_eq!(contents(&ram), before, "a walk writes nothing before it is committed");
        match (expected, found) {
            (Ok(expected), Ok(found)) => {
                let translation = found.translation;
                assert_eq!(translation.host(address), expected.host);
                assert_eq!(translation.size, naive::size_of(expected.size));
                assert_eq!(translation.guest_size.bytes(), expected.guest_size);
                assert_eq!(translation.scope == Scope::Global, expected.global);
                assert_eq!(translation.rights.contains(Rights::DIRTY), expected.dirty);
                assert_eq!(references.len(), expected.references as usize);
                assert!(Requirement::of(&context, kind).allows(translation.rights));
                let rights = translation.rights;
                found.updates.commit(&ram).unwrap();
                assert_eq!(contents(&ram), with_flags(before, &expected.flags));
                // What the cached rights permit to other accesses is what their own walks say. (Setting flags may
                // change what the tables mean, since frames serve as tables of several levels.)
                if expected.flags.is_empty() {
                    for other in random::KINDS {
                        let allowed = Requirement::of(&context, other).allows(rights);
                        let again = naive::walk(&ram, &context, address, other);
                        let clean = again.as_ref().is_ok_and(|again| again.flags.is_empty());
                        assert_eq!(allowed, clean, "{context:?} {address:?} {other:?} {rights:?} {again:?}");
                    }
                }
                seen.insert(format!("page {:?}", translation.size));
                seen.insert(format!("guest page {:?}", translation.guest_size));
                seen.insert(format!("page under {:?}", context.mode));
                if context.ept.is_some() {
                    seen.insert("page behind EPT".to_owned());
                }
            }
            (Err(expected), Err(found)) => {
                assert_eq!(found, expected);
                seen.insert(name(&found));
                seen.insert(format!("{} under {:?}", name(&found), context.mode));
            }
            (expected, found) => panic!("{context:?} {address:?} {kind:?}: {expected:?} but {found:?}"),
        }
    }
    seen
}

fn with_flags(mut bytes: Vec<u8>, flags: &std::collections::BTreeMap<u64, u64>) -> Vec<u8> {
    for (&at, &bits) in flags {
        for (position, byte) in bits.to_le_bytes().into_iter().enumerate() {
            bytes[at as usize + position] |= byte;
        }
    }
    bytes
}

fn name(fault: &Fault) -> String {
    match fault {
        Fault::Page(page) => match page.reason {
            PageFaultReason::NotPresent { level } => format!("not present {level}"),
            PageFaultReason::ReservedBit { level } => format!("reserved {level}"),
            PageFaultReason::ProtectionKey { .. } => "protection key".to_owned(),
            reason => format!("{reason:?}"),
        },
        Fault::EptViolation(violation) => match violation.target {
            mmu::ept::EptTarget::Final(_) => "violation of the page".to_owned(),
            _ => "violation of a structure".to_owned(),
        },
        Fault::EptMisconfiguration(misconfiguration) => format!("{:?}", misconfiguration.reason),
        Fault::NonCanonical { .. } => "non-canonical".to_owned(),
        Fault::OutsideRam { .. } => "outside".to_owned(),
        Fault::CodePage { .. } => "code".to_owned(),
        Fault::PageModificationLogFull { .. } => "log full".to_owned(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases() * 4))]

    #[test]
    fn every_walk_equals_the_naive_walk(seed: u64) {
        compare(seed);
    }
}

#[test]
fn the_random_tables_reach_every_outcome() {
    let mut seen = BTreeSet::new();
    for seed in 0..3000 {
        seen.extend(compare(seed));
    }
    for outcome in [
        "page behind EPT",
        "page under None",
        "page under ThirtyTwoBit",
        "guest page Size4M",
        "not present 1 under ThirtyTwoBit",
        "reserved 2 under ThirtyTwoBit",
        "SupervisorAddress under ThirtyTwoBit",
        "NotWritable under ThirtyTwoBit",
        "Smep under ThirtyTwoBit",
        "violation of a structure under ThirtyTwoBit",
        "outside under ThirtyTwoBit",
        "non-canonical under ThirtyTwoBit",
        "page under Pae",
        "page under FourLevel",
        "page under FiveLevel",
        "page Size4K",
        "page Size2M",
        "page Size1G",
        "not present 1",
        "not present 4",
        "reserved 1",
        "reserved 2",
        "reserved 3",
        "reserved 4",
        "SupervisorAddress",
        "Smap",
        "Smep",
        "NotWritable",
        "ExecuteDisabled",
        "protection key under FourLevel",
        "protection key under FiveLevel",
        "violation of the page",
        "violation of a structure",
        "WriteWithoutRead",
        "ExecuteOnlyUnsupported",
        "ReservedBit",
        "MemoryType",
        "non-canonical",
        "outside",
    ] {
        assert!(seen.contains(outcome), "{outcome} is not among {seen:?}");
    }
}

#[test]
fn a_read_needs_no_right_of_guest_paging_but_presence_and_privilege() {
    let mut numbers = Numbers(7);
    let (_, context) = random::machine(&mut numbers);
    let context =
        mmu::Context { mode: mmu::PagingMode::FourLevel, privilege: mmu::Privilege::User, ..context };
    let need = Requirement::of(&context, AccessKind::Read);
    assert!(need.allows(Rights::USER | Rights::EPT_READ));
    assert!(!need.allows(Rights::EPT_READ));
    assert!(!need.allows(Rights::USER));
}
