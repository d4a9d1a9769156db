//! Fetches in a row from one cache line are one to a TLB with two levels and to caches.

use super::*;
use isa::address::{AccessKind, HostPhysicalAddress, LinearAddress};
use mmu::tlb::{ArrayGeometry, Globals, Invalidation, Lookup, Tlb};
use mmu::translation::{Requirement, Rights, Scope, Translation};
use mmu::{Context, Geometry, PageSize, PagingMode};
use timing::cache::{Cache, Line, Lookup as CacheLookup, State};
use timing::processor::CacheGeometry;

/// A small TLB of two levels and two levels of caches, the second for instructions and data.
struct Machine {
    tlb: Tlb,
    caches: [Cache; 3],
    fetch_misses: u64,
    data_hits: Vec<(u8, bool)>,
}

impl Machine {
    fn new() -> Self {
        let array = |sets| vec![ArrayGeometry::new(&[PageSize::Size4K], sets, 4)];
        let geometry = Geometry {
            level1_instruction: array(2),
            level1_data: array(2),
            level2: array(8),
            ..Geometry::default()
        };
        let mut tlb = Tlb::new(&geometry).unwrap();
        tlb.select(&Context::user(PagingMode::FourLevel));
        // Small, so that much is evicted.
        let cache = |kib| Cache::new(&CacheGeometry::new(kib, 4, 1).unwrap());
        Self { tlb, caches: [cache(4), cache(4), cache(16)], fetch_misses: 0, data_hits: Vec::new() }
    }

    fn access(&mut self, access: &Access) {
        let fetch = access.kind == AccessKind::Execute;
        let (tlb, cache) = (self.translate(access.address, access.kind), self.cached(access.address, fetch));
        if fetch {
            self.fetch_misses += u64::from(tlb != 1) + u64::from(!cache);
        } else {
            self.data_hits.push((tlb, cache));
        }
    }

    /// The level that held the translation, 3 for none.
    fn translate(&mut self, address: LinearAddress, kind: AccessKind) -> u8 {
        let requirement = Requirement::of(&Context::user(PagingMode::FourLevel), kind);
        match self.tlb.lookup(address, kind, requirement) {
            Lookup::Hit { level, .. } => 1 + level as u8,
            Lookup::Refused | Lookup::Miss => {
                let (linear, host_physical) = (address.page(), HostPhysicalAddress(address.page().0));
                let (size, rights, scope) = (PageSize::Size4K, Rights::all(), Scope::Pcid);
                let translation =
                    Translation { linear, host_physical, size, guest_size: size.into(), rights, scope };
                self.tlb.insert(address, kind, translation);
                3
            }
        }
    }

    fn cached(&mut self, address: LinearAddress, fetch: bool) -> bool {
        let line = Line::of(HostPhysicalAddress(address.0));
        let first = &mut self.caches[usize::from(fetch)];
        if first.access(line, State::Clean) == CacheLookup::Hit {
            return true;
        }
        let _ = first.fill(line, State::Clean);
        if self.caches[2].access(line, State::Clean) != CacheLookup::Hit {
            let _ = self.caches[2].fill(line, State::Clean);
        }
        false
    }
}

/// What both levels see: misses of fetches, hits of each access to data, and what is cached in the end.
fn play(options: &WorkOptions) -> (u64, Vec<(u8, bool)>, u64, usize) {
    let mut machine = Machine::new();
    let mut accesses = 0;
    for block in blocks(options) {
        accesses += block.accesses.len();
        for event in &block.events {
            match event {
                Event::Run { accesses, .. } => {
                    let run = &block.accesses[accesses.start as usize..accesses.end as usize];
                    run.iter().for_each(|access| machine.access(access));
                }
                Event::Edit(Edit { last: true, by: Editor::Kernel, .. }) => {
                    machine.tlb.invalidate(everything());
                }
                _ => {}
            }
        }
    }
    (machine.fetch_misses, machine.data_hits, machine.tlb.entries(), accesses)
}

fn everything() -> Invalidation {
    Invalidation::Vpid { vpid: 0, pcids: mmu::tlb::Pcids::All, globals: Globals::Drop }
}

#[test]
fn merged_fetches_are_exact_for_tlbs_and_caches_and_fewer() {
    for name in ["json", "pointer_chase", "hash"] {
        let churn = Churn { unmap: 30.0, ..Churn::default() };
        let options = WorkOptions { processors: 1, churn, ..lively(&[name]) };
        let merged = play(&options);
        let each = play(&WorkOptions { fetches: Fetches::Each, ..options });
        assert!(merged.0 == each.0 && merged.1 == each.1 && merged.2 == each.2, "{name}");
        assert!(merged.0 > 50 && merged.3 * 2 < each.3, "{name}: {} and {} accesses", merged.3, each.3);
    }
}
