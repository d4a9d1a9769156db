//! The cost of what the machine did, in cycles and by cause.

pub mod cache;
pub mod hierarchy;
pub mod processor;
pub mod stack;
pub mod step;
pub mod units;
