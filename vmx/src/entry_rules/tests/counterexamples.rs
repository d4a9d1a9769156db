use crate::entry_rules::{Modelled, RULES, Rule, Stage, check, explain};
use crate::sample::{Guest, ParseSampleError, Sample, Setting};

fn violated(sample: &Sample) -> Vec<&'static str> {
    explain(&sample.subject()).iter().map(|violation| violation.rule.id).collect()
}

#[test]
fn every_kind_of_guest_is_a_valid_entry_also_where_everything_is_offered() {
    for (guest, word) in Guest::ALL {
        let mut sample = Sample::of(guest);
        assert_eq!(violated(&sample), [""; 0], "{word}");
        assert_eq!(check(&sample.subject()), Ok(()), "{word}");
        Setting::Everything.apply(&mut sample);
        assert_eq!(violated(&sample), [""; 0], "{word} everything");
    }
}

/// The rules that [`check`] evaluates.
fn checked() -> impl Iterator<Item = &'static Rule> {
    RULES.iter().filter(|rule| rule.modelled == Modelled::Yes && rule.stage <= Stage::GuestState)
}

#[test]
fn every_rule_that_is_checked_has_a_counterexample_that_breaks_it_alone() {
    for rule in checked() {
        let sample: Sample =
            rule.counterexample.parse().unwrap_or_else(|error| panic!("{}: {error}", rule.id));
        let mut expected: Vec<_> = rule.breaks_too.iter().map(String::as_str).chain([rule.id]).collect();
        let mut found = violated(&sample);
        expected.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, expected, "{}: {}", rule.id, rule.counterexample);
    }
}

#[test]
fn a_counterexample_is_refused_as_its_stage_has_it_and_shows_fields_and_values() {
    for rule in checked().filter(|rule| rule.breaks_too.is_empty()) {
        let sample: Sample = rule.counterexample.parse().unwrap();
        let violation = check(&sample.subject()).unwrap_err();
        assert_eq!((violation.rule, violation.refused_as), (rule, rule.refused_as));
        let fields: Vec<_> = rule.fields.iter().map(|field| (*field, sample.vmcs.read(*field))).collect();
        assert_eq!(violation.values, fields, "{}", rule.id);
        assert_eq!(explain(&sample.subject()), [violation], "{}", rule.id);
    }
}

#[test]
fn a_rule_of_a_feature_that_is_offered_needs_nothing_more_than_is_offered() {
    for rule in checked().filter(|rule| rule.tier == 1) {
        assert!(!rule.counterexample.contains("everything"), "{}", rule.id);
    }
}

#[test]
fn a_violation_says_rule_section_sentence_fields_values_and_refusal() {
    let sample: Sample = "long HOST_CR0=0x80000030".parse().unwrap();
    assert_eq!(
        check(&sample.subject()).unwrap_err().to_string(),
        "HOST.CR.CR0_FIXED0 (SDM 29.2.2; A.7): host CR0: bits fixed to 1 in VMX operation are 1; found host CR0 = \
         0x80000030, IA32_VMX_CR0_FIXED0 = 0x80000021; refused as VMfailValid, VM-instruction error 8"
    );
}

#[test]
fn without_a_current_vmcs_only_the_rules_of_the_instruction_count() {
    let sample: Sample = "long no-vmcs GUEST_RFLAGS=0 VPID=0".parse().unwrap();
    assert_eq!(violated(&sample), ["BASIC.07.CURRENT_VMCS"]);
}

#[test]
fn a_text_that_describes_no_sample_is_refused_with_its_word() {
    let error = |text: &str| text.parse::<Sample>().unwrap_err();
    assert_eq!(error("wide"), ParseSampleError::Guest("wide".to_owned()));
    assert_eq!(error("long RAX=0"), ParseSampleError::Field("RAX".to_owned()));
    assert_eq!(error("long VPID=one"), ParseSampleError::Value("VPID=one".to_owned()));
    assert_eq!(error("long cpl-1"), ParseSampleError::Setting("cpl-1".to_owned()));
}
