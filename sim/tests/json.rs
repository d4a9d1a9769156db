//! The JSON results of the command line: complete and repeatable.

#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::Value;
use std::process::Command;

fn replay(arguments: &[&str]) -> Value {
    let trace = concat!(env!("CARGO_MANIFEST_DIR"), "/../traces/json.vmxt");
    let output = Command::new(env!("CARGO_BIN_EXE_vmxsim"))
        .args(["replay", trace, "-q", "--json", "-"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The keys that a result of `replay` has for those who read it by program.
const KEYS: [&str; 15] = [
    "schema",
    "version",
    "config",
    "config_hash",
    "seed",
    "host_seconds",
    "instructions",
    "verified",
    "divergences",
    "first_divergence",
    "unmodelled",
    "cycles",
    "mips",
    "tlb",
    "walk",
];

#[test]
fn a_result_has_all_keys_and_two_runs_differ_only_in_host_time() {
    for arguments in [&[][..], &["--as", "guest"], &["--limit", "50000", "--verify"]] {
        let (mut first, mut second) = (replay(arguments), replay(arguments));
        for key in KEYS {
            assert!(first.get(key).is_some(), "{key} is missing");
        }
        for value in [&mut first, &mut second] {
            for host_time in ["host_seconds", "mips"] {
                value[host_time] = Value::Null;
            }
        }
        assert_eq!(first.to_string(), second.to_string());
    }
}

#[test]
fn the_hash_of_a_configuration_changes_with_the_configuration_alone() {
    let [native, again, guest] =
        [&["--limit", "10"][..], &["--limit", "10"], &["--limit", "10", "--as", "guest"]].map(replay);
    assert_eq!(native["config_hash"], again["config_hash"]);
    assert_ne!(native["config_hash"], guest["config_hash"]);
}
