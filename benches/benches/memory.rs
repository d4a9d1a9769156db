//! What does an access cost: through the fast map, through each level of the TLB, and with a walk?

use criterion::{
    BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use isa::address::LinearAddress;
use mmu::Mmu;
use std::hint::black_box;
use vmxsim_benches::machine::{DATA, Dimensions, memory};

/// Accesses in one iteration.
const ACCESSES: u64 = 4096;

/// Reads 8 bytes on each of `pages` pages in turn.
fn reads<const OBSERVED: bool>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    mut memory: Mmu<OBSERVED>,
    pages: u64,
) {
    group.bench_function(name, |b| {
        b.iter(|| {
            for access in 0..ACCESSES {
                let at = LinearAddress(DATA + access % pages * 0x1000 + access % 64 * 8);
                let _ = black_box(memory.read::<u64>(at));
                memory.clear_reports();
            }
        });
    });
}

fn fast_map(c: &mut Criterion) {
    let mut group = c.benchmark_group("fast map");
    group.throughput(Throughput::Elements(ACCESSES));
    reads(&mut group, "hit", memory::<false>(Dimensions::One), 64);
    reads(&mut group, "miss, TLB hit", memory::<false>(Dimensions::One), 4096);
    let mut written = memory::<false>(Dimensions::One);
    group.bench_function("write hit", |b| {
        b.iter(|| {
            for access in 0..ACCESSES {
                let at = LinearAddress(DATA + access % 64 * 0x1000 + access % 64 * 8);
                let _ = black_box(written.write(at, access));
            }
        });
    });
    group.finish();
}

fn tlb(c: &mut Criterion) {
    for (title, dimensions) in [("native", Dimensions::One), ("guest behind EPT", Dimensions::Two)] {
        let mut group = c.benchmark_group(format!("modelled TLB of Skylake, {title}"));
        group.throughput(Throughput::Elements(ACCESSES));
        reads(&mut group, "L1 hit", memory::<true>(dimensions), 32);
        reads(&mut group, "L2 hit", memory::<true>(dimensions), 512);
        reads(&mut group, "walk", memory::<true>(dimensions), 4096);
        group.finish();
    }
}

criterion_group!(benches, fast_map, tlb);
criterion_main!(benches);
