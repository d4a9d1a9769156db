//! The processor file as it is written, and its way to a checked [`Processor`].

use serde::Deserialize;

use super::check::{self, Checker};
use super::source::{self, Source};
use super::{Processor, ProcessorError};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct File {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) core: Core,
    pub(super) tlb: toml::Table,
    pub(super) tlb_latency: TlbLatency,
    pub(super) caches: CachesSection,
    pub(super) memory: Memory,
    pub(super) walkers: Option<Walkers>,
    #[serde(default)]
    pub(super) source: Vec<Source>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Core {
    pub(super) issue_width: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct TlbLatency {
    pub(super) l2_hit: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CachesSection {
    pub(super) line: u64,
    pub(super) l1i: CacheRow,
    pub(super) l1d: CacheRow,
    pub(super) l2: CacheRow,
    pub(super) l3: CacheRow,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CacheRow {
    pub(super) kib: u64,
    pub(super) ways: u64,
    pub(super) latency: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Memory {
    pub(super) latency: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Walkers {
    pub(super) count: u64,
}

/// Reads, checks and returns a processor.
pub(super) fn read(text: &str, file: &str) -> Result<Processor, ProcessorError> {
    let shape = |error: &toml::de::Error| shape_error(text, file, error);
    let values: toml::Table = toml::from_str(text).map_err(|error| shape(&error))?;
    let written: File = toml::from_str(text).map_err(|error| shape(&error))?;
    let checker = Checker { file };
    check::texts(&checker, &written)?;
    check::tlb(&checker, &written.tlb)?;
    let facts = source::attribute(&checker, &values, &written.source)?;
    Ok(Processor {
        issue_width: check::issue_width(&checker, written.core.issue_width)?,
        l2_tlb_latency: check::l2_tlb_latency(&checker, written.tlb_latency.l2_hit)?,
        caches: check::caches(&checker, &written.caches)?,
        memory_latency: check::memory_latency(&checker, &written)?,
        walkers: written.walkers.map(|walkers| check::walkers(&checker, walkers.count)).transpose()?,
        name: written.name,
        description: written.description,
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
