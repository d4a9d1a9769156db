//! Records what a program does, instruction by instruction (x86-64 Linux).
//!
//! The program runs under `ptrace` with its real arguments and environment, one instruction at a time, through
//! system calls, signals and the execution of other programs. What is recorded:
//!
//! - the registers that each instruction changed, and the bytes that it stored;
//! - each page of memory as it is right before the program touches it for the first time;
//! - what the kernel and other processes changed in pages that the program touches again;
//! - the registers after the delivery of a signal.
//!
//! What differs from a run without the recorder:
//!
//! - addresses are not randomised, and the sixteen random bytes that a program starts with are constants;
//! - the program runs on one processor;
//! - the vDSO is hidden, so that asking for the time is a system call (pages of `vvar` cannot be recorded);
//! - under [`Cpuid::ScopeOnly`] CPUID answers as in [`cpuid`].
//!
//! Child processes run untraced. Other threads run untraced too; what they write is seen only when the recorded
//! thread touches it ([`Outcome::threads_not_recorded`]). A system call that ends the program or starts another
//! one is not a step; neither is an instruction that raises a fault.

pub mod cpuid;

mod error;
mod instruction;
mod interrupt;
mod launch;
mod maps;
mod memory;
mod repeat;
mod session;
mod system;
mod tracee;

pub use error::RecordError;
pub use interrupt::stop_on_interrupt;

use crate::format::{Cpuid, EndReason, Header, Sink, TraceWriter};
use crate::taken::is_taken;
use iced_x86::Instruction;
use session::Session;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

/// How a program is recorded.
#[derive(Clone, Copy, Debug)]
pub struct RecordOptions {
    /// The most steps that are recorded.
    pub limit: Option<u64>,
    /// What CPUID tells the program.
    pub cpuid: Cpuid,
    /// Which instructions a replay takes from the record.
    pub taken: fn(&Instruction) -> bool,
    /// Ends the trace when it is set.
    pub stop: Option<&'static AtomicBool>,
}

impl Default for RecordOptions {
    fn default() -> Self {
        Self { limit: None, cpuid: Cpuid::ScopeOnly, taken: is_taken, stop: None }
    }
}

/// How a recording went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// Why it ended; [`TraceWriter::finish`] wants it.
    pub end: EndReason,
    /// Steps recorded.
    pub steps: u64,
    /// Programs started, the first among them.
    pub programs: u64,
    /// Whether the program started threads, which are not in the trace.
    pub threads_not_recorded: bool,
    /// Whether the trace stops because the program started one that is not 64-bit x86.
    pub left_64_bit_mode: bool,
}

/// A program that is to be recorded.
///
/// ```no_run
/// use traces::record::{RecordOptions, Recorder};
/// use traces::{TraceWriter, WriteOptions};
///
/// let recorder = Recorder::new("/bin/true", [], RecordOptions::default());
/// let mut writer = TraceWriter::create("true.vmxt".as_ref(), &recorder.header(), WriteOptions::default())?;
/// let outcome = recorder.run(&mut writer, &mut |_| {})?;
/// writer.finish(outcome.end)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Recorder {
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Option<Vec<(OsString, OsString)>>,
    options: RecordOptions,
}

impl Recorder {
    /// Prepares to record `program`, which is looked up in `PATH` when its name has no slash.
    pub fn new(
        program: impl Into<PathBuf>,
        arguments: impl IntoIterator<Item = OsString>,
        options: RecordOptions,
    ) -> Self {
        let arguments = arguments.into_iter().collect();
        Self { program: program.into(), arguments, environment: None, options }
    }

    /// Gives the program this environment instead of the recorder's own.
    #[must_use]
    pub fn environment(mut self, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        self.environment = Some(variables.into_iter().collect());
        self
    }

    /// The header that belongs to the trace.
    #[must_use]
    pub fn header(&self) -> Header {
        Header {
            program: self.program.to_string_lossy().into_owned(),
            arguments: self.arguments.iter().map(|text| text.to_string_lossy().into_owned()).collect(),
            processor: cpuid::brand(),
            cpuid: self.options.cpuid,
            limit: self.options.limit,
            writer: concat!("vmxsim ", env!("CARGO_PKG_VERSION")).to_owned(),
            note: None,
        }
    }

    /// Runs the program to its end, or to the limit, and writes what it does. `progress` is told the number of
    /// steps from time to time.
    ///
    /// # Errors
    ///
    /// [`RecordError`] when the program cannot be started or the trace cannot be written. The program is killed.
    pub fn run<S: Sink>(
        self,
        writer: &mut TraceWriter<S>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Outcome, RecordError> {
        let _pinned = launch::Pinned::here();
        let tracee = launch::start(&self.program, &self.arguments, self.environment.as_deref())?;
        Session::new(&self.program, tracee, self.options, writer).run(progress)
    }
}
