//! A processor file that says only how it differs from a shipped processor.

use toml::{Table, Value};

use super::check::Checker;
use super::source::{self, Fact};
use super::{ProcessorError, shipped};

/// The values of a shipped processor with those of a file in their place, and the source of each.
///
/// Tables are merged key by key; anything else, arrays included, is replaced as a whole. Name, description and sources
/// are the file's own.
pub(super) fn merge(
    checker: &Checker<'_>,
    base: &str,
    values: Table,
    own: Vec<Fact>,
) -> Result<(Table, Vec<Fact>), ProcessorError> {
    let unknown = |unknown| ProcessorError::Base { file: checker.file.to_owned(), unknown };
    let processor = shipped::find(base).map_err(unknown)?;
    let mut merged: Table =
        toml::from_str(shipped::text(base).map_err(unknown)?).expect("the same text has just been read");
    source::NOT_FACTS.iter().for_each(|key| drop(merged.remove(*key)));
    replace(&mut merged, values);
    let fact = |key: &str| own.iter().chain(processor.facts()).find(|fact| fact.key == key).cloned();
    let facts = source::leaves(&merged).iter().filter_map(|(key, _)| fact(key)).collect();
    Ok((merged, facts))
}

fn replace(old: &mut Table, new: Table) {
    for (key, value) in new {
        match (old.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new)) => replace(old, new),
            (_, value) => drop(old.insert(key, value)),
        }
    }
}
