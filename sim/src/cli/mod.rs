//! The command line: one file a subcommand.
//!
//! Exit status: 0 done, 1 the run found something, 2 the request was wrong.

mod compare;
mod explain;
mod record;
mod replay;
mod run;
mod trace;
mod vmcs;

use clap::{Args, Parser, Subcommand};
use miette::{Report, miette};
use serde::de::DeserializeOwned;
use std::path::PathBuf;
use std::process::ExitCode;
use vmxsim::progress::Show;

/// A cycle-level x86-64 simulator whose subject is Intel VMX.
///
/// Record a real program on this processor, replay it on the simulated one, natively or as a guest behind EPT, and
/// compare every register with what silicon did. Run TLB-invalidation strategies on the same work and see what each
/// costs.
#[derive(Parser)]
#[command(name = "vmxsim", version, max_term_width = 100, after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  vmxsim compare                                  what TLB-invalidation strategies cost, on the bundled traces
  vmxsim compare --sweep unmap=0..2000            from where on another strategy is better
  vmxsim replay traces/sort.vmxt                  what the program costs on the machine itself
  vmxsim replay traces/sort.vmxt --as guest       the same behind EPT: two-dimensional walks
  vmxsim replay traces/sort.vmxt --verify         compare all registers after each instruction
  vmxsim record -o ls.vmxt -- ls -l /usr/bin      record a program on this processor
  vmxsim trace info ls.vmxt                       what a trace holds
  vmxsim explain EPT violation                    an exit reason, VMCS field or control
  vmxsim explain GUEST.SEG.TR_TYPE_64             a rule of VM entry
  vmxsim vmcs lint vmcs.json                      every rule of VM entry that a VMCS violates

Exit status: 0 done, 1 the run found something (a divergence, a missing\ninvalidation), 2 the request was wrong.";

/// What every subcommand understands.
#[derive(Args, Clone)]
pub(crate) struct Common {
    /// Write the result as JSON to this file (`-` for standard output)
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Take options from a TOML file; unknown keys are refused, and the command line has the last word
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Seed of everything random
    #[arg(long, global = true, default_value_t = 0, value_name = "N")]
    pub(crate) seed: u64,
    /// Show no progress and no summary
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Log what the host does; twice for more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

impl Common {
    /// What `--config` names, or what stands for no file.
    pub(crate) fn configuration<T: DeserializeOwned + Default>(&self) -> miette::Result<T> {
        let Some(path) = &self.config else { return Ok(T::default()) };
        let text =
            std::fs::read_to_string(path).map_err(|e| miette!("cannot read {}: {e}", path.display()))?;
        toml::from_str(&text).map_err(|e| miette!("{}: {e}", path.display()))
    }

    pub(crate) fn show(&self) -> Show {
        if self.quiet { Show::No } else { Show::Yes }
    }
}

#[derive(Subcommand)]
enum Command {
    Compare(Box<compare::CompareArgs>),
    Explain(explain::ExplainArgs),
    Record(record::RecordArgs),
    Replay(replay::ReplayArgs),
    Run(Box<run::RunArgs>),
    Trace(trace::TraceArgs),
    Vmcs(vmcs::VmcsArgs),
}

/// How a run that could be carried out ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    /// Nothing to report.
    Done,
    /// Exit status 1.
    FoundSomething,
    /// The exit status that the guest asked for.
    Guest(u8),
}

/// Parses the command line and carries it out.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    log(cli.common.verbose);
    let ended = match &cli.command {
        Command::Compare(args) => compare::run(args, &cli.common),
        Command::Explain(args) => explain::run(args, &cli.common),
        Command::Record(args) => record::run(args, &cli.common),
        Command::Replay(args) => replay::run(args, &cli.common),
        Command::Run(args) => run::run(args, &cli.common),
        Command::Trace(args) => trace::run(args, &cli.common),
        Command::Vmcs(args) => vmcs::run(args, &cli.common),
    };
    match ended {
        Ok(Ended::Done) => ExitCode::SUCCESS,
        Ok(Ended::FoundSomething) => ExitCode::from(1),
        Ok(Ended::Guest(status)) => ExitCode::from(status),
        Err(report) => {
            eprintln!("{}", format!("{report:?}").trim_end());
            ExitCode::from(2)
        }
    }
}

/// An error of a library as a report of the command line. Their messages hold their causes.
#[allow(clippy::needless_pass_by_value, reason = "it stands in map_err")]
pub(crate) fn report(error: impl std::error::Error) -> Report {
    miette::miette!("{error}")
}

fn log(verbose: u8) {
    let level = match verbose {
        0 => return,
        1 => tracing::Level::INFO,
        _ => tracing::Level::DEBUG,
    };
    tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).init();
}
