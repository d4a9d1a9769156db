#![allow(clippy::unwrap_used, reason = "tests")]

use super::{FieldSet, LaunchState, REGION_SIZE, Region, Vmcs, VmcsType};
use crate::cases::cases;
use crate::controls::{
    PrimaryExitControls, PrimaryProcessorControls, SecondaryProcessorControls, TertiaryProcessorControls,
};
use crate::field::{Encoding, FIELDS, Width};
use proptest::collection::{hash_map, vec};
use proptest::prelude::*;
use std::collections::HashMap;

fn some_field() -> impl Strategy<Value = Encoding> {
    proptest::sample::select(Encoding::ALL)
}

fn some_bytes() -> impl Strategy<Value = Region> {
    vec(any::<u8>(), REGION_SIZE).prop_map(|bytes| bytes.try_into().unwrap())
}

#[test]
fn the_position_of_a_field_is_its_row() {
    assert_eq!(FIELDS.len(), Encoding::ALL.len());
    for (row, field) in FIELDS.iter().enumerate() {
        assert_eq!(usize::from(field.encoding.position()), row, "{}", field.name);
        assert_eq!(Encoding::ALL[row], field.encoding, "{}", field.name);
    }
}

#[test]
fn an_encoding_that_no_field_has_reads_as_0_and_takes_nothing() {
    let unknown = Encoding::try_from(0x6c1e).unwrap();
    let mut vmcs = Vmcs::new(1);
    vmcs.accept_changes();
    vmcs.write(unknown, u64::MAX);
    assert_eq!((vmcs.read(unknown), vmcs.changed()), (0, FieldSet::EMPTY));
    assert_eq!(vmcs, Vmcs::new(1));
}

#[test]
fn words_that_are_not_activated_are_not_in_force_and_keep_their_value() {
    let mut vmcs = Vmcs::new(1);
    vmcs.set_controls(SecondaryProcessorControls::ENABLE_EPT);
    vmcs.set_controls(TertiaryProcessorControls::ENABLE_HLAT);
    vmcs.write(Encoding::SECONDARY_EXIT_CONTROLS, 4);
    assert!(vmcs.secondary_processor().is_empty() && vmcs.tertiary_processor().is_empty());
    assert!(vmcs.secondary_exit().is_empty());
    vmcs.set_controls(PrimaryProcessorControls::ACTIVATE_SECONDARY_CONTROLS);
    assert_eq!(vmcs.secondary_processor(), SecondaryProcessorControls::ENABLE_EPT);
    assert!(vmcs.tertiary_processor().is_empty());
    vmcs.set_controls(PrimaryProcessorControls::ACTIVATE_TERTIARY_CONTROLS);
    assert_eq!(vmcs.tertiary_processor(), TertiaryProcessorControls::ENABLE_HLAT);
    assert!(vmcs.secondary_processor().is_empty());
    vmcs.set_controls(PrimaryExitControls::ACTIVATE_SECONDARY_CONTROLS);
    assert_eq!(vmcs.secondary_exit().bits(), 4);
}

#[test]
fn a_region_holds_what_the_manual_fixes_where_the_manual_has_it() {
    let mut vmcs = Vmcs::new(0x7fff_fff1);
    vmcs.set_vmcs_type(VmcsType::Shadow);
    vmcs.set_abort_indicator(4);
    vmcs.set_launch_state(LaunchState::Launched);
    let region = vmcs.to_region();
    assert_eq!(region[..12], [0xf1, 0xff, 0xff, 0xff, 4, 0, 0, 0, 1, 0, 0, 0]);
    let again = Vmcs::from_region(&region);
    assert_eq!(again, vmcs);
    assert_eq!((again.revision_identifier(), again.vmcs_type()), (0x7fff_fff1, VmcsType::Shadow));
    assert_eq!((again.launch_state(), again.abort_indicator()), (LaunchState::Launched, 4));
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_field_holds_what_was_written_last_and_no_other_field_changes(
        writes in vec((some_field(), any::<u64>()), 0..100),
    ) {
        let mut vmcs = Vmcs::new(1);
        let mut model = HashMap::new();
        for (field, value) in writes {
            vmcs.write(field, value);
            model.insert(field, value & field.width().mask());
        }
        for field in Encoding::ALL {
            prop_assert_eq!(vmcs.read(*field), model.get(field).copied().unwrap_or(0), "{}", field);
        }
    }

    #[test]
    fn the_parts_of_a_64_bit_field_are_its_halves(value: u64, half: u32, field in some_field()) {
        let mut vmcs = Vmcs::new(1);
        vmcs.write(field, value);
        if let Some(high) = field.high() {
            prop_assert_eq!(vmcs.read(high), value >> 32);
            vmcs.write(high, u64::from(half));
            prop_assert_eq!(vmcs.read(field), value & 0xffff_ffff | u64::from(half) << 32);
            prop_assert!(vmcs.changed().contains(high));
        } else {
            prop_assert_ne!(field.width(), Width::Bits64);
        }
    }

    #[test]
    fn the_record_of_changes_holds_exactly_the_fields_whose_value_became_another_one(
        before in hash_map(some_field(), 0..3_u64, 0..50), after in hash_map(some_field(), 0..3_u64, 0..50),
    ) {
        let mut vmcs = Vmcs::new(1);
        before.iter().for_each(|(field, value)| vmcs.write(*field, *value));
        vmcs.accept_changes();
        prop_assert!(vmcs.changed().is_empty());
        after.iter().for_each(|(field, value)| vmcs.write(*field, *value));
        let old = |field: &Encoding| before.get(field).copied().unwrap_or(0);
        let expected = after.iter().filter(|(field, value)| old(field) != **value).map(|(field, _)| *field);
        prop_assert_eq!(vmcs.changed(), expected.collect::<FieldSet>());
    }

    #[test]
    fn any_bytes_are_a_region_and_what_they_hold_comes_back(bytes in some_bytes()) {
        let vmcs = Vmcs::from_region(&bytes);
        prop_assert_eq!(vmcs.changed(), FieldSet::ALL);
        for field in Encoding::ALL {
            prop_assert_eq!(vmcs.read(*field) & !field.width().mask(), 0);
        }
        let region = vmcs.to_region();
        prop_assert_eq!(&region[..8], &bytes[..8]);
        prop_assert_eq!(Vmcs::from_region(&region), vmcs);
    }

    #[test]
    fn a_set_of_fields_is_a_set(
        a in vec(some_field(), 0..50), b in vec(some_field(), 0..50), field in some_field(),
    ) {
        let (set_a, set_b): (FieldSet, FieldSet) = (a.iter().copied().collect(), FieldSet::of(&b));
        let (in_a, in_b) = (a.contains(&field), b.contains(&field));
        prop_assert_eq!(set_a.contains(field), in_a);
        prop_assert_eq!(set_a.union(set_b).contains(field), in_a || in_b);
        prop_assert_eq!(set_a.intersection(set_b).contains(field), in_a && in_b);
        prop_assert_eq!(set_a.difference(set_b).contains(field), in_a && !in_b);
        prop_assert_eq!(set_a.iter().collect::<FieldSet>(), set_a);
        prop_assert_eq!(set_a.is_empty(), a.is_empty());
        prop_assert!(set_a.iter().is_sorted());
    }
}
