//! The work that strategies are compared on: the same for all of them.
//!
//! [`Work`] makes one stream from traces. It schedules their threads on processors, lets pages come into being when
//! they are first touched, and changes tables as [`Churn`] asks; it knows nothing of TLBs and of who invalidates what.
//! A [`Block`] of the stream is plain data that several strategies read at once.

mod error;
mod event;
mod options;
mod topology;

pub use error::WorkError;
pub use event::{Access, Block, Change, Edit, Editor, Event, ExitCause, Remap};
pub use options::{Churn, Exits, GuestPages, WorkOptions};
pub use topology::{FIRST_FRAME, GUEST_MEMORY, GuestSpec, ProcessSpec, Topology};

/// The stream of work.
pub struct Work {
    topology: Topology,
}

/// How far the work is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WorkProgress {
    /// Instructions so far, of all threads.
    pub instructions: u64,
    /// Instructions of the whole work, where the traces tell.
    pub total: Option<u64>,
}

impl Work {
    /// Opens the traces.
    ///
    /// # Errors
    ///
    /// [`WorkError`] names the option or the trace.
    pub fn new(options: &WorkOptions) -> Result<Self, WorkError> {
        options.validate()?;
        Ok(Self { topology: Topology::default() })
    }

    /// What the work runs on.
    #[must_use]
    pub const fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The next part of the work, in the memory of `recycled`; `None` at the end.
    ///
    /// # Errors
    ///
    /// [`WorkError`] when a trace is damaged or asks for too much memory.
    pub fn next_block(&mut self, recycled: Block) -> Result<Option<Block>, WorkError> {
        drop(recycled);
        Ok(None)
    }

    /// How far the work is.
    #[must_use]
    pub const fn progress(&self) -> WorkProgress {
        WorkProgress { instructions: 0, total: None }
    }
}
