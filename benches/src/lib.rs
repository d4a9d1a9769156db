//! What the benchmarks share: guest programs as bytes, and machines to run them on.

pub mod guest;
pub mod loops;
pub mod machine;
