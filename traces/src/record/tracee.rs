//! The traced process: the few system calls that the recorder makes, as functions with names.
#![allow(
    unsafe_code,
    reason = "ptrace and waitpid with real-time signals, which the safe wrappers cannot express"
)]

use isa::registers::{Registers, X87};
use nix::sys::ptrace::{self, Options, regset};
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::ptr;

/// What ended a wait for the traced process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stop {
    /// An instruction was single-stepped, or a breakpoint reached.
    Trap,
    /// This signal is about to be delivered.
    Signal(i32),
    /// It has executed another program.
    Exec,
    /// It exited with this code.
    Exited(i32),
    /// This signal ended it.
    Killed(i32),
    /// The wait was interrupted by a signal to the recorder.
    Interrupted,
}

/// How the traced process goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Resume {
    /// For one instruction, or one iteration of a repeated one.
    Step,
    /// Until a breakpoint.
    Run,
}

/// A traced process; it is killed when this is dropped.
pub(crate) struct Tracee {
    pid: Pid,
    memory: Option<File>,
    alive: bool,
}

/// RFLAGS bits that belong to single-stepping and not to the program: TF and RF.
const DEBUG_FLAGS: u64 = 1 << 8 | 1 << 16;

impl Tracee {
    /// Takes over a child that stopped at its first instruction.
    pub(crate) fn new(pid: i32) -> io::Result<Self> {
        let mut tracee = Self { pid: Pid::from_raw(pid), memory: None, alive: true };
        loop {
            match tracee.wait()? {
                Stop::Trap => break,
                Stop::Interrupted => {}
                stop => return Err(io::Error::other(format!("it did not stop at its start: {stop:?}"))),
            }
        }
        ptrace::setoptions(tracee.pid, Options::PTRACE_O_EXITKILL | Options::PTRACE_O_TRACEEXEC)?;
        Ok(tracee)
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Lets the process go on and delivers `signal` unless it is 0.
    pub(crate) fn resume(&self, resume: Resume, signal: i32) -> io::Result<()> {
        let request = match resume {
            Resume::Step => libc::PTRACE_SINGLESTEP,
            Resume::Run => libc::PTRACE_CONT,
        };
        let signal = signal as usize as *mut libc::c_void;
        // SAFETY: both requests take an ignored address and a signal number; they write no memory of this process.
        let result = unsafe { libc::ptrace(request, self.pid(), ptr::null_mut::<libc::c_void>(), signal) };
        if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Waits until the process stops or ends.
    pub(crate) fn wait(&mut self) -> io::Result<Stop> {
        let mut status = 0;
        // SAFETY: `status` is a valid place for the status during the call.
        let pid = unsafe { libc::waitpid(self.pid(), &raw mut status, libc::__WALL) };
        if pid == -1 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted {
                Ok(Stop::Interrupted)
            } else {
                Err(error)
            };
        }
        Ok(self.stop_of(status))
    }

    fn stop_of(&mut self, status: i32) -> Stop {
        if libc::WIFEXITED(status) {
            self.alive = false;
            return Stop::Exited(libc::WEXITSTATUS(status));
        }
        if libc::WIFSIGNALED(status) {
            self.alive = false;
            return Stop::Killed(libc::WTERMSIG(status));
        }
        if status >> 8 == libc::SIGTRAP | libc::PTRACE_EVENT_EXEC << 8 {
            self.memory = None;
            return Stop::Exec;
        }
        match libc::WSTOPSIG(status) {
            libc::SIGTRAP => Stop::Trap,
            signal => Stop::Signal(signal),
        }
    }

    /// Where the signal of the current stop came from.
    pub(crate) fn signal_info(&self) -> io::Result<libc::siginfo_t> {
        Ok(ptrace::getsiginfo(self.pid)?)
    }

    pub(crate) fn set_signal_info(&self, info: &libc::siginfo_t) -> io::Result<()> {
        Ok(ptrace::setsiginfo(self.pid, info)?)
    }

    pub(crate) fn registers(&self) -> io::Result<libc::user_regs_struct> {
        Ok(ptrace::getregs(self.pid)?)
    }

    pub(crate) fn set_registers(&self, registers: &libc::user_regs_struct) -> io::Result<()> {
        Ok(ptrace::setregs(self.pid, *registers)?)
    }

    /// XMM, MXCSR and x87 registers into `registers`.
    pub(crate) fn vector_registers(&self, registers: &mut Registers) -> io::Result<()> {
        let image = ptrace::getregset::<regset::NT_PRFPREG>(self.pid)?;
        registers.mxcsr = image.mxcsr;
        for (xmm, words) in registers.xmm.iter_mut().zip(image.xmm_space.as_chunks::<4>().0) {
            *xmm = join(words);
        }
        let mut st = [0; 8];
        for (st, words) in st.iter_mut().zip(image.st_space.as_chunks::<4>().0) {
            *st = join(words) & ((1 << 80) - 1);
        }
        registers.x87 = X87 {
            control: image.cwd,
            status: image.swd,
            tag: image.ftw as u8,
            opcode: image.fop,
            instruction_pointer: image.rip,
            data_pointer: image.rdp,
            st,
        };
        Ok(())
    }

    /// Arms the hardware breakpoint at `address`, or disarms it.
    pub(crate) fn set_breakpoint(&self, address: Option<u64>) -> io::Result<()> {
        let register = |i: usize| (std::mem::offset_of!(libc::user, u_debugreg) + i * 8) as *mut libc::c_void;
        if let Some(address) = address {
            ptrace::write_user(self.pid, register(0), address.cast_signed())?;
        }
        // DR7: L0 with an execution breakpoint of one byte (SDM Vol. 3B, 19.2.4).
        ptrace::write_user(self.pid, register(7), i64::from(address.is_some()))?;
        Ok(())
    }

    /// Reads as much of `buffer` as can be read at `address`.
    pub(crate) fn read(&mut self, address: u64, buffer: &mut [u8]) -> usize {
        let length = buffer.len();
        let remote = [RemoteIoVec { base: address as usize, len: length }];
        match process_vm_readv(self.pid, &mut [IoSliceMut::new(buffer)], &remote) {
            Ok(read) => read,
            // Pages that the program itself may not read can still be executed.
            Err(_) => self.read_by_force(address, buffer),
        }
    }

    fn read_by_force(&mut self, address: u64, buffer: &mut [u8]) -> usize {
        if self.memory.is_none() {
            self.memory = File::open(format!("/proc/{}/mem", self.pid)).ok();
        }
        self.memory.as_ref().and_then(|memory| memory.read_at(buffer, address).ok()).unwrap_or(0)
    }

    pub(crate) fn read_word(&mut self, address: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        (self.read(address, &mut bytes) == 8).then(|| u64::from_le_bytes(bytes))
    }

    pub(crate) fn write_word(&self, address: u64, value: u64) -> io::Result<()> {
        Ok(ptrace::write(self.pid, address as *mut libc::c_void, value.cast_signed())?)
    }

    /// The text of a file of the process under `/proc`.
    pub(crate) fn proc(&self, name: &str) -> io::Result<String> {
        let bytes = std::fs::read(format!("/proc/{}/{name}", self.pid))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Ends the process.
    pub(crate) fn kill(&mut self) {
        if !self.alive {
            return;
        }
        // SAFETY: a plain system call; the process is a child that has not been waited for.
        unsafe { libc::kill(self.pid(), libc::SIGKILL) };
        loop {
            match self.wait() {
                Ok(Stop::Exited(_) | Stop::Killed(_)) | Err(_) => break,
                Ok(_) => {}
            }
        }
        self.alive = false;
    }
}

impl Drop for Tracee {
    fn drop(&mut self) {
        self.kill();
    }
}

fn join(words: &[u32; 4]) -> u128 {
    words.iter().rev().fold(0, |value, word| value << 32 | u128::from(*word))
}

/// The general-purpose registers, RIP, RFLAGS and bases of `from` into `to`.
pub(crate) fn copy_general(from: &libc::user_regs_struct, to: &mut Registers) {
    to.gpr = [
        from.rax, from.rcx, from.rdx, from.rbx, from.rsp, from.rbp, from.rsi, from.rdi, from.r8, from.r9,
        from.r10, from.r11, from.r12, from.r13, from.r14, from.r15,
    ];
    to.rip = from.rip;
    to.rflags = from.eflags & !DEBUG_FLAGS;
    to.fs_base = from.fs_base;
    to.gs_base = from.gs_base;
}
