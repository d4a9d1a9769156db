#![allow(clippy::unwrap_used, reason = "tests")]

use super::registers::{Basic, EptVpidCap, FeatureControl, Misc, Vmfunc};
use super::*;
use crate::cases::cases;
use crate::controls::{ControlWord, Controls, PrimaryProcessorControls, TertiaryProcessorControls};
use crate::field::{Encoding, FIELDS};
use proptest::prelude::*;

#[test]
fn the_rows_of_an_msr_cover_each_of_its_64_bits_once() {
    for msr in CapabilityMsr::ALL {
        let mut next = 0;
        let mut rows: Vec<_> = msr.rows().collect();
        rows.sort_by_key(|row| row.low);
        for row in rows {
            assert_eq!(row.low, next, "{}", row.id);
            assert!(row.low <= row.high && row.high < 64, "{}", row.id);
            next = row.high + 1;
        }
        assert_eq!(next, 64, "{}", msr.name());
    }
}

#[test]
fn a_row_is_identified_by_its_msr_and_its_bits() {
    for row in CAPABILITY_BITS.iter() {
        assert_eq!(row.name, row.msr.name());
        let msr = row.name.trim_start_matches("IA32_").trim_start_matches("VMX_");
        let bits =
            if row.high == row.low { row.low.to_string() } else { format!("{}_{}", row.high, row.low) };
        assert_eq!(row.id, format!("{msr}.{bits}"));
    }
}

#[test]
fn an_index_names_an_msr_exactly_when_it_is_one_of_the_list() {
    for index in 0..0x1000 {
        let msr = CapabilityMsr::ALL.iter().copied().find(|msr| msr.index() == index);
        assert_eq!(CapabilityMsr::from_index(index), msr, "{index:X}H");
    }
}

/// Appendix A.9 with every field of the table: injected-event data, 2052H, has the highest index.
#[test]
fn vmcs_enum_reports_the_highest_index_of_the_table() {
    assert_eq!(vmcs_enum(FIELDS.iter()), 0x29 << 1);
    assert_eq!(Encoding::INJECTED_EVENT_DATA.index(), 0x29);
    assert!(FIELDS.iter().all(|field| u64::from(field.index) <= vmcs_enum(FIELDS.iter()) >> 1));
    assert_eq!(vmcs_enum([]), 0);
}

/// A row and the accessor that reads its bits.
type Accessor = (&'static str, fn(u64) -> u64);

const ACCESSORS: &[Accessor] = &[
    ("BASIC.30_0", |v| Basic::from_bits(v).revision_identifier().into()),
    ("BASIC.44_32", |v| Basic::from_bits(v).region_size().into()),
    ("BASIC.48", |v| Basic::from_bits(v).addresses_limited_to_32_bits().into()),
    ("BASIC.49", |v| Basic::from_bits(v).dual_monitor_treatment().into()),
    ("BASIC.53_50", |v| Basic::from_bits(v).memory_type().into()),
    ("BASIC.54", |v| Basic::from_bits(v).ins_outs_information().into()),
    ("BASIC.55", |v| Basic::from_bits(v).true_controls().into()),
    ("BASIC.56", |v| Basic::from_bits(v).error_code_for_any_vector().into()),
    ("BASIC.58", |v| Basic::from_bits(v).nested_exception().into()),
    ("MISC.4_0", |v| Misc::from_bits(v).preemption_timer_tsc_bit().into()),
    ("MISC.5", |v| Misc::from_bits(v).stores_lma().into()),
    ("MISC.6", |v| Misc::from_bits(v).activity_hlt().into()),
    ("MISC.7", |v| Misc::from_bits(v).activity_shutdown().into()),
    ("MISC.8", |v| Misc::from_bits(v).activity_wait_for_sipi().into()),
    ("MISC.14", |v| Misc::from_bits(v).intel_pt_in_vmx().into()),
    ("MISC.15", |v| Misc::from_bits(v).smbase_readable().into()),
    ("MISC.24_16", |v| Misc::from_bits(v).cr3_target_values().into()),
    ("MISC.27_25", |v| Misc::from_bits(v).msr_list_limit().into()),
    ("MISC.28", |v| Misc::from_bits(v).smi_unblocking_control().into()),
    ("MISC.29", |v| Misc::from_bits(v).exit_information_writable().into()),
    ("MISC.30", |v| Misc::from_bits(v).zero_instruction_length().into()),
    ("MISC.63_32", |v| Misc::from_bits(v).mseg_revision_identifier().into()),
    ("EPT_VPID_CAP.0", |v| EptVpidCap::from_bits(v).execute_only().into()),
    ("EPT_VPID_CAP.6", |v| EptVpidCap::from_bits(v).page_walk_length_4().into()),
    ("EPT_VPID_CAP.7", |v| EptVpidCap::from_bits(v).page_walk_length_5().into()),
    ("EPT_VPID_CAP.8", |v| EptVpidCap::from_bits(v).uncacheable().into()),
    ("EPT_VPID_CAP.14", |v| EptVpidCap::from_bits(v).write_back().into()),
    ("EPT_VPID_CAP.16", |v| EptVpidCap::from_bits(v).pages_2m().into()),
    ("EPT_VPID_CAP.17", |v| EptVpidCap::from_bits(v).pages_1g().into()),
    ("EPT_VPID_CAP.20", |v| EptVpidCap::from_bits(v).invept().into()),
    ("EPT_VPID_CAP.21", |v| EptVpidCap::from_bits(v).accessed_and_dirty().into()),
    ("EPT_VPID_CAP.22", |v| EptVpidCap::from_bits(v).advanced_exit_information().into()),
    ("EPT_VPID_CAP.23", |v| EptVpidCap::from_bits(v).supervisor_shadow_stack().into()),
    ("EPT_VPID_CAP.25", |v| EptVpidCap::from_bits(v).invept_single_context().into()),
    ("EPT_VPID_CAP.26", |v| EptVpidCap::from_bits(v).invept_all_context().into()),
    ("EPT_VPID_CAP.32", |v| EptVpidCap::from_bits(v).invvpid().into()),
    ("EPT_VPID_CAP.40", |v| EptVpidCap::from_bits(v).invvpid_individual_address().into()),
    ("EPT_VPID_CAP.41", |v| EptVpidCap::from_bits(v).invvpid_single_context().into()),
    ("EPT_VPID_CAP.42", |v| EptVpidCap::from_bits(v).invvpid_all_context().into()),
    ("EPT_VPID_CAP.43", |v| EptVpidCap::from_bits(v).invvpid_single_context_retaining_globals().into()),
    ("EPT_VPID_CAP.53_48", |v| EptVpidCap::from_bits(v).maximum_hlat_prefix_size().into()),
    ("FEATURE_CONTROL.0", |v| FeatureControl::from_bits(v).lock().into()),
    ("FEATURE_CONTROL.1", |v| FeatureControl::from_bits(v).vmxon_in_smx().into()),
    ("FEATURE_CONTROL.2", |v| FeatureControl::from_bits(v).vmxon_outside_smx().into()),
    ("VMFUNC.0", |v| Vmfunc::from_bits(v).eptp_switching().into()),
];

#[test]
fn every_row_of_a_register_that_is_not_reserved_has_an_accessor() {
    use CapabilityMsr::{Basic, EptVpidCap, FeatureControl, Misc, Vmfunc};
    let named = [Basic, Misc, EptVpidCap, FeatureControl, Vmfunc].into_iter().flat_map(CapabilityMsr::rows);
    let mut with_meaning: Vec<_> = named
        .filter(|row| {
            !["reserved", "always 0", "not of VMX"].iter().any(|none| row.meaning.starts_with(none))
        })
        .map(|row| row.id)
        .collect();
    let mut accessors: Vec<_> = ACCESSORS.iter().map(|(id, _)| *id).collect();
    with_meaning.sort_unstable();
    accessors.sort_unstable();
    assert_eq!(accessors, with_meaning);
}

/// Appendix A.3 in its own words, bit by bit.
fn bit_by_bit(word: ControlWord, msr: u64, wanted: u64) -> Option<(u8, Setting)> {
    (0..word.bits()).find_map(|x| {
        let control = wanted >> x & 1;
        let (may_be_0, may_be_1) = match word.bits() {
            32 => (msr >> x & 1 == 0, msr >> (32 + x) & 1 == 1),
            _ => (true, msr >> x & 1 == 1),
        };
        match control {
            0 if !may_be_0 => Some((x, Setting::One)),
            1 if !may_be_1 => Some((x, Setting::Zero)),
            _ => None,
        }
    })
}

fn agrees_with_bit_by_bit<C: Controls + Copy + PartialEq + std::fmt::Debug>(msr: u64, wanted: C) {
    let answer = allowed(msr, wanted);
    let expected = match bit_by_bit(C::WORD, msr, wanted.bits().into()) {
        None => Ok(wanted),
        Some((bit, must_be)) => Err((C::WORD, bit, must_be)),
    };
    assert_eq!(answer.map_err(|e| (e.control.word, e.control.bit, e.must_be)), expected);
}

#[test]
fn a_refusal_names_the_control_and_the_value_that_it_must_have() {
    let wanted = TertiaryProcessorControls::ENABLE_HLAT | TertiaryProcessorControls::IPI_VIRTUALIZATION;
    let refused = allowed(1 << 4, wanted).unwrap_err().to_string();
    assert!(refused.starts_with("enable HLAT (tertiary:1) must be 0"), "{refused}");
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn allowed_agrees_with_the_manual_bit_by_bit(msr in any::<u64>(), wanted in any::<u64>()) {
        agrees_with_bit_by_bit(msr, PrimaryProcessorControls::from_bits_retain(wanted as u32));
        agrees_with_bit_by_bit(msr, TertiaryProcessorControls::from_bits_retain(wanted));
    }

    #[test]
    fn one_wrong_bit_is_found_among_allowed_ones(
        zero in any::<u32>(), one in any::<u32>(), free in any::<u32>(), bit in 0..32_u8,
    ) {
        // A consistent MSR: what must be 1 may be 1. The wanted word obeys it but for at most one bit.
        let (must, may) = (zero & one, zero | one | zero & one);
        let good = must | free & may;
        let msr = u64::from(may) << 32 | u64::from(must);
        agrees_with_bit_by_bit(msr, PrimaryProcessorControls::from_bits_retain(good));
        prop_assert!(allowed(msr, PrimaryProcessorControls::from_bits_retain(good)).is_ok());
        agrees_with_bit_by_bit(msr, PrimaryProcessorControls::from_bits_retain(good ^ 1 << bit));
    }

    #[test]
    fn an_accessor_reads_the_bits_of_its_row(value in any::<u64>()) {
        for (id, accessor) in ACCESSORS {
            let row = CAPABILITY_BITS.iter().find(|row| row.id == *id).unwrap();
            let bits = value << (63 - row.high) >> (63 - row.high + row.low);
            prop_assert_eq!(accessor(value), bits, "{}", id);
        }
    }

    #[test]
    fn fixed_bits_of_a_control_register_are_enforced(fixed in any::<u64>(), free in any::<u64>(), bit in 0..64_u8) {
        let settings = Settings::of_control_register(fixed & !free, fixed | free);
        let good = fixed & !free;
        prop_assert_eq!(settings.refusal(good), None);
        let flipped = settings.refusal(good ^ 1 << bit);
        let is_fixed = free >> bit & 1 == 0;
        let must_be = if fixed >> bit & 1 == 1 { Setting::One } else { Setting::Zero };
        prop_assert_eq!(flipped, is_fixed.then_some((bit, must_be)));
    }
}
