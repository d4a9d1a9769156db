//! `vmxsim compare`.

mod bundled;
mod settings;

use super::{Common, Ended, report};
use bundled::Unpacked;
use clap::Args;
use miette::Result;
use serde::Serialize;
use settings::Settings;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Instant;
use vmxsim::compare::strategy::KNOWN;
use vmxsim::compare::sweep::{Sweep, SweepRange};
use vmxsim::compare::work::Work;
use vmxsim::compare::{CompareOptions, compare, csv, named, picture, sweep, table};
use vmxsim::progress::Progress;
use vmxsim::result::{Envelope, write_file, write_json};

/// Run TLB-invalidation strategies on the same work, and show what each costs
///
/// The traces run as processes of guests on several logical processors, while kernels and the monitor change page
/// tables under them. Each strategy sees exactly the same accesses and changes; what differs is what the hardware tags
/// TLB entries with and who invalidates what when. A table shows misses, walks, invalidations and cycles; an oracle
/// tells which invalidations were unnecessary and which are missing. Exit status 1 says that some are missing.
///
/// Without traces the bundled ones run. Without any option the result is also written to vmxsim-compare.csv, .json and
/// .svg in the current folder.
#[derive(Args)]
pub(crate) struct CompareArgs {
    #[command(flatten)]
    settings: Settings,
    /// List the strategies, and run none
    #[arg(long)]
    list: bool,
}

/// Where results go.
#[derive(Default)]
struct Files {
    csv: Option<PathBuf>,
    svg: Option<PathBuf>,
    json: Option<PathBuf>,
    /// Whether nobody asked for them.
    unasked: Unasked,
}

/// Whether files are written that nobody named.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Unasked {
    Yes,
    #[default]
    No,
}

impl Files {
    fn of(settings: &Settings, common: &Common) -> Self {
        let file = |ending: &str| Some(PathBuf::from(format!("vmxsim-compare.{ending}")));
        if *settings == Settings::default() && common.config.is_none() && common.json.is_none() {
            return Self { csv: file("csv"), svg: file("svg"), json: file("json"), unasked: Unasked::Yes };
        }
        Self {
            csv: settings.csv.clone(),
            svg: settings.svg.clone(),
            json: common.json.clone(),
            unasked: Unasked::No,
        }
    }

    /// Whether one of them is standard output.
    fn on_standard_output(&self) -> bool {
        [&self.csv, &self.svg, &self.json].into_iter().flatten().any(|path| path == Path::new("-"))
    }

    fn write(&self, result: &Written<'_>) -> Result<()> {
        if let Some(path) = &self.csv {
            write_file(path, &(result.csv)().map_err(report)?).map_err(report)?;
        }
        if let Some(path) = &self.svg {
            write_file(path, (result.svg)().as_bytes()).map_err(report)?;
        }
        if let Some(path) = &self.json {
            write_json(path, &(result.json)().map_err(report)?).map_err(report)?;
        }
        Ok(())
    }
}

/// A result in each of its forms, made when it is asked for.
struct Written<'a> {
    csv: &'a dyn Fn() -> ::csv::Result<Vec<u8>>,
    svg: &'a dyn Fn() -> String,
    json: &'a dyn Fn() -> serde_json::Result<serde_json::Value>,
    text: &'a dyn Fn(usize) -> String,
}

/// Carries out `vmxsim compare`.
pub(crate) fn run(args: &CompareArgs, common: &Common) -> Result<Ended> {
    if args.list {
        print!("{}", list());
        return Ok(Ended::Done);
    }
    let settings = args.settings.clone().over(common.configuration()?);
    let files = Files::of(&settings, common);
    let options = settings.options(common.seed);
    named(&options.strategies).map_err(report)?;
    match &settings.sweep {
        Some(range) => run_sweep(&options, range, &files, common),
        None => run_once(&options, &files, common),
    }
}

fn run_once(options: &CompareOptions, files: &Files, common: &Common) -> Result<Ended> {
    let started = Instant::now();
    let unpacked = Unpacked::of(options)?;
    let total = Work::new(&unpacked.options.work).map_err(report)?.progress().total;
    let mut progress = Progress::new(common.show(), "comparing", "instructions", total);
    let outcome = compare(&unpacked.options, |done| progress.set(done));
    progress.finish();
    let comparison = outcome.map_err(report)?;
    let written = Written {
        csv: &|| csv::to_csv(&comparison),
        svg: &|| picture::picture(&comparison),
        json: &|| envelope("vmxsim-compare", options, common, started, &comparison),
        text: &|width| table::report(&comparison, width),
    };
    finish(&written, files, common)?;
    Ok(ended(comparison.finds_something()))
}

/// What a sweep is asked to do.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct SweepConfig<'a> {
    #[serde(flatten)]
    options: &'a CompareOptions,
    sweep: &'a SweepRange,
}

fn run_sweep(options: &CompareOptions, range: &SweepRange, files: &Files, common: &Common) -> Result<Ended> {
    let started = Instant::now();
    let unpacked = Unpacked::of(options)?;
    let values = range.values.len() as u64;
    let mut progress = Progress::new(common.show(), "sweeping", "values", Some(values));
    let one = |value| {
        let mut options = unpacked.options.clone();
        range.parameter.set(&mut options, value);
        compare(&options, |_| ())
    };
    let outcome = Sweep::run(range, at_once(options), one, |done| progress.set(done as u64));
    progress.finish();
    let swept = outcome.map_err(report)?;
    let config = SweepConfig { options, sweep: range };
    let written = Written {
        csv: &|| sweep::report::to_csv(&swept),
        svg: &|| picture::sweep_picture(&swept),
        json: &|| envelope("vmxsim-compare-sweep", &config, common, started, &swept),
        text: &|width| sweep::report::report(&swept, width),
    };
    finish(&written, files, common)?;
    Ok(ended(swept.finds_something()))
}

/// As many comparisons as keep all processors of the host busy; each runs its strategies in parallel.
fn at_once(options: &CompareOptions) -> NonZeroUsize {
    let strategies = named(&options.strategies).map_or(1, |strategies| strategies.len());
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    NonZeroUsize::new(threads.div_ceil(strategies.max(1))).unwrap_or(NonZeroUsize::MIN)
}

fn envelope(
    schema: &str,
    config: &impl Serialize,
    common: &Common,
    started: Instant,
    result: &impl Serialize,
) -> serde_json::Result<serde_json::Value> {
    let host_seconds = started.elapsed().as_secs_f64();
    Envelope { schema, schema_version: 1, config, seed: common.seed, host_seconds, result }.to_json()
}

const fn ended(found: bool) -> Ended {
    if found { Ended::FoundSomething } else { Ended::Done }
}

fn finish(written: &Written<'_>, files: &Files, common: &Common) -> Result<()> {
    files.write(written)?;
    if common.quiet || files.on_standard_output() {
        return Ok(());
    }
    print!("{}", (written.text)(width()));
    if files.unasked == Unasked::Yes {
        println!("\nwritten: vmxsim-compare.csv, vmxsim-compare.json, and vmxsim-compare.svg to look at");
    }
    Ok(())
}

/// The width of the terminal; that of a wide one where the output goes elsewhere.
fn width() -> usize {
    const ELSEWHERE: usize = 120;
    terminal_size::terminal_size_of(std::io::stdout()).map_or(ELSEWHERE, |(width, _)| usize::from(width.0))
}

/// Every strategy with its sentence.
fn list() -> String {
    let widest = KNOWN.iter().map(|known| known.name.len()).max().unwrap_or(0);
    let line = |known: &vmxsim::compare::strategy::Known| {
        let alone = if known.default { "" } else { " (only when named)" };
        format!("{:<widest$}  {}{alone}\n", known.name, known.says)
    };
    KNOWN.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_nobody_named_are_written_only_if_nothing_was_asked() {
        let common = Common { json: None, config: None, seed: 0, quiet: false, verbose: 0 };
        let written = |settings: &Settings, common: &Common| {
            let files = Files::of(settings, common);
            [files.csv, files.svg, files.json].into_iter().flatten().count()
        };
        let nothing = Settings::default();
        assert_eq!(written(&nothing, &common), 3);
        assert_eq!(written(&nothing, &Common { quiet: true, ..common.clone() }), 3);
        assert_eq!(written(&nothing, &Common { json: Some("a.json".into()), ..common.clone() }), 1);
        assert_eq!(written(&nothing, &Common { config: Some("a.toml".into()), ..common.clone() }), 0);
        let mut csv = Settings::default();
        csv.csv = Some("a.csv".into());
        assert_eq!(written(&csv, &common), 1);
    }

    #[test]
    fn a_run_that_found_something_says_so_by_its_exit_status() {
        assert_eq!([ended(true), ended(false)], [Ended::FoundSomething, Ended::Done]);
    }
}
