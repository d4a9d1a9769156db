//! The bundled traces, replayed: they agree with silicon, natively and as a guest; results are complete and
//! repeatable; a broken record is noticed.

#![allow(clippy::unwrap_used, reason = "tests")]

use mmu::PageSize;
use std::path::{Path, PathBuf};
use vmxsim::replay::{ReplayOptions, ReplayReport, RunAs, Verify, WalkCaches, replay};

fn bundled() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../traces");
    let mut traces: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "vmxt"))
        .collect();
    traces.sort();
    assert!(traces.len() >= 6, "{traces:?}");
    traces
}

fn named(name: &str) -> PathBuf {
    bundled().into_iter().find(|path| path.file_stem().unwrap() == name).unwrap()
}

fn run(options: &ReplayOptions) -> ReplayReport {
    replay(options, |_| {}).unwrap()
}

#[test]
fn every_bundled_trace_agrees_with_silicon_after_every_instruction() {
    for trace in bundled() {
        let options = ReplayOptions { verify: Verify::EachInstruction, ..ReplayOptions::new(trace.clone()) };
        let report = run(&options);
        assert_eq!(report.divergences, 0, "{}: {:?}", trace.display(), report.first_divergence);
        let taken = report.recorded.values().chain(report.unmodelled.values()).sum::<u64>();
        assert_eq!(report.verified + taken, report.instructions, "{}", trace.display());
        let unmodelled = report.unmodelled.values().sum::<u64>();
        assert!(unmodelled * 1000 < report.instructions, "{}: {:?}", trace.display(), report.unmodelled);
    }
}

#[test]
fn a_guest_executes_what_the_native_program_executes_and_walks_in_two_dimensions() {
    let native = ReplayOptions { walk_caches: WalkCaches::Off, ..ReplayOptions::new(named("pointer_chase")) };
    let guest = ReplayOptions { run_as: RunAs::Guest, ..native.clone() };
    let (native, guest) = (run(&native), run(&guest));
    assert_eq!(native.instructions, guest.instructions);
    assert_eq!(native.tlb, guest.tlb);
    assert_eq!(native.walk.count, guest.walk.count);
    assert_eq!((native.walk.ept_references, native.walk.most_references), (0, 4));
    assert_eq!(guest.walk.most_references, 24);
    assert_eq!(guest.walk.guest_references, native.walk.guest_references);
    assert!(guest.cycles > native.cycles, "{} {}", guest.cycles, native.cycles);
}

#[test]
fn caches_for_walks_shorten_walks_and_change_no_miss() {
    for (run_as, levels) in [(RunAs::Native, 4), (RunAs::Guest, 24)] {
        let options =
            ReplayOptions { run_as, limit: Some(200_000), ..ReplayOptions::new(named("pointer_chase")) };
        let on = run(&options);
        let off = run(&ReplayOptions { walk_caches: WalkCaches::Off, ..options });
        assert_eq!((on.tlb, on.walk.count), (off.tlb, off.walk.count), "{run_as:?}");
        assert_eq!(off.walk.references, levels * off.walk.count, "{run_as:?}");
        // The first walk finds the caches empty; almost all others read only the last level, or two.
        assert_eq!((on.walk.most_references, off.walk.most_references), (levels, levels));
        assert!(on.walk.references < 3 * on.walk.count, "{run_as:?}: {:?}", on.walk);
        assert!(on.cycles < off.cycles, "{run_as:?}: {} {}", on.cycles, off.cycles);
    }
}

#[test]
fn larger_pages_shorten_walks_to_the_published_maxima() {
    use PageSize::{Size1G, Size2M, Size4K};
    let rows = [
        (Size4K, Size4K, 24),
        (Size4K, Size2M, 19),
        (Size4K, Size1G, 14),
        (Size2M, Size4K, 19),
        (Size2M, Size2M, 15),
        (Size1G, Size1G, 8),
    ];
    for (guest_pages, host_pages, most) in rows {
        let options = ReplayOptions {
            run_as: RunAs::Guest,
            guest_pages,
            host_pages,
            walk_caches: WalkCaches::Off,
            limit: Some(100_000),
            ..ReplayOptions::new(named("pointer_chase"))
        };
        let report = run(&options);
        assert_eq!(report.divergences, 0, "{:?}", report.first_divergence);
        assert_eq!(report.walk.most_references, most, "{guest_pages:?} on {host_pages:?}");
    }
}

#[test]
fn cycles_by_cause_sum_to_the_total() {
    let report = run(&ReplayOptions::new(named("sort")));
    assert_eq!(report.cycle_stack.iter().map(|(_, cycles)| cycles).sum::<u64>(), report.cycles);
}

#[test]
fn a_limit_ends_a_replay_exactly_there() {
    for verify in [Verify::No, Verify::EachInstruction] {
        let options = ReplayOptions { limit: Some(12_345), verify, ..ReplayOptions::new(named("sort")) };
        assert_eq!(run(&options).instructions, 12_345);
    }
}
