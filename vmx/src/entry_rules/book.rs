//! The rule book: the table of rules for reading.

use super::row::{Modelled, RULES, Rule, Stage};
use crate::SDM_EDITION;
use std::fmt::Write;

/// The stages with what the manual calls them.
const STAGES: [(Stage, &str); 7] = [
    (Stage::Instruction, "First checks of VMLAUNCH and VMRESUME (29.1)"),
    (Stage::Controls, "Controls (29.2.1)"),
    (Stage::HostState, "Host-state area and address-space size (29.2.2 to 29.2.4)"),
    (Stage::GuestState, "Guest-state area (29.3)"),
    (Stage::MsrLoading, "Loading of MSRs (29.4)"),
    (Stage::MachineCheck, "Machine-check events during VM entry (29.9)"),
    (Stage::ReturnFromSmm, "VM entries that return from SMM (34.15.4)"),
];

/// `vmx/RULES.md`: every rule in Markdown.
///
/// ```
/// assert!(vmx::entry_rules::rule_book().contains("### GUEST.RIP.RFLAGS_BIT1"));
/// ```
#[must_use]
pub fn rule_book() -> String {
    let mut book = format!(
        "# Rules of VM entry\n\n\
         Generated from `vmx/data/vm_entry_rules.csv`; do not edit. Sections are those of the manual's edition\n\
         {SDM_EDITION}. A rule has a stable id, one requirement, and a counterexample that breaks it alone where the\n\
         feature is offered; [`vmx/data/README.md`](data/README.md) says how to read one. {} rules.\n",
        RULES.len()
    );
    for (stage, title) in STAGES {
        // Writing to a string cannot fail.
        let _ = write!(book, "\n## {title}\n");
        RULES.iter().filter(|rule| rule.stage == stage).for_each(|rule| write_rule(&mut book, rule));
    }
    book
}

fn write_rule(book: &mut String, rule: &Rule) {
    let Rule { id, section, when, must, refused_as, tier, subject, .. } = rule;
    let _ = write!(
        book,
        "\n### {id}\n\n- section: {section}\n- about: {subject}\n- when: {when}\n- must: {must}\n- refused as: {refused_as}\n- tier: {tier}\n"
    );
    if !rule.counterexample.is_empty() {
        let _ = writeln!(book, "- counterexample: `{}`", rule.counterexample);
    }
    if rule.modelled == Modelled::No {
        let _ = writeln!(book, "- not modelled");
    }
    if !rule.notes.is_empty() {
        let _ = writeln!(book, "- note: {}", rule.notes);
    }
}
