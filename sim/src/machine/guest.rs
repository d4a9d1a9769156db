//! VMX on a processor of the machine: entering guests, leaving them, and what is due because of them.
//!
//! The decisions are those of the crate `vmx`; here they meet a processor with its clock, its interrupt controller and its
//! TLB. An instruction that enters or leaves a guest stops the engine with a note in the surroundings ([`Leave`]); the
//! logical processor carries the transition out between two instructions.

mod around;
mod due;
mod enter;
mod leave;

pub(super) use around::Leave;
pub(super) use due::GuestControls;

use super::report::ExitCount;
use isa::system::{ControlRegisterView, Features};
use std::collections::BTreeMap;
use vmx::entry_rules::Violation;
use vmx::exit_reason::BasicExitReason;
use vmx::operation::Mode;

/// Bit 12 of pending debug exceptions: an enabled breakpoint was met (SDM table 27-4).
const ENABLED_BREAKPOINT: u64 = 1 << 12;

/// What a logical processor keeps about its guest beside the VMCS.
#[derive(Debug, Default)]
pub(super) struct GuestRun {
    /// The VMX-preemption timer, when it is active.
    timer: Option<Timer>,
    /// An MTF VM exit is due before the next instruction.
    monitor_trap: bool,
    /// TPR below threshold at VM entry.
    tpr_below_threshold: bool,
    /// What the processor offers outside the guest.
    features: Option<Features>,
    /// VMX operation that system-management mode has suspended, and what it makes of control registers.
    pub(super) suspended: Option<(Mode, ControlRegisterView)>,
    /// When the last VM entry was made.
    entered: u64,
    /// VM exits by reason.
    pub(super) exits: BTreeMap<BasicExitReason, ExitCount>,
    /// VM entries that were refused, by the id of the rule.
    pub(super) refusals: BTreeMap<&'static str, Refusals>,
}

/// VM entries that one rule has refused.
#[derive(Clone, Debug, Default)]
pub(super) struct Refusals {
    /// How many.
    pub(super) count: u64,
    /// What the first of them violated: this rule, and all others.
    pub(super) violations: Vec<Violation>,
}

impl GuestRun {
    /// Takes note of a refused VM entry. `explain` lists everything that it violates.
    fn note_refusal(&mut self, first: &Violation, explain: impl FnOnce() -> Vec<Violation>) {
        let refusals = self.refusals.entry(first.rule.id).or_default();
        refusals.count += 1;
        if refusals.count == 1 {
            refusals.violations = vec![first.clone()];
            let others = explain().into_iter().filter(|other| other.rule.id != first.rule.id);
            refusals.violations.extend(others);
        }
    }
}

/// The VMX-preemption timer, in its own ticks.
#[derive(Clone, Copy, Debug)]
struct Timer {
    /// The tick at which it was loaded.
    start: u64,
    /// With what.
    value: u64,
}
