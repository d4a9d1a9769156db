//! `vmxsim vmcs`.

mod capabilities;
mod entries;
mod report;
mod source;

use super::{Common, Ended, report as report_error};
use capabilities::Processor;
use clap::{Args, Subcommand};
use miette::{Result, miette};
use report::LintReport;
use serde::{Deserialize, Serialize};
use source::{Form, Source};
use std::path::{Path, PathBuf};
use std::time::Instant;
use vmx::entry_rules::{EntryInstruction, NoMemory, ProcessorState, Subject, lint};
use vmxsim::result::{Envelope, write_json};

/// Judge a VMCS
#[derive(Args)]
pub(crate) struct VmcsArgs {
    #[command(subcommand)]
    command: VmcsCommand,
}

#[derive(Subcommand)]
enum VmcsCommand {
    Lint(LintArgs),
}

/// List every rule of VM entry that a VMCS violates
///
/// The VMCS is what Linux KVM prints when a VM entry fails (the part of `dmesg` from `*** Guest State ***` on), what
/// Xen prints for the debug key `v`, or JSON: {"guest CR0": "0x80000031", "GUEST_RIP": 4096, "0x6820": 2}, with names,
/// symbols or encodings, and values as numbers or as text (0x... is hexadecimal). Fields that are not given are not
/// guessed: the rules that need them are counted as not judged. Nor are those judged that need memory, or depend on the
/// instruction.
///
/// The rules are listed in the order in which they are checked here; a processor reports the first that it finds, and
/// all rules of the controls and of the host state before those of the guest state. Exit status 1 says that some rule
/// is violated.
#[derive(Args)]
#[command(after_help = "\
Examples:
  vmxsim vmcs lint vmcs.json
  dmesg | vmxsim vmcs lint -
  vmxsim vmcs lint dump.txt --capabilities skylake.toml --json -")]
struct LintArgs {
    /// The VMCS (`-` for standard input)
    #[arg(value_name = "FILE", required_unless_present = "config")]
    file: Option<PathBuf>,
    /// What the processor offers: tier1, the simulated one; or a file that ends in .toml or .json and holds the VMX
    /// capability MSRs, such as IA32_VMX_BASIC = "0xda040000000004" or 0x480 = ..., and if known
    /// physical-address-width and linear-address-width [default: tier1]
    #[arg(long, value_name = "NAME|FILE")]
    capabilities: Option<String>,
}

/// The same as options, in a configuration file.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct LintConfig {
    file: Option<PathBuf>,
    capabilities: Option<String>,
}

/// What was asked, with everything resolved.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct LintOptions {
    file: PathBuf,
    form: Form,
    capabilities: String,
}

/// Carries out `vmxsim vmcs`.
pub(crate) fn run(args: &VmcsArgs, common: &Common) -> Result<Ended> {
    let VmcsCommand::Lint(args) = &args.command;
    run_lint(args, common)
}

fn run_lint(args: &LintArgs, common: &Common) -> Result<Ended> {
    let started = Instant::now();
    let config: LintConfig = common.configuration()?;
    let file = args.file.clone().or(config.file).ok_or_else(|| miette!("no file was named"))?;
    let capabilities = args.capabilities.clone().or(config.capabilities).unwrap_or_else(|| "tier1".into());
    let processor = Processor::select(&capabilities)?;
    let source = Source::read(&file)?;
    let result = judge(&source, &processor);
    let options = LintOptions { file, form: source.form, capabilities };
    if let Some(path) = &common.json {
        let envelope = Envelope {
            schema: "vmxsim-vmcs-lint",
            schema_version: 1,
            config: &options,
            seed: common.seed,
            host_seconds: started.elapsed().as_secs_f64(),
            result: &result,
        };
        write_json(path, &envelope.to_json().map_err(report_error)?).map_err(report_error)?;
    }
    if !common.quiet && common.json.as_deref() != Some(Path::new("-")) {
        println!("{}, on {}\n{result}", options.file.display(), options.capabilities);
    }
    Ok(if result.violations.is_empty() { Ended::Done } else { Ended::FoundSomething })
}

/// Judges it for a VMM in 64-bit mode, outside SMM.
fn judge(source: &Source, processor: &Processor) -> LintReport {
    let subject = Subject {
        instruction: EntryInstruction::Vmlaunch,
        vmcs: &source.dump.vmcs,
        capabilities: &processor.capabilities,
        processor: &ProcessorState::in_64_bit_mode(processor.limits),
        memory: &NoMemory,
    };
    LintReport::new(source, lint(&subject, source.dump.given))
}
