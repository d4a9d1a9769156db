//! The machine: processors put together from their parts, replay, and the command line's results.
//!
//! | module | what |
//! |---|---|
//! | [`compare`] | strategies of TLB invalidation on the same work |
//! | [`load`] | what an image becomes in RAM, and how processor 0 starts |
//! | [`number`] | numbers as people read them |
//! | [`processor`] | registers, memory and an observer: the [`Cpu`](isa::cpu::Cpu) of this crate |
//! | [`replay`] | runs recorded programs natively or as guests, and compares with the record |
//! | [`result`] | the envelope of JSON results |
//! | [`progress`] | bars and lines for long work |
//!
//! Timing sees what the machine did through [`processor::Observer`], after it has happened.

pub mod compare;
pub mod load;
pub mod number;
pub mod processor;
pub mod progress;
pub mod replay;
pub mod result;
