//! `vmxsim replay`.

use super::{Common, Ended, report};
use clap::Args;
use miette::{Result, miette};
use mmu::PageSize;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::time::Instant;
use timing::processor::Processor;
use vmxsim::progress::Progress;
use vmxsim::replay::options::Levels;
use vmxsim::replay::{Divergence, Oracular, ReplayOptions, ReplayReport, RunAs, Verify, WalkCaches, replay};
use vmxsim::result::{Envelope, write_json};

/// Run a recorded program again, on the simulated machine
///
/// The program runs in guest RAM under real page tables. The summary says what that cost: TLB hits and misses by
/// level, page walks and their references to memory, cycles by cause. With `--as guest` the same program runs in VMX
/// non-root operation behind EPT, so that every walk becomes two-dimensional; run both and compare.
///
/// With `--verify` every register is compared with the record after every instruction. The first difference is
/// reported with the instruction and its inputs; exit status 1 says that there was one. With `--oracle` each
/// translation that is used is compared with a fresh walk; exit status 1 says that one should not have been used.
#[derive(Args)]
pub(crate) struct ReplayArgs {
    /// The trace: .vmxt of `vmxsim record`, ChampSim (raw, .gz, .xz), or text of valgrind's lackey
    #[arg(value_name = "FILE", required_unless_present = "config")]
    trace: Option<PathBuf>,
    /// Compare all registers and flags with the record after each instruction
    #[arg(long)]
    verify: bool,
    /// Natively, or as a guest behind EPT
    #[arg(long = "as", value_enum, value_name = "native|guest")]
    run_as: Option<RunAs>,
    /// Processor whose TLB, caches and latencies are used: haswell, skylake, skylake-x, ice-lake, golden-cove, zen2,
    /// zen3, zen4, or a file of your own that ends in .toml
    #[arg(long, value_name = "PROCESSOR")]
    tlb: Option<String>,
    /// Whether page walks have the processor's caches for paging-structure entries and guest-physical addresses;
    /// without them every walk reads every level
    #[arg(long, value_enum, value_name = "on|off")]
    walk_caches: Option<WalkCaches>,
    /// Page size of the program's page tables: 4K, 2M or 1G
    #[arg(long, value_name = "SIZE", value_parser = page_size)]
    guest_pages: Option<PageSize>,
    /// Page size of EPT: 4K, 2M or 1G
    #[arg(long, value_name = "SIZE", value_parser = page_size)]
    host_pages: Option<PageSize>,
    /// Levels of the program's page tables
    #[arg(long, value_enum)]
    guest_levels: Option<Levels>,
    /// Levels of EPT
    #[arg(long, value_enum)]
    host_levels: Option<Levels>,
    /// Let an oracle check every translation that is used, and judge every invalidation; slower
    #[arg(long)]
    oracle: bool,
    /// Stop after N instructions
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Address space of guest RAM, such as 64G; host memory is used only where the program touches it
    #[arg(long, value_name = "SIZE", value_parser = memory_size)]
    memory: Option<u64>,
}

/// The same as options, in a configuration file.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct ReplayConfig {
    trace: Option<PathBuf>,
    verify: bool,
    r#as: Option<RunAs>,
    tlb: Option<String>,
    walk_caches: Option<WalkCaches>,
    guest_pages: Option<PageSize>,
    host_pages: Option<PageSize>,
    guest_levels: Option<Levels>,
    host_levels: Option<Levels>,
    oracle: bool,
    limit: Option<u64>,
    memory: Option<String>,
}

pub(super) fn page_size(text: &str) -> Result<PageSize, String> {
    match text.to_ascii_uppercase().as_str() {
        "4K" => Ok(PageSize::Size4K),
        "2M" => Ok(PageSize::Size2M),
        "1G" => Ok(PageSize::Size1G),
        _ => Err("pages have 4K, 2M or 1G".to_owned()),
    }
}

pub(super) fn memory_size(text: &str) -> Result<u64, String> {
    let expected = "expected a number with K, M, G or T, such as 64G".to_owned();
    let (digits, shift) = match text.char_indices().last() {
        Some((at, 'K' | 'k')) => (&text[..at], 10),
        Some((at, 'M' | 'm')) => (&text[..at], 20),
        Some((at, 'G' | 'g')) => (&text[..at], 30),
        Some((at, 'T' | 't')) => (&text[..at], 40),
        _ => (text, 0),
    };
    let number: u64 = digits.parse().map_err(|_| expected.clone())?;
    number.checked_mul(1 << shift).filter(|&bytes| bytes > 0).ok_or(expected)
}

fn options(args: &ReplayArgs, common: &Common) -> Result<ReplayOptions> {
    let config: ReplayConfig = common.configuration()?;
    let trace = args.trace.clone().or(config.trace).ok_or_else(|| miette!("no trace was named"))?;
    let memory =
        config.memory.map(|text| memory_size(&text).map_err(|e| miette!("memory: {e}"))).transpose()?;
    let defaults = ReplayOptions::new(trace);
    Ok(ReplayOptions {
        run_as: args.run_as.or(config.r#as).unwrap_or_default(),
        verify: if args.verify || config.verify { Verify::EachInstruction } else { Verify::No },
        tlb: args.tlb.clone().or(config.tlb).unwrap_or(defaults.tlb),
        walk_caches: args.walk_caches.or(config.walk_caches).unwrap_or_default(),
        guest_pages: args.guest_pages.or(config.guest_pages).unwrap_or(defaults.guest_pages),
        host_pages: args.host_pages.or(config.host_pages).unwrap_or(defaults.host_pages),
        guest_levels: args.guest_levels.or(config.guest_levels).unwrap_or_default(),
        host_levels: args.host_levels.or(config.host_levels).unwrap_or_default(),
        oracle: if args.oracle || config.oracle { Oracular::On } else { Oracular::Off },
        limit: args.limit.or(config.limit),
        memory: args.memory.or(memory).unwrap_or(defaults.memory),
        trace: defaults.trace,
    })
}

/// Carries out `vmxsim replay`.
pub(crate) fn run(args: &ReplayArgs, common: &Common) -> Result<Ended> {
    let options = options(args, common)?;
    let processor = Processor::select(&options.tlb).map_err(report)?;
    tracing::info!(processor = processor.description(), "replaying");
    let started = Instant::now();
    let total = options.limit.or_else(|| steps(&options.trace));
    let mut progress = Progress::new(common.show(), "replaying", "instructions", total);
    let outcome = replay(&options, |done| progress.set(done));
    progress.finish();
    let result = outcome.map_err(report)?;
    if let Some(path) = &common.json {
        let envelope = Envelope {
            schema: "vmxsim-replay",
            schema_version: 1,
            config: &options,
            seed: common.seed,
            host_seconds: started.elapsed().as_secs_f64(),
            result: &result,
        };
        write_json(path, &envelope.to_json().map_err(report)?).map_err(report)?;
    }
    if !common.quiet && common.json.as_deref() != Some(Path::new("-")) {
        summary(&options, &processor, &result);
    }
    Ok(if result.is_clean() { Ended::Done } else { Ended::FoundSomething })
}

/// The number of instructions in a trace of our own, for the progress bar.
fn steps(trace: &Path) -> Option<u64> {
    let summary = traces::TraceReader::open(trace).ok()?.summary().ok()?;
    Some(summary.trailer.steps)
}

fn summary(options: &ReplayOptions, processor: &Processor, result: &ReplayReport) {
    let how = match options.run_as {
        RunAs::Native => format!("natively, {} pages", size(options.guest_pages)),
        RunAs::Guest => {
            let (guest, host) = (size(options.guest_pages), size(options.host_pages));
            format!("as a guest, {guest} pages on {host} EPT pages")
        }
    };
    println!("{} {how}, on {}\n", options.trace.display(), processor.description());
    println!("{result}");
    if let Some(divergence) = &result.first_divergence {
        explain(divergence);
    }
}

fn size(size: PageSize) -> &'static str {
    match size {
        PageSize::Size4K => "4K",
        PageSize::Size2M => "2M",
        PageSize::Size1G => "1G",
    }
}

fn explain(divergence: &Divergence) {
    let Divergence { index, rip, instruction, bytes, register, expected, actual, before } = divergence;
    println!("\nfirst divergence, at instruction {index}:");
    println!("  {rip}: {instruction}    [{bytes}]");
    println!("  {register}");
    println!("    the processor: {expected}");
    println!("    the simulator: {actual}");
    println!("  before it:");
    for (name, value) in before {
        println!("    {name:<7} {value}");
    }
}
