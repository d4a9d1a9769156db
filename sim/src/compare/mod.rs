//! Comparison of strategies of TLB invalidation on the same work.
//!
//! | module | what |
//! |---|---|
//! | [`work`] | the stream of accesses, edits of tables and transitions, made from traces |
//! | [`options`] | what a comparison is asked to do |
//! | [`result`] | what it found out |

mod columns;
#[cfg(test)]
mod example;
pub mod options;
pub mod result;
pub mod table;
pub mod work;
