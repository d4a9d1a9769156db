//! Processor files that are refused, each for one reason, with the place and the value.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use proptest::prelude::*;
use timing::processor::{Problem, Processor, ProcessorError};

/// The error of the small processor after one replacement.
fn refused(old: &str, new: &str) -> ProcessorError {
    assert_eq!(common::SMALL.matches(old).count(), 1, "`{old}` is not the one place to change");
    Processor::from_toml(&common::SMALL.replace(old, new), "a.toml").unwrap_err()
}

fn value(key: &str, value: &str, problem: Problem) -> ProcessorError {
    ProcessorError::Value { file: "a.toml".to_owned(), key: key.to_owned(), value: value.to_owned(), problem }
}

#[test]
fn the_small_processor_is_accepted_as_it_is() {
    assert_eq!(common::small().name(), "small");
}

#[test]
fn a_value_out_of_range_is_refused_with_its_key_and_range() {
    let out = |least, most| Problem::OutOfRange { least, most };
    for (old, new, key, found, problem) in [
        ("issue-width = 4", "issue-width = 0", "core.issue-width", "0", out(1, 8)),
        ("issue-width = 4", "issue-width = 9", "core.issue-width", "9", out(1, 8)),
        ("l2-hit = 7", "l2-hit = 0", "tlb-latency.l2-hit", "0", out(1, 100_000)),
        ("count = 1", "count = 65", "walkers.count", "65", out(1, 64)),
        ("kib = 1, ways = 2", "kib = 0, ways = 2", "caches.l1i.kib", "0", out(1, 1 << 20)),
        ("kib = 5,", "kib = 99999999,", "caches.l3.kib", "99999999", out(1, 1 << 20)),
        ("kib = 1, ways = 4", "kib = 1, ways = 0", "caches.l1d.ways", "0", out(1, 64)),
        ("kib = 5, ways = 5", "kib = 5, ways = 80", "caches.l3.ways", "80", out(1, 64)),
        ("latency = 3 ", "latency = 0 ", "caches.l1i.latency", "0", out(1, 100_000)),
        ("latency = 200", "latency = 100001", "memory.latency", "100001", out(1, 100_000)),
        ("sets = 4", "sets = 0", "tlb.level2[0].sets", "0", out(1, 1 << 16)),
        ("invlpg = 1006", "invlpg = 0", "operations.invlpg", "0", out(1, 10_000_000)),
        ("vm-exit = 1001", "vm-exit = 10000001", "operations.vm-exit", "10000001", out(1, 10_000_000)),
        ("ways = 3 ", "ways = -3 ", "tlb.level2[0].ways", "-3", out(1, 128)),
    ] {
        assert_eq!(refused(old, new), value(key, found, problem), "{new}");
    }
}

#[test]
fn parts_that_do_not_make_up_the_whole_are_refused() {
    let odd = refused("kib = 3, ways = 4", "kib = 3, ways = 5");
    assert_eq!(odd, value("caches.l2.kib", "3", Problem::NotDivisible { ways: 5 }));
    assert_eq!(odd.to_string(), "a.toml: caches.l2.kib = 3: does not divide into 5 ways");
}

#[test]
fn latencies_that_do_not_rise_are_refused() {
    for (old, new, key, found, than, bound) in [
        ("latency = 11", "latency = 4", "caches.l2.latency", "4", "caches.l1d.latency", 4),
        ("latency = 3 ", "latency = 11 ", "caches.l2.latency", "11", "caches.l1i.latency", 11),
        ("latency = 40", "latency = 10", "caches.l3.latency", "10", "caches.l2.latency", 11),
        ("latency = 200", "latency = 40", "memory.latency", "40", "caches.l3.latency", 40),
    ] {
        assert_eq!(
            refused(old, new),
            value(key, found, Problem::NotAbove { key: than, value: bound }),
            "{new}"
        );
    }
}

#[test]
fn another_line_size_and_empty_texts_are_refused() {
    assert_eq!(
        refused("line = 64", "line = 128"),
        value("caches.line", "128", Problem::Unsupported { only: 64 })
    );
    assert_eq!(refused("\"small\"", "\"\""), value("name", "\"\"", Problem::Empty));
    assert_eq!(refused("\"Small numbers.\"", "\" \""), value("source.text", "\"\"", Problem::Empty));
}

#[test]
fn unknown_and_mistyped_keys_are_refused_at_their_place() {
    for (old, new, place, words) in [
        ("issue-width = 4", "issue-width = 4\nretire-width = 4", (7, 1), "`retire-width`"),
        ("kib = 5,", "kib = 5, sets = 4,", (19, 17), "`sets`"),
        ("[memory]", "[dram]", (21, 2), "`dram`"),
        ("issue-width = 4", "issue-width = \"4\"", (6, 15), "string \"4\""),
        ("issue-width = 4", "issue-width = -4", (6, 15), "`-4`"),
        ("\"assumed\"", "\"guessed\"", (51, 9), "`guessed`"),
        ("line = 64", "line = 64 bytes", (15, 8), "must be quoted"),
    ] {
        let ProcessorError::Shape { file, line, column, reason } = refused(old, new) else {
            panic!("{new}: not an error of shape");
        };
        assert_eq!((file.as_str(), line, column), ("a.toml", place.0, place.1), "{new}: {reason}");
        assert!(reason.contains(words), "{new}: {reason}");
    }
}

#[test]
fn a_file_without_a_key_that_every_processor_has_is_refused_with_the_key() {
    for (old, key) in [
        ("name = \"small\"\n", "name"),
        ("description = \"A processor for tests\"\n", "description"),
        ("issue-width = 4\n", "core.issue-width"),
        ("l2-hit = 7\n", "tlb-latency.l2-hit"),
        ("level2 = [{ sets = 4, ways = 3 }]\n", "tlb"),
        ("line = 64\n", "caches.line"),
        ("kib = 5, ", "caches.l3.kib"),
        (", latency = 40", "caches.l3.latency"),
        ("latency = 200\n", "memory.latency"),
        ("invept-all = 1014\n", "operations.invept-all"),
    ] {
        // The source of a section that has nothing left is gone too.
        let text = common::SMALL.replacen(old, "", 1);
        let section = format!("\"{}\", ", key.split('.').next().unwrap());
        let alone = ["core", "tlb", "tlb-latency", "memory"].contains(&section.trim_matches(['"', ',', ' ']));
        let text = if alone { text.replacen(&section, "", 1) } else { text };
        let error = Processor::from_toml(&text, "a.toml").unwrap_err();
        assert_eq!(error, ProcessorError::Missing { file: "a.toml".to_owned(), key: key.to_owned() });
    }
    let missing = refused("invept-all = 1014\n", "");
    assert_eq!(missing.to_string(), "a.toml: operations.invept-all is missing");
}

#[test]
fn a_value_without_a_source_and_a_source_without_a_value_are_refused() {
    let file = || "a.toml".to_owned();
    let missing =
        ProcessorError::NoSource { file: file(), key: "memory.latency".to_owned(), value: "200".to_owned() };
    assert_eq!(refused("\"memory\", ", ""), missing);
    for key in ["memories", "mem", "memory.laten", "tlb.level2[1]", "name"] {
        let nothing = ProcessorError::SourceOfNothing { file: file(), key: key.to_owned() };
        assert_eq!(refused("\"operations\"]", &format!("\"operations\", \"{key}\"]")), nothing);
    }
    let two = ProcessorError::TwoSources { file: file(), key: "tlb".to_owned() };
    assert_eq!(refused("\"operations\"]", "\"operations\", \"tlb\"]"), two);
}

#[test]
fn the_longest_key_is_the_source_of_a_value() {
    let text = format!(
        "{}\n[[source]]\nkeys = [\"caches.l2.latency\"]\nbasis = \"measured\"\ntext = \"With care.\"\n",
        common::SMALL
    );
    let processor = Processor::from_toml(&text, "a.toml").unwrap();
    let careful: Vec<_> = processor.facts().iter().filter(|fact| fact.source == "With care.").collect();
    assert_eq!(careful.len(), 1);
    assert_eq!((careful[0].key.as_str(), careful[0].value.as_str()), ("caches.l2.latency", "11"));
}

proptest! {
    #![proptest_config(common::cases())]

    #[test]
    fn any_text_is_read_or_refused_without_a_panic(text in "\\PC*") {
        let _ = Processor::from_toml(&text, "a.toml");
    }

    #[test]
    fn a_damaged_file_is_read_or_refused_without_a_panic(place in 0..common::SMALL.len(), with in "\\PC{0,3}") {
        let mut text = common::SMALL.to_owned();
        text.replace_range(place..=place, &with);
        let _ = Processor::from_toml(&text, "a.toml");
    }
}
