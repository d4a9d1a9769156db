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

[operations]
vm-exit = 1001
vm-entry = 1002
mov-to-cr3 = 1003
mov-to-cr3-keep = 1004
mov-to-cr4 = 1005
invlpg = 1006
invpcid-address = 1007
invpcid-context = 1008
invpcid-all = 1009
invvpid-address = 1010
invvpid-context = 1011
invvpid-all = 1012
invept-context = 1013
invept-all = 1014
ipi-send = 1015
ipi-receive = 1016
page-fault = 1017
fault-handler = 1018
context-switch = 1019
syscall = 1020

[[source]]
keys = ["core", "tlb", "tlb-latency", "caches", "memory", "walkers", "operations"]
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
