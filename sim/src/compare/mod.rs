//! Comparison of strategies of TLB invalidation on the same work.

pub mod work;
