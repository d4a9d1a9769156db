//! Where the values of a processor file come from.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::ProcessorError;
use super::check::Checker;

/// One `[[source]]` of a processor file.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The keys that it covers; the key of a table or of an array covers what is in it.
    pub keys: Vec<String>,
    /// How the values came here.
    pub basis: Basis,
    /// The publication, or why the value was chosen.
    pub text: String,
}

/// How a value came into a processor file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Read in a document or in the output of a processor, such as its CPUID leaves.
    Read,
    /// A measurement that the source published.
    Measured,
    /// Computed from verified values as the text says.
    Derived,
    /// From memory of what has been published; not looked up again.
    Recalled,
    /// Nothing is known; a plausible stand-in.
    Assumed,
}

impl Basis {
    /// Whether the value may be relied on.
    #[must_use]
    pub const fn is_verified(self) -> bool {
        matches!(self, Self::Read | Self::Measured | Self::Derived)
    }
}

/// A value of a processor file with its source.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Fact {
    /// The key, with its tables, joined by dots; `[0]` is the first element of an array of tables.
    pub key: String,
    /// The value as TOML.
    pub value: String,
    /// How it came here.
    pub basis: Basis,
    /// Where it comes from.
    pub source: String,
}

/// The top-level keys that state no fact about the processor.
pub(super) const NOT_FACTS: [&str; 4] = ["base", "name", "description", "source"];

/// Gives every value its source: the one that lists the longest key covering it.
pub(super) fn attribute(
    checker: &Checker<'_>,
    values: &toml::Table,
    sources: &[Source],
) -> Result<Vec<Fact>, ProcessorError> {
    let claims = claims(checker, sources)?;
    let mut unused: BTreeSet<&str> = claims.iter().map(|(key, _)| *key).collect();
    let mut facts = Vec::new();
    for (key, value) in leaves(values) {
        let covering = claims.iter().filter(|(claimed, _)| covers(claimed, &key));
        let Some((claimed, source)) = covering.max_by_key(|(claimed, _)| claimed.len()) else {
            return Err(ProcessorError::NoSource { file: checker.file.to_owned(), key, value });
        };
        unused.remove(claimed);
        facts.push(Fact { key, value, basis: source.basis, source: source.text.clone() });
    }
    match unused.pop_first() {
        Some(key) => {
            Err(ProcessorError::SourceOfNothing { file: checker.file.to_owned(), key: key.to_owned() })
        }
        None => Ok(facts),
    }
}

/// Every key that a source lists, with that source.
fn claims<'s>(
    checker: &Checker<'_>,
    sources: &'s [Source],
) -> Result<Vec<(&'s str, &'s Source)>, ProcessorError> {
    let mut seen = BTreeSet::new();
    let mut claims = Vec::new();
    for source in sources {
        for key in &source.keys {
            if !seen.insert(key.as_str()) {
                return Err(ProcessorError::TwoSources { file: checker.file.to_owned(), key: key.clone() });
            }
            claims.push((key.as_str(), source));
        }
    }
    Ok(claims)
}

/// Whether a listed key is the key of the value or of a table or array around it.
fn covers(claimed: &str, key: &str) -> bool {
    key.strip_prefix(claimed).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// Every value that is not a table or an array of tables, with its key.
pub(super) fn leaves(values: &toml::Table) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (key, value) in values.iter().filter(|(key, _)| !NOT_FACTS.contains(&key.as_str())) {
        visit(key.clone(), value, &mut found);
    }
    found
}

fn visit(key: String, value: &toml::Value, found: &mut Vec<(String, String)>) {
    match value {
        toml::Value::Table(table) => {
            for (name, value) in table {
                visit(format!("{key}.{name}"), value, found);
            }
        }
        toml::Value::Array(elements) if elements.iter().any(toml::Value::is_table) => {
            for (index, value) in elements.iter().enumerate() {
                visit(format!("{key}[{index}]"), value, found);
            }
        }
        leaf => found.push((key, leaf.to_string())),
    }
}
