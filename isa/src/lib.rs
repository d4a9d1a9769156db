//! The architecture: registers, events as data, decoding, and the meaning of instructions.
//!
//! This crate knows no page tables, no VMCS and no time. It names VM exits (they are data) and never decides one.
//! What an instruction needs from outside (memory, CPUID, time) it asks of its [`Cpu`](cpu::Cpu).

pub mod address;
pub mod event;
pub mod registers;
