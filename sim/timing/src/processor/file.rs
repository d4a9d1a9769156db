//! The processor file as it is written, and its way to a checked [`Processor`].

use serde::Deserialize;

use super::check::{self, Checker};
use super::source::{self, Source};
use super::{Fact, Processor, ProcessorError, base};
use crate::operations;

/// A file whose keys are all known and of the right type; whether they are all there is checked later.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct File {
    pub(super) base: Option<String>,
    pub(super) name: Option<String>,
    pub(super) description: Option<String>,
    pub(super) core: Core,
    pub(super) tlb: toml::Table,
    pub(super) tlb_latency: TlbLatency,
    pub(super) caches: CachesSection,
    pub(super) memory: Memory,
    pub(super) walkers: Walkers,
    pub(super) operations: operations::Written,
    pub(super) source: Vec<Source>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct Core {
    pub(super) issue_width: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct TlbLatency {
    pub(super) l2_hit: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct CachesSection {
    pub(super) line: Option<u64>,
    pub(super) l1i: CacheRow,
    pub(super) l1d: CacheRow,
    pub(super) l2: CacheRow,
    pub(super) l3: CacheRow,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct CacheRow {
    pub(super) kib: Option<u64>,
    pub(super) ways: Option<u64>,
    pub(super) latency: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Memory {
    pub(super) latency: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Walkers {
    pub(super) count: Option<u64>,
}

/// Reads, checks and returns a processor.
pub(super) fn read(text: &str, file: &str) -> Result<Processor, ProcessorError> {
    let shape = |error: &toml::de::Error| shape_error(text, file, error);
    let values: toml::Table = toml::from_str(text).map_err(|error| shape(&error))?;
    let written: File = toml::from_str(text).map_err(|error| shape(&error))?;
    let checker = Checker { file };
    let facts = source::attribute(&checker, &values, &written.source)?;
    match &written.base {
        None => checked(&checker, written, facts),
        Some(base) => {
            let (merged, facts) = base::merge(&checker, base, values, facts)?;
            // Both files were of this shape, and so is what they make together.
            let written = merged.try_into().map_err(|error| shape(&error))?;
            checked(&checker, written, facts)
        }
    }
}

fn checked(checker: &Checker<'_>, written: File, facts: Vec<Fact>) -> Result<Processor, ProcessorError> {
    check::texts(checker, &written)?;
    check::tlb(checker, &written.tlb)?;
    Ok(Processor {
        file: checker.file.to_owned(),
        issue_width: check::issue_width(checker, written.core.issue_width)?,
        l2_tlb_latency: checker.cycles("tlb-latency.l2-hit", written.tlb_latency.l2_hit)?,
        caches: check::caches(checker, &written.caches)?,
        memory_latency: check::memory_latency(checker, &written)?,
        walkers: written.walkers.count.map(|count| check::walkers(checker, count)).transpose()?,
        operations: operations::check(checker, &written.operations)?,
        name: checker.required("name", written.name)?,
        description: checker.required("description", written.description)?,
        tlb: written.tlb,
        facts,
    })
}

fn shape_error(text: &str, file: &str, error: &toml::de::Error) -> ProcessorError {
    let offset = error.span().map_or(0, |span| span.start);
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    ProcessorError::Shape {
        file: file.to_owned(),
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        reason: error.message().to_owned(),
    }
}
