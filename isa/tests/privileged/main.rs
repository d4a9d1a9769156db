//! System instructions: who may execute them, what they are refused for, and what they do.
#![allow(clippy::unwrap_used, reason = "tests")]

mod amd;
mod control_register;
mod debug;
mod guard;
mod io;
mod machine;
mod msr;
mod system_call;
mod table_register;
mod xsave;
