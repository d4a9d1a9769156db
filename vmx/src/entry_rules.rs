//! The checks of VM entry: one row and one predicate for each rule (SDM chapter 29).
//!
//! The rows are `vmx/data/vm_entry_rules.csv`; `vmx/RULES.md` is the same for reading. A rule has a stable id, one
//! requirement, and the fields that it judges; its [`Stage`] decides how an entry is refused. [`check`] stops at the first
//! violated rule, as a processor does; [`explain`] lists all of them, with what was found. [`load_msrs`] judges the entries
//! of the VM-entry MSR-load area while they are loaded. [`AcceptedEntry`] makes repeated entries cheap.
//!
//! Within a stage the manual lets processors check in any order; here it is the order of the table.
//!
//! ```
//! use vmx::entry_rules::{check, explain};
//! use vmx::field::Encoding;
//! use vmx::sample::{Guest, Sample};
//! let mut sample = Sample::of(Guest::Long);
//! assert_eq!(check(&sample.subject()), Ok(()));
//! sample.vmcs.write(Encoding::GUEST_RFLAGS, 0);
//! sample.vmcs.write(Encoding::VPID, 0);
//! let violated: Vec<_> = explain(&sample.subject()).iter().map(|violation| violation.rule.id).collect();
//! assert_eq!(violated, ["CTL.EXEC.VPID.NONZERO", "GUEST.RIP.RFLAGS_BIT1"]);
//! let first = check(&sample.subject()).unwrap_err();
//! assert_eq!(first.refused_as.to_string(), "VMfailValid, VM-instruction error 7");
//! ```

mod accepted;
mod book;
mod lint;
mod msr_loading;
mod predicates;
mod question;
mod row;
mod state;
mod subject;
#[cfg(test)]
mod tests;
mod violation;

pub use accepted::AcceptedEntry;
pub use book::rule_book;
pub use lint::{Lint, lint};
pub use msr_loading::{MsrEntry, MsrLoad, load_msrs};
pub use row::{Modelled, RULES, Refusal, Rule, Stage};
pub use state::State;
pub use subject::{
    EntryInstruction, Limits, Memory, MovSsBlocking, NoMemory, ProcessorState, Subject, SystemManagementMode,
    VmxOperation,
};
pub use violation::Violation;

/// The rules that [`check`] evaluates: up to the guest state, and only those of the instruction without a current VMCS.
fn in_question(subject: &Subject) -> impl Iterator<Item = &'static Rule> {
    let last = match subject.processor.current_vmcs {
        Some(_) => Stage::GuestState,
        None => Stage::Instruction,
    };
    RULES.iter().filter(move |rule| rule.stage <= last)
}

/// Judges a VM entry up to the guest state (SDM 29.1 to 29.3).
///
/// # Errors
/// The first violated rule, which decides how the entry is refused.
pub fn check(subject: &Subject) -> Result<(), Violation> {
    match in_question(subject).find(|rule| !rule.predicate.holds(subject)) {
        Some(rule) => Err(Violation::new(rule, subject)),
        None => Ok(()),
    }
}

/// Every rule that a VM entry violates, up to the guest state; none exactly when [`check`] accepts it.
#[must_use]
pub fn explain(subject: &Subject) -> Vec<Violation> {
    let violated = in_question(subject).filter(|rule| !rule.predicate.holds(subject));
    violated.map(|rule| Violation::new(rule, subject)).collect()
}
