//! Instruction traces: the project's own format, readers and writers of others, and the recorder.
//!
//! A trace holds what a program did, instruction by instruction, so that a replay needs nothing else: the memory
//! it touched as it was before, its registers, what silicon and the kernel chose. [`TraceWriter`] writes one,
//! [`TraceReader`] reads it in constant memory. [`mod@format`] describes the file.

pub mod champsim;
pub mod format;
pub mod lackey;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod record;

mod access;
mod error;
mod open;
mod operand;
mod source;
mod taken;
mod touch;

pub use access::{Access, AccessFinder, AccessStep, Branch};
pub use error::TraceError;
pub use format::{
    Chunk, Content, Cpuid, EndReason, Event, Events, Groups, Header, Item, PageBytes, Permissions, Sections,
    Sink, Step, StepKind, StepRecord, Store, Stores, Summary, TakenStep, TraceFile, TraceReader, TraceWriter,
    Trailer, Walk, WriteOptions, Written,
};
pub use open::{AccessSteps, AnyTrace, open_any};
pub use taken::is_taken;
pub use touch::{Touch, TouchKind, Touches};
