//! Comparison of strategies of TLB invalidation on the same work.
//!
//! | module | what |
//! |---|---|
//! | [`strategy`] | what kernels and monitors do when a table has changed; what hardware tags entries with |
//! | [`run`] | the strategies side by side |
//! | [`rounds`] | an experiment with exact figures |
//! | [`work`] | the stream of accesses, edits of tables and transitions, made from traces |
//! | [`options`] | what a comparison is asked to do |
//! | [`result`] | what it found out |
//! | [`table`] | the result on a terminal |
//! | [`csv`] | the result as comma-separated values |
//! | [`picture`] | the result as SVG |
//! | [`sweep`] | comparisons over a range of a parameter, and break-even points |

mod columns;
pub mod csv;
mod error;
#[cfg(test)]
mod example;
mod machine;
pub mod options;
pub mod picture;
mod processor;
pub mod result;
pub mod rounds;
pub mod run;
mod space;
pub mod strategy;
pub mod sweep;
mod system;
pub mod table;
mod tags;
pub mod work;

pub use error::{CompareError, MachineError};
pub use options::CompareOptions;
pub use rounds::Rounds;
pub use run::{Bench, compare, compare_on, named};
pub use tags::TagPolicy;
