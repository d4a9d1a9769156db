//! `vmxsim run`.

mod serial;
mod settings;

use super::{Common, Ended, report};
use clap::Args;
use miette::{IntoDiagnostic, Result, miette};
use serde::Serialize;
use serial::{Awaiting, Unbuffered};
use settings::Settings;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use vmxsim::load::{Image, LoadOptions, Module, load};
use vmxsim::machine::console::Console;
use vmxsim::machine::report::{RunReport, StopKind};
use vmxsim::machine::symbols::Symbols;
use vmxsim::machine::{Go, Machine, MachineOptions};
use vmxsim::progress::Progress;
use vmxsim::result::{Envelope, write_json};

/// Run software on a whole simulated PC
///
/// IMAGE is a multiboot image, a Linux kernel (bzImage or ELF with a PVH note). Its serial port is this terminal, or a file. On a terminal every key goes to the guest;
/// Ctrl-] ends the run. The exit status follows the guest: (code << 1) | 1 after a write to the debug-exit port (F4H),
/// 0 after it switched the machine off, reset it or sent what `--until` waits for, 1 when it died or was stopped.
#[derive(Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    settings: Settings,
}

/// The configuration with everything resolved.
#[derive(Serialize)]
struct RunConfig<'a> {
    image: &'a Path,
    modules: &'a [PathBuf],
    append: &'a str,
    max_insns: Option<u64>,
    machine: &'a MachineOptions,
}

/// Carries out `vmxsim run`.
pub(crate) fn run(args: &RunArgs, common: &Common) -> Result<Ended> {
    let settings = args.settings.clone().over(common.configuration()?);
    let machine_options = settings.machine(common.seed);
    let path = settings.image.as_deref().ok_or_else(|| miette!("no image was named"))?;
    let image = Image::read(path).map_err(report)?;
    let loaded = load(&image, &load_options(&settings, &machine_options)?).map_err(report)?;
    let (sink, seen) = sink(&settings)?;
    let mut machine = Machine::new(&machine_options, &loaded, sink).map_err(report)?;
    if let Some(path) = &settings.symbols {
        let file = Image::read(path).map_err(report)?;
        let symbols = Symbols::read(&file.bytes);
        machine.set_symbols(symbols.map_err(|error| miette!("{}: {error}", file.name))?);
    }
    let started = Instant::now();
    let result = watch(&settings, common, &mut machine, &seen)?;
    if let Some(json) = &common.json {
        let config = RunConfig {
            image: path,
            modules: settings.modules(),
            append: settings.command_line(),
            max_insns: settings.max_insns,
            machine: &machine_options,
        };
        let envelope = Envelope {
            schema: "vmxsim-run",
            schema_version: 1,
            config: &config,
            seed: common.seed,
            host_seconds: started.elapsed().as_secs_f64(),
            result: &result,
        };
        write_json(json, &envelope.to_json().map_err(report)?).map_err(report)?;
    }
    if !common.quiet {
        summary(&result);
        if matches!(result.stop.kind, StopKind::TripleFault | StopKind::Halt) || common.verbose > 0 {
            eprint!("{}", machine.death(result.stop.processor.unwrap_or(0)));
        }
    }
    Ok(Ended::Guest(result.status()))
}

/// Runs while keys and signals are looked at.
fn watch(
    settings: &Settings,
    common: &Common,
    machine: &mut Machine,
    seen: &AtomicBool,
) -> Result<RunReport> {
    let on_terminal = settings.serial_file().is_none();
    let interrupted = traces::record::stop_on_interrupt().into_diagnostic()?;
    let console = if on_terminal { Some(Console::open().into_diagnostic()?) } else { None };
    // The serial port writes to the terminal: a bar would be in its way.
    let show = if on_terminal { vmxsim::progress::Show::No } else { common.show() };
    let mut progress = Progress::new(show, "running", "instructions", settings.max_insns);
    let result = machine.run(settings.max_insns, |platform, standing| {
        progress.set(standing.instructions);
        progress.say(standing.mode);
        if let Some(console) = &console {
            while let Some(key) = console.key() {
                platform.serial_receive(platform.now(), &[key]);
            }
        }
        let left = console.as_ref().is_some_and(Console::is_left);
        if seen.load(Ordering::Relaxed) {
            Go::End(StopKind::Seen)
        } else if settings.max_ticks.is_some_and(|most| platform.now().0 >= most) {
            Go::End(StopKind::Limit)
        } else if left || interrupted.load(Ordering::Relaxed) {
            Go::End(StopKind::Interrupted)
        } else {
            Go::On
        }
    });
    progress.finish();
    Ok(result)
}

fn load_options(settings: &Settings, machine: &MachineOptions) -> Result<LoadOptions> {
    let module = |path: &PathBuf| {
        let image = Image::read(path).map_err(report)?;
        Ok(Module { arguments: image.name.clone(), image })
    };
    Ok(LoadOptions {
        command_line: settings.command_line().to_owned(),
        modules: settings.modules().iter().map(module).collect::<Result<_>>()?,
        initrd: settings.initrd.as_ref().map(|path| Image::read(path).map_err(report)).transpose()?,
        protocol: settings.protocol(),
        rsdp: machine.root_pointer(),
        ..LoadOptions::new(machine.memory_map().map_err(report)?)
    })
}

/// Where the bytes of the serial port go, and whether the text that ends the run was among them.
fn sink(settings: &Settings) -> Result<(Box<dyn Write + Send>, Arc<AtomicBool>)> {
    let sink: Box<dyn Write + Send> = match settings.serial_file() {
        Some(path) => Box::new(create(path)?),
        None => Box::new(Unbuffered),
    };
    Ok(match &settings.until {
        None => (sink, Arc::default()),
        Some(text) => {
            let (sink, seen) = Awaiting::new(sink, text);
            (Box::new(sink), seen)
        }
    })
}

fn create(path: &Path) -> Result<File> {
    File::create(path).map_err(|error| miette!("cannot write {}: {error}", path.display()))
}

fn summary(result: &RunReport) {
    let RunReport { instructions, mips, stop, .. } = result;
    let code = stop.code.map_or(String::new(), |code| format!(" with code {code}"));
    eprintln!("{}{code} after {instructions} instructions, {mips:.1} MIPS", stop.kind);
    for (name, count) in &result.unmodelled {
        eprintln!("not modelled, and so an invalid opcode to the guest: {name}, {count} times");
    }
}
