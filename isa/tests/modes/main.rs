//! Rules of 16-, 32- and 64-bit code on the smallest machine: a file a subject.
#![allow(clippy::unwrap_used, reason = "tests")]

mod branch;
mod flags;
mod gate;
mod legacy;
mod machine;
mod reference;
mod stack;
mod x87;
