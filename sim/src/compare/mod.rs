//! Comparison of strategies of TLB invalidation on the same work.
//!
//! | module | what |
//! |---|---|
//! | [`work`] | the stream of accesses, edits of tables and transitions, made from traces |
//! | [`options`] | what a comparison is asked to do |
//! | [`result`] | what it found out |
//! | [`table`] | the result on a terminal |
//! | [`csv`] | the result as comma-separated values |
//! | [`picture`] | the result as SVG |
//! | [`sweep`] | comparisons over a range of a parameter, and break-even points |

mod columns;
pub mod csv;
#[cfg(test)]
mod example;
pub mod options;
pub mod picture;
pub mod result;
pub mod sweep;
pub mod table;
pub mod work;
