//! The oracle: seeded bugs are found, correct software is not accused, invalidations are judged.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(unreachable_pub, reason = "modules of one test")]

#[path = "../common/mod.rs"]
mod common;

mod bugs;
mod changes;
mod judgement;
mod machine;
mod memory;
mod random;
mod report;
mod tables;
mod world;
