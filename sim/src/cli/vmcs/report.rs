//! What a VMCS was found to violate.

use super::source::Source;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use vmx::entry_rules::{Lint, Violation};
use vmx::field::{Encoding, Field};

/// The result of `vmxsim vmcs lint`.
#[derive(Serialize)]
pub(super) struct LintReport {
    pub(super) violations: Vec<Violated>,
    /// How many fields are given.
    given: usize,
    /// How many rules were decided.
    judged: usize,
    /// The rules that may apply and need a field that is not given.
    not_judged: Vec<&'static str>,
    /// The fields that would decide them.
    missing_fields: Vec<&'static str>,
    /// The lines of a dump that were not understood, counted from 1.
    ignored_lines: Vec<usize>,
}

/// A violated rule.
#[derive(Serialize)]
pub(super) struct Violated {
    rule: &'static str,
    sdm: &'static str,
    says: String,
    #[serde(serialize_with = "hexadecimal")]
    fields: Vec<(String, u64)>,
    /// What else the rule looks at, such as a capability MSR.
    #[serde(serialize_with = "hexadecimal")]
    beside: Vec<(String, u64)>,
    refused_as: String,
}

/// As an object of text, since not all who read JSON have numbers of 64 bits.
fn hexadecimal<S: Serializer>(values: &[(String, u64)], serializer: S) -> Result<S::Ok, S::Error> {
    let values: BTreeMap<_, _> = values.iter().map(|(name, value)| (name, format!("{value:#x}"))).collect();
    values.serialize(serializer)
}

fn name(field: Encoding) -> &'static str {
    Field::by_encoding(field).map_or("", |field| field.name)
}

impl LintReport {
    pub(super) fn new(source: &Source, lint: Lint) -> Self {
        Self {
            violations: lint.violations.into_iter().map(Violated::new).collect(),
            given: source.given.iter().count(),
            judged: lint.judged,
            not_judged: lint.not_judged.iter().map(|rule| rule.id).collect(),
            missing_fields: lint.missing.iter().map(name).collect(),
            ignored_lines: source.dump.ignored_lines.clone(),
        }
    }
}

impl Violated {
    fn new(violation: Violation) -> Self {
        Self {
            rule: violation.rule.id,
            sdm: violation.rule.section,
            says: violation.rule.sentence(),
            fields: violation.values.iter().map(|(field, value)| (name(*field).to_owned(), *value)).collect(),
            beside: violation.found,
            refused_as: violation.refused_as.to_string(),
        }
    }
}

impl fmt::Display for Violated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{} (SDM {})\n  says           {}\n", self.rule, self.sdm, self.says)?;
        for (name, value) in self.fields.iter().chain(&self.beside) {
            writeln!(f, "  found          {name} = {value:#x}")?;
        }
        writeln!(f, "  refused as     {}", self.refused_as)
    }
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

impl fmt::Display for LintReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (violated, judged) = (self.violations.len(), count(self.judged, "rule"));
        writeln!(f, "{} given, {judged} judged, {violated} violated", count(self.given, "field"))?;
        self.violations.iter().try_for_each(|violated| violated.fmt(f))?;
        if !self.not_judged.is_empty() {
            let rules = count(self.not_judged.len(), "rule");
            let text = format!("not judged: {rules}, for want of {}", self.missing_fields.join(", "));
            writeln!(f, "\n{}", textwrap::fill(&text, textwrap::Options::new(100).subsequent_indent("  ")))?;
        }
        if !self.ignored_lines.is_empty() {
            let lines: Vec<_> = self.ignored_lines.iter().map(usize::to_string).collect();
            writeln!(f, "\nlines that were not understood: {}", lines.join(", "))?;
        }
        Ok(())
    }
}
