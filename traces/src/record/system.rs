//! Where the program meets the kernel: system calls, signals, other programs, CPUID.

use super::cpuid::{host, masked};
use super::error::RecordError;
use super::instruction::Decoded;
use super::session::{Flow, Session};
use super::tracee::{Resume, Stop};
use crate::format::{EndReason, Sink};

/// The trap flag of RFLAGS.
const TF: u64 = 1 << 8;

/// Results with which the kernel marks a system call that a signal interrupted; the program never sees them.
const RESTARTS: [i64; 4] = [-512, -513, -514, -516];

/// System calls after which mappings may have changed: mmap, mprotect, munmap, brk, mremap, shmat, shmdt,
/// remap_file_pages, pkey_mprotect.
const MAPPING: [u64; 9] = [9, 10, 11, 12, 25, 30, 67, 216, 329];

const RT_SIGRETURN: u64 = 15;
const CLONE: u64 = 56;
const CLONE3: u64 = 435;
const CLONE_VM: u64 = 0x100;
const CLONE_VFORK: u64 = 0x4000;
const CLONE_THREAD: u64 = 0x1_0000;

impl<S: Sink> Session<'_, S> {
    /// Answers CPUID in place of the processor.
    pub(crate) fn answer_cpuid(&mut self, decoded: &Decoded) -> Result<Flow, RecordError> {
        let mut registers = self.registers()?;
        let (leaf, subleaf) = (registers.rax as u32, registers.rcx as u32);
        let answer = masked(leaf, subleaf, host(leaf, subleaf));
        registers.rax = answer.eax.into();
        registers.rbx = answer.ebx.into();
        registers.rcx = answer.ecx.into();
        registers.rdx = answer.edx.into();
        registers.rip += u64::from(decoded.length);
        let set = self.tracee.set_registers(&registers);
        set.map_err(|source| self.refused("set registers", source))?;
        self.complete(decoded, &registers)?;
        Ok(None)
    }

    /// Executes a system call. One that a signal interrupts and the kernel restarts is one step.
    pub(crate) fn system_call(&mut self, decoded: &Decoded) -> Result<Flow, RecordError> {
        let number = self.state.gpr[0];
        let clones = self.clone_flags(number);
        self.memory.start_epoch();
        loop {
            match self.go(Resume::Step)? {
                Stop::Trap => {}
                Stop::Signal(signal) => {
                    let flow = self.deliver(signal)?;
                    // Unless a handler runs now, the system call starts or goes on.
                    if flow.is_some() || self.inject == 0 {
                        return Ok(flow);
                    }
                    continue;
                }
                stop => return self.stopped(stop),
            }
            let registers = self.registers()?;
            let interrupted =
                registers.orig_rax.cast_signed() >= 0 && RESTARTS.contains(&registers.rax.cast_signed());
            if !interrupted {
                return self.returned(decoded, number, clones, registers);
            }
        }
    }

    fn returned(
        &mut self,
        decoded: &Decoded,
        number: u64,
        clones: u64,
        mut registers: libc::user_regs_struct,
    ) -> Result<Flow, RecordError> {
        // SYSCALL has put RFLAGS into R11, with the flag that makes it a single-step.
        if registers.r11 & TF != 0 && number != RT_SIGRETURN {
            registers.r11 &= !TF;
            let set = self.tracee.set_registers(&registers);
            set.map_err(|source| self.refused("set registers", source))?;
        }
        if MAPPING.contains(&number) {
            self.memory.remap();
        }
        if registers.rax.cast_signed() > 0 && clones & CLONE_VM != 0 && clones & CLONE_VFORK == 0 {
            self.memory.expect_company();
            self.outcome.threads_not_recorded |= clones & CLONE_THREAD != 0;
        }
        if number == RT_SIGRETURN {
            self.load_state(&registers)?;
        }
        self.complete(decoded, &registers)?;
        Ok(None)
    }

    /// What a system call that starts a process or thread shares with it.
    fn clone_flags(&mut self, number: u64) -> u64 {
        let argument = self.state.gpr[7];
        match number {
            CLONE => argument,
            CLONE3 => self.tracee.read_word(argument).unwrap_or(0),
            _ => 0,
        }
    }

    /// The program has executed another one.
    pub(crate) fn executed(&mut self) -> Result<Flow, RecordError> {
        let entry = self.registers()?.rip;
        // The system call returns into the new program, and stops before its first instruction.
        match self.go(Resume::Step)? {
            Stop::Trap => {}
            stop => return self.stopped(stop),
        }
        debug_assert_eq!(entry, self.registers()?.rip);
        if self.begin()? {
            return Ok(None);
        }
        self.outcome.left_64_bit_mode = true;
        self.tracee.kill();
        Ok(Some(EndReason::Stopped))
    }

    /// Delivers `signal`. A handler starts at once; otherwise the signal waits until the program goes on, and
    /// then ends it or does nothing.
    pub(crate) fn deliver(&mut self, signal: i32) -> Result<Flow, RecordError> {
        let mut signal = signal;
        loop {
            if matches!(signal, libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU) {
                return Ok(None);
            }
            self.inject = signal;
            if self.is_stopped() || !self.is_caught(signal) {
                return Ok(None);
            }
            match self.go(Resume::Step)? {
                Stop::Trap => break,
                // The handler cannot start: its stack is not there.
                Stop::Signal(next) => signal = next,
                stop => return self.stopped(stop),
            }
        }
        let registers = self.registers()?;
        self.load_state(&registers)?;
        self.memory.start_epoch();
        self.push_effect()?;
        Ok(None)
    }

    /// Whether the program has a handler for `signal`.
    fn is_caught(&self, signal: i32) -> bool {
        let status = self.tracee.proc("status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let mask = mask.and_then(|text| u64::from_str_radix(text.trim(), 16).ok()).unwrap_or(0);
        mask >> (signal - 1) & 1 != 0
    }

    /// Whether a trap was sent by a process instead of a single-step.
    pub(crate) fn is_foreign_trap(&self) -> Result<bool, RecordError> {
        let info = self.tracee.signal_info().map_err(|source| self.refused("read a signal", source))?;
        Ok(matches!(info.si_code, libc::SI_USER | libc::SI_TKILL | libc::SI_QUEUE))
    }

    /// Clears the flag of single-stepping in RFLAGS that PUSHF has stored.
    pub(crate) fn clean_pushed_flags(&mut self, rsp: u64) -> Result<(), RecordError> {
        let Some(pushed) = self.tracee.read_word(rsp) else { return Ok(()) };
        let written = self.tracee.write_word(rsp, pushed & !TF);
        written.map_err(|source| self.refused("write the stack", source))
    }
}
