//! Virtual-machine extensions: what the manual says of the VMCS, its controls, VM exits and the capability MSRs.
//!
//! Facts are rows. The tables under `vmx/data` hold one row for each VMCS field, control bit, basic exit reason and
//! capability-MSR bit; `vmx/data/README.md` says what each column means. The modules give typed access to them:
//!
//! - [`field`]: VMCS fields and the structure of their encodings (27.11.2, appendix B);
//! - [`vmcs`]: the fields of one VMCS as the processor holds them, and its region in memory (27.1, 27.2);
//! - [`controls`]: the seven words of VM-execution, VM-exit and VM-entry controls (27.6 to 27.8);
//! - [`entry_rules`]: the checks of VM entry, one rule a row (chapter 29);
//! - [`dump`]: reads the text in which hypervisors print a VMCS;
//! - [`sample`]: valid VM entries to start from;
//! - [`error_number`]: VM-instruction errors (33.4);
//! - [`exit_reason`]: basic exit reasons and what each VM exit writes (appendix C, chapter 30);
//! - [`capability`]: the VMX capability MSRs and the settings of controls that they allow (appendix A);
//! - [`capabilities`]: the values of those MSRs on one processor.
//!
//! Names are the manual's. Every section number in this crate is one of [`SDM_EDITION`].
//!
//! This crate neither fetches nor executes; it turns faults into VM exits and decides intercepts.

pub mod capabilities;
pub mod capability;
#[cfg(test)]
mod cases;
pub mod controls;
pub mod dump;
pub mod entry_rules;
pub mod error_number;
pub mod exit;
pub mod exit_reason;
pub mod field;
pub mod instruction_information;
pub mod intercept;
pub mod operation;
pub mod physical;
pub mod sample;
mod standing;
mod table;
pub mod transition;
pub mod vmcs;

pub use standing::Standing;

/// The edition of the manual whose section numbers this crate cites.
pub const SDM_EDITION: &str = "326019-092US (June 2026)";
