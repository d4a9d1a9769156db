//! Runs single instructions under a given MXCSR on the processor of the host, and catches their exceptions.
#![allow(unsafe_code, reason = "machine code is called and a signal handled")]

use crate::silicon_simd::{Code, Context};
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes of the instruction that runs.
static LENGTH: AtomicUsize = AtomicUsize::new(0);
/// MXCSR when the instruction raised an exception, with [`TRAPPED`].
static TRAP: AtomicU32 = AtomicU32::new(0);
const TRAPPED: u32 = 1 << 31;

/// The right to run instructions that may raise exceptions.
pub(crate) struct Processor(MutexGuard<'static, ()>);

/// Whether an instruction completed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    Completed,
    SimdFloatingPoint,
}

impl Processor {
    /// Waits for other tests and installs the handler of exceptions.
    pub(crate) fn new() -> Self {
        static LOCK: Mutex<()> = Mutex::new(());
        let guard = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the action is all zeros but for a handler of the right type, which touches only atomics and its
        // frame.
        unsafe {
            let mut action: libc::sigaction = core::mem::zeroed();
            let handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::ucontext_t) = on_exception;
            action.sa_sigaction = handler as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO;
            assert_eq!(libc::sigaction(libc::SIGFPE, &raw const action, core::ptr::null_mut()), 0);
        }
        Self(guard)
    }

    /// Executes an instruction of `length` bytes under `mxcsr`, and returns MXCSR after it.
    ///
    /// # Safety
    /// As for [`Code::run`], except that it may raise #XM.
    pub(crate) unsafe fn run(
        &self,
        code: &Code,
        instruction: usize,
        length: usize,
        mxcsr: u32,
        context: &mut Context,
    ) -> (End, u32) {
        let _ = &self.0;
        LENGTH.store(length, Ordering::SeqCst);
        TRAP.store(0, Ordering::SeqCst);
        let (mut before, mut after) = (0_u32, 0_u32);
        // SAFETY: no reserved bit is set; nothing but the instruction computes until the old value is back.
        unsafe {
            core::arch::asm!("stmxcsr [{}]", "ldmxcsr [{}]", in(reg) &raw mut before, in(reg) &raw const mxcsr);
            code.run(instruction, context);
            core::arch::asm!("stmxcsr [{}]", "ldmxcsr [{}]", in(reg) &raw mut after, in(reg) &raw const before);
        }
        match TRAP.load(Ordering::SeqCst) {
            0 => (End::Completed, after),
            trap => (End::SimdFloatingPoint, trap & !TRAPPED),
        }
    }
}

/// Notes MXCSR, masks all exceptions and goes on after the instruction.
extern "C" fn on_exception(_: i32, _: *mut libc::siginfo_t, context: *mut libc::ucontext_t) {
    // SAFETY: the kernel passes a context whose floating-point part is there on x86-64.
    unsafe {
        let machine = &mut (*context).uc_mcontext;
        let mxcsr = &mut (*machine.fpregs).mxcsr;
        TRAP.store(*mxcsr | TRAPPED, Ordering::SeqCst);
        *mxcsr |= 0x1f80;
        machine.gregs[libc::REG_RIP as usize] += LENGTH.load(Ordering::SeqCst) as i64;
    }
}
