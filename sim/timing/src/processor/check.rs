//! The rules that the values of a processor file obey.

use super::file::{CacheRow, CachesSection, File};
use super::{CacheGeometry, Caches, LINE_SIZE, Problem, ProcessorError};
use crate::units::SubCycles;

/// No cache is larger: 1 GByte.
const MOST_KIB: u64 = 1 << 20;

/// No cache has more ways.
const MOST_WAYS: u64 = 64;

/// No TLB array has more sets.
const MOST_TLB_SETS: u64 = 1 << 16;

/// No TLB array has more ways; a fully associative one has as many as it has entries.
const MOST_TLB_WAYS: u64 = 128;

/// No latency in cycles is greater.
const MOST_CYCLES: u64 = 100_000;

/// No operation takes longer.
const MOST_OPERATION_CYCLES: u64 = 10_000_000;

/// Makes errors that name the file.
pub(crate) struct Checker<'a> {
    pub(super) file: &'a str,
}

impl Checker<'_> {
    fn value(&self, key: &str, value: impl ToString, problem: Problem) -> ProcessorError {
        ProcessorError::Value {
            file: self.file.to_owned(),
            key: key.to_owned(),
            value: value.to_string(),
            problem,
        }
    }

    fn within(&self, key: &str, value: u64, least: u64, most: u64) -> Result<u64, ProcessorError> {
        within(value, least, most).map_err(|problem| self.value(key, value, problem))
    }

    fn above(&self, key: &str, value: u64, than: (&'static str, u64)) -> Result<(), ProcessorError> {
        if value > than.1 {
            return Ok(());
        }
        Err(self.value(key, value, Problem::NotAbove { key: than.0, value: than.1 }))
    }

    /// A value that the file must have.
    pub(super) fn required<T>(&self, key: &str, value: Option<T>) -> Result<T, ProcessorError> {
        value.ok_or_else(|| ProcessorError::Missing { file: self.file.to_owned(), key: key.to_owned() })
    }

    /// A number of cycles that the file must have.
    pub(super) fn cycles(&self, key: &str, value: Option<u64>) -> Result<u64, ProcessorError> {
        self.within(key, self.required(key, value)?, 1, MOST_CYCLES)
    }

    /// The cost of an operation, which the file must have.
    pub(crate) fn operation(&self, key: &str, value: Option<u64>) -> Result<u64, ProcessorError> {
        self.within(key, self.required(key, value)?, 1, MOST_OPERATION_CYCLES)
    }

    fn text(&self, key: &str, text: &str) -> Result<(), ProcessorError> {
        if text.trim().is_empty() { Err(self.value(key, "\"\"", Problem::Empty)) } else { Ok(()) }
    }
}

fn within(value: u64, least: u64, most: u64) -> Result<u64, Problem> {
    if (least..=most).contains(&value) { Ok(value) } else { Err(Problem::OutOfRange { least, most }) }
}

pub(super) fn texts(checker: &Checker<'_>, file: &File) -> Result<(), ProcessorError> {
    for (key, text) in [("name", &file.name), ("description", &file.description)] {
        checker.text(key, text.as_deref().unwrap_or(key))?;
    }
    file.source.iter().try_for_each(|source| checker.text("source.text", &source.text))
}

/// The issue width divides a cycle, so that the cost of an instruction is exact.
pub(super) fn issue_width(checker: &Checker<'_>, width: Option<u64>) -> Result<u32, ProcessorError> {
    const { assert!(SubCycles::PER_CYCLE.is_multiple_of(8 * 7 * 5 * 3)) };
    let key = "core.issue-width";
    checker.within(key, checker.required(key, width)?, 1, 8).map(|width| width as u32)
}

pub(super) fn walkers(checker: &Checker<'_>, count: u64) -> Result<u32, ProcessorError> {
    checker.within("walkers.count", count, 1, 64).map(|count| count as u32)
}

pub(super) fn memory_latency(checker: &Checker<'_>, file: &File) -> Result<u64, ProcessorError> {
    let latency = checker.cycles("memory.latency", file.memory.latency)?;
    let l3 = checker.required("caches.l3.latency", file.caches.l3.latency)?;
    checker.above("memory.latency", latency, ("caches.l3.latency", l3))?;
    Ok(latency)
}

pub(super) fn caches(checker: &Checker<'_>, section: &CachesSection) -> Result<Caches, ProcessorError> {
    let line = checker.required("caches.line", section.line)?;
    if line != LINE_SIZE {
        return Err(checker.value("caches.line", line, Problem::Unsupported { only: LINE_SIZE }));
    }
    let caches = Caches {
        l1i: named_cache(checker, "caches.l1i", &section.l1i)?,
        l1d: named_cache(checker, "caches.l1d", &section.l1d)?,
        l2: named_cache(checker, "caches.l2", &section.l2)?,
        l3: named_cache(checker, "caches.l3", &section.l3)?,
    };
    checker.above("caches.l2.latency", caches.l2.latency, ("caches.l1i.latency", caches.l1i.latency))?;
    checker.above("caches.l2.latency", caches.l2.latency, ("caches.l1d.latency", caches.l1d.latency))?;
    checker.above("caches.l3.latency", caches.l3.latency, ("caches.l2.latency", caches.l2.latency))?;
    Ok(caches)
}

fn named_cache(checker: &Checker<'_>, name: &str, row: &CacheRow) -> Result<CacheGeometry, ProcessorError> {
    let required = |key: &str, value| checker.required(&format!("{name}.{key}"), value);
    let (kib, ways) = (required("kib", row.kib)?, required("ways", row.ways)?);
    cache(kib, ways, required("latency", row.latency)?)
        .map_err(|(key, value, problem)| checker.value(&format!("{name}.{key}"), value, problem))
}

pub(super) fn cache(
    kib: u64,
    ways: u64,
    latency: u64,
) -> Result<CacheGeometry, (&'static str, u64, Problem)> {
    within(kib, 1, MOST_KIB).map_err(|problem| ("kib", kib, problem))?;
    within(ways, 1, MOST_WAYS).map_err(|problem| ("ways", ways, problem))?;
    within(latency, 1, MOST_CYCLES).map_err(|problem| ("latency", latency, problem))?;
    let lines = kib * 1024 / LINE_SIZE;
    if !lines.is_multiple_of(ways) {
        return Err(("kib", kib, Problem::NotDivisible { ways }));
    }
    Ok(CacheGeometry { sets: lines / ways, ways: ways as u32, latency })
}

/// In every TLB array, `sets` and `ways` are in range.
///
/// What else the section holds is for the crate that builds the TLB to judge.
pub(super) fn tlb(checker: &Checker<'_>, section: &toml::Table) -> Result<(), ProcessorError> {
    checker.required("tlb", (!section.is_empty()).then_some(()))?;
    section.iter().try_for_each(|(key, value)| tlb_value(checker, &format!("tlb.{key}"), value))
}

fn tlb_value(checker: &Checker<'_>, key: &str, value: &toml::Value) -> Result<(), ProcessorError> {
    match value {
        toml::Value::Table(table) => {
            tlb_array(checker, key, table)?;
            table.iter().try_for_each(|(name, value)| tlb_value(checker, &format!("{key}.{name}"), value))
        }
        toml::Value::Array(elements) => elements
            .iter()
            .enumerate()
            .try_for_each(|(index, value)| tlb_value(checker, &format!("{key}[{index}]"), value)),
        _ => Ok(()),
    }
}

fn tlb_array(checker: &Checker<'_>, key: &str, table: &toml::Table) -> Result<(), ProcessorError> {
    for (name, most) in [("sets", MOST_TLB_SETS), ("ways", MOST_TLB_WAYS)] {
        if let Some(value) = table.get(name).and_then(toml::Value::as_integer) {
            within(u64::try_from(value).unwrap_or(0), 1, most)
                .map_err(|problem| checker.value(&format!("{key}.{name}"), value, problem))?;
        }
    }
    Ok(())
}
