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

pub mod options;
pub mod result;
pub mod work;
