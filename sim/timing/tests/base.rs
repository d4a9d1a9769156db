//! Processor files that say how they differ from a shipped processor.
#![allow(clippy::unwrap_used, reason = "tests")]

use timing::processor::{Basis, Fact, Problem, Processor, ProcessorError, SelectError};

const HEAD: &str = "base = \"skylake\"\nname = \"mine\"\ndescription = \"A Skylake of my own\"\n";

/// A file that changes some values, of which one source says why.
fn file(values: &str, keys: &str) -> String {
    format!(
        "{HEAD}{values}\n[[source]]\nkeys = [{keys}]\nbasis = \"measured\"\ntext = \"My own measurement.\"\n"
    )
}

fn read(text: &str) -> Result<Processor, ProcessorError> {
    Processor::from_toml(text, "mine.toml")
}

fn fact<'p>(processor: &'p Processor, key: &str) -> Option<&'p Fact> {
    processor.facts().iter().find(|fact| fact.key == key)
}

#[test]
fn a_file_with_nothing_but_a_base_is_that_processor_under_another_name() {
    let (mine, skylake) = (read(HEAD).unwrap(), Processor::named("skylake").unwrap());
    assert_eq!((mine.name(), mine.description(), mine.file()), ("mine", "A Skylake of my own", "mine.toml"));
    assert_eq!((mine.tlb(), mine.caches()), (skylake.tlb(), skylake.caches()));
    assert_eq!(mine.operations(), skylake.operations());
    assert_eq!(mine.facts(), skylake.facts());
}

#[test]
fn a_value_of_a_table_is_replaced_alone_with_its_source() {
    let mine = read(&file("[caches]\nl2.latency = 13\n", "\"caches\"")).unwrap();
    let skylake = Processor::named("skylake").unwrap();
    assert_eq!((mine.caches().l2().latency(), skylake.caches().l2().latency()), (13, 12));
    assert_eq!(mine.caches().l2().sets(), skylake.caches().l2().sets());
    let changed = fact(&mine, "caches.l2.latency").unwrap();
    assert_eq!((changed.value.as_str(), changed.basis), ("13", Basis::Measured));
    assert_eq!(changed.source, "My own measurement.");
    let others = |processor: &Processor| -> Vec<_> {
        processor.facts().iter().filter(|fact| fact.key != "caches.l2.latency").cloned().collect()
    };
    assert_eq!(others(&mine), others(&skylake));
}

#[test]
fn an_array_is_replaced_as_a_whole() {
    let level2 = "[tlb]\nlevel2 = [{ page_sizes = [\"4K\"], sets = 64, ways = 4 }]\n";
    let mine = read(&file(level2, "\"tlb\"")).unwrap();
    assert_eq!(mine.tlb()["level2"].as_array().map(Vec::len), Some(1));
    assert_eq!(mine.tlb()["level1_data"], Processor::named("skylake").unwrap().tlb()["level1_data"]);
    assert_eq!(fact(&mine, "tlb.level2[0].sets").unwrap().value, "64");
    for gone in ["tlb.level2[0].index", "tlb.level2[1].sets"] {
        assert_eq!(fact(&mine, gone), None);
    }
}

#[test]
fn what_a_file_changes_needs_a_source_of_its_own() {
    let error = read(&format!("{HEAD}[memory]\nlatency = 300\n")).unwrap_err();
    let expected = ProcessorError::NoSource {
        file: "mine.toml".to_owned(),
        key: "memory.latency".to_owned(),
        value: "300".to_owned(),
    };
    assert_eq!(error, expected);
    let error = read(&file("[memory]\nlatency = 300\n", "\"memory\", \"caches\"")).unwrap_err();
    assert_eq!(error.to_string(), "mine.toml: a [[source]] lists caches, but no value needs it");
}

#[test]
fn values_are_judged_together_with_those_of_the_base() {
    let error = read(&file("[caches]\nl2.latency = 45\n", "\"caches\"")).unwrap_err();
    let problem = Problem::NotAbove { key: "caches.l2.latency", value: 45 };
    let (file_name, key) = ("mine.toml".to_owned(), "caches.l3.latency".to_owned());
    assert_eq!(error, ProcessorError::Value { file: file_name, key, value: "45".to_owned(), problem });
}

#[test]
fn a_mistake_is_reported_at_its_place_in_the_file() {
    let error = read(&file("[caches]\nl2.latency = \"13\"\n", "\"caches\"")).unwrap_err();
    assert!(error.to_string().starts_with("mine.toml:5:14: invalid type: string \"13\""), "{error}");
}

#[test]
fn a_file_with_a_base_has_its_own_name_and_description() {
    for key in ["name", "description"] {
        let text: String =
            HEAD.lines().filter(|line| !line.starts_with(key)).map(|line| format!("{line}\n")).collect();
        assert_eq!(read(&text).unwrap_err().to_string(), format!("mine.toml: {key} is missing"));
    }
}

#[test]
fn a_base_that_nobody_knows_is_refused_with_the_known_ones() {
    let error = read(&HEAD.replace("skylake", "mine.toml")).unwrap_err().to_string();
    assert!(
        error.starts_with("mine.toml: base = \"mine.toml\": no processor is named `mine.toml`; known"),
        "{error}"
    );
}

#[test]
fn a_path_that_ends_in_toml_is_a_file_and_anything_else_a_name() {
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../processors/zen3.toml");
    let zen3 = Processor::select(shipped).unwrap();
    assert_eq!((zen3.name(), zen3.file()), ("zen3", shipped));
    assert!(matches!(Processor::select("zen5"), Err(SelectError::Unknown(_))));
    let none = Processor::select("no/such.toml").unwrap_err();
    assert_eq!(none.to_string(), "no/such.toml: No such file or directory (os error 2)");
}

#[test]
fn a_file_without_end_is_not_read_to_its_end() {
    let folder = std::env::temp_dir().join(format!("vmxsim-base-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("large.toml");
    std::fs::write(&path, " ".repeat((1 << 20) + 1)).unwrap();
    let error = Processor::select(path.to_str().unwrap()).unwrap_err().to_string();
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(error.ends_with("larger than the 1048576 bytes that a processor file may have"), "{error}");
}
