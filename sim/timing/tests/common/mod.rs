//! A small processor for tests, and the number of proptest cases.
#![allow(clippy::unwrap_used, dead_code, reason = "tests; each of them uses a part")]

use timing::processor::Processor;

/// A valid file. Latencies are chosen so that no two sums coincide; caches are so small that they overflow at once.
pub(crate) const SMALL: &str = r#"
name = "small"
description = "A processor for tests"

[core]
issue-width = 4

[tlb]
level2 = [{ sets = 4, ways = 3 }]

[tlb-latency]
l2-hit = 7

[caches]
line = 64
l1i = { kib = 1, ways = 2, latency = 3 }
l1d = { kib = 1, ways = 4, latency = 4 }
l2 = { kib = 3, ways = 4, latency = 11 }
l3 = { kib = 5, ways = 5, latency = 40 }

[memory]
latency = 200

[walkers]
count = 1

[[source]]
keys = ["core", "tlb", "tlb-latency", "caches", "memory", "walkers"]
basis = "assumed"
text = "Small numbers."
"#;

/// The processor of [`SMALL`].
pub(crate) fn small() -> Processor {
    Processor::from_toml(SMALL, "small.toml").unwrap()
}

/// 256 cases, or as many as `VMXSIM_CASES` says.
pub(crate) fn cases() -> proptest::test_runner::Config {
    let cases = std::env::var("VMXSIM_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(256);
    proptest::test_runner::Config::with_cases(cases)
}
