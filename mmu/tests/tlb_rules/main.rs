//! The rules of cached translations, row by row.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;
mod random;
mod values;
