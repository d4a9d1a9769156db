//! The engine against the real processor, on random sequences of instructions.
//!
//! A child process executes sequences natively (`child`), the engine executes them in its plain and in its observed
//! mode (`model`), and everything that the manual defines must be the same: registers, flags, MXCSR, memory, and for a
//! fault its vector, error code, address and instruction.
//!
//! `cargo test -p vmxsim-tests silicon` compares a share of it. The long run:
//!
//! ```text
//! VMXSIM_CASES=1010000 VMXSIM_SEED=1 cargo test --release -p vmxsim-tests silicon -- --nocapture
//! ```
//!
//! Another seed gives other cases. Sequences of 32-bit and of 16-bit code run in compatibility mode (`mode`), where the
//! host's kernel allows it.
//!
//! # Where processors may differ
//!
//! - Flags and destinations that the manual leaves undefined are not compared, and no compared instruction reads
//!   them (`defined`): flags after multiplication, division and shifts, BSF and BSR of 0, SHLD and SHRD by more than
//!   the operand size, BSWAP of 16 bits.
//! - RCPPS, RCPSS, RSQRTPS and RSQRTSS are compared exactly, because the engine executes the host's; with the crate
//!   feature `portable-float` they would differ within the manual's error.
//! - RF is set in the image of RFLAGS that a fault stores; the last x87 instruction and operand are stored by some
//!   processors only with a pending exception. Neither is compared.
//! - Bit 17 of MXCSR exists on AMD's processors and not on Intel's; MOVSXD to 16 bits reads 32 bits of memory on
//!   AMD's, and an indirect call pushes before it checks its target; MASKMOVDQU with a mask of 0 may fault. Such cases
//!   are counted and not compared (`compare::Excuse`).
//! - Forms that are left out, with the reason, are in `forms::Catalogue::left_out`; the test prints them.
//!
//! On this host the engine executes most SSE operations by the host's own instructions; that their portable twins agree
//! with those is tested in `isa`.
//!
//! # What the flat machine lacks
//!
//! It lets stores change code.

mod agreement;
mod child;
mod compare;
mod defined;
mod draft;
mod forms;
mod generate;
mod mode;
mod model;
mod outcome;
mod plan;
mod processor;
mod random;
mod report;
mod shared;
mod tests;
