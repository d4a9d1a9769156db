//! The trace format (`.vmxt`), version 1.
//!
//! A file is a header, chunks and a trailer; all integers are little-endian:
//!
//! | part | bytes |
//! | --- | --- |
//! | header | magic (8), version (4), length (4), CRC-32 (4), JSON: [`Header`] |
//! | chunk | `CHNK`, number of steps (4), index of the first (8), sizes and CRC-32 of two sections (24), CRC-32 of all this (4), section `events`, section `steps` |
//! | trailer | `TRLR`, length (4), CRC-32 (4), JSON: [`Trailer`] |
//!
//! Both sections are compressed with zstd. `events` holds the registers at the start of the chunk, and all that
//! a replay needs besides computing: memory that the program is about to touch, changes from outside, and the
//! full effect of each step whose result is taken from the record. `steps` holds what the computed steps did,
//! in columns, each compressed on its own. A replay that does not verify reads only `events`.
//!
//! A chunk can be decoded without the chunks before it. A step says only what its chunk does not lead one to
//! expect: encoder and decoder keep, for each instruction, which registers it wrote so far, which instruction
//! followed, and how each value came about (module `model`). Instruction bytes stand in the chunk once.

mod bytes;
mod chunk;
mod columns;
mod decode;
mod encode;
mod event;
mod header;
mod model;
mod pause;
mod reader;
mod registers;
mod sink;
mod step;
mod writer;

pub use chunk::{Chunk, Events, Item, MAX_CHUNK_STEPS, Sections, Walk};
pub use event::{Event, PageBytes, Permissions, TakenStep};
pub use header::{Cpuid, EndReason, Header, Trailer};
pub(crate) use pause::PausedWalk;
pub use reader::{Summary, TraceReader};
pub use registers::{Groups, Written};
pub use sink::{Sink, TraceFile};
pub use step::{Content, MAX_INSTRUCTION, Step, StepKind, StepRecord, Store, Stores};
pub use writer::{TraceWriter, WriteOptions};

/// The first bytes of a trace; they show when a transfer has changed line ends or dropped the eighth bit.
pub(crate) const MAGIC: [u8; 8] = *b"\x89VMXT\r\n\x1a";

/// The version of the format.
pub const VERSION: u32 = 1;

/// Marks the start of the trailer.
pub(crate) const TRAILER_TAG: [u8; 4] = *b"TRLR";

/// The most bytes of the header's or the trailer's JSON.
pub(crate) const MAX_HEADER: usize = 1 << 20;
