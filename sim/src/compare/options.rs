//! What a comparison is asked to do.

use super::strategy::StrategyOptions;
use super::work::{Churn, Exits, GuestPages, WorkOptions};
use crate::number::grouped;
use mmu::PageSize;
use serde::Serialize;
use std::path::Path;

/// Everything that decides what a comparison does and what its result is.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct CompareOptions {
    /// The work, the same for all strategies.
    pub work: WorkOptions,
    /// Names of the strategies, each perhaps with parameters; the first is the one that others are related to. None
    /// stands for the default list.
    pub strategies: Vec<String>,
    /// Name of the processor whose TLB, caches and latencies are used, or the path of a file that describes one.
    pub processor: String,
    /// What may be chosen about strategies.
    pub strategy: StrategyOptions,
    /// Pages that the monitor touches at each VM exit of the work.
    pub monitor_pages: u32,
    /// Whether every translation and every invalidation is judged.
    pub oracle: Oracle,
}

/// Whether an oracle judges every translation and every invalidation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Oracle {
    /// It does.
    #[default]
    Judges,
    /// It does not: counts of missing and unnecessary invalidations stay 0.
    Off,
}

impl CompareOptions {
    /// The processor unless said otherwise.
    pub const PROCESSOR: &'static str = "skylake";
    /// Pages of the monitor unless said otherwise: what a short exit handler touches.
    pub const MONITOR_PAGES: u32 = 8;

    /// The defaults for some work: all default strategies, judged.
    #[must_use]
    pub fn new(work: WorkOptions) -> Self {
        Self {
            work,
            strategies: Vec::new(),
            processor: Self::PROCESSOR.to_owned(),
            strategy: StrategyOptions::default(),
            monitor_pages: Self::MONITOR_PAGES,
            oracle: Oracle::Judges,
        }
    }

    /// The work in words: a label and a value a line.
    #[must_use]
    pub fn workload(&self) -> Vec<(String, String)> {
        let work = &self.work;
        let lines = [
            ("processes", processes(work)),
            ("run on", format!("{}, a switch every {} instructions", machines(work), grouped(work.quantum))),
            (
                "pages",
                format!("{} in guests, {} in EPT", guest_pages(work.guest_pages), page_size(work.host_pages)),
            ),
            ("VM exits", exits(&work.exits)),
            ("changes", changes(&work.churn)),
        ];
        lines.map(|(label, value)| (label.to_owned(), value)).into()
    }
}

fn processes(work: &WorkOptions) -> String {
    let names: Vec<_> = work.traces.iter().map(|trace| name(trace)).collect();
    let threads = if work.threads > 1 { format!(", {} threads each", work.threads) } else { String::new() };
    let limit =
        work.limit.map_or(String::new(), |limit| format!(", at most {} instructions each", grouped(limit)));
    format!("{}{threads}{limit}", names.join(", "))
}

/// The name of a trace without the folder, and without what says its kind.
fn name(trace: &Path) -> String {
    let name = trace.file_name().unwrap_or(trace.as_os_str()).to_string_lossy();
    name.strip_suffix(".vmxt").unwrap_or(&name).to_owned()
}

fn machines(work: &WorkOptions) -> String {
    format!("{} and {}", several(work.guests, "guest"), several(work.processors, "logical processor"))
}

fn several(count: impl Into<u64>, what: &str) -> String {
    let count = count.into();
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn guest_pages(pages: GuestPages) -> String {
    match pages {
        GuestPages::Size4K => page_size(PageSize::Size4K).to_owned(),
        GuestPages::Size2M => page_size(PageSize::Size2M).to_owned(),
        GuestPages::Size1G => page_size(PageSize::Size1G).to_owned(),
        GuestPages::Transparent(pages) => {
            format!("4K, joined to 2M when more than {pages} of 512 are in use")
        }
    }
}

const fn page_size(size: PageSize) -> &'static str {
    match size {
        PageSize::Size4K => "4K",
        PageSize::Size2M => "2M",
        PageSize::Size1G => "1G",
    }
}

fn exits(exits: &Exits) -> String {
    let mut when = Vec::new();
    if exits.system_calls {
        when.push("at system calls".to_owned());
    }
    when.extend(exits.every.map(|every| format!("on average every {} instructions", grouped(every))));
    when.extend(exits.timer.map(|timer| format!("by timer every {} instructions", grouped(timer))));
    if when.is_empty() { "only at faults and shootdowns".to_owned() } else { when.join(", ") }
}

fn changes(churn: &Churn) -> String {
    let rates: Vec<_> = [
        ("unmap", churn.unmap),
        ("protect", churn.protect),
        ("copy on write", churn.copy_on_write),
        ("migrate", churn.migrate),
        ("host migrate", churn.host_migrate),
        ("host write-protect", churn.host_cut),
    ]
    .into_iter()
    .filter(|&(_, rate)| rate > 0.0)
    .map(|(what, rate)| format!("{what} {rate}"))
    .collect();
    if rates.is_empty() {
        return "none but first touches".to_owned();
    }
    format!("{} in a million instructions, {} each", rates.join(", "), several(churn.batch, "page"))
}
