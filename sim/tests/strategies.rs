//! Strategies on the same work.
#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;
use timing::processor::Processor;
use vmxsim::compare::options::Oracle;
use vmxsim::compare::result::{Comparison, StrategyResult};
use vmxsim::compare::strategy::KNOWN;
use vmxsim::compare::work::{Churn, Exits, GuestPages, WorkOptions};
use vmxsim::compare::{CompareError, CompareOptions, compare};

/// Work of which every part is busy, small enough for a test.
fn busy() -> WorkOptions {
    let trace = |name| format!("{}/../traces/{name}.vmxt", env!("CARGO_MANIFEST_DIR")).into();
    let rate = 400.0;
    WorkOptions {
        traces: ["btree", "hash", "json", "sort"].map(trace).to_vec(),
        limit: Some(30_000),
        quantum: 5_000,
        exits: Exits { system_calls: true, every: Some(10_000), timer: Some(50_000) },
        churn: Churn {
            unmap: rate,
            protect: rate,
            copy_on_write: rate,
            migrate: rate,
            host_migrate: rate,
            host_cut: rate,
            batch: 3,
        },
        ..WorkOptions::default()
    }
}

fn run(work: WorkOptions, strategies: &[&str]) -> Comparison {
    let strategies = strategies.iter().map(|&name| name.to_owned()).collect();
    compare(&CompareOptions { strategies, ..CompareOptions::new(work) }, |_| ()).unwrap()
}

fn result<'a>(comparison: &'a Comparison, name: &str) -> &'a StrategyResult {
    comparison.strategies.iter().find(|strategy| strategy.name == name).unwrap()
}

#[test]
fn every_strategy_does_the_same_work_and_its_cycles_add_up() {
    let comparison = run(busy(), &[]);
    assert_eq!(comparison.strategies.len(), KNOWN.iter().filter(|known| known.default).count());
    for strategy in &comparison.strategies {
        assert_eq!(strategy.accesses, comparison.accesses, "{}", strategy.name);
        assert_eq!(strategy.cycles, strategy.cycles_by_cause.total(), "{}", strategy.name);
        assert_eq!(strategy.walk_refs, strategy.walk_refs_guest + strategy.walk_refs_ept);
        let by_tag: u64 = strategy.tags.values().map(|counts| counts.walks).sum();
        assert!(by_tag <= strategy.walks && strategy.walks <= strategy.l1_misses, "{}", strategy.name);
    }
    assert_eq!(comparison.strategies[0].cycles_relative, 1.0);
}

#[test]
fn no_named_strategy_misses_an_invalidation_but_the_broken_one() {
    let comparison = run(busy(), &[]);
    for strategy in &comparison.strategies {
        assert_eq!(strategy.missing, 0, "{}: {:?}", strategy.name, strategy.findings);
        assert_eq!(strategy.judgement.incoherent, 0, "{}: {:?}", strategy.name, strategy.findings);
        let window = strategy.judgement.in_window;
        assert!(window == 0 || strategy.name == "deferred", "{}: {window}", strategy.name);
    }
    let work = WorkOptions { threads: 2, ..busy() };
    let broken = run(work, &["local-only"]);
    assert!(broken.strategies[0].missing > 0);
    assert!(!broken.strategies[0].findings.is_empty());
}

#[test]
fn nothing_drops_less_than_coherent_hardware_and_that_drops_nothing_in_vain() {
    let comparison = run(busy(), &[]);
    let bound = result(&comparison, "coherent");
    assert_eq!((bound.invalidations, bound.ipis), (0, 0));
    for strategy in &comparison.strategies {
        assert!(strategy.walks >= bound.walks, "{}", strategy.name);
        assert!(strategy.entries_dropped >= bound.entries_dropped, "{}", strategy.name);
    }
}

#[test]
fn the_same_comparison_gives_the_same_result_on_one_thread_and_on_several() {
    let names = ["flush-on-transition", "tag-word", "lazy", "deferred", "recycle"];
    let several = run(busy(), &names);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let one = pool.install(|| run(busy(), &names));
    assert_eq!(several, one);
}

#[test]
fn the_oracle_changes_no_figure() {
    let names = ["per-address".to_owned(), "flush-all".to_owned()].to_vec();
    let options = CompareOptions { strategies: names, ..CompareOptions::new(busy()) };
    let judged = compare(&options, |_| ()).unwrap();
    let unseen = compare(&CompareOptions { oracle: Oracle::Off, ..options }, |_| ()).unwrap();
    for (judged, unseen) in judged.strategies.iter().zip(&unseen.strategies) {
        assert_eq!(judged.cycles_by_cause, unseen.cycles_by_cause);
        assert_eq!(judged.walks, unseen.walks);
        assert_eq!(judged.entries_dropped, unseen.entries_dropped);
        assert_eq!(unseen.missing + unseen.over_invalidated + unseen.judgement.required, 0);
    }
}

#[test]
fn an_unknown_name_is_refused_with_the_known_ones() {
    let options = CompareOptions { strategies: vec!["hope".into()], ..CompareOptions::new(busy()) };
    let error = compare(&options, |_| ()).unwrap_err();
    assert!(matches!(&error, CompareError::UnknownStrategy { name, .. } if name == "hope"));
    assert!(error.to_string().contains("per-address, lazy"), "{error}");
    let options = CompareOptions { processor: "486".into(), ..CompareOptions::new(busy()) };
    assert!(compare(&options, |_| ()).unwrap_err().to_string().contains("486"));
}

#[test]
fn every_named_processor_runs_a_comparison() {
    for name in Processor::known() {
        let work = WorkOptions { limit: Some(5_000), ..busy() };
        let options = CompareOptions { processor: name.into(), ..CompareOptions::new(work) };
        assert_eq!(compare(&options, |_| ()).unwrap().instructions, 20_000, "{name}");
    }
}

fn any_work() -> impl Strategy<Value = WorkOptions> {
    let pages = prop_oneof![
        4 => Just(GuestPages::Size4K),
        1 => Just(GuestPages::Size2M),
        1 => Just(GuestPages::Transparent(4)),
    ];
    let host = prop_oneof![4 => Just(mmu::PageSize::Size4K), 1 => Just(mmu::PageSize::Size2M)];
    let rate = || prop_oneof![Just(0.0), 1.0..3000.0_f64];
    let churn = (rate(), rate(), rate(), rate(), rate(), rate(), 1..50_u32).prop_map(
        |(unmap, protect, copy_on_write, migrate, host_migrate, host_cut, batch)| Churn {
            unmap,
            protect,
            copy_on_write,
            migrate,
            host_migrate,
            host_cut,
            batch,
        },
    );
    (1..5_u8, 1..4_u16, 1..3_u16, 200..10_000_u64, churn, pages, host, any::<u64>()).prop_map(
        |(processors, guests, threads, quantum, churn, guest_pages, host_pages, seed)| WorkOptions {
            processors,
            guests,
            threads,
            quantum,
            churn,
            guest_pages,
            host_pages,
            seed,
            limit: Some(4_000),
            ..busy()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(12), ..ProptestConfig::default() })]

    #[test]
    fn no_strategy_uses_what_is_gone_whatever_the_work(work in any_work()) {
        let comparison = run(work, &[]);
        for strategy in &comparison.strategies {
            prop_assert_eq!(strategy.missing, 0, "{}: {:?}", &strategy.name, &strategy.findings);
            prop_assert_eq!(strategy.judgement.incoherent, 0, "{}: {:?}", &strategy.name, &strategy.findings);
        }
    }
}

fn cases(otherwise: u32) -> u32 {
    std::env::var("VMXSIM_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}
