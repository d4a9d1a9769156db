//! Does the cost of an invalidation grow with the TLB? What does a miss cost, the walk's memory accesses apart?

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use isa::address::{AccessKind, GuestPhysicalAddress, HostPhysicalAddress, LinearAddress};
use mmu::ept::{Dirty, EptMapping, EptPermissions};
use mmu::tlb::{
    ArrayGeometry, Globals, Index, Invalidation, Pcids, StructureArray, StructureGeometry, Structures, Tlb,
};
use mmu::translation::{Requirement, Rights, Scope, Translation};
use mmu::walk::{EntryWidth, EptStructure, Structure, WalkCaches};
use mmu::{Context, EptContext, Geometry, PageSize, PagingMode};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Entries that the invalidations do not cover.
const ENTRIES: u64 = 100_000;

/// Tags that they have.
const TAGS: u64 = 100;

/// Entries of each kind that the invalidations cover.
const COVERED: u64 = 16;

const ROOT: HostPhysicalAddress = HostPhysicalAddress(0x9000_0000);

fn geometry(sets: u32, ways: u32) -> Geometry {
    use PageSize::{Size2M, Size4K};
    let array = |ways| Some(StructureArray { sets: 1, ways });
    let structures = StructureGeometry { pml5e: array(2), pml4e: array(2), pdpte: array(4), pde: array(32) };
    Geometry {
        level1_instruction: vec![ArrayGeometry::new(&[Size4K], 16, 8)],
        level1_data: vec![ArrayGeometry::new(&[Size4K], 16, 4), ArrayGeometry::new(&[Size2M], 8, 4)],
        level2: vec![ArrayGeometry {
            index: Index::XorOfTwoSlices,
            ..ArrayGeometry::new(&[Size4K, Size2M], sets, ways)
        }],
        guest_physical: vec![ArrayGeometry::new(&[Size4K, Size2M], 16, 4)],
        structures,
        ept_structures: structures,
        ..Geometry::default()
    }
}

fn context(vpid: u16, pcid: u16, root: HostPhysicalAddress) -> Context {
    let ept = Some(EptContext::four_level(root));
    Context { vpid, pcid, ept, ..Context::user(PagingMode::FourLevel) }
}

fn page(number: u64) -> Translation {
    Translation {
        linear: LinearAddress(number << 12),
        host_physical: HostPhysicalAddress(number << 12),
        size: PageSize::Size4K,
        guest_size: PageSize::Size4K.into(),
        rights: Rights::all(),
        scope: Scope::Pcid,
    }
}

fn structure(level: u8) -> Structure {
    let (table, guest_table) = (HostPhysicalAddress(0x1000), GuestPhysicalAddress(0x1000));
    let (rights, ept_permissions) = (Rights::all(), EptPermissions::READ);
    Structure { level, width: EntryWidth::Eight, table, guest_table, rights, ept_permissions }
}

fn insert(tlb: &mut Tlb, number: u64) {
    let translation = page(number);
    tlb.insert(translation.linear, AccessKind::Read, translation);
}

/// A TLB with entries under many tags.
fn filled(entries: u64) -> Tlb {
    let mut tlb = Tlb::new(&geometry(8192, 16)).expect("geometry of a benchmark");
    for tag in 0..TAGS {
        let (vpid, pcid) = (1 + tag / 10, tag % 10);
        tlb.select(&context(vpid as u16, pcid as u16, HostPhysicalAddress(vpid << 12)));
        for number in tag..tag + entries / TAGS {
            insert(&mut tlb, number * 0x81);
        }
    }
    tlb
}

fn invalidations(c: &mut Criterion) {
    let (vpid, address) = (500, LinearAddress(3 << 12));
    let one = Pcids::One(1);
    let operations = [
        (
            "INVLPG",
            Invalidation::Address {
                vpid,
                pcids: one,
                globals: Globals::Drop,
                structures: Structures::All,
                address,
            },
        ),
        ("MOV CR3", Invalidation::Vpid { vpid, pcids: one, globals: Globals::Keep }),
        ("INVVPID 1", Invalidation::Vpid { vpid, pcids: Pcids::All, globals: Globals::Drop }),
        ("INVEPT 1", Invalidation::EptRoot { root: ROOT }),
    ];
    for (title, entries) in [("an almost empty TLB", 0), ("a TLB of 100,000 entries", ENTRIES)] {
        let mut group = c.benchmark_group(format!("invalidation in {title}"));
        group.warm_up_time(Duration::from_millis(20)).measurement_time(Duration::from_millis(100));
        let mut tlb = filled(entries);
        tlb.select(&context(vpid, 1, ROOT));
        for (name, operation) in operations {
            group.bench_function(name, |b| b.iter_custom(|times| time(&mut tlb, operation, times)));
        }
        group.finish();
    }
}

/// The time of an invalidation alone, which each time finds something to remove.
fn time(tlb: &mut Tlb, operation: Invalidation, times: u64) -> Duration {
    let mut sum = Duration::ZERO;
    for _ in 0..times {
        for number in 0..COVERED {
            insert(tlb, number);
            tlb.insert_structure(LinearAddress(number << 21), structure(2));
            let size = PageSize::Size4K;
            let (permissions, dirty) = (EptPermissions::READ, Dirty::Set);
            let host_physical = HostPhysicalAddress(number << 12);
            let mapping = EptMapping { host_physical, size, permissions, dirty };
            tlb.insert_guest_physical(GuestPhysicalAddress(number << 12), mapping);
        }
        let start = Instant::now();
        black_box(tlb.invalidate(operation));
        sum += start.elapsed();
    }
    sum
}

/// Lookups and insertions of accesses to one page after the other in no order, most of which miss everywhere.
fn misses(c: &mut Criterion) {
    const ACCESSES: u64 = 4096;
    let mut group = c.benchmark_group("TLB-hostile accesses");
    group.throughput(Throughput::Elements(ACCESSES));
    let native = Context { ept: None, ..context(1, 1, ROOT) };
    for (name, context) in [("native", native), ("guest behind EPT", context(1, 1, ROOT))] {
        let mut tlb = Tlb::new(&geometry(128, 12)).expect("geometry of a benchmark");
        tlb.select(&context);
        let mut random = 1_u64;
        group.bench_function(name, |b| {
            b.iter(|| {
                for _ in 0..ACCESSES {
                    random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
                    // Any page of 1 GByte.
                    access(&mut tlb, &context, random >> 46);
                }
            });
        });
    }
    group.finish();
}

fn access(tlb: &mut Tlb, context: &Context, number: u64) {
    let address = LinearAddress(number << 12);
    let requirement = Requirement::of(context, AccessKind::Read);
    black_box(tlb.lookup(address, AccessKind::Read, requirement));
    let from = tlb.structure(address).map_or(5, |structure| structure.level);
    if context.ept.is_some() {
        // The tables from there on, and the page.
        for level in 1..from {
            guest_physical(tlb, (number >> (9 * level)) + (u64::from(level) << 32));
        }
        guest_physical(tlb, number);
    }
    for level in 2..from {
        tlb.insert_structure(address, structure(level));
    }
    insert(tlb, number);
}

fn guest_physical(tlb: &mut Tlb, number: u64) {
    let address = GuestPhysicalAddress(number << 12);
    if tlb.guest_physical(address).is_some() {
        return;
    }
    let from = tlb.ept_structure(address).map_or(5, |structure| structure.level);
    for level in 2..from {
        let (table, permissions) = (HostPhysicalAddress(0x1000), EptPermissions::READ);
        tlb.insert_ept_structure(address, EptStructure { level, table, permissions });
    }
    let (permissions, dirty, size) = (EptPermissions::READ, Dirty::Set, PageSize::Size4K);
    let mapping = EptMapping { host_physical: HostPhysicalAddress(number << 12), size, permissions, dirty };
    tlb.insert_guest_physical(address, mapping);
}

criterion_group!(benches, invalidations, misses);
criterion_main!(benches);
