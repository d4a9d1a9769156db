//! Judging a VMCS of which not everything is known.

use super::row::{Modelled, RULES, Rule, Stage};
use super::state::State;
use super::subject::Subject;
use super::violation::Violation;
use crate::vmcs::{FieldSet, Vmcs};

/// What can be said of a VMCS of which some fields are known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lint {
    /// The violated rules.
    pub violations: Vec<Violation>,
    /// How many rules were decided.
    pub judged: usize,
    /// Rules that may apply and need what is not known.
    pub not_judged: Vec<&'static Rule>,
    /// The fields that would decide them.
    pub missing: FieldSet,
}

/// Judges what the known fields decide: controls, host state and guest state (SDM 29.2, 29.3).
///
/// Left out are the rules of the instruction, and those that need memory or the address of the VMCS.
#[must_use]
pub fn lint(subject: &Subject, given: FieldSet) -> Lint {
    let unknown = FieldSet::ALL.difference(given);
    let ones = with_ones(subject.vmcs, unknown);
    let other = Subject { vmcs: &ones, ..*subject };
    let mut lint =
        Lint { violations: Vec::new(), judged: 0, not_judged: Vec::new(), missing: FieldSet::EMPTY };
    for rule in RULES.iter().filter(|rule| is_in_the_vmcs(rule)) {
        let needs = rule.reads.intersection(unknown);
        let lacks_flags = rule.reads_virtual_8086 && unknown.contains(crate::field::Encoding::GUEST_RFLAGS);
        let undecided = (!needs.is_empty() || lacks_flags) && (rule.applies(subject) || rule.applies(&other));
        if undecided {
            lint.not_judged.push(rule);
            lint.missing = lint.missing.union(needs);
            continue;
        }
        lint.judged += 1;
        if !rule.predicate.holds(subject) {
            lint.violations.push(Violation::new(rule, subject));
        }
    }
    lint
}

/// The VMCS with all bits of the unknown fields at 1, to see whether a rule could apply.
fn with_ones(vmcs: &Vmcs, unknown: FieldSet) -> Vmcs {
    let mut ones = vmcs.clone();
    unknown.iter().for_each(|field| ones.write(field, u64::MAX));
    ones
}

fn is_in_the_vmcs(rule: &Rule) -> bool {
    let outside = [State::Memory, State::CurrentVmcs];
    (Stage::Controls..=Stage::GuestState).contains(&rule.stage)
        && rule.modelled == Modelled::Yes
        && !rule.state.iter().any(|state| outside.contains(state))
}
