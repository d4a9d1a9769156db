#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::cases::cases;
use crate::field::{Field, FieldType, Width};
use proptest::prelude::*;
use std::collections::HashSet;

/// The names and bits of a type.
fn flags<C: Controls>() -> Vec<(ControlWord, String, u64)> {
    C::FLAGS.iter().map(|flag| (C::WORD, flag.name().to_owned(), (*flag.value()).bits().into())).collect()
}

fn all_flags() -> Vec<(ControlWord, String, u64)> {
    let words = [
        flags::<PinBasedControls>(),
        flags::<PrimaryProcessorControls>(),
        flags::<SecondaryProcessorControls>(),
        flags::<TertiaryProcessorControls>(),
        flags::<PrimaryExitControls>(),
        flags::<SecondaryExitControls>(),
        flags::<EntryControls>(),
    ];
    words.concat()
}

#[test]
fn every_row_has_a_bit_of_that_name_in_the_type_of_its_word_and_every_bit_a_row() {
    let rows: Vec<_> = CONTROLS
        .iter()
        .map(|control| (control.word, table::normalized(control.name), 1_u64 << control.bit))
        .collect();
    assert_eq!(all_flags(), rows);
}

#[test]
fn a_position_is_unique_and_fits_its_word() {
    let positions: HashSet<_> = CONTROLS.iter().map(Control::position).collect();
    assert_eq!(positions.len(), CONTROLS.len());
    for control in CONTROLS.iter() {
        assert!(control.bit < control.word.bits(), "{}", control.id);
        assert_eq!(control.id, format!("{}.{:02}", control.word.symbol(), control.bit));
        assert_eq!(Control::at(control.position()), Some(control));
        assert_eq!(Control::by_name(control.word, control.name), Some(control), "{}", control.id);
    }
}

/// Appendix A.2 and 27.6.1, 27.6.2, 27.7.1, 27.8.1: "the first processors supported only the 1-settings of bits ...".
#[test]
fn the_default1_controls_are_those_that_the_manual_lists() {
    for word in ControlWord::ALL {
        let listed: Vec<u8> = match word {
            ControlWord::PinBased => vec![1, 2, 4],
            ControlWord::PrimaryProcessor => vec![1, 4, 5, 6, 8, 13, 14, 15, 16, 26],
            ControlWord::PrimaryExit => (0..=8).chain([10, 11, 13, 14, 16, 17]).collect(),
            ControlWord::Entry => (0..=8).chain([12]).collect(),
            _ => vec![],
        };
        let default1 = CONTROLS
            .iter()
            .filter(|control| control.word == word && control.default == DefaultClass::Default1);
        assert_eq!(default1.map(|control| control.bit).collect::<Vec<_>>(), listed, "{word:?}");
    }
}

#[test]
fn every_word_is_a_control_field_of_its_width_and_has_its_own_capability_msr() {
    let mut msrs = HashSet::new();
    for (word, row) in ControlWord::ALL.into_iter().zip(WORDS) {
        assert_eq!(word, row.0);
        let field = Field::by_encoding(word.field()).unwrap();
        let width = if word.bits() == 64 { Width::Bits64 } else { Width::Bits32 };
        assert_eq!((field.field_type, field.width), (FieldType::Control, width), "{}", field.name);
        assert!(msrs.insert(word.capability()));
        let has_default1 = CONTROLS.iter().any(|c| c.word == word && c.default == DefaultClass::Default1);
        assert_eq!(word.capability() != word.true_capability(), has_default1, "{word:?}");
        assert!(word.true_capability().name().contains("TRUE") == has_default1, "{word:?}");
    }
}

#[test]
fn only_two_positions_are_not_the_manuals() {
    let others = CONTROLS.iter().filter(|control| control.standing != Standing::Manual);
    assert_eq!(others.map(|control| control.id).collect::<Vec<_>>(), ["secondary.28", "secondary.29"]);
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_position_reads_back_as_it_is_written(word in 0..7_usize, bit in any::<u8>()) {
        let word = ControlWord::ALL[word];
        let position = ControlBit { word, bit };
        let read = position.to_string().parse::<ControlBit>();
        prop_assert_eq!(read.ok(), (bit < word.bits()).then_some(position));
    }

    #[test]
    fn a_text_that_is_no_position_is_refused_without_a_panic(text in "\\PC{0,16}") {
        if let Ok(position) = text.parse::<ControlBit>() {
            prop_assert!(position.bit < position.word.bits());
        }
    }
}
