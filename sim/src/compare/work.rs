//! The work that strategies are compared on: the same for all of them.
//!
//! [`Work`] makes one stream from traces. It schedules their threads on processors, lets pages come into being when
//! they are first touched, and changes tables as [`Churn`] asks; it knows nothing of TLBs and of who invalidates what.
//! A [`Block`] of the stream is plain data that several strategies read at once.

//!
//! # How threads are dealt to processors
//!
//! In each round the processors, in order, take the threads that have waited longest and run each for a quantum, one
//! processor after the other; then these threads wait again. A thread is on one processor at a time and moves between
//! them where the number of processors does not divide that of threads.
//!
//! # Pages and frames
//!
//! Pages have all permissions when they come into being. A guest's kernel takes frames from guest-physical 1 GByte up
//! in the order of first touches ([`FIRST_FRAME`]; tables are below), and uses those that were given back again
//! after a while: a stale translation then leads to memory that is somebody else's. EPT maps a guest's memory to
//! [`Topology::guest_base`] upwards, and pages that migrate to a region above all guests.
//!
//! Not modelled: accesses of kernels and monitors, a program that starts another one in the middle of its trace, and
//! what a trace itself tells of permissions.
//!
//! # Example
//!
//! ```
//! use vmxsim::compare::work::{Block, Work, WorkOptions};
//!
//! # fn main() -> Result<(), vmxsim::compare::work::WorkError> {
//! let trace = concat!(env!("CARGO_MANIFEST_DIR"), "/../traces/sort.vmxt");
//! let options = WorkOptions { traces: vec![trace.into()], limit: Some(50_000), ..WorkOptions::default() };
//! let mut work = Work::new(&options)?;
//! let mut block = Block::default();
//! let mut instructions = 0;
//! while let Some(next) = work.next_block(block)? {
//!     instructions += next.instructions;
//!     block = next;
//! }
//! assert_eq!(instructions, 50_000);
//! # Ok(())
//! # }
//! ```

mod checked;
mod churn;
mod error;
mod event;
mod faults;
mod frames;
mod moments;
mod options;
mod pages;
mod random;
mod schedule;
mod script;
mod stage;
mod stream;
#[cfg(test)]
mod tests;
mod thread;
mod topology;

pub use error::WorkError;
pub use event::{Access, Block, Change, Edit, Editor, Event, ExitCause, Remap};
pub use options::{Churn, Exits, Fetches, GuestPages, WorkOptions};
pub use script::Script;
pub use stream::{Work, WorkProgress};
pub use topology::{FIRST_FRAME, GUEST_MEMORY, GuestSpec, ProcessSpec, Topology};
