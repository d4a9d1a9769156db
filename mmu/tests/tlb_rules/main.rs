//! The rules of cached translations, row by row: for each that binds a processor a test of its name.
#![allow(clippy::unwrap_used, reason = "tests")]

mod check;
#[path = "../common/mod.rs"]
mod common;
mod modifications;
mod need_not;
mod operations;
mod pdptes;
mod random;
mod registers;
mod values;
mod vmx;
mod walks;
mod world;

use mmu::rules::{Obligation, RULES};
use std::collections::HashSet;

/// The sources of the tests that are named after rows.
const SOURCES: [&str; 5] = [
    include_str!("modifications.rs"),
    include_str!("operations.rs"),
    include_str!("pdptes.rs"),
    include_str!("vmx.rs"),
    include_str!("walks.rs"),
];

#[test]
fn every_rule_that_binds_a_processor_has_a_test_of_its_name() {
    let binding =
        RULES.iter().filter(|rule| matches!(rule.obligation, Obligation::Must | Obligation::MustNot));
    let mut count = 0;
    for rule in binding {
        let test = format!("#[test]\nfn {}()", rule.id.to_lowercase().replace('.', "_"));
        assert!(SOURCES.iter().any(|source| source.contains(&test)), "no test is named after {}", rule.id);
        count += 1;
    }
    assert_eq!(count, 49);
}

#[test]
fn ids_are_unique_and_every_rule_says_something() {
    let ids: HashSet<&str> = RULES.iter().map(|rule| rule.id).collect();
    assert_eq!(ids.len(), 90);
    for rule in &RULES {
        let Some(id) = rule.id.strip_prefix("TLB.") else { panic!("{}", rule.id) };
        assert!(
            id.split('.').count() == 2 && !rule.says.is_empty() && !rule.section.is_empty(),
            "{}",
            rule.id
        );
        let printed = rule.to_string();
        assert!(printed.starts_with(rule.id) && printed.contains(rule.says) && printed.contains(rule.note));
        assert!(printed.contains(&rule.obligation.to_string()) && printed.contains(rule.section));
        assert_eq!(mmu::rules::rule(rule.id).map(|found| found.says), Some(rule.says));
    }
    assert!(mmu::rules::rule("TLB.OP").is_none());
}
