#![allow(clippy::unwrap_used, reason = "tests")]

use super::{
    Access, AccessType, Condition, Encoding, EncodingError, Existence, FIELDS, Field, FieldType, Width,
};
use crate::Standing;
use crate::cases::cases;
use crate::controls::Control;
use crate::table::normalized;
use proptest::prelude::*;
use std::collections::{HashMap, HashSet};

#[test]
fn every_encoding_decomposes_to_the_width_type_and_index_of_its_row_and_recomposes() {
    for field in FIELDS.iter() {
        let encoding = field.encoding;
        assert_eq!(
            (encoding.width(), encoding.field_type(), encoding.index(), encoding.access_type()),
            (field.width, field.field_type, field.index, AccessType::Full),
            "{}",
            field.name
        );
        let composed = Encoding::compose(field.width, field.field_type, field.index, AccessType::Full);
        assert_eq!(composed, Ok(encoding), "{}", field.name);
    }
}

#[test]
fn exit_information_is_read_only_and_everything_else_can_be_written() {
    for field in FIELDS.iter() {
        let read_only = field.field_type == FieldType::ExitInformation;
        assert_eq!(field.access == Access::ReadOnly, read_only, "{}", field.name);
    }
}

#[test]
fn no_two_fields_share_an_encoding_or_an_index_of_the_same_width_and_type() {
    let encodings: HashSet<_> = FIELDS.iter().map(|field| field.encoding).collect();
    assert_eq!(encodings.len(), FIELDS.len());
    let indexes: HashSet<_> =
        FIELDS.iter().map(|field| (field.width as u8, field.field_type as u8, field.index)).collect();
    assert_eq!(indexes.len(), FIELDS.len());
}

#[test]
fn rows_are_in_the_order_of_their_encodings() {
    assert!(FIELDS.is_sorted_by(|a, b| a.encoding < b.encoding));
}

#[test]
fn every_name_symbol_and_alias_leads_to_one_field() {
    let mut owners: HashMap<String, &Field> = HashMap::new();
    for field in FIELDS.iter() {
        assert_eq!(normalized(field.symbol), field.symbol, "a symbol is an identifier");
        for name in field.names() {
            let owner = owners.entry(normalized(name)).or_insert(field);
            assert_eq!(owner.symbol, field.symbol, "`{name}` names two fields");
            assert_eq!(Field::by_name(&name.to_lowercase()), Some(field), "{name}");
        }
    }
    assert_eq!(Field::by_name("no such field"), None);
}

#[test]
fn older_names_lead_to_the_renamed_fields() {
    for (old, new) in [
        ("VM-entry interruption information", "injected-event identification"),
        ("VM-entry exception error code", "injected-event error code"),
        ("VM-exit interruption information", "exiting-event identification"),
        ("VM-exit interruption error code", "exiting-event error code"),
        ("IDT-vectoring information", "original-event identification"),
        ("IDT-vectoring error code", "original-event error code"),
    ] {
        assert_eq!(Field::by_name(old).unwrap().name, new);
    }
}

#[test]
fn a_high_part_exists_exactly_for_64_bit_fields_and_its_encoding_is_the_next_number() {
    for field in FIELDS.iter() {
        let next = u64::from(field.encoding.raw()) | 1;
        match field.encoding.high() {
            Some(high) => {
                assert_eq!(field.width, Width::Bits64, "{}", field.name);
                assert_eq!((u64::from(high), high.full()), (next, field.encoding));
                assert_eq!(Field::lookup(next), Ok((field, AccessType::High)), "{}", field.name);
            }
            None => {
                let refused = EncodingError::HighPart { operand: next, width: field.width };
                assert_eq!(Field::lookup(next), Err(refused), "{}", field.name);
            }
        }
    }
}

#[test]
fn the_constants_are_the_symbols_and_encodings_of_the_table() {
    let rows: Vec<_> = FIELDS.iter().map(|field| (field.symbol, field.encoding)).collect();
    assert_eq!(super::constants::CONSTANTS, rows);
}

#[test]
fn a_field_exists_if_a_control_that_has_a_row_and_a_name_can_be_1() {
    for field in FIELDS.iter() {
        let Existence::AnyOf(conditions) = &field.exists_if else { continue };
        assert!(field.exists_if.holds(|condition| condition == conditions[0]), "{}", field.name);
        assert!(!field.exists_if.holds(|_| false), "{}", field.name);
        for condition in conditions {
            assert_eq!(condition.to_string().parse(), Ok(*condition), "{}", field.name);
            let Condition::Control(position) = condition else { continue };
            let control = Control::at(*position).unwrap();
            assert!(!control.name.starts_with("default1"), "{} needs {position}", field.name);
        }
    }
}

/// Tables B-1 to B-15 of appendix B, as published in February 2026, have this many fields; high parts not counted.
#[test]
fn the_fields_that_the_manual_lists_are_as_many_as_its_tables_have() {
    use FieldType::{Control, ExitInformation, GuestState, HostState};
    let listed = |width, field_type| {
        let counts = |field: &&Field| {
            field.standing == Standing::Manual && field.width == width && field.field_type == field_type
        };
        FIELDS.iter().filter(counts).count()
    };
    for (width, types) in [
        (Width::Bits16, [5, 0, 11, 7]),
        (Width::Bits64, [37, 3, 21, 12]),
        (Width::Bits32, [20, 8, 23, 1]),
        (Width::Natural, [8, 6, 23, 15]),
    ] {
        let counted = [Control, ExitInformation, GuestState, HostState].map(|of| listed(width, of));
        assert_eq!(counted, types, "{width:?}");
    }
}

/// What a row-by-row search of the table says about a number.
fn in_the_table(number: u64) -> Option<(&'static Field, AccessType)> {
    FIELDS.iter().find_map(|field| {
        let encoding = u64::from(field.encoding.raw());
        let high = field.width == Width::Bits64 && number == encoding + 1;
        match number == encoding {
            true => Some((field, AccessType::Full)),
            false => high.then_some((field, AccessType::High)),
        }
    })
}

#[test]
fn of_all_15_bit_numbers_those_in_the_table_name_their_field_and_the_others_nothing() {
    for number in 0..0x8000 {
        assert_eq!(Field::lookup(number).ok(), in_the_table(number), "{number:X}H");
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_number_names_a_field_exactly_when_the_table_has_it(number in any::<u32>()) {
        prop_assert_eq!(Field::lookup(number.into()).ok(), in_the_table(number.into()));
    }

    #[test]
    fn reserved_bits_are_refused_by_name(row in 0..FIELDS.len(), noise in any::<u64>()) {
        let reserved = noise & !0x6fff;
        let operand = u64::from(FIELDS[row].encoding.raw()) | reserved;
        let expected = match reserved {
            0 => Ok((&FIELDS[row], AccessType::Full)),
            set => Err(EncodingError::ReservedBits { operand, set }),
        };
        prop_assert_eq!(Field::lookup(operand), expected);
    }

    #[test]
    fn whatever_has_the_structure_of_an_encoding_recomposes(number in 0_u64..0x8000) {
        if let Ok(encoding) = Encoding::try_from(number) {
            let parts = Encoding::compose(
                encoding.width(), encoding.field_type(), encoding.index(), encoding.access_type());
            prop_assert_eq!(parts, Ok(encoding));
            prop_assert_eq!(u64::from(encoding), number);
        } else {
            prop_assert!(number & 0x1000 != 0 || number & 1 == 1 && number >> 13 != 1);
        }
    }

    #[test]
    fn an_index_above_bits_9_to_1_is_refused(index in Encoding::INDEXES..) {
        let composed = Encoding::compose(Width::Bits32, FieldType::Control, index, AccessType::Full);
        prop_assert_eq!(composed, Err(EncodingError::Index(index)));
    }

    #[test]
    fn a_condition_that_is_none_is_refused_without_a_panic(text in "\\PC{0,24}") {
        let _ = text.parse::<Existence>();
    }
}
