//! Ctrl-C ends a recording properly.
#![allow(unsafe_code, reason = "installs a signal handler")]

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_signal: i32) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// Installs a handler for SIGINT and SIGTERM that sets the flag which is returned.
///
/// Given as [`RecordOptions::stop`](super::RecordOptions::stop), the flag ends the trace with
/// [`EndReason::Stopped`](crate::EndReason::Stopped).
///
/// # Errors
///
/// When the operating system refuses the handler.
pub fn stop_on_interrupt() -> io::Result<&'static AtomicBool> {
    // Without SA_RESTART: the wait for the program must return.
    let action = SigAction::new(SigHandler::Handler(note), SaFlags::empty(), SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        // SAFETY: the handler only stores to an atomic.
        unsafe { sigaction(signal, &action) }?;
    }
    Ok(&INTERRUPTED)
}
