//! `vmxsim record`.

use super::{Common, Ended, report};
use clap::{Args, ValueEnum};
use isa::scope::{self, Scope};
use miette::{Result, miette};
use serde::Serialize;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Instant;
use traces::record::{Outcome, RecordOptions, Recorder, stop_on_interrupt};
use traces::{Cpuid, EndReason, TraceWriter, Trailer, WriteOptions};
use vmxsim::progress::Progress;
use vmxsim::result::{Envelope, write_json};

/// Record a real program on this processor
///
/// The program runs under single-stepping, with its real arguments and environment, through system calls, signals and
/// the execution of other programs. The trace holds what a replay needs and cannot compute, and what every
/// instruction did to the registers and to memory. A recording advances by some fifty thousand instructions a second.
///
/// CPUID answers as a processor with SSE4.2, AES, PCLMULQDQ, BMI1/2 and ADX and without AVX, so that libraries choose
/// code that the simulator models; `--cpuid host` tells the truth, and what is not modelled then takes its recorded
/// effect on replay. Child processes and further threads run, and are not recorded.
///
/// A program that is killed, or Ctrl-C, leaves a valid trace up to there and exit status 1.
#[derive(Args)]
pub(crate) struct RecordArgs {
    /// Where the trace goes; NAME.vmxt in the current folder unless said otherwise
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Stop after N instructions
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// What CPUID tells the program
    #[arg(long, value_enum, default_value_t = CpuidChoice::Scope)]
    cpuid: CpuidChoice,
    /// Compression level: 3 keeps up with the recorder, 19 is for files that are kept
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(i32).range(1..=22))]
    level: i32,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "PROGRAM [ARG]...")]
    program: Vec<OsString>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CpuidChoice {
    /// Only what the simulator models
    Scope,
    /// What this processor has
    Host,
}

#[derive(Serialize)]
struct RecordConfig<'a> {
    output: &'a Path,
    program: String,
    limit: Option<u64>,
    cpuid: Cpuid,
    level: i32,
}

#[derive(Serialize)]
struct RecordResult {
    instructions: u64,
    taken_from_record: u64,
    pages: u64,
    bytes: u64,
    end: EndReason,
    programs: u64,
    threads_not_recorded: bool,
    instructions_per_second: f64,
}

/// Carries out `vmxsim record`.
pub(crate) fn run(args: &RecordArgs, common: &Common) -> Result<Ended> {
    if common.config.is_some() {
        return Err(miette!("record takes its options from the command line; --config is for replay"));
    }
    let Some((program, arguments)) = args.program.split_first() else { return Err(miette!("no program")) };
    let output = args.output.clone().unwrap_or_else(|| default_output(Path::new(program)));
    let cpuid = if args.cpuid == CpuidChoice::Scope { Cpuid::ScopeOnly } else { Cpuid::Host };
    let stop = stop_on_interrupt().map_err(report)?;
    let options = RecordOptions {
        limit: args.limit,
        cpuid,
        taken: |instruction| scope::of(instruction) != Scope::Computed,
        stop: Some(stop),
    };
    let recorder = Recorder::new(program, arguments.iter().cloned(), options);
    let write = WriteOptions { level: args.level, ..WriteOptions::default() };
    let mut writer = TraceWriter::create(&output, &recorder.header(), write).map_err(report)?;
    let started = Instant::now();
    let mut progress = Progress::new(common.show(), "recording", "instructions", args.limit);
    let outcome = recorder.run(&mut writer, &mut |done| progress.set(done));
    progress.finish();
    let outcome = outcome.map_err(report)?;
    let trailer = writer.finish(outcome.end).map_err(report)?;
    let seconds = started.elapsed().as_secs_f64();
    let result = result(&output, &outcome, &trailer, seconds);
    if let Some(path) = &common.json {
        let program = program.to_string_lossy().into_owned();
        let config = RecordConfig { output: &output, program, limit: args.limit, cpuid, level: args.level };
        let envelope = Envelope {
            schema: "vmxsim-record",
            schema_version: 1,
            config: &config,
            seed: common.seed,
            host_seconds: seconds,
            result: &result,
        };
        write_json(path, &envelope.to_json().map_err(report)?).map_err(report)?;
    }
    if !common.quiet && common.json.as_deref() != Some(Path::new("-")) {
        summary(&output, &result, &outcome);
    }
    Ok(match outcome.end {
        EndReason::Exited(_) | EndReason::Limit => Ended::Done,
        EndReason::Killed(_) | EndReason::Stopped => Ended::FoundSomething,
    })
}

fn default_output(program: &Path) -> PathBuf {
    let name = program.file_name().unwrap_or(program.as_os_str());
    Path::new(name).with_added_extension("vmxt")
}

fn result(output: &Path, outcome: &Outcome, trailer: &Trailer, seconds: f64) -> RecordResult {
    RecordResult {
        instructions: trailer.steps,
        taken_from_record: trailer.taken,
        pages: trailer.pages,
        bytes: std::fs::metadata(output).map_or(0, |metadata| metadata.len()),
        end: outcome.end,
        programs: outcome.programs,
        threads_not_recorded: outcome.threads_not_recorded,
        instructions_per_second: trailer.steps as f64 / seconds,
    }
}

/// Goes to standard error: standard output belongs to the program.
fn summary(output: &Path, result: &RecordResult, outcome: &Outcome) {
    let RecordResult { instructions, taken_from_record, pages, bytes, .. } = result;
    let each = *bytes as f64 / (*instructions).max(1) as f64;
    let rate = result.instructions_per_second / 1000.0;
    eprintln!("{}: {instructions} instructions, {rate:.0} thousand a second", output.display());
    eprintln!(
        "  {bytes} bytes, {each:.2} an instruction; {pages} pages; {taken_from_record} results from the record"
    );
    match outcome.end {
        EndReason::Exited(0) | EndReason::Limit => {}
        EndReason::Exited(code) => eprintln!("  the program exited with status {code}"),
        EndReason::Killed(signal) => eprintln!("  the program was killed by signal {signal}"),
        EndReason::Stopped => eprintln!("  stopped on request"),
    }
    if outcome.threads_not_recorded {
        eprintln!("  the program started threads, which are not in the trace; a replay may diverge");
    }
    if outcome.left_64_bit_mode {
        eprintln!("  the program started one that is not 64-bit x86; the trace ends there");
    }
}
