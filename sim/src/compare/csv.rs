//! A comparison as comma-separated values: one record for each strategy.

use super::result::{Comparison, StrategyResult};
use std::collections::BTreeSet;

/// The comparison as CSV with a header.
///
/// The fields are the counts of [`StrategyResult`] under the names that they have in JSON, then `cycles.CAUSE` for each
/// cause and `invalidations.KIND` for each kind of which some strategy executed one.
///
/// # Errors
///
/// Those of the writer, which writing to memory does not have.
pub fn to_csv(comparison: &Comparison) -> csv::Result<Vec<u8>> {
    let kinds = kinds(std::iter::once(comparison));
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(fields(&StrategyResult::default(), &kinds).into_iter().map(|(name, _)| name))?;
    for strategy in &comparison.strategies {
        writer.write_record(fields(strategy, &kinds).into_iter().map(|(_, value)| value))?;
    }
    writer.into_inner().map_err(|error| error.into_error().into())
}

/// The kinds of invalidating operations of which some strategy executed one.
pub(super) fn kinds<'a>(comparisons: impl Iterator<Item = &'a Comparison>) -> BTreeSet<&'a str> {
    let strategies = comparisons.flat_map(|comparison| &comparison.strategies);
    strategies.flat_map(|strategy| strategy.invalidations_by.keys()).map(String::as_str).collect()
}

/// The fields of a record with their names.
pub(super) fn fields(row: &StrategyResult, kinds: &BTreeSet<&str>) -> Vec<(String, String)> {
    let mut fields = vec![("name".to_owned(), row.name.clone())];
    let mut push = |name: &str, value: String| fields.push((name.to_owned(), value));
    for (name, count) in counts(row) {
        push(name, count.to_string());
    }
    push("cycles_relative", format!("{:.6}", row.cycles_relative));
    for (cause, cycles) in row.cycles_by_cause.iter() {
        push(&format!("cycles.{}", cause.name()), cycles.to_string());
    }
    for &kind in kinds {
        let count = row.invalidations_by.get(kind).copied().unwrap_or(0);
        push(&format!("invalidations.{kind}"), count.to_string());
    }
    fields
}

fn counts(row: &StrategyResult) -> [(&'static str, u64); 22] {
    let judgement = &row.judgement;
    [
        ("accesses", row.accesses),
        ("l1_misses", row.l1_misses),
        ("walks", row.walks),
        ("walk_refs", row.walk_refs),
        ("walk_refs_guest", row.walk_refs_guest),
        ("walk_refs_ept", row.walk_refs_ept),
        ("structure_hits", row.structure_hits),
        ("nested_hits", row.nested_hits),
        ("invalidations", row.invalidations),
        ("ipis", row.ipis),
        ("exits", row.exits),
        ("faults", row.faults),
        ("entries_dropped", row.entries_dropped),
        ("over_invalidated", row.over_invalidated),
        ("missing", row.missing),
        ("required", judgement.required),
        ("redundant", judgement.redundant),
        ("valid_dropped", judgement.valid_dropped),
        ("in_window", judgement.in_window),
        ("incoherent", judgement.incoherent),
        ("findings", row.findings.len() as u64),
        ("cycles", row.cycles),
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::compare::example;
    use serde_json::Value;

    #[test]
    fn every_count_can_be_read_back_and_agrees_with_json() {
        let comparison = example::three();
        let bytes = to_csv(&comparison).unwrap();
        let json = serde_json::to_value(&comparison).unwrap();
        let mut reader = csv::Reader::from_reader(&bytes[..]);
        let header = reader.headers().unwrap().clone();
        let records: Vec<_> = reader.records().map(Result::unwrap).collect();
        assert_eq!(records.len(), comparison.strategies.len());
        for (record, strategy) in records.iter().zip(json["strategies"].as_array().unwrap()) {
            for (field, value) in header.iter().zip(record) {
                let expected = match field.split_once('.') {
                    Some(("cycles", cause)) => strategy["cycles_by_cause"][cause].clone(),
                    Some((_, kind)) => strategy["invalidations_by"].get(kind).cloned().unwrap_or(0.into()),
                    None if field == "findings" => strategy["findings"].as_array().unwrap().len().into(),
                    None => strategy.get(field).or(strategy["judgement"].get(field)).unwrap().clone(),
                };
                let agrees = match &expected {
                    Value::String(text) => text == value,
                    number => (number.as_f64().unwrap() - value.parse::<f64>().unwrap()).abs() < 1e-6,
                };
                assert!(agrees, "{field}: {value} is not {expected}");
            }
        }
        for (key, value) in json["strategies"][0].as_object().unwrap() {
            let in_words = ["says", "standing"].contains(&key.as_str());
            assert!(
                in_words || value.is_object() || header.iter().any(|name| name == key) || key == "occupancy",
                "{key}"
            );
        }
        for field in ["name", "walks", "cycles", "cycles.base", "invalidations.INVVPID 1", "in_window"] {
            assert!(header.iter().any(|name| name == field), "{field} is missing in {header:?}");
        }
    }

    #[test]
    fn names_with_commas_and_quotes_survive() {
        let mut comparison = example::three();
        comparison.strategies[1].name = "per-address(33), \"deferred\"\nlong".to_owned();
        let bytes = to_csv(&comparison).unwrap();
        let mut reader = csv::Reader::from_reader(&bytes[..]);
        let names: Vec<_> = reader.records().map(|record| record.unwrap()[0].to_owned()).collect();
        assert_eq!(names[1], comparison.strategies[1].name);
    }

    #[test]
    fn a_comparison_of_nothing_has_a_header() {
        let bytes = to_csv(&Comparison::default()).unwrap();
        assert!(bytes.starts_with(b"name,accesses,"));
        assert_eq!(bytes.iter().filter(|&&byte| byte == b'\n').count(), 1);
    }
}
