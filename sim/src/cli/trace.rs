//! `vmxsim trace`.

use super::{Common, Ended, report};
use clap::{Args, Subcommand, ValueEnum};
use miette::{Result, miette};
use serde::Serialize;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Instant;
use traces::champsim::ChampSimWriter;
use traces::{AnyTrace, EndReason, Event, Item, Sections, Summary, TraceFile, TraceReader, open_any};
use vmxsim::progress::Progress;
use vmxsim::result::{Envelope, write_json};

/// Look into traces, or convert them
#[derive(Args)]
pub(crate) struct TraceArgs {
    #[command(subcommand)]
    command: TraceCommand,
}

#[derive(Subcommand)]
enum TraceCommand {
    /// Say what a trace holds
    Info {
        /// The trace, of any format that `replay` takes
        file: PathBuf,
    },
    /// Write a trace of our own in another format
    Convert {
        /// The trace
        file: PathBuf,
        /// Where the result goes
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        /// The other format
        #[arg(long, value_enum, default_value_t = Format::Champsim)]
        to: Format,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// ChampSim's records of 64 bytes, uncompressed
    Champsim,
}

/// What a trace of addresses holds, found by reading it.
#[derive(Serialize)]
struct AddressSummary {
    format: &'static str,
    instructions: u64,
    loads: u64,
    stores: u64,
}

/// Carries out `vmxsim trace`.
pub(crate) fn run(args: &TraceArgs, common: &Common) -> Result<Ended> {
    match &args.command {
        TraceCommand::Info { file } => info(file, common)?,
        TraceCommand::Convert { file, output, to: Format::Champsim } => convert(file, output, common)?,
    }
    Ok(Ended::Done)
}

fn info(file: &Path, common: &Common) -> Result<()> {
    let started = Instant::now();
    match open_any(file).map_err(report)? {
        AnyTrace::Own(reader) => {
            let summary = reader.summary().map_err(report)?;
            write_result(file, &summary, started, common)?;
            if shows_summary(common) {
                print_summary(&summary);
            }
        }
        foreign => {
            let summary = count(foreign)?;
            write_result(file, &summary, started, common)?;
            if shows_summary(common) {
                let AddressSummary { format, instructions, loads, stores } = summary;
                println!("{format}: {instructions} instructions, {loads} loads, {stores} stores");
            }
        }
    }
    Ok(())
}

fn shows_summary(common: &Common) -> bool {
    !common.quiet && common.json.as_deref() != Some(Path::new("-"))
}

fn write_result(file: &Path, result: &impl Serialize, started: Instant, common: &Common) -> Result<()> {
    let Some(path) = &common.json else { return Ok(()) };
    let envelope = Envelope {
        schema: "vmxsim-trace-info",
        schema_version: 1,
        config: &json!({ "trace": file }),
        seed: common.seed,
        host_seconds: started.elapsed().as_secs_f64(),
        result,
    };
    write_json(path, &envelope.to_json().map_err(report)?).map_err(report)
}

fn count(trace: AnyTrace) -> Result<AddressSummary> {
    let format = match trace {
        AnyTrace::Own(_) => "vmxsim",
        AnyTrace::ChampSim(_) => "ChampSim records",
        AnyTrace::Lackey(_) => "text of lackey",
    };
    let mut summary = AddressSummary { format, instructions: 0, loads: 0, stores: 0 };
    let mut steps = trace.access_steps();
    while let Some(step) = steps.next_step().map_err(report)? {
        summary.instructions += 1;
        summary.loads += step.loads.len() as u64;
        summary.stores += step.stores.len() as u64;
    }
    Ok(summary)
}

fn print_summary(summary: &Summary) {
    let Summary { version, header, trailer, file_bytes, event_bytes, step_bytes } = summary;
    let each = *file_bytes as f64 / trailer.steps.max(1) as f64;
    println!("program        {} {}", header.program, header.arguments.join(" "));
    println!("recorded on    {}", header.processor.as_deref().unwrap_or("an unknown processor"));
    println!("instructions   {}, {} of them taken from the record", trailer.steps, trailer.taken);
    println!("pages          {}", trailer.pages);
    println!(
        "bytes          {file_bytes}, {each:.2} an instruction ({event_bytes} events, {step_bytes} steps)"
    );
    println!("end            {}", end(trailer.end));
    println!("format         vmxt {version}, by {}", header.writer);
    if let Some(note) = &header.note {
        println!("note           {note}");
    }
}

fn end(end: EndReason) -> String {
    match end {
        EndReason::Exited(status) => format!("the program exited with status {status}"),
        EndReason::Killed(signal) => format!("the program was killed by signal {signal}"),
        EndReason::Limit => "the limit of instructions".to_owned(),
        EndReason::Stopped => "the recorder was stopped".to_owned(),
    }
}

fn convert(file: &Path, output: &Path, common: &Common) -> Result<()> {
    let AnyTrace::Own(mut reader) = open_any(file).map_err(report)? else {
        return Err(miette!("{}: only traces of `vmxsim record` can be converted", file.display()));
    };
    let sink = TraceFile::create(output).map_err(|e| miette!("{}: {e}", output.display()))?;
    let mut writer = ChampSimWriter::new(sink, output);
    let mut progress = Progress::new(common.show(), "converting", "instructions", None);
    let converted = convert_chunks(&mut reader, &mut writer, &mut progress);
    progress.finish();
    converted?;
    writer.finish().map_err(report)
}

fn convert_chunks(
    reader: &mut TraceReader,
    writer: &mut ChampSimWriter<TraceFile>,
    progress: &mut Progress,
) -> Result<()> {
    while let Some(chunk) = reader.next_chunk(Sections::All).map_err(report)? {
        writer.replace(chunk.start());
        let Some(mut walk) = chunk.walk() else { continue };
        while let Some(item) = walk.next().map_err(report)? {
            match item {
                Item::Event(_, Event::Effect(registers) | Event::Exec(registers)) => {
                    writer.replace(registers)
                }
                Item::Event(..) => {}
                Item::Step(step) => writer.push_step(&step).map_err(report)?,
            }
        }
        progress.set(chunk.first_index() + chunk.steps());
    }
    Ok(())
}
