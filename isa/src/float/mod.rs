//! SSE floating point: operations on XMM registers, bit for bit, with the exceptions of MXCSR.
//!
//! Each instruction is an [`Operation`](operations::Operation), a row of the table in `operations`. It has two twins:
//!
//! - `portable` computes with integers;
//! - `host` executes the host's own instruction. It exists on x86-64 with SSE4.2 and is used there unless the crate
//!   feature `portable-float` is on.
//!
//! Both give the same results and flags for every operand and every MXCSR, except for the approximations RCPPS,
//! RCPSS, RSQRTPS and RSQRTSS, of which the manual fixes only the error.
//!
//! # Exception flags
//!
//! Under the default control (all exceptions masked, round to nearest, no DAZ, no FTZ) nothing but the sticky flags of
//! MXCSR depends on exceptions, and nobody looks at them often. So while a [`Session`] is open the host twin lets its
//! flags gather in the host's own MXCSR; [`State::collect_float_flags`] moves them into the guest's when an
//! instruction looks (STMXCSR, LDMXCSR, FXSAVE, FXRSTOR) and when the session closes. Whoever opens a session
//! sees to it that nothing else computes with floating point until it closes. The engine opens one for each run that is not observed.
//!
//! Under any other control, and without a session, each operation loads the guest's control into the host's
//! MXCSR with all exceptions masked, and puts the host's value back. The host never has an exception unmasked.
//! When an operation raises an exception that the guest does not mask, the portable twin says which flags
//! the guest sees.
//!
//! # Not modelled
//!
//! CR4.OSXMMEXCPT is taken to be 1, so that unmasked exceptions are #XM; the alignment-check and misaligned-SSE
//! controls of other makers do not exist.

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

pub(crate) use session::{Collection, Session, apply};
