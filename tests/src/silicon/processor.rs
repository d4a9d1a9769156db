//! The real processor, behind a child process.
#![allow(unsafe_code, reason = "shared memory and processes")]

use super::child;
use super::draft::Program;
use super::outcome::{End, Outcome};
use super::shared::{self, BATCH, CODE_SIZE, HLT, Input, Output, Patch, SIZE, Shared};
use core::ptr::null_mut;
use core::sync::atomic::Ordering;
use isa::registers::Registers;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// A running child.
struct Child {
    process: libc::pid_t,
    requests: PipeWriter,
    answers: PipeReader,
}

impl Child {
    /// Waits until the process has ended and says how.
    fn wait(&mut self) -> i32 {
        let mut status = 0;
        // SAFETY: the process is our child.
        unsafe { libc::waitpid(self.process, &raw mut status, 0) };
        self.process = 0;
        status
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.process != 0 {
            // SAFETY: the process is our child and has not been waited for.
            unsafe { libc::kill(self.process, libc::SIGKILL) };
            self.wait();
        }
    }
}

/// The processor of the host.
pub(crate) struct Processor {
    memory: OwnedFd,
    shared: *mut Shared,
    child: Option<Child>,
}

impl Drop for Processor {
    fn drop(&mut self) {
        self.child = None;
        // SAFETY: the mapping is ours and nobody refers to it any more.
        unsafe { libc::munmap(self.shared.cast(), size_of::<Shared>()) };
    }
}

fn last_error(what: &str) -> String {
    format!("{what}: {}", std::io::Error::last_os_error())
}

impl Processor {
    /// Starts a child.
    ///
    /// # Errors
    /// Why this host cannot do it.
    pub(crate) fn start() -> Result<Self, String> {
        // SAFETY: a new file without a name, mapped anew; zeros are a valid `Shared`.
        let mut processor = unsafe {
            let memory = libc::memfd_create(c"area".as_ptr(), libc::MFD_CLOEXEC);
            if memory < 0 {
                return Err(last_error("memfd_create"));
            }
            let memory = OwnedFd::from_raw_fd(memory);
            if libc::ftruncate(memory.as_raw_fd(), size_of::<Shared>() as i64) != 0 {
                return Err(last_error("ftruncate"));
            }
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            let shared = libc::mmap(
                null_mut(),
                size_of::<Shared>(),
                protection,
                libc::MAP_SHARED,
                memory.as_raw_fd(),
                0,
            );
            if shared == libc::MAP_FAILED {
                return Err(last_error("mmap"));
            }
            Self { memory, shared: shared.cast(), child: None }
        };
        processor.shared().area[..CODE_SIZE].fill(HLT);
        processor.child = Some(processor.fork()?);
        Ok(processor)
    }

    fn shared(&mut self) -> &mut Shared {
        // SAFETY: the child touches it only between a request and its answer, during which `exchange` waits.
        unsafe { &mut *self.shared }
    }

    fn fork(&mut self) -> Result<Child, String> {
        let pipe = || std::io::pipe().map_err(|error| format!("pipe: {error}"));
        let ((their_requests, requests), (answers, their_answers)) = (pipe()?, pipe()?);
        // SAFETY: the child calls only `serve`, which neither allocates nor locks.
        let process = unsafe { libc::fork() };
        if process == 0 {
            // SAFETY: the child has its own descriptors; without these it sees the end of the parent.
            unsafe {
                for fd in [requests.as_raw_fd(), answers.as_raw_fd()] {
                    libc::close(fd);
                }
                child::serve(
                    self.shared,
                    self.memory.as_raw_fd(),
                    their_requests.as_raw_fd(),
                    their_answers.as_raw_fd(),
                )
            }
        }
        if process < 0 {
            return Err(last_error("fork"));
        }
        let mut child = Child { process, requests, answers };
        drop((their_requests, their_answers));
        let mut ready = [0];
        match child.answers.read_exact(&mut ready) {
            Ok(()) if ready == [1] => Ok(child),
            _ => Err("the area cannot be mapped or the handlers cannot be installed".to_owned()),
        }
    }

    /// Sets what every case finds in memory.
    pub(crate) fn set_pristine(&mut self, pristine: &[u8]) {
        let shared = self.shared();
        shared.pristine.copy_from_slice(pristine);
        shared.area.copy_from_slice(pristine);
    }

    /// Executes programs, and returns an outcome for each. A child that ends is an outcome too.
    pub(crate) fn run(&mut self, programs: &[&Program]) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(programs.len());
        while outcomes.len() < programs.len() {
            let rest = &programs[outcomes.len()..];
            let rest = &rest[..rest.len().min(BATCH)];
            let lost = self.exchange(rest);
            let done = self.shared().done.load(Ordering::Relaxed) as usize;
            for (program, case) in rest.iter().zip(0..done) {
                outcomes.push(self.outcome(program, case));
            }
            if let Some(reason) = lost {
                outcomes.push(Outcome::lost(reason));
            }
        }
        outcomes
    }

    /// One round trip; returns how the child ended if it did.
    fn exchange(&mut self, programs: &[&Program]) -> Option<String> {
        let shared = self.shared();
        for (input, program) in shared.inputs.iter_mut().zip(programs) {
            *input = input_of(program);
        }
        shared.count.store(u32::try_from(programs.len()).unwrap_or(0), Ordering::Relaxed);
        shared.done.store(0, Ordering::Relaxed);
        let mut answer = [0];
        let child = self.child.as_mut()?;
        let answered = child.requests.write_all(&[1]).and_then(|()| child.answers.read_exact(&mut answer));
        match answered {
            Ok(()) => None,
            Err(_) => Some(self.bury()),
        }
    }

    /// Says how the child ended and starts another.
    fn bury(&mut self) -> String {
        let status = self.child.take().map_or(0, |mut child| child.wait());
        let shared = self.shared();
        shared.area = shared.pristine;
        self.child = Some(self.fork().expect("a child could be started before"));
        if libc::WIFSIGNALED(status) {
            format!("the process was killed by signal {}", libc::WTERMSIG(status))
        } else {
            format!("the process ended with status {}", libc::WEXITSTATUS(status))
        }
    }

    fn outcome(&mut self, program: &Program, case: usize) -> Outcome {
        let shared = self.shared();
        let output: &Output = &shared.outputs[case];
        let mut registers = Registers {
            gpr: output.gpr,
            rip: output.rip,
            rflags: output.rflags,
            fs_base: output.fs_base,
            gs_base: output.gs_base,
            ..Registers::default()
        };
        shared::from_image(&output.image, &mut registers);
        let lines = output.first_line as usize..(output.first_line + output.lines) as usize;
        let end = if output.vector == 13 && output.rip == program.end() {
            End::Completed
        } else {
            End::Exception {
                vector: u8::try_from(output.vector).unwrap_or(u8::MAX),
                error_code: output.error_code,
                address: if output.vector == 14 { output.address } else { 0 },
            }
        };
        Outcome { end, registers, lines: shared.lines[lines].to_vec() }
    }
}

fn input_of(program: &Program) -> Input {
    let registers = &program.registers;
    let mut code = [0; 160];
    code[..program.bytes.len()].copy_from_slice(&program.bytes);
    let mut patches = [Patch::default(); 16];
    for (place, patch) in patches.iter_mut().zip(&program.patches) {
        *place = *patch;
    }
    let offset = program.start - program.mode.base();
    debug_assert!(program.patches.len() <= patches.len() && offset < SIZE as u64);
    let selectors = program.mode.selectors();
    Input {
        gpr: registers.gpr,
        rip: registers.rip,
        rflags: registers.rflags,
        fs_base: registers.fs_base,
        gs_base: registers.gs_base,
        image: shared::image(registers),
        code_offset: u32::try_from(offset).unwrap_or(0),
        code_bytes: u32::try_from(program.bytes.len()).unwrap_or(0),
        selectors: [selectors.code, selectors.stack, selectors.data],
        code,
        patches,
    }
}
