use crate::entry_rules::predicates::{self, Predicate};
use crate::entry_rules::{Modelled, RULES, Refusal, Rule, Stage, rule_book};
use crate::error_number::InstructionError;
use crate::exit_reason::BasicExitReason;
use std::collections::HashSet;

#[test]
fn every_row_has_exactly_one_predicate_and_every_predicate_a_row() {
    let mut predicates: Vec<_> = predicates::all().map(|(id, _)| *id).collect();
    let mut rows: Vec<_> = RULES.iter().map(|rule| rule.id).collect();
    predicates.sort_unstable();
    rows.sort_unstable();
    assert_eq!(predicates, rows);
    assert_eq!(rows.iter().collect::<HashSet<_>>().len(), 409);
}

#[test]
fn a_row_says_whether_its_rule_is_modelled() {
    for rule in RULES.iter() {
        let not = matches!(rule.predicate, Predicate::NotModelled);
        assert_eq!(rule.modelled == Modelled::No, not, "{}", rule.id);
    }
}

#[test]
fn stages_are_in_the_order_in_which_they_are_taken() {
    assert!(RULES.iter().map(|rule| rule.stage).is_sorted());
}

#[test]
fn the_stage_of_a_rule_decides_how_an_entry_is_refused() {
    let failure = |rule: &Rule| match rule.refused_as {
        Refusal::EntryFailure { reason, qualification } => Some((reason, qualification)),
        _ => None,
    };
    for rule in RULES.iter() {
        let error = |error| rule.refused_as == Refusal::VmFailValid(error);
        let fits = match rule.stage {
            Stage::Instruction => failure(rule).is_none(),
            Stage::Controls => error(InstructionError::InvalidControlFields),
            Stage::HostState => error(InstructionError::InvalidHostStateFields),
            Stage::GuestState => failure(rule).is_some_and(|(reason, qualification)| {
                // 29.8 defines 2 (PDPTEs), 3 (NMI) and 4 (VMCS link pointer).
                reason == BasicExitReason::VmEntryFailureInvalidGuestState
                    && [0, 2, 3, 4].contains(&qualification)
            }),
            Stage::MsrLoading => failure(rule) == Some((BasicExitReason::VmEntryFailureMsrLoading, 0)),
            Stage::MachineCheck => failure(rule) == Some((BasicExitReason::VmEntryFailureMachineCheck, 0)),
            Stage::ReturnFromSmm => rule.modelled == Modelled::No,
        };
        assert!(fits, "{} is refused as {}", rule.id, rule.refused_as);
    }
}

#[test]
fn every_rule_says_where_what_and_when() {
    for rule in RULES.iter() {
        assert!(rule.section.starts_with("29.") || rule.section.starts_with("3"), "{}", rule.id);
        assert!(!rule.subject.is_empty() && !rule.must.is_empty() && !rule.when.is_empty(), "{}", rule.id);
        assert!((1..=3).contains(&rule.tier), "{}", rule.id);
        let judges = !rule.fields.is_empty() || !rule.state.is_empty();
        assert!(judges || rule.modelled == Modelled::No, "{} reads nothing", rule.id);
        for other in &rule.breaks_too {
            assert!(Rule::by_id(other).is_some(), "{}: {other}", rule.id);
        }
    }
}

#[test]
fn the_rule_book_is_that_of_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/RULES.md");
    if std::env::var_os("VMXSIM_UPDATE").is_some() {
        std::fs::write(path, rule_book()).unwrap();
    }
    let book = std::fs::read_to_string(path).unwrap_or_default();
    assert!(book == rule_book(), "vmx/RULES.md is stale: run this test with VMXSIM_UPDATE=1 to write it");
}
