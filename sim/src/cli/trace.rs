//! `vmxsim trace`.

use super::{Common, Ended, report};
use clap::{Args, Subcommand};
use miette::Result;
use std::path::PathBuf;
use traces::TraceReader;

/// Look into traces, or convert them
#[derive(Args)]
pub(crate) struct TraceArgs {
    #[command(subcommand)]
    command: TraceCommand,
}

#[derive(Subcommand)]
enum TraceCommand {
    /// What a trace holds, from its headers
    Info {
        /// The trace
        file: PathBuf,
    },
}

/// Carries out `vmxsim trace`.
pub(crate) fn run(args: &TraceArgs, common: &Common) -> Result<Ended> {
    match &args.command {
        TraceCommand::Info { file } => {
            let summary = TraceReader::open(file).and_then(TraceReader::summary).map_err(report)?;
            println!("{summary:#?}");
        }
    }
    let _ = common;
    Ok(Ended::Done)
}
