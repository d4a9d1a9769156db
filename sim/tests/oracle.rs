//! `vmxsim replay --oracle` on a recorded program.
#![allow(clippy::unwrap_used, reason = "tests")]

use vmxsim::replay::{Oracular, ReplayOptions, RunAs, replay};

fn options(name: &str) -> ReplayOptions {
    let trace = format!("{}/../traces/{name}.vmxt", env!("CARGO_MANIFEST_DIR"));
    ReplayOptions { limit: Some(300_000), ..ReplayOptions::new(trace.into()) }
}

#[test]
fn a_replay_uses_no_translation_that_it_should_not_and_costs_what_it_costs_without_the_oracle() {
    for run_as in [RunAs::Native, RunAs::Guest] {
        let unseen = replay(&ReplayOptions { run_as, ..options("json") }, |_| ()).unwrap();
        let oracle = Oracular::On;
        let judged = replay(&ReplayOptions { run_as, oracle, ..options("json") }, |_| ()).unwrap();
        assert_eq!(unseen.oracle, None);
        let report = judged.oracle.as_ref().unwrap();
        assert_eq!(report.findings, Vec::<String>::new());
        assert!(judged.is_clean() && report.summary.required + report.summary.redundant > 0, "{report:?}");
        assert_eq!((judged.cycles, judged.tlb, judged.walk), (unseen.cycles, unseen.tlb, unseen.walk));
    }
}
