use super::change::{Change, some_field, some_sample, write};
use crate::cases::cases;
use crate::entry_rules::{AcceptedEntry, RULES, Rule, Stage, State, Violation, check, explain};
use crate::field::Encoding;
use crate::sample::{Guest, Sample, Setting};
use crate::vmcs::{FieldSet, REGION_SIZE, Vmcs};
use proptest::collection::vec;
use proptest::prelude::*;

fn rule(answer: Result<(), Violation>) -> Result<(), &'static Rule> {
    answer.map_err(|violation| violation.rule)
}

/// What each rule says: whether it applies and whether it holds.
fn outcomes(sample: &Sample) -> Vec<(bool, bool)> {
    let subject = sample.subject();
    RULES.iter().map(|rule| (rule.applies(&subject), rule.predicate.holds(&subject))).collect()
}

/// Whether a setting changes the processor, the instruction or the VMCS and leaves the capabilities.
fn of_processor(setting: Setting) -> bool {
    use Setting as S;
    !matches!(
        setting,
        S::ShortAddresses | S::NoAccessedAndDirty | S::NoMonitorTrapFlag | S::NestedException | S::Everything
    )
}

fn processor_setting() -> impl Strategy<Value = Setting> {
    let settings: Vec<_> = Setting::ALL.iter().copied().filter(|setting| of_processor(*setting)).collect();
    proptest::sample::select(settings)
}

/// A change between two entries.
fn step() -> impl Strategy<Value = Change> {
    prop_oneof![8 => write(), 1 => processor_setting().prop_map(Change::Set)]
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_rule_reads_no_field_that_its_row_does_not_name(
        sample in some_sample(), field in some_field(), value: u64, bit in 0..64_u8,
    ) {
        let before = outcomes(&sample);
        for change in [Change::Write(field, value), Change::Flip(field, bit)] {
            let mut changed = sample.clone();
            change.apply(&mut changed);
            let bit_17 = |sample: &Sample| sample.vmcs.read(Encoding::GUEST_RFLAGS) >> 17 & 1;
            let virtual_8086 = bit_17(&sample) != bit_17(&changed);
            for ((rule, before), after) in RULES.iter().zip(&before).zip(outcomes(&changed)) {
                let named = rule.reads.contains(field) || virtual_8086 && rule.reads_virtual_8086;
                prop_assert!(named || *before == after, "{} reads {:?}", rule.id, FieldSet::of(&[field]));
            }
        }
    }

    #[test]
    fn a_rule_reads_no_memory_and_no_processor_that_its_row_does_not_name(
        sample in some_sample(), setting in processor_setting(),
    ) {
        let mut changed = sample.clone();
        changed.memory = Default::default();
        let before = outcomes(&sample);
        for ((rule, before), after) in RULES.iter().zip(&before).zip(outcomes(&changed)) {
            prop_assert!(rule.state.contains(&State::Memory) || *before == after, "{} reads memory", rule.id);
        }
        let mut changed = sample.clone();
        setting.apply(&mut changed);
        for ((rule, before), after) in RULES.iter().zip(&before).zip(outcomes(&changed)) {
            let named = rule.stage == Stage::Instruction || rule.state.iter().any(|state| state.is_of_processor());
            prop_assert!(named || *before == after, "{} reads {setting:?}", rule.id);
        }
    }

    #[test]
    fn an_entry_after_an_accepted_one_is_judged_as_if_all_rules_were_checked(
        guest in proptest::sample::select(&Guest::ALL[..]), steps in vec(vec(step(), 0..3), 1..8),
    ) {
        let mut sample = Sample::of(guest.0);
        let mut accepted = AcceptedEntry::none();
        prop_assert_eq!(accepted.check(&sample.subject()), Ok(()));
        sample.vmcs.accept_changes();
        let mut good = sample.clone();
        for changes in steps {
            changes.iter().for_each(|change| change.apply(&mut sample));
            let answer = rule(accepted.check(&sample.subject()));
            prop_assert_eq!(answer, rule(check(&sample.subject())), "after {:?}", changes);
            if answer.is_ok() {
                sample.vmcs.accept_changes();
                good = sample.clone();
            } else {
                // Back to the accepted state, with everything since then on record.
                let changed = sample.vmcs.changed();
                sample = good.clone();
                sample.vmcs.mark_changed(changed);
            }
        }
    }

    #[test]
    fn check_refuses_exactly_when_explain_finds_something_and_names_its_first(sample in some_sample()) {
        let all: Vec<_> = explain(&sample.subject()).into_iter().map(|violation| violation.rule).collect();
        prop_assert_eq!(rule(check(&sample.subject())).err(), all.first().copied());
    }

    #[test]
    fn any_bytes_as_a_vmcs_are_judged_without_a_panic(
        bytes in vec(any::<u8>(), REGION_SIZE), guest in proptest::sample::select(&Guest::ALL[..]),
    ) {
        let mut sample = Sample::of(guest.0);
        sample.vmcs = Vmcs::from_region(&bytes.try_into().unwrap());
        let violations = explain(&sample.subject());
        prop_assert_eq!(check(&sample.subject()).err(), violations.first().cloned());
        violations.iter().for_each(|violation| assert!(!violation.to_string().is_empty()));
    }
}

#[test]
fn a_changed_field_has_only_the_rules_that_read_it_checked_again() {
    let mut sample = Sample::of(Guest::Long);
    let mut accepted = AcceptedEntry::none();
    accepted.check(&sample.subject()).unwrap();
    // A violation that the record of changes does not tell of stays unnoticed: nothing else is looked at.
    sample.vmcs.write(Encoding::VPID, 0);
    sample.vmcs.accept_changes();
    sample.vmcs.write(Encoding::GUEST_RIP, 0x2000);
    assert_eq!(accepted.check(&sample.subject()), Ok(()));
    sample.vmcs.mark_changed(FieldSet::of(&[Encoding::VPID]));
    assert_eq!(rule(accepted.check(&sample.subject())), Err(Rule::by_id("CTL.EXEC.VPID.NONZERO").unwrap()));
}
