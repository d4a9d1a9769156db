//! Tidiness, checked by ordinary tests over the files that git knows.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The most lines that a file may have without being a table.
const LONGEST: usize = 400;

/// Files that may be longer, by path or by ending, each with the reason.
const TABLES: &[(&str, &str)] = &[
    ("*.csv", "a row a line"),
    ("Cargo.lock", "written by cargo"),
    ("vmx/RULES.md", "generated from a table"),
];

/// What the top level holds, beside entries whose name begins with a dot.
const TOP_LEVEL: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "benches",
    "isa",
    "mmu",
    "rustfmt.toml",
    "sim",
    "tests",
    "traces",
    "vmx",
];

/// A file of the project.
struct File {
    path: String,
    /// Nothing if it is not UTF-8 text.
    text: Option<String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every file that git tracks or would track and that is there; nothing, and a word about it, where git does not answer.
fn files() -> Option<Vec<File>> {
    let listing = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output();
    let paths = match listing {
        Ok(output) if output.status.success() => output.stdout,
        Ok(output) => return skipped(&String::from_utf8_lossy(&output.stderr)),
        Err(error) => return skipped(&error.to_string()),
    };
    let paths = String::from_utf8_lossy(&paths).into_owned();
    let read = |path: &str| {
        let bytes = std::fs::read(root().join(path)).ok()?;
        Some(File { path: path.to_owned(), text: String::from_utf8(bytes).ok() })
    };
    Some(paths.split_terminator('\0').filter_map(read).collect())
}

fn skipped(reason: &str) -> Option<Vec<File>> {
    eprintln!("skipped: git does not list the files of the project: {}", reason.trim());
    None
}

/// What a rule finds wrong, over all text files; a rule sees a path and a text.
fn complaints(rule: impl Fn(&str, &str) -> Vec<String>) -> Vec<String> {
    let files = files().unwrap_or_default();
    files.iter().filter_map(|file| Some(rule(&file.path, file.text.as_deref()?))).flatten().collect()
}

fn is_table(path: &str) -> bool {
    TABLES.iter().any(|(pattern, _)| match pattern.strip_prefix('*') {
        Some(ending) => path.ends_with(ending),
        None => path == *pattern,
    })
}

fn too_long(path: &str, text: &str) -> Vec<String> {
    let lines = text.lines().count();
    let long = lines > LONGEST && !is_table(path);
    long.then(|| format!("{path}: {lines} lines; split it, or list it as a table with the reason"))
        .into_iter()
        .collect()
}

#[test]
fn no_file_is_longer_than_400_lines_unless_it_is_a_table() {
    assert_eq!(complaints(too_long), Vec::<String>::new());
}

#[test]
fn every_listed_table_is_there_and_needs_to_be_listed() {
    let Some(files) = files() else { return };
    for (pattern, reason) in TABLES {
        assert!(!reason.is_empty(), "{pattern}");
        let long = |file: &File| file.text.as_ref().is_some_and(|text| text.lines().count() > LONGEST);
        let needed = pattern.starts_with('*') || files.iter().any(|file| file.path == *pattern && long(file));
        assert!(needed, "{pattern} is listed as a table and is no longer long");
    }
}

/// Entries of the manifest's tables of dependencies and lints that no comment stands above.
fn unjustified(manifest: &str) -> Vec<String> {
    let mut section = "";
    let mut above = "";
    let mut found = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        }
        let explained = section == "[workspace.dependencies]" || section.starts_with("[workspace.lints");
        let entry = line.starts_with(|c: char| c.is_ascii_alphanumeric()) && line.contains('=');
        // The crates of the workspace need no reason to be there.
        if explained && entry && !above.starts_with('#') && !line.contains("path =") {
            found.push(format!("no comment above `{line}`"));
        }
        above = line;
    }
    found
}

#[test]
fn every_dependency_and_lint_of_the_workspace_says_why_it_is_there() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("the manifest is there");
    assert_eq!(unjustified(&manifest), Vec::<String>::new());
}

/// Entries of the top level that do not belong there.
fn strangers<'a>(paths: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let entries = paths.map(|path| path.split_once('/').map_or(path, |(directory, _)| directory));
    entries.filter(|entry| !entry.starts_with('.') && !TOP_LEVEL.contains(entry)).collect()
}

#[test]
fn the_top_level_holds_nothing_but_the_fixed_entries() {
    let files = files().unwrap_or_default();
    assert_eq!(strangers(files.iter().map(|file| file.path.as_str())), BTreeSet::new());
}

/// Words after which an issue and a number are what a processor does, and no reference to a list of tasks.
const ISSUED: &[&str] = &["micro", "µop", "uop", "op", "instr", "load", "store", "slot", "port"];

/// Whether a line refers to a numbered issue.
fn refers_to_an_issue(line: &str) -> bool {
    let line = line.to_lowercase();
    line.match_indices("issue").any(|(at, word)| {
        let rest = line[at + word.len()..].trim_start_matches('s');
        let Some(number) = rest.strip_prefix(" #").or_else(|| rest.strip_prefix(' ')) else { return false };
        let after = number.trim_start_matches(|c: char| c.is_ascii_digit());
        let next = after.trim_start();
        after.len() < number.len() && !ISSUED.iter().any(|word| next.starts_with(word))
    })
}

/// Lines that speak of how the work is organised or of the machine that it is done on, and tests ignored without a reason.
fn speaks_of_others(path: &str, text: &str) -> Vec<String> {
    // In pieces, so that this file does not find itself.
    let forbidden = [concat!("../", "shared"), concat!("/", "work/"), concat!("#[", "ignore]")];
    let found = text.lines().zip(1..).flat_map(|(line, number)| {
        let words = forbidden.into_iter().filter(move |word| line.contains(word));
        let words = words.chain(refers_to_an_issue(line).then_some("the number of an issue"));
        words.map(move |word| format!("{path}:{number}: {word}"))
    });
    found.collect()
}

#[test]
fn the_project_speaks_of_itself_alone_and_ignores_no_test_without_a_reason() {
    assert_eq!(complaints(speaks_of_others), Vec::<String>::new());
}

#[test]
fn each_rule_finds_what_it_is_for() {
    let line = |count: usize| "x\n".repeat(count);
    assert_eq!(too_long("isa/src/a.rs", &line(LONGEST)), Vec::<String>::new());
    assert_eq!(too_long("isa/src/a.rs", &line(LONGEST + 1)).len(), 1);
    assert_eq!(too_long("vmx/data/a.csv", &line(LONGEST + 1)), Vec::<String>::new());

    let manifest = "[workspace.dependencies]\n# Why.\na = \"1\"\nb = \"1\"\nisa = { path = \"isa\" }\n[profile.dev]\nc = 1";
    assert_eq!(unjustified(manifest), ["no comment above `b = \"1\"`"]);

    let top = ["isa/src/lib.rs", ".ci/run", "notes.txt", "doc/a.md"];
    assert_eq!(strangers(top.into_iter()), BTreeSet::from(["doc", "notes.txt"]));

    let bad = [
        concat!("see ../", "shared/x"),
        concat!("/", "work/x"),
        concat!("#[", "ignore]"),
        concat!("Issue", " #7"),
    ];
    let found: Vec<_> = bad.iter().flat_map(|line| speaks_of_others("a", line)).collect();
    assert_eq!(found.len(), bad.len(), "{found:?}");
    for good in ["cores issue 4 micro-operations", "an issue of 1998", "#[ignore = \"slow\"]", "tissue"] {
        assert_eq!(speaks_of_others("a", good), Vec::<String>::new());
    }
    assert!(refers_to_an_issue(concat!("fixes issue", " 12.")));
}
