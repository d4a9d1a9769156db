//! The caches against a model that is written for clarity alone: a list of lines for each set, the last used first.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::HashMap;

use isa::address::{AccessKind, HostPhysicalAddress};
use proptest::prelude::*;
use timing::cache::{Cache, Line, Lookup, State};
use timing::hierarchy::{Hierarchy, Served, ServedBy};
use timing::processor::CacheGeometry;

/// A cache as a list of (line, dirty) for each set.
struct Naive {
    sets: u64,
    ways: usize,
    lists: HashMap<u64, Vec<(u64, bool)>>,
}

impl Naive {
    fn new(geometry: &CacheGeometry) -> Self {
        Self { sets: geometry.sets(), ways: geometry.ways() as usize, lists: HashMap::new() }
    }

    fn list(&mut self, line: u64) -> &mut Vec<(u64, bool)> {
        self.lists.entry(line % self.sets).or_default()
    }

    fn access(&mut self, line: u64, written: bool) -> bool {
        let list = self.list(line);
        let Some(place) = list.iter().position(|entry| entry.0 == line) else { return false };
        let (_, dirty) = list.remove(place);
        list.insert(0, (line, dirty || written));
        true
    }

    fn write_back(&mut self, line: u64) -> bool {
        let found = self.list(line).iter_mut().find(|entry| entry.0 == line);
        found.map(|entry| entry.1 = true).is_some()
    }

    fn fill(&mut self, line: u64, dirty: bool) -> Option<u64> {
        let ways = self.ways;
        let list = self.list(line);
        list.insert(0, (line, dirty));
        if list.len() <= ways {
            return None;
        }
        list.pop().filter(|victim| victim.1).map(|victim| victim.0)
    }
}

/// The hierarchy over naive caches: l1i, l1d, l2, l3.
struct NaiveHierarchy {
    caches: [Naive; 4],
    written_to_memory: u64,
}

impl NaiveHierarchy {
    fn access(&mut self, line: u64, kind: AccessKind) -> ServedBy {
        let (l1, written) = match kind {
            AccessKind::Execute => (0, false),
            AccessKind::Read => (1, false),
            AccessKind::Write => (1, true),
        };
        if self.caches[l1].access(line, written) {
            return ServedBy::L1;
        }
        let by = if self.caches[2].access(line, false) {
            ServedBy::L2
        } else if self.caches[3].access(line, false) {
            ServedBy::L3
        } else {
            ServedBy::Memory
        };
        if by == ServedBy::Memory {
            let victim = self.caches[3].fill(line, false);
            self.write_back(victim, &[]);
        }
        if by != ServedBy::L2 {
            let victim = self.caches[2].fill(line, false);
            self.write_back(victim, &[3]);
        }
        let victim = self.caches[l1].fill(line, written);
        self.write_back(victim, &[2, 3]);
        by
    }

    fn write_back(&mut self, victim: Option<u64>, to: &[usize]) {
        let Some(line) = victim else { return };
        if !to.iter().any(|&cache| self.caches[cache].write_back(line)) {
            self.written_to_memory += 1;
        }
    }
}

fn any_kind() -> impl Strategy<Value = AccessKind> {
    prop_oneof![Just(AccessKind::Read), Just(AccessKind::Write), Just(AccessKind::Execute)]
}

/// Lines that collide often, with some at the very end of the address space.
fn any_line() -> impl Strategy<Value = u64> {
    prop_oneof![9 => 0..256_u64, 1 => ((1_u64 << 58) - 8)..(1 << 58)]
}

fn line(number: u64) -> Line {
    Line::of(HostPhysicalAddress(number * 64))
}

/// Geometries with one set, with a power of two and with other numbers of sets, direct-mapped and with odd ways.
fn any_geometry() -> impl Strategy<Value = CacheGeometry> {
    (1..8_u64, prop::sample::select(vec![1_u64, 2, 3, 4, 5, 7, 8, 12, 16]))
        .prop_filter_map("whole sets", |(kib, ways)| CacheGeometry::new(kib, ways, 1).ok())
}

proptest! {
    #![proptest_config(common::cases())]

    #[test]
    fn a_cache_replaces_the_least_recently_used_line_of_a_set(
        geometry in any_geometry(),
        accesses in prop::collection::vec((any_line(), any::<bool>(), any::<bool>()), 1..600),
    ) {
        let (mut cache, mut naive) = (Cache::new(&geometry), Naive::new(&geometry));
        for (number, written, from_inside) in accesses {
            let state = if written { State::Dirty } else { State::Clean };
            if from_inside {
                let hit = cache.write_back(line(number)) == Lookup::Hit;
                prop_assert_eq!(hit, naive.write_back(number));
                continue;
            }
            let hit = cache.access(line(number), state) == Lookup::Hit;
            prop_assert_eq!(hit, naive.access(number, written));
            if !hit {
                let victim = cache.fill(line(number), state).map(Line::number);
                prop_assert_eq!(victim, naive.fill(number, written));
            }
        }
    }

    #[test]
    fn the_hierarchy_serves_each_access_from_where_the_naive_one_does(
        accesses in prop::collection::vec((any_line(), any_kind()), 1..1500),
    ) {
        let processor = common::small();
        let caches = processor.caches();
        let mut hierarchy = Hierarchy::new(&processor);
        let naive = [caches.l1i(), caches.l1d(), caches.l2(), caches.l3()].map(Naive::new);
        let mut naive = NaiveHierarchy { caches: naive, written_to_memory: 0 };
        for (number, kind) in accesses {
            let served = hierarchy.access(HostPhysicalAddress(number * 64 + 63), kind);
            let by = naive.access(number, kind);
            let l1 = if kind == AccessKind::Execute { 3 } else { 4 };
            prop_assert_eq!(served, Served { by, latency: [l1, 11, 40, 200][by as usize] });
            prop_assert_eq!(hierarchy.written_to_memory(), naive.written_to_memory);
        }
    }
}

#[test]
fn a_line_comes_from_memory_once_and_from_l1_afterwards() {
    let mut hierarchy = Hierarchy::new(&common::small());
    let mut access = |address| hierarchy.access(HostPhysicalAddress(address), AccessKind::Read).latency;
    assert_eq!([access(0x1000), access(0x103f), access(0x1040), access(0x1000)], [200, 4, 200, 4]);
}

#[test]
fn instructions_and_data_meet_in_l2() {
    let mut hierarchy = Hierarchy::new(&common::small());
    let mut access = |kind| hierarchy.access(HostPhysicalAddress(0x1000), kind).latency;
    assert_eq!(
        [access(AccessKind::Write), access(AccessKind::Execute), access(AccessKind::Execute)],
        [200, 11, 3]
    );
}

#[test]
fn a_working_set_as_large_as_the_l1_of_skylake_stays_in_it_and_one_line_more_does_not() {
    let mut hierarchy = Hierarchy::new(&timing::processor::Processor::named("skylake").unwrap());
    let mut cycles = |lines: u64| {
        (0..lines)
            .map(|line| hierarchy.access(HostPhysicalAddress(line * 4096), AccessKind::Read).latency)
            .sum()
    };
    let eight_of_one_set: [u64; 2] = [cycles(8), cycles(8)];
    assert_eq!(eight_of_one_set, [8 * 169, 8 * 4]);
    let nine_of_one_set: [u64; 2] = [cycles(9), cycles(9)];
    // The ninth comes from memory; then each finds the one it needs just replaced and gets it from L2 or L3.
    assert_eq!(nine_of_one_set[0], 8 * 4 + 169);
    assert!(nine_of_one_set[1] >= 9 * 12, "{nine_of_one_set:?}");
}
