//! SSE floating point: operations on XMM registers, bit for bit, with the exceptions of MXCSR.
//!
//! Each instruction is a row of the table in `operations`. It has two twins:
//!
//! - `portable` computes with integers;
//! - `host` executes the host's own instruction. It exists on x86-64 with SSE4.1 and is used there unless the crate
//!   feature `portable-float` is on.
//!
//! Both give the same results and flags for every operand and every MXCSR, except for the approximations RCPPS,
//! RCPSS, RSQRTPS and RSQRTSS, of which the manual fixes only the error.
//!
//! # Exception flags
//!
//! Under the default control (all exceptions masked, round to nearest, no DAZ, no FTZ) exceptions do nothing but set
//! the sticky flags of MXCSR, and nobody looks at those often. So while a `Session` is open the host twin lets its
//! flags gather in the host's own MXCSR; `State::collect_float_flags` moves them into the guest's when an instruction
//! looks (STMXCSR, LDMXCSR, FXSAVE, FXRSTOR) and when the session closes. Whoever opens a session sees to it that
//! nothing else computes with floating point until it closes. The engine opens one for each run that is not
//! observed.
//!
//! Under any other control, and without a session, each operation loads the guest's control into the host's
//! MXCSR with all exceptions masked, and puts the host's value back. The host never has an exception unmasked.
//! When an operation raises an exception that the guest does not mask, the portable twin says which flags
//! the guest sees.
//!
//! # Not modelled
//!
//! The misaligned-SSE control of other makers does not exist. That an unmasked exception is #UD while CR4.OSXMMEXCPT is 0
//! is seen to where the engine returns.

pub(crate) mod extended;
pub(crate) mod format;
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[cfg_attr(feature = "portable-float", allow(dead_code, reason = "tests compare it with the twin in use"))]
mod host;
pub mod mxcsr;
pub(crate) mod operations;
pub(crate) mod portable;
#[cfg_attr(
    not(all(target_arch = "x86_64", not(miri), not(feature = "portable-float"))),
    path = "without_session.rs"
)]
mod session;
#[cfg(test)]
mod tests;

use crate::cpu::{Cpu, Stopped};
use crate::record::Record;
use crate::state::State;
use operations::Operation;

pub(crate) use session::{Collection, Session, handle};

/// How an operation is computed and where its flags go.
pub(crate) trait Mode {
    /// The result of an operation, with its exceptions.
    ///
    /// # Errors
    /// #XM; MXCSR has its flags.
    fn apply<O: Operation>(state: &mut State, a: u128, b: u128, immediate: u8) -> Result<u128, Stopped>;
}

/// A handler in either mode.
pub(crate) trait Body {
    /// Executes the instruction.
    ///
    /// # Errors
    /// What the memory refuses, and #XM.
    fn run<C: Cpu, M: Mode>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped>;
}
