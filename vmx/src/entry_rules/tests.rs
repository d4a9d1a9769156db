#![allow(clippy::unwrap_used, reason = "tests")]

mod change;
mod counterexamples;
mod edges;
mod msr_loading;
mod soundness;
mod table;
