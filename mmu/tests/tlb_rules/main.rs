//! The rules of cached translations, row by row: for each that binds a processor a test of its name.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;
mod pdptes;
mod random;
mod rows;
mod values;
mod walks;
mod world;
