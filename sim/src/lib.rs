//! The machine: processors put together from their parts, replay, and the command line's results.
//!
//! | module | what |
//! |---|---|
//! | [`compare`] | strategies of TLB invalidation on the same work |
//! | [`cpuid`] | processor models: what CPUID answers, as data |
//! | [`load`] | what an image becomes in RAM, and how processor 0 starts |
//! | [`machine`] | a whole PC: processors that take turns, memory, devices |
//! | [`number`] | numbers as people read them |
//! | [`processor`] | registers, memory, and what is outside: the [`Cpu`](isa::cpu::Cpu) of this crate |
//! | [`replay`] | runs recorded programs natively or as guests, and compares with the record |
//! | [`result`] | the envelope of JSON results |
//! | [`progress`] | bars and lines for long work |
//!
//! Timing sees what the machine did through [`processor::Outside`], after it has happened.

pub mod compare;
pub mod cpuid;
pub mod load;
pub mod machine;
pub mod number;
pub mod processor;
pub mod progress;
pub mod replay;
pub mod result;
