#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::controls::Control;
use std::collections::HashSet;

#[test]
fn the_numbers_0_to_85_name_a_reason_each_except_for_six() {
    let numbers: Vec<u16> = BasicExitReason::ALL.iter().map(|reason| reason.number()).collect();
    let expected: Vec<u16> = (0..=85).filter(|number| ![35, 38, 42, 71, 82, 83].contains(number)).collect();
    assert_eq!(numbers, expected);
}

#[test]
fn a_16_bit_number_is_a_reason_exactly_when_a_row_has_it() {
    for number in 0..=u16::MAX {
        let reason = BasicExitReason::from_number(number);
        assert_eq!(reason.map(BasicExitReason::number), reason.map(|_| number));
        assert_eq!(
            reason.is_some(),
            EXIT_REASONS.iter().any(|row| row.reason.number() == number),
            "{number}"
        );
    }
}

#[test]
fn every_reason_has_one_row_of_its_name() {
    assert_eq!(EXIT_REASONS.len(), BasicExitReason::ALL.len());
    for reason in BasicExitReason::ALL {
        let row = ExitReason::of(*reason);
        assert_eq!((row.reason, row.name), (*reason, reason.name()));
    }
    let names: HashSet<_> = EXIT_REASONS.iter().map(|row| row.name).collect();
    assert_eq!(names.len(), EXIT_REASONS.len());
}

#[test]
fn exactly_the_conditional_reasons_name_controls_and_those_have_rows() {
    for row in EXIT_REASONS.iter() {
        let conditional = row.conditionality == Conditionality::Conditional;
        assert_eq!(!row.controls.is_empty(), conditional, "{}", row.name);
        assert_eq!(!row.condition.is_empty(), conditional, "{}", row.name);
        for position in &row.controls {
            let control = Control::at(*position).unwrap();
            assert!(!control.name.starts_with("default1"), "{} needs {position}", row.name);
        }
    }
}

#[test]
fn the_condition_of_a_reason_speaks_of_each_of_its_controls() {
    for row in EXIT_REASONS.iter() {
        for position in &row.controls {
            let name = Control::at(*position).unwrap().name;
            assert!(row.condition.contains(name), "{}: `{}` leaves out {name}", row.name, row.condition);
        }
    }
}

/// 29.8: a VM entry that fails while or after loading guest state changes the exit reason and qualification only.
#[test]
fn a_failure_of_vm_entry_leaves_all_other_exit_information_as_it_was() {
    let failures = EXIT_REASONS.iter().filter(|row| row.conditionality == Conditionality::EntryFailure);
    let numbers = failures.map(|row| {
        assert_eq!(row.kind, Kind::EntryFailure, "{}", row.name);
        let others = [
            row.instruction_length,
            row.instruction_information,
            row.guest_linear_address,
            row.guest_physical_address,
        ];
        assert_eq!(others, [Written::Unmodified; 4], "{}", row.name);
        assert_eq!([row.exiting_event, row.original_event], [EventWritten::Unmodified; 2], "{}", row.name);
        row.reason.number()
    });
    assert_eq!(numbers.collect::<Vec<_>>(), [33, 34, 41]);
}

#[test]
fn a_vm_exit_leaves_no_field_unmodified() {
    for row in EXIT_REASONS.iter().filter(|row| row.conditionality != Conditionality::EntryFailure) {
        let fields = [row.exit_qualification, row.instruction_length, row.instruction_information];
        assert!(!fields.contains(&Written::Unmodified), "{}", row.name);
        assert_ne!(row.original_event, EventWritten::Unmodified, "{}", row.name);
        assert_ne!(row.exit_qualification, Written::Undefined, "{}", row.name);
    }
}
