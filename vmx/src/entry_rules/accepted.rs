//! Repeated VM entries: only the rules that a change can have touched are checked again.

use super::predicates::Predicate;
use super::row::{RULES, Stage};
use super::state::State;
use super::subject::{Limits, ProcessorState, Subject, SystemManagementMode};
use super::violation::Violation;
use crate::field::Encoding;
use crate::vmcs::FieldSet;
use isa::address::HostPhysicalAddress;
use isa::control::Efer;
use std::sync::LazyLock;

const WORDS: usize = 7;

/// A set of rules, by their position in the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct RuleSet([u64; WORDS]);

impl RuleSet {
    const EMPTY: Self = Self([0; WORDS]);

    fn insert(&mut self, rule: usize) {
        self.0[rule / 64] |= 1 << (rule % 64);
    }

    fn add(&mut self, other: &Self) {
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word |= other;
        }
    }
}

/// Which rules read what.
struct Index {
    predicates: Vec<Predicate>,
    by_field: Vec<RuleSet>,
    /// The fields that any rule reads.
    fields: FieldSet,
    /// Rules that read RFLAGS.VM; changes of other flags do not touch them.
    virtual_8086: RuleSet,
    /// Rules that read the state of the processor.
    processor: RuleSet,
    /// Rules whose outcome does not follow from what is recorded: those of the instruction, and those that read memory.
    always: RuleSet,
    /// Every rule up to the guest state.
    all: RuleSet,
}

static INDEX: LazyLock<Index> = LazyLock::new(|| {
    let mut index = Index {
        predicates: RULES.iter().map(|rule| rule.predicate).collect(),
        by_field: vec![RuleSet::EMPTY; Encoding::ALL.len()],
        fields: FieldSet::EMPTY,
        virtual_8086: RuleSet::EMPTY,
        processor: RuleSet::EMPTY,
        always: RuleSet::EMPTY,
        all: RuleSet::EMPTY,
    };
    let checked = |predicate| matches!(predicate, Predicate::Checked { .. });
    let rules = RULES.iter().enumerate().filter(|(_, rule)| rule.stage <= Stage::GuestState);
    for (position, rule) in rules.filter(|(_, rule)| checked(rule.predicate)) {
        index.all.insert(position);
        index.fields = index.fields.union(rule.reads);
        rule.reads.iter().for_each(|field| index.by_field[usize::from(field.position())].insert(position));
        if rule.reads_virtual_8086 {
            index.virtual_8086.insert(position);
        }
        if rule.state.iter().any(|state| state.is_of_processor()) {
            index.processor.insert(position);
        }
        if rule.stage == Stage::Instruction || rule.state.contains(&State::Memory) {
            index.always.insert(position);
        }
    }
    index
});

/// The state of the processor that rules beyond those of the instruction read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Known {
    limits: Limits,
    lma: bool,
    smm: SystemManagementMode,
    current_vmcs: Option<HostPhysicalAddress>,
}

impl Known {
    fn of(processor: &ProcessorState) -> Self {
        Self {
            limits: processor.limits,
            lma: processor.efer.contains(Efer::LMA),
            smm: processor.smm,
            current_vmcs: processor.current_vmcs,
        }
    }
}

/// What is known from the last accepted VM entry with a VMCS.
///
/// It belongs to one [`Vmcs`](crate::vmcs::Vmcs) and one set of capabilities. The rules that read only what has not
/// changed since that entry hold still. A rule that reads memory, and the first checks of the instruction, are evaluated
/// each time.
///
/// ```
/// use vmx::entry_rules::AcceptedEntry;
/// use vmx::sample::{Guest, Sample};
/// let mut sample = Sample::of(Guest::Long);
/// let mut accepted = AcceptedEntry::none();
/// accepted.check(&sample.subject())?;
/// sample.vmcs.accept_changes(); // from here on, changes count against this entry
/// accepted.check(&sample.subject())?; // cheap
/// # Ok::<(), vmx::entry_rules::Violation>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AcceptedEntry {
    known: Option<Known>,
    virtual_8086: bool,
}

impl Default for AcceptedEntry {
    fn default() -> Self {
        Self::none()
    }
}

impl AcceptedEntry {
    /// Nothing is known: the next check evaluates every rule.
    #[must_use]
    pub const fn none() -> Self {
        Self { known: None, virtual_8086: false }
    }

    /// Answers what [`check`](super::check) answers, given that the record of changes in the VMCS goes back to the last
    /// accepted entry or further.
    ///
    /// After an acceptance the caller calls [`accept_changes`](crate::vmcs::Vmcs::accept_changes) before it writes to the
    /// VMCS again; after a refusal it does not.
    ///
    /// # Errors
    /// The first violated rule.
    pub fn check(&mut self, subject: &Subject) -> Result<(), Violation> {
        let known = Known::of(subject.processor);
        if known.current_vmcs.is_none() {
            return super::check(subject);
        }
        let index = &*INDEX;
        if self
            .touched(index, &known, subject)
            .0
            .iter()
            .zip(0..)
            .any(|(rules, word)| violates(index, *rules, 64 * word, subject))
        {
            // Which rule is the first is found out at leisure.
            return super::check(subject);
        }
        *self = Self { known: Some(known), virtual_8086: subject.virtual_8086_guest() };
        Ok(())
    }

    /// The rules that may have another outcome than at the accepted entry.
    fn touched(&self, index: &Index, known: &Known, subject: &Subject) -> RuleSet {
        let Some(before) = &self.known else { return index.all };
        let changed = subject.vmcs.changed();
        let mut rules = index.always;
        for field in changed.intersection(index.fields).iter() {
            rules.add(&index.by_field[usize::from(field.position())]);
        }
        if changed.contains(Encoding::GUEST_RFLAGS) && self.virtual_8086 != subject.virtual_8086_guest() {
            rules.add(&index.virtual_8086);
        }
        if before != known {
            rules.add(&index.processor);
        }
        rules
    }
}

/// Whether one of the rules in a word of a set is violated.
fn violates(index: &Index, mut rules: u64, first: usize, subject: &Subject) -> bool {
    while rules != 0 {
        let rule = first + rules.trailing_zeros() as usize;
        if !index.predicates[rule].holds(subject) {
            return true;
        }
        rules &= rules - 1;
    }
    false
}
