//! The rules as predicates over a [`Subject`], by id; the rows of the table say the same in words.
//!
//! Each predicate has two halves: *when* the rule applies, and what *must* hold then. Together they read the fields that
//! the row names and no others.

mod controls;
mod execution;
mod guest_registers;
mod guest_segments;
mod guest_state;
mod host;
mod instruction;
mod msr_loading;
mod not_modelled;

use super::msr_loading::MsrSubject;
use super::subject::Subject;

/// A half of a predicate.
pub(super) type Half = fn(&Subject) -> bool;

/// What must hold for an entry of an MSR-load area.
pub(super) type EntryHalf = fn(&MsrSubject) -> bool;

/// The predicate of a rule.
#[derive(Clone, Copy)]
pub(super) enum Predicate {
    /// `must` holds whenever `when` does.
    Checked {
        /// Whether the rule applies.
        when: Half,
        /// What it demands.
        must: Half,
    },
    /// It must hold for each entry of the VM-entry MSR-load area.
    Entry(EntryHalf),
    /// WRMSR must accept each entry of the VM-entry MSR-load area.
    Wrmsr,
    /// The rule needs state that the processor does not have; it is never violated.
    NotModelled,
}

impl Predicate {
    pub(super) fn holds(self, subject: &Subject) -> bool {
        match self {
            Self::Checked { when, must } => !when(subject) || must(subject),
            Self::Entry(_) | Self::Wrmsr | Self::NotModelled => true,
        }
    }

    pub(super) fn applies(self, subject: &Subject) -> bool {
        matches!(self, Self::Checked { when, .. } if when(subject))
    }
}

/// Rules by id: `id, when => must;`.
macro_rules! predicates {
    ($subject:ident; $($id:expr, $when:expr => $must:expr;)*) => {
        &[$((
            $id,
            $crate::entry_rules::predicates::Predicate::Checked {
                when: |$subject| {
                    let _ = $subject; // some rules apply always
                    $when
                },
                must: |$subject| $must,
            },
        ),)*]
    };
}
use predicates;

/// A rule's id with its predicate.
pub(super) type Entry = (&'static str, Predicate);

/// Every predicate.
pub(super) fn all() -> impl Iterator<Item = &'static Entry> {
    let lists = [
        instruction::RULES,
        execution::RULES,
        execution::ADDRESSES,
        controls::RULES,
        host::RULES,
        host::FRED,
        guest_registers::RULES,
        guest_registers::FRED,
        guest_state::RULES,
        msr_loading::RULES,
        not_modelled::RULES,
    ];
    lists.into_iter().chain(guest_segments::LISTS.iter().copied()).flatten()
}
