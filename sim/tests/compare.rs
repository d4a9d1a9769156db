//! `vmxsim compare` as a program: what it writes, where, and its exit status.

#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

fn compare(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vmxsim"));
    command.current_dir(folder).arg("compare").args(arguments).output().unwrap()
}

fn succeed(folder: &Path, arguments: &[&str]) -> String {
    let output = compare(folder, arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

const SMALL: [&str; 7] = [
    "bundled:json",
    "bundled:sort",
    "--limit",
    "20000",
    "--strategy",
    "flush-all,per-address,coherent",
    "-q",
];

#[test]
fn the_files_that_were_asked_for_are_written_and_agree() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = [&SMALL[..], &["--csv", "a.csv", "--svg", "a.svg", "--json", "a.json"]].concat();
    assert_eq!(succeed(folder.path(), &arguments), "");
    assert_eq!(files(folder.path()), ["a.csv", "a.json", "a.svg"]);

    let json = json(&folder.path().join("a.json"));
    assert_eq!(json["schema"], serde_json::json!({ "name": "vmxsim-compare", "version": 1 }));
    for key in ["version", "config", "config_hash", "seed", "host_seconds", "instructions", "workload"] {
        assert!(json.get(key).is_some(), "{key} is missing");
    }
    assert_eq!(json["config"]["work"]["traces"], serde_json::json!(["bundled:json", "bundled:sort"]));
    let strategies = json["strategies"].as_array().unwrap();

    let csv = std::fs::read_to_string(folder.path().join("a.csv")).unwrap();
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let header = reader.headers().unwrap().clone();
    let records: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(records.len(), 3);
    for (record, strategy) in records.iter().zip(strategies) {
        for key in ["name", "walks", "cycles"] {
            let at = header.iter().position(|name| name == key).unwrap();
            assert_eq!(record[at], strategy[key].to_string().trim_matches('"').to_owned(), "{key}");
        }
    }

    let svg = std::fs::read_to_string(folder.path().join("a.svg")).unwrap();
    let document = roxmltree::Document::parse(&svg).unwrap();
    let texts: Vec<_> = document.descendants().filter_map(|node| node.text()).collect();
    for name in ["flush-all", "per-address", "coherent"] {
        assert!(texts.contains(&name), "{name}");
    }
}

/// A processor of Skylake's kind without the caches named, and no cached entry of EPT paging structures.
fn without(folder: &Path, caches: &[&str]) -> [u64; 4] {
    let mut processor: toml::Table = include_str!("../processors/skylake.toml").parse().unwrap();
    let removed = [caches, &["ept_structures"]].concat();
    for cache in &removed {
        processor["tlb"].as_table_mut().unwrap().remove(*cache).unwrap();
    }
    if let Some(structures) = processor["tlb"].get_mut("structures") {
        structures.as_table_mut().unwrap().retain(|level, _| level == "pde");
    }
    let names: Vec<_> = removed.iter().map(|cache| format!("tlb.{cache}")).collect();
    for source in processor["source"].as_array_mut().unwrap() {
        source["keys"]
            .as_array_mut()
            .unwrap()
            .retain(|key| !names.iter().any(|name| key.as_str() == Some(name)));
    }
    processor["source"]
        .as_array_mut()
        .unwrap()
        .retain(|source| !source["keys"].as_array().unwrap().is_empty());
    std::fs::write(folder.join("processor.toml"), processor.to_string()).unwrap();
    let arguments = [&SMALL[..5], &["flush-all", "-q", "--uarch", "processor.toml", "--json", "-"]].concat();
    let result: Value = serde_json::from_str(&succeed(folder, &arguments)).unwrap();
    ["structure_hits", "walk_refs_guest", "nested_hits", "walk_refs_ept"]
        .map(|key| result["strategies"][0][key].as_u64().unwrap())
}

#[test]
fn a_cached_entry_spares_the_references_above_it() {
    let folder = tempfile::tempdir().unwrap();
    let [none, structures, nested] =
        [&["structures", "guest_physical"][..], &["guest_physical"], &["structures"]]
            .map(|caches| without(folder.path(), caches));
    let ([0, guest, 0, ept], [structure_hits, ..], [.., nested_hits, _]) = (none, structures, nested) else {
        panic!("hits without caches: {none:?}")
    };
    assert!(structure_hits > 10 && nested_hits > 10, "{structures:?} {nested:?}");
    assert_eq!(structures[1], guest - 3 * structure_hits, "a PDE leaves the PTE to read");
    assert_eq!(nested, [0, guest, nested_hits, ept - 4 * nested_hits]);
}

#[test]
fn two_runs_differ_only_in_host_time_and_the_seed_changes_the_work() {
    let folder = tempfile::tempdir().unwrap();
    let run = |seed: &str| {
        let text = succeed(folder.path(), &[&SMALL[..], &["--seed", seed, "--json", "-"]].concat());
        let mut value: Value = serde_json::from_str(&text).unwrap();
        value["host_seconds"] = Value::Null;
        value
    };
    let [first, again, other] = ["1", "1", "2"].map(run);
    assert_eq!(first.to_string(), again.to_string());
    assert_ne!(first["strategies"], other["strategies"]);
    assert_ne!(first["config_hash"], other["config_hash"]);
}

#[test]
fn a_configuration_file_gives_what_options_give_and_options_have_the_last_word() {
    let folder = tempfile::tempdir().unwrap();
    let text = "traces = [\"bundled:json\"]\nlimit = 9000\nstrategy = [\"vpid\", \"lazy\"]\nunmap = 50\n\
                guest-pages = \"transparent:8\"\nexit-at-system-calls = \"off\"\njson = 1\n";
    let path = folder.path().join("c.toml");
    std::fs::write(&path, text.replace("json = 1\n", "")).unwrap();
    let arguments = ["--config", "c.toml", "--limit", "7000", "-q", "--json", "-"];
    let value: Value = serde_json::from_str(&succeed(folder.path(), &arguments)).unwrap();
    let config = &value["config"];
    assert_eq!(value["instructions"], 7000);
    assert_eq!(config["strategies"], serde_json::json!(["vpid", "lazy"]));
    assert_eq!(config["work"]["churn"]["unmap"], 50.0);
    assert_eq!(config["work"]["guest-pages"], serde_json::json!({ "transparent": 8 }));
    assert_eq!(config["work"]["exits"]["system-calls"], false);

    std::fs::write(&path, text).unwrap();
    assert_eq!(compare(folder.path(), &arguments).status.code(), Some(2), "the key `json` does not exist");
}

#[test]
fn a_sweep_is_written_in_all_forms() {
    let folder = tempfile::tempdir().unwrap();
    let sweep = ["--sweep", "unmap=0,100", "--csv", "s.csv", "--svg", "s.svg", "--json", "s.json"];
    succeed(folder.path(), &[&SMALL[..], &sweep].concat());
    let json = json(&folder.path().join("s.json"));
    assert_eq!(json["schema"]["name"], "vmxsim-compare-sweep");
    assert_eq!(json["points"].as_array().unwrap().len(), 2);
    assert_eq!(json["config"]["sweep"]["values"], serde_json::json!([0, 100]));
    let csv = std::fs::read_to_string(folder.path().join("s.csv")).unwrap();
    assert_eq!(csv.lines().count(), 7);
    let svg = std::fs::read_to_string(folder.path().join("s.svg")).unwrap();
    roxmltree::Document::parse(&svg).unwrap();
}

#[test]
fn a_result_that_cannot_be_written_is_an_error_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let output = compare(folder.path(), &[&SMALL[..], &["--svg", "no/such/folder/a.svg"]].concat());
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no/such/folder/a.svg"));
    assert_eq!(files(folder.path()), Vec::<String>::new());
}

#[test]
fn a_strategy_that_is_broken_on_purpose_is_shown_with_what_it_misses() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = "bundled:json bundled:sort --threads 3 --quantum 3000 --limit 20000 --unmap 400 \
                     --strategy per-address,local-only --json a.json";
    let text =
        succeed(folder.path(), &arguments.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>());
    assert!(text.contains("\nlocal-only is not sound."), "{text}");
    assert!(text.contains("\nlocal-only: Missing invalidation on processor "), "{text}");
    assert!(!text.contains("per-address is not sound"), "{text}");
    let strategies = &json(&folder.path().join("a.json"))["strategies"];
    assert_eq!(strategies[0]["missing"], 0);
    assert!(strategies[1]["missing"].as_u64().unwrap() > 0);
    assert_eq!(strategies[1]["standing"], "broken");
    assert!(!strategies[1]["findings"].as_array().unwrap().is_empty());
}
