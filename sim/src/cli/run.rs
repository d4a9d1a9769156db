//! `vmxsim run`.

use super::{Common, Ended, report};
use clap::Args;
use miette::{IntoDiagnostic, Result, miette};
use serde::Serialize;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Instant;
use vmxsim::load::{Image, LoadOptions, Module, Protocol, load};
use vmxsim::machine::console::Console;
use vmxsim::machine::report::{RunReport, StopKind};
use vmxsim::machine::{Go, Machine, MachineOptions};
use vmxsim::progress::Progress;
use vmxsim::result::{Envelope, write_json};

/// Run software on a whole simulated PC
///
/// IMAGE is a multiboot image, a Linux kernel (bzImage or ELF with a PVH note). Its serial port is this terminal, or a file. On a terminal every key goes to the guest;
/// Ctrl-] ends the run. The exit status follows the guest: (code << 1) | 1 after a write to the debug-exit port (F4H),
/// 0 after it switched the machine off, 1 when it died or was stopped.
#[derive(Args)]
pub(crate) struct RunArgs {
    /// The image
    #[arg(value_name = "IMAGE")]
    image: PathBuf,
    /// A module of a multiboot image; may be given again
    #[arg(long = "module", value_name = "FILE")]
    modules: Vec<PathBuf>,
    /// The initial RAM disk of Linux
    #[arg(long, value_name = "FILE")]
    initrd: Option<PathBuf>,
    /// How the image is started
    #[arg(long, value_enum, default_value_t)]
    protocol: ProtocolName,
    /// The command line, for a multiboot image what follows its name
    #[arg(long, default_value = "", value_name = "STRING")]
    append: String,
    /// RAM, such as 512M
    #[arg(long, default_value = "256M", value_name = "SIZE", value_parser = super::replay::memory_size)]
    mem: u64,
    /// Processors
    #[arg(long, default_value_t = 1, value_name = "N")]
    cpus: u32,
    /// Processor model: minimal, kvm-unit, server, or a file of your own that ends in .toml
    #[arg(long, default_value = "kvm-unit", value_name = "MODEL")]
    cpu: String,
    /// Where the serial port goes
    #[arg(long, default_value = "stdio", value_name = "stdio|FILE")]
    serial: PathBuf,
    /// Stop after N instructions
    #[arg(long, value_name = "N")]
    max_insns: Option<u64>,
    /// Ticks that a processor runs before the next one has its turn
    #[arg(long, default_value_t = 1000, value_name = "TICKS")]
    quantum: u64,
}

/// A boot protocol by name.
#[derive(Clone, Copy, Default, clap::ValueEnum)]
enum ProtocolName {
    /// The first that the image has
    #[default]
    Auto,
    /// Multiboot 1
    Multiboot,
    /// Xen's PVH, also of the kernel packed in a bzImage
    Pvh,
    /// Linux, 64-bit
    Linux64,
    /// Linux, 32-bit
    Linux32,
}

impl From<ProtocolName> for Protocol {
    fn from(name: ProtocolName) -> Self {
        match name {
            ProtocolName::Auto => Self::Auto,
            ProtocolName::Multiboot => Self::Multiboot,
            ProtocolName::Pvh => Self::Pvh,
            ProtocolName::Linux64 => Self::Linux64,
            ProtocolName::Linux32 => Self::Linux32,
        }
    }
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
    let machine_options = MachineOptions {
        memory: args.mem,
        processors: args.cpus,
        model: args.cpu.clone(),
        quantum: args.quantum.max(1),
        seed: common.seed,
        ..MachineOptions::default()
    };
    let image = Image::read(&args.image).map_err(report)?;
    let loaded = load(&image, &load_options(args, &machine_options)?).map_err(report)?;
    let on_terminal = args.serial == Path::new("stdio");
    let sink: Box<dyn Write + Send> =
        if on_terminal { Box::new(Unbuffered) } else { Box::new(create(&args.serial)?) };
    let mut machine = Machine::new(&machine_options, &loaded, sink).map_err(report)?;
    let started = Instant::now();
    let result = watch(args, common, &mut machine, on_terminal)?;
    if let Some(path) = &common.json {
        let config = RunConfig {
            image: &args.image,
            modules: &args.modules,
            append: &args.append,
            max_insns: args.max_insns,
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
        write_json(path, &envelope.to_json().map_err(report)?).map_err(report)?;
    }
    if !common.quiet {
        summary(&result);
        if result.stop.kind == StopKind::TripleFault {
            eprint!("{}", machine.death(result.stop.processor.unwrap_or(0)));
        }
    }
    Ok(Ended::Guest(result.status()))
}

/// Runs while keys and signals are looked at.
fn watch(args: &RunArgs, common: &Common, machine: &mut Machine, on_terminal: bool) -> Result<RunReport> {
    let interrupted = traces::record::stop_on_interrupt().into_diagnostic()?;
    let console = if on_terminal { Some(Console::open().into_diagnostic()?) } else { None };
    // The serial port writes to the terminal: a bar would be in its way.
    let show = if on_terminal { vmxsim::progress::Show::No } else { common.show() };
    let mut progress = Progress::new(show, "running", "instructions", args.max_insns);
    let result = machine.run(args.max_insns, |platform, done| {
        progress.set(done);
        if let Some(console) = &console {
            while let Some(key) = console.key() {
                platform.serial_receive(platform.now(), &[key]);
            }
        }
        let left = console.as_ref().is_some_and(Console::is_left);
        if left || interrupted.load(Ordering::Relaxed) { Go::Stop } else { Go::On }
    });
    progress.finish();
    Ok(result)
}

fn load_options(args: &RunArgs, machine: &MachineOptions) -> Result<LoadOptions> {
    let module = |path: &PathBuf| {
        let image = Image::read(path).map_err(report)?;
        Ok(Module { arguments: image.name.clone(), image })
    };
    Ok(LoadOptions {
        command_line: args.append.clone(),
        modules: args.modules.iter().map(module).collect::<Result<_>>()?,
        initrd: args.initrd.as_ref().map(|path| Image::read(path).map_err(report)).transpose()?,
        protocol: args.protocol.into(),
        ..LoadOptions::new(machine.memory_map().map_err(report)?)
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

/// Standard output, of which the guest's bytes are seen at once.
struct Unbuffered;

impl Write for Unbuffered {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut out = io::stdout().lock();
        let written = out.write(bytes)?;
        out.flush()?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}
