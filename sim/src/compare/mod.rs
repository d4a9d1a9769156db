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

mod error;
mod machine;
pub mod options;
mod processor;
pub mod result;
pub mod rounds;
pub mod run;
mod space;
pub mod strategy;
mod system;
mod tags;
pub mod work;

pub use error::{CompareError, MachineError};
pub use options::CompareOptions;
pub use rounds::Rounds;
pub use run::{Bench, compare, compare_on, named};
pub use tags::TagPolicy;
