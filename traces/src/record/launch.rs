//! Starts a program so that it runs the same way each time, and sees the processor that it should see.
#![allow(unsafe_code, reason = "prepares the child between fork and exec")]

use super::cpuid::{host, masked};
use super::error::RecordError;
use super::tracee::Tracee;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Keeps this thread, and what it starts, on one processor: a step is then three times as fast.
pub(crate) struct Pinned(Option<CpuSet>);

impl Pinned {
    /// Pins the thread to the processor on which it runs.
    pub(crate) fn here() -> Self {
        let this = Pid::from_raw(0);
        let former = sched_getaffinity(this).ok();
        let mut one = CpuSet::new();
        // SAFETY: a plain system call without arguments.
        let cpu = unsafe { libc::sched_getcpu() };
        let pinned = usize::try_from(cpu).is_ok_and(|cpu| one.set(cpu).is_ok())
            && sched_setaffinity(this, &one).is_ok();
        Self(former.filter(|_| pinned))
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if let Some(former) = &self.0 {
            // When it fails the thread stays on one processor, which is slower and nothing worse.
            let _ = sched_setaffinity(Pid::from_raw(0), former);
        }
    }
}

/// Starts `program`; it has stopped before its first instruction.
pub(crate) fn start(
    program: &Path,
    arguments: &[OsString],
    environment: Option<&[(OsString, OsString)]>,
) -> Result<Tracee, RecordError> {
    let mut command = Command::new(program);
    command.args(arguments);
    if let Some(environment) = environment {
        command.env_clear().envs(environment.iter().map(|(name, value)| (name, value)));
    }
    // SAFETY: `prepare` makes two system calls, which is allowed between fork and exec.
    unsafe { command.pre_exec(prepare) };
    let child = command.spawn().map_err(|source| not_started(program, source))?;
    Tracee::new(child.id() as i32).map_err(|source| RecordError::Refused {
        program: program.to_owned(),
        action: "trace the program",
        source,
    })
}

/// In the child: the same addresses each time, and traced by the parent.
fn prepare() -> io::Result<()> {
    // SAFETY: a plain system call.
    if unsafe { libc::personality(libc::ADDR_NO_RANDOMIZE as libc::c_ulong) } == -1 {
        return Err(io::Error::last_os_error());
    }
    nix::sys::ptrace::traceme().map_err(io::Error::from)
}

fn not_started(program: &Path, source: io::Error) -> RecordError {
    let program = program.to_owned();
    match source.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR) => RecordError::NotFound { program, source },
        Some(libc::EACCES | libc::ENOEXEC | libc::ELIBBAD | libc::EISDIR | libc::EINVAL) => {
            RecordError::NotExecutable { program, source }
        }
        _ => RecordError::Refused { program, action: "start the program", source },
    }
}

/// Entries of the auxiliary vector (`getauxval`).
const AT_NULL: u64 = 0;
const AT_IGNORE: u64 = 1;
const AT_HWCAP: u64 = 16;
const AT_RANDOM: u64 = 25;
const AT_HWCAP2: u64 = 26;
const AT_SYSINFO_EHDR: u64 = 33;

/// The 16 "random" bytes that each program starts with.
const RANDOM: [u64; 2] = [0x0123_4567_89ab_cd00, 0xfedc_ba98_7654_3210];

/// Whether the program shall see the processor that the engine models.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Steering {
    Scope,
    Host,
}

/// Edits what the kernel put on the stack of a program that is about to start.
///
/// The vDSO is hidden, so that the time is asked for by system calls; the random bytes, which seed stack
/// protection and pointer mangling, are the same each time; the capabilities match CPUID.
pub(crate) fn edit_stack(tracee: &mut Tracee, rsp: u64, steering: Steering) -> io::Result<()> {
    let missing =
        || io::Error::new(io::ErrorKind::InvalidData, "the stack of the program has no auxiliary vector");
    let arguments = tracee.read_word(rsp).ok_or_else(missing)?;
    let mut at = rsp.wrapping_add(arguments.wrapping_add(2).wrapping_mul(8));
    while tracee.read_word(at).ok_or_else(missing)? != 0 {
        at = at.wrapping_add(8);
    }
    loop {
        at = at.wrapping_add(8);
        let kind = tracee.read_word(at).ok_or_else(missing)?;
        let value = tracee.read_word(at.wrapping_add(8)).ok_or_else(missing)?;
        match kind {
            AT_NULL => return Ok(()),
            AT_SYSINFO_EHDR => tracee.write_word(at, AT_IGNORE)?,
            AT_RANDOM => {
                tracee.write_word(value, RANDOM[0])?;
                tracee.write_word(value.wrapping_add(8), RANDOM[1])?;
            }
            AT_HWCAP if steering == Steering::Scope => {
                tracee.write_word(at.wrapping_add(8), u64::from(masked(1, 0, host(1, 0)).edx))?;
            }
            // Bit 1: the FSGSBASE instructions may be used.
            AT_HWCAP2 if steering == Steering::Scope => tracee.write_word(at.wrapping_add(8), value & 2)?,
            _ => {}
        }
        at = at.wrapping_add(8);
    }
}
