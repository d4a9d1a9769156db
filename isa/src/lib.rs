//! The architecture: registers, events as data, decoding, and the meaning of instructions.
//!
//! This crate knows no page tables, no VMCS and no time. It names VM exits (they are data) and never decides one.
//! What an instruction needs from outside (memory, CPUID, time) it asks of its [`Cpu`](cpu::Cpu).

//!
//! # Reading order
//!
//! 1. [`registers`], [`event`], [`address`]: the words that all crates share.
//! 2. [`cpu`]: the seam. Handlers are written against the [`Cpu`](cpu::Cpu) trait; [`flat`] is the smallest machine.
//! 3. [`instruction`]: what instructions do, a file a family.
//! 4. [`system`]: what a user-level program does not see. Who may execute which system instruction is a table
//!    ([`system::guard`]), and so are the MSRs ([`system::msr`]).
//! 5. [`decode`], [`record`], [`operand`]: how bytes become handlers with resolved operands.
//! 6. [`engine`]: blocks, how they are found and chained, and the loop that runs them. A first reader may skip
//!    `liveness` and `fusion`, which only make it fast.
//!
//! # Floating point
//!
//! [`float`] computes for the SSE instructions, on the host's own where that is the same and portably everywhere.
//!
//! # Status flags
//!
//! [`flags`] keeps what the flags are computed from; undefined flags are listed per instruction in [`undefined`].

pub mod address;
mod block;
pub mod control;
pub mod cpu;
pub mod decode;
pub mod engine;
pub mod event;
pub mod flags;
pub mod flat;
pub mod float;
mod fusion;
pub mod instruction;
mod liveness;
pub mod mode;
pub mod operand;
pub mod record;
pub mod registers;
pub mod scope;
pub mod segment;
pub mod stack;
pub mod state;
pub mod system;
pub mod undefined;
pub mod width;
