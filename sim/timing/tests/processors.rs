//! The shipped processor files.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::path::Path;

use timing::processor::{Basis, Processor, UnknownProcessor};

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../processors")
}

#[test]
fn every_file_of_the_folder_is_a_valid_processor_that_is_known_by_its_file_name() {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let processor = Processor::from_toml(&text, path.file_name().unwrap().to_str().unwrap())
            .unwrap_or_else(|e| panic!("{e}"));
        let stem = path.file_stem().unwrap().to_str().unwrap();
        assert_eq!(processor.name(), stem);
        assert_eq!(Processor::named(stem).unwrap(), processor);
        found.insert(stem.to_owned());
    }
    assert_eq!(found, Processor::known().map(str::to_owned).collect());
}

#[test]
fn every_value_has_a_source_that_says_something() {
    for name in Processor::known() {
        let processor = Processor::named(name).unwrap();
        let keys: BTreeSet<_> = processor.facts().iter().map(|fact| fact.key.as_str()).collect();
        assert!(keys.len() > 20, "{name} states {} facts", keys.len());
        for needed in ["core.issue-width", "caches.l3.latency", "memory.latency", "tlb-latency.l2-hit"] {
            assert!(keys.contains(needed), "{name} lacks {needed}");
        }
        for fact in processor.facts() {
            assert!(fact.source.len() > 10, "{name}: {}: `{}`", fact.key, fact.source);
        }
    }
}

#[test]
fn cache_and_tlb_sizes_are_verified_but_for_those_that_dumps_omit() {
    for name in Processor::known() {
        let processor = Processor::named(name).unwrap();
        let unverified: Vec<_> = processor
            .facts()
            .iter()
            .filter(|fact| !fact.basis.is_verified() && fact.key != "caches.line")
            .filter(|fact| !LEARNED.iter().any(|section| fact.key.starts_with(section)))
            .filter(|fact| ["kib", "ways", "sets"].iter().any(|end| fact.key.ends_with(end)))
            .map(|fact| fact.key.as_str())
            .collect();
        let expected: &[&str] = match name {
            "skylake" => &[
                "tlb.level1_data[1].sets",
                "tlb.level1_data[1].ways",
                "tlb.level2[1].sets",
                "tlb.level2[1].ways",
            ],
            "zen4" => &["tlb.level2[0].sets", "tlb.level2[0].ways"],
            _ => &[],
        };
        assert_eq!(unverified, expected, "{name}");
    }
}

/// What no processor enumerates and only experiments show.
const LEARNED: [&str; 3] = ["tlb.structures", "tlb.guest_physical", "tlb.ept_structures"];

/// A TLB array as crate `mmu` reads it.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct TlbArray {
    page_sizes: Vec<String>,
    sets: u64,
    ways: u64,
    #[serde(default)]
    index: String,
    #[serde(default)]
    replacement: String,
}

const LEVELS: [&str; 4] = ["level1_instruction", "level1_data", "level1_store", "level2"];

/// The page sizes and entries of the arrays of a level, as text.
fn tlb_level(processor: &Processor, level: &str) -> String {
    let Some(arrays) = processor.tlb().get(level) else { return String::new() };
    let arrays: Vec<TlbArray> = arrays.clone().try_into().unwrap();
    let text = |array: &TlbArray| {
        assert!(array.sets.is_power_of_two(), "{} sets", array.sets);
        assert!(["", "low_bits", "xor_of_two_slices"].contains(&array.index.as_str()), "{}", array.index);
        assert!(["", "tree_plru"].contains(&array.replacement.as_str()), "{}", array.replacement);
        format!("{} {}", array.page_sizes.join("+"), array.sets * array.ways)
    };
    arrays.iter().map(text).collect::<Vec<_>>().join(", ")
}

fn known_section(key: &str) -> bool {
    LEVELS.contains(&key) || LEARNED.iter().any(|section| section.strip_prefix("tlb.") == Some(key))
}

#[test]
fn the_tlbs_hold_as_many_entries_as_published() {
    let expected = [
        ("haswell", "4K 64, 2M 8 | 4K 64, 2M 32, 1G 4 |  | 4K+2M 1024"),
        ("skylake", "4K 128, 2M 8 | 4K 64, 2M 32, 1G 4 |  | 4K+2M 1536, 1G 16"),
        ("skylake-x", "4K 64, 2M 8 | 4K 64, 2M 32, 1G 4 |  | 4K+2M 1536, 1G 16"),
        ("ice-lake", "4K 128, 2M 16 | 4K 64, 2M 32, 1G 8 | 4K+2M+1G 16 | 4K+2M 1024, 4K+1G 1024"),
        ("golden-cove", "4K 256, 2M 32 | 4K 96, 2M 32, 1G 8 | 4K+2M+1G 16 | 4K+2M 1024, 4K+1G 1024"),
        ("zen2", "4K+2M+1G 64 | 4K+2M+1G 64 |  | 4K+2M 2048"),
        ("zen3", "4K+2M+1G 64 | 4K+2M+1G 64 |  | 4K+2M 2048, 1G 64"),
        ("zen4", "4K+2M+1G 64 | 4K+2M+1G 72 |  | 4K+2M 3072, 1G 64"),
    ];
    for (known, (name, tlb)) in Processor::known().zip(expected) {
        let processor = Processor::named(known).unwrap();
        assert!(processor.tlb().keys().all(|key| known_section(key)), "{name}");
        assert_eq!(
            (known, LEVELS.map(|level| tlb_level(&processor, level)).join(" | ").as_str()),
            (name, tlb)
        );
    }
}

#[test]
fn skylake_is_as_published() {
    let skylake = Processor::named("skylake").unwrap();
    let caches = skylake.caches();
    let geometry = |cache: &timing::processor::CacheGeometry| (cache.sets(), cache.ways(), cache.latency());
    assert_eq!(geometry(caches.l1i()), (64, 8, 4));
    assert_eq!(geometry(caches.l1d()), (64, 8, 4));
    assert_eq!(geometry(caches.l2()), (1024, 4, 12));
    assert_eq!(geometry(caches.l3()), (8192, 12, 45));
    assert_eq!((skylake.memory_latency(), skylake.l2_tlb_latency()), (169, 9));
    assert_eq!((skylake.issue_width(), skylake.walkers()), (4, Some(2)));
    let stlb = &skylake.tlb()["level2"][0];
    assert_eq!((stlb["sets"].as_integer(), stlb["ways"].as_integer()), (Some(128), Some(12)));
    assert_eq!(stlb["index"].as_str(), Some("xor_of_two_slices"));
    assert_eq!(skylake.tlb()["level1_data"][0]["replacement"].as_str(), Some("tree_plru"));
    let penalty = skylake.facts().iter().find(|fact| fact.key == "tlb-latency.l2-hit").unwrap();
    assert_eq!((penalty.basis, penalty.value.as_str()), (Basis::Recalled, "9"));
}

#[test]
fn every_processor_has_caches_for_walks() {
    for name in Processor::known() {
        let processor = Processor::named(name).unwrap();
        for section in ["structures", "ept_structures"] {
            let entries = |level: &str| {
                let array = &processor.tlb()[section][level];
                array["sets"].as_integer().unwrap() * array["ways"].as_integer().unwrap()
            };
            let expected = if name.starts_with("zen") { (48, 16) } else { (32, 4) };
            assert_eq!((entries("pde"), entries("pdpte")), expected, "{name}, {section}");
        }
    }
}

#[test]
fn every_cost_of_an_operation_is_a_fact_with_a_source() {
    for name in Processor::known() {
        let processor = Processor::named(name).unwrap();
        let costs: BTreeSet<_> =
            processor.operations().iter().map(|(key, cycles)| (key.to_owned(), cycles.to_string())).collect();
        let facts: BTreeSet<_> = processor
            .facts()
            .iter()
            .filter_map(|fact| Some((fact.key.strip_prefix("operations.")?.to_owned(), fact.value.clone())))
            .collect();
        assert_eq!(costs, facts, "{name}");
        assert_eq!(costs.len(), 20, "{name}");
    }
}

#[test]
fn the_costs_of_operations_are_in_the_order_that_what_they_do_demands() {
    for name in Processor::known() {
        let processor = Processor::named(name).unwrap();
        let costs = processor.operations();
        assert!(costs.mov_to_cr3_keep() < costs.mov_to_cr3(), "{name}");
        assert!(costs.invpcid_address() <= costs.invpcid_context(), "{name}");
        assert!(costs.invpcid_context() <= costs.invpcid_all(), "{name}");
        assert!(costs.invvpid_address() <= costs.invvpid_context(), "{name}");
        assert!(costs.invvpid_context() <= costs.invvpid_all(), "{name}");
        assert!(costs.invept_context() <= costs.invept_all(), "{name}");
        assert!(costs.ipi_send() < costs.ipi_receive(), "{name}");
        assert!(costs.syscall() < costs.page_fault(), "{name}");
    }
}

#[test]
fn the_costs_that_were_measured_on_a_processor_are_its_own() {
    let costs = |name| *Processor::named(name).unwrap().operations();
    let (haswell, skylake) = (costs("haswell"), costs("skylake"));
    assert_eq!((haswell.vm_exit(), haswell.vm_entry(), haswell.page_fault()), (512, 318, 440 + 270));
    assert_eq!((skylake.mov_to_cr3(), skylake.syscall(), skylake.invpcid_address()), (186, 181, 350));
    // 376 ns and 539 ns at 3 GHz; the second is two writes.
    assert_eq!((skylake.invpcid_all(), skylake.mov_to_cr4()), (376 * 3, 539 * 3 / 2));
    assert_eq!(skylake.ipi_send() + skylake.ipi_receive(), 1913);
    assert_eq!(costs("ice-lake").vm_exit() + costs("ice-lake").vm_entry(), 1500);
}

#[test]
fn an_l3_whose_sets_are_no_power_of_two_keeps_its_size() {
    let skylake_x = Processor::named("skylake-x").unwrap();
    assert_eq!((skylake_x.caches().l3().sets(), skylake_x.caches().l3().ways()), (20_480, 11));
}

#[test]
fn an_unknown_name_is_answered_with_the_known_ones() {
    let known = vec!["haswell", "skylake", "skylake-x", "ice-lake", "golden-cove", "zen2", "zen3", "zen4"];
    let error = Processor::named("pentium").unwrap_err();
    assert_eq!(error, UnknownProcessor { name: "pentium".to_owned(), known });
    assert_eq!(
        error.to_string(),
        "no processor is named `pentium`; known are haswell, skylake, skylake-x, ice-lake, golden-cove, zen2, zen3, zen4"
    );
}
