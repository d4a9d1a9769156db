//! A rule that a VM entry violates, with what was found.

use super::msr_loading::MsrEntry;
use super::row::{Refusal, Rule};
use super::subject::Subject;
use crate::field::{Encoding, Field};
use std::fmt;

/// A violated rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// The rule.
    pub rule: &'static Rule,
    /// How the entry is refused: as the rule says, for MSR loading with the number of the entry as qualification.
    pub refused_as: Refusal,
    /// The fields that the rule judges, with their values.
    pub values: Vec<(Encoding, u64)>,
    /// What else the rule looks at and has a value, such as a capability MSR or an entry of an MSR-load area.
    pub found: Vec<(String, u64)>,
}

impl Violation {
    pub(super) fn new(rule: &'static Rule, subject: &Subject) -> Self {
        let values = rule.fields.iter().map(|field| (*field, subject.field(*field))).collect();
        let found = |state: &super::State| Some((state.name_for(subject), state.value(subject)?));
        Self {
            rule,
            refused_as: rule.refused_as,
            values,
            found: rule.state.iter().filter_map(found).collect(),
        }
    }

    /// A violation by an entry of the VM-entry MSR-load area, counted from 1.
    pub(super) fn of_entry(rule: &'static Rule, subject: &Subject, entry: MsrEntry, number: u32) -> Self {
        let mut violation = Self::new(rule, subject);
        if let Refusal::EntryFailure { qualification, .. } = &mut violation.refused_as {
            *qualification = number.into();
        }
        let MsrEntry { index, reserved, value } = entry;
        let found = [("index of the MSR", index.into()), ("bits 63:32", reserved.into()), ("value", value)];
        violation.found.extend(found.map(|(name, value)| (name.to_owned(), value)));
        violation
    }
}

/// The name of a field.
pub(super) fn name(field: Encoding) -> &'static str {
    Field::by_encoding(field).map_or("an unknown field", |field| field.name)
}

impl fmt::Display for Violation {
    /// `ID (SDM section): sentence; found field = value; refused as ...`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (SDM {}): {}", self.rule.id, self.rule.section, self.rule.sentence())?;
        let fields = self.values.iter().map(|(field, value)| (name(*field), *value));
        let found = self.found.iter().map(|(name, value)| (name.as_str(), *value));
        for (position, (name, value)) in fields.chain(found).enumerate() {
            let before = if position == 0 { "; found " } else { ", " };
            write!(f, "{before}{name} = {value:#x}")?;
        }
        write!(f, "; refused as {}", self.refused_as)
    }
}
