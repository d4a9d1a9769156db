//! The cost of what the machine did, in cycles and by cause.
//!
//! Timing sees steps, never the machine: a [`Step`](step::Step) says which memory accesses an instruction made and how
//! the TLB answered each of them, and [`Model::charge`](model::Model::charge) adds what that costs on a named
//! [`Processor`](processor::Processor). Steps are charged after they have happened, so nothing here can change what the
//! machine computes; only the clock flows back.
//!
//! Reading order: [`step`] (what comes in), [`model`] (the rules), [`stack`] (what goes out), then [`cache`] and
//! [`hierarchy`] (which cache served an access), [`processor`] (the facts, as files with a source for each value) and
//! [`operations`] (costs of what is no ordinary instruction).
//!
//! ```
//! use isa::address::{AccessKind, HostPhysicalAddress};
//! use timing::model::Model;
//! use timing::processor::Processor;
//! use timing::stack::Cause;
//! use timing::step::{Access, Step, Translation};
//!
//! let mut model = Model::new(&Processor::named("skylake")?);
//! let load = Access {
//!     kind: AccessKind::Read,
//!     address: HostPhysicalAddress(0x1000),
//!     bytes: 8,
//!     translation: Translation::L2,
//! };
//! model.charge(&Step { instructions: 1, accesses: &[load] });
//! assert_eq!(model.stack()[Cause::DataTlbL2].cycles(), 9);
//! assert_eq!(model.stack().total(), model.clock());
//! # Ok::<(), timing::processor::UnknownProcessor>(())
//! ```
//!
//! What the first model leaves out: nothing overlaps (each latency beyond an L1 hit is paid in full), there is no store
//! buffer, no prefetcher, no branch predictor and no bandwidth. Its cycles are therefore an upper bound of what memory
//! and translation cost, and a lower bound of what computation costs.

pub mod cache;
pub mod hierarchy;
pub mod model;
pub mod operations;
pub mod processor;
pub mod stack;
pub mod step;
pub mod units;
