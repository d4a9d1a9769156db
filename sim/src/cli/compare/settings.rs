//! What a comparison may be told, by options and by a configuration file.

use super::bundled;
use crate::cli::replay::page_size;
use clap::{Args, ValueEnum};
use miette::Result;
use mmu::PageSize;
use serde::{Deserialize, Deserializer};
use std::fmt::Display;
use std::path::PathBuf;
use vmxsim::compare::CompareOptions;
use vmxsim::compare::options::Oracle;
use vmxsim::compare::sweep::SweepRange;
use vmxsim::compare::work::{Churn, Exits, GuestPages, WorkOptions};

/// Threads of each process when the bundled traces run: more than processors, so that address spaces are shared.
const BUNDLED_THREADS: u16 = 4;

/// Pages of 512 above which `transparent` alone joins them: more than half.
const TRANSPARENT: u16 = 256;

/// What may be chosen; what is not has a default. A configuration file has the same keys.
#[derive(Args, Deserialize, Clone, PartialEq, Debug, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct Settings {
    /// The traces, each a process: .vmxt of `vmxsim record`, ChampSim, text of valgrind's lackey, or bundled:NAME; all
    /// bundled traces if there is none
    #[arg(value_name = "TRACE")]
    traces: Option<Vec<PathBuf>>,
    /// Strategies, with commas in between; the first is the one that the others are related to
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    strategy: Option<Vec<String>>,
    /// Processor whose TLB, caches, latencies and costs are used: haswell, skylake, skylake-x, ice-lake, golden-cove,
    /// zen2, zen3, zen4, or a file of your own that ends in .toml
    #[arg(long, value_name = "PROCESSOR")]
    uarch: Option<String>,
    /// Compare for each value of a parameter, and say from where on another strategy is better: threshold=1..64,
    /// quantum=1000..100000*10, unmap=0..2000:500, guests=1,2,4
    #[arg(long, value_name = "NAME=RANGE")]
    #[serde(deserialize_with = "from_text")]
    pub(super) sweep: Option<SweepRange>,
    /// Let no oracle judge the strategies: faster, but missing and unnecessary invalidations are not counted
    #[arg(long)]
    no_oracle: bool,
    /// Write the result as CSV to this file (`-` for standard output)
    #[arg(long, value_name = "FILE")]
    pub(super) csv: Option<PathBuf>,
    /// Draw the result into this file (`-` for standard output)
    #[arg(long, value_name = "FILE")]
    pub(super) svg: Option<PathBuf>,

    /// Logical processors [default: 2]
    #[arg(long, value_name = "N", help_heading = "Machine")]
    processors: Option<u8>,
    /// Guests, which the processes are dealt to in turn [default: 2]
    #[arg(long, value_name = "N", help_heading = "Machine")]
    guests: Option<u16>,
    /// Threads of each process; each runs the whole trace [default: 1, and 4 if no trace is named]
    #[arg(long, value_name = "N", help_heading = "Machine")]
    threads: Option<u16>,
    /// Instructions until the next thread has its turn on a processor [default: 20000]
    #[arg(long, value_name = "N", help_heading = "Machine")]
    quantum: Option<u64>,
    /// Pages in guests: 4K, 2M, 1G, or transparent:N, which joins 4K pages when more than N of 512 are in use
    #[arg(long, value_name = "SIZE", value_parser = guest_pages, help_heading = "Machine")]
    #[serde(deserialize_with = "guest_pages_from_text")]
    guest_pages: Option<GuestPages>,
    /// Pages of EPT: 4K, 2M or 1G
    #[arg(long, value_name = "SIZE", value_parser = page_size, help_heading = "Machine")]
    host_pages: Option<PageSize>,
    /// Most instructions of each thread [default: all of its trace]
    #[arg(long, value_name = "N", help_heading = "Machine")]
    limit: Option<u64>,

    /// VM exits at system calls [default: on]
    #[arg(long, value_enum, value_name = "on|off", help_heading = "VM exits")]
    exit_at_system_calls: Option<Switch>,
    /// A VM exit once in N instructions of a processor, at moments that the seed chooses [default: 50000]
    #[arg(long, value_name = "N", help_heading = "VM exits")]
    exit_every: Option<u64>,
    /// A VM exit of a timer at every N instructions of a processor
    #[arg(long, value_name = "N", help_heading = "VM exits")]
    timer: Option<u64>,
    /// Pages that the monitor touches at each VM exit [default: 8]
    #[arg(long, value_name = "N", help_heading = "VM exits")]
    monitor_pages: Option<u32>,

    /// Unmappings; the pages come back with other frames [default: 20]
    #[arg(long, value_name = "RATE", help_heading = CHURN)]
    unmap: Option<f64>,
    /// Write protections of pages [default: 10]
    #[arg(long, value_name = "RATE", help_heading = CHURN)]
    protect: Option<f64>,
    /// Sharings; the pages get other frames when they are written [default: 10]
    #[arg(long, value_name = "RATE", help_heading = CHURN)]
    copy_on_write: Option<f64>,
    /// Moves of pages to other frames [default: 5]
    #[arg(long, value_name = "RATE", help_heading = CHURN)]
    migrate: Option<f64>,
    /// Moves of guest-physical pages to other frames, by the monitor [default: 2]
    #[arg(long, value_name = "RATE", help_heading = CHURN)]
    host_migrate: Option<f64>,
    /// Write protections of guest-physical pages, by the monitor [default: 2]
    #[arg(long, value_name = "RATE", help_heading = CHURN)]
    host_cut: Option<f64>,
    /// Pages of one change [default: 4]
    #[arg(long, value_name = "N", help_heading = CHURN)]
    batch: Option<u32>,

    /// Pages of one change up to which strategies invalidate by address [default: 33]
    #[arg(long, value_name = "N", help_heading = "Strategies")]
    threshold: Option<u32>,
    /// PCIDs of each guest on each processor that recycling has [default: 4095]
    #[arg(long, value_name = "N", help_heading = "Strategies")]
    pcids: Option<u16>,
    /// Bits of the tag word (profile extended) [default: 12]
    #[arg(long, value_name = "N", help_heading = "Strategies")]
    tag_bits: Option<u8>,
}

const CHURN: &str = "Changes of page tables, in a million instructions";

/// On or off.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
enum Switch {
    On,
    Off,
}

fn guest_pages(text: &str) -> Result<GuestPages, String> {
    let wrong = || "guests have pages of 4K, 2M or 1G, or transparent:N with N up to 511".to_owned();
    match text.to_ascii_lowercase().as_str() {
        "4k" => Ok(GuestPages::Size4K),
        "2m" => Ok(GuestPages::Size2M),
        "1g" => Ok(GuestPages::Size1G),
        "transparent" => Ok(GuestPages::Transparent(TRANSPARENT)),
        other => {
            let pages = other.strip_prefix("transparent:").and_then(|pages| pages.parse().ok());
            pages.filter(|&pages| pages < 512).map(GuestPages::Transparent).ok_or_else(wrong)
        }
    }
}

fn guest_pages_from_text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<GuestPages>, D::Error> {
    parsed(from, guest_pages)
}

fn from_text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SweepRange>, D::Error> {
    parsed(from, |text| text.parse::<SweepRange>())
}

fn parsed<'de, D: Deserializer<'de>, T, E: Display>(
    from: D,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<Option<T>, D::Error> {
    let text = String::deserialize(from)?;
    parse(&text).map(Some).map_err(serde::de::Error::custom)
}

impl Settings {
    /// These settings, and where they say nothing those below.
    pub(super) fn over(self, below: Self) -> Self {
        Self {
            traces: self.traces.or(below.traces),
            strategy: self.strategy.or(below.strategy),
            uarch: self.uarch.or(below.uarch),
            sweep: self.sweep.or(below.sweep),
            no_oracle: self.no_oracle || below.no_oracle,
            csv: self.csv.or(below.csv),
            svg: self.svg.or(below.svg),
            processors: self.processors.or(below.processors),
            guests: self.guests.or(below.guests),
            threads: self.threads.or(below.threads),
            quantum: self.quantum.or(below.quantum),
            guest_pages: self.guest_pages.or(below.guest_pages),
            host_pages: self.host_pages.or(below.host_pages),
            limit: self.limit.or(below.limit),
            exit_at_system_calls: self.exit_at_system_calls.or(below.exit_at_system_calls),
            exit_every: self.exit_every.or(below.exit_every),
            timer: self.timer.or(below.timer),
            monitor_pages: self.monitor_pages.or(below.monitor_pages),
            unmap: self.unmap.or(below.unmap),
            protect: self.protect.or(below.protect),
            copy_on_write: self.copy_on_write.or(below.copy_on_write),
            migrate: self.migrate.or(below.migrate),
            host_migrate: self.host_migrate.or(below.host_migrate),
            host_cut: self.host_cut.or(below.host_cut),
            batch: self.batch.or(below.batch),
            threshold: self.threshold.or(below.threshold),
            pcids: self.pcids.or(below.pcids),
            tag_bits: self.tag_bits.or(below.tag_bits),
        }
    }

    /// Everything resolved.
    pub(super) fn options(&self, seed: u64) -> CompareOptions {
        let defaults = CompareOptions::new(self.work(seed));
        let strategy = defaults.strategy;
        CompareOptions {
            strategies: self.strategy.clone().unwrap_or_default(),
            processor: self.uarch.clone().unwrap_or(defaults.processor),
            strategy: vmxsim::compare::strategy::StrategyOptions {
                threshold: self.threshold.unwrap_or(strategy.threshold),
                pcids: self.pcids.unwrap_or(strategy.pcids),
                tag_bits: self.tag_bits.unwrap_or(strategy.tag_bits),
            },
            monitor_pages: self.monitor_pages.unwrap_or(defaults.monitor_pages),
            oracle: if self.no_oracle { Oracle::Off } else { Oracle::Judges },
            ..defaults
        }
    }

    fn work(&self, seed: u64) -> WorkOptions {
        let defaults = WorkOptions::default();
        let bundled = self.traces.as_ref().is_none_or(Vec::is_empty);
        WorkOptions {
            traces: if bundled { bundled::all() } else { self.traces.clone().unwrap_or_default() },
            processors: self.processors.unwrap_or(defaults.processors),
            guests: self.guests.unwrap_or(defaults.guests),
            threads: self.threads.unwrap_or(if bundled { BUNDLED_THREADS } else { defaults.threads }),
            quantum: self.quantum.unwrap_or(defaults.quantum),
            exits: self.exits(),
            churn: self.churn(),
            guest_pages: self.guest_pages.unwrap_or(defaults.guest_pages),
            host_pages: self.host_pages.unwrap_or(defaults.host_pages),
            limit: self.limit,
            seed,
            ..defaults
        }
    }

    fn exits(&self) -> Exits {
        Exits {
            system_calls: self.exit_at_system_calls != Some(Switch::Off),
            every: Some(self.exit_every.unwrap_or(50_000)),
            timer: self.timer,
        }
    }

    fn churn(&self) -> Churn {
        Churn {
            unmap: self.unmap.unwrap_or(20.0),
            protect: self.protect.unwrap_or(10.0),
            copy_on_write: self.copy_on_write.unwrap_or(10.0),
            migrate: self.migrate.unwrap_or(5.0),
            host_migrate: self.host_migrate.unwrap_or(2.0),
            host_cut: self.host_cut.unwrap_or(2.0),
            batch: self.batch.unwrap_or(4),
        }
    }
}
