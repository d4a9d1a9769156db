//! Loading of MSRs by VM entry (SDM 29.4), entry by entry.

use super::predicates::Predicate;
use super::row::{RULES, Rule, Stage};
use super::subject::Subject;
use super::violation::Violation;
use crate::field::Encoding;
use isa::address::HostPhysicalAddress;
use std::sync::LazyLock;

/// An entry of an MSR-load area (SDM table 27-15): 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct MsrEntry {
    /// Bits 31:0: the MSR.
    pub index: u32,
    /// Bits 63:32, which must be 0.
    pub reserved: u32,
    /// Bits 127:64: what the MSR is to hold.
    pub value: u64,
}

/// Whether WRMSR of a value at privilege level 0 would fault.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MsrLoad {
    /// The MSR holds the value now.
    Loaded,
    /// WRMSR would cause #GP; nothing has changed.
    Faults,
}

/// What a rule of MSR loading says about one entry.
pub(super) struct MsrSubject<'a> {
    /// The VM entry.
    pub(super) subject: &'a Subject<'a>,
    /// The entry of the area.
    pub(super) entry: MsrEntry,
    /// Its number, counted from 1.
    pub(super) number: u32,
}

/// The rules that look at an entry before it is loaded, in order.
static BEFORE: LazyLock<Vec<&'static Rule>> = LazyLock::new(|| {
    let of_stage = RULES.iter().filter(|rule| rule.stage == Stage::MsrLoading);
    of_stage.filter(|rule| matches!(rule.predicate, Predicate::Entry(_))).collect()
});

/// The rule that WRMSR itself decides.
static WRMSR: LazyLock<Option<&'static Rule>> =
    LazyLock::new(|| RULES.iter().find(|rule| matches!(rule.predicate, Predicate::Wrmsr)));

/// Loads the MSRs of the VM-entry MSR-load area in their order, with the guest state loaded (29.4).
///
/// `load` does what WRMSR at privilege level 0 would do. MSRs loaded before the violation stay loaded, as the manual has
/// it. Beyond the number of entries that the manual recommends (A.6), what happens is undefined: here the first entry
/// beyond it fails.
///
/// # Errors
/// The first violated rule; the exit qualification is the number of the entry, counted from 1.
pub fn load_msrs(subject: &Subject, mut load: impl FnMut(u32, u64) -> MsrLoad) -> Result<(), Violation> {
    let area = subject.field(Encoding::ENTRY_MSR_LOAD_ADDR);
    for number in 1..=subject.vmcs.read32(Encoding::ENTRY_MSR_LOAD_COUNT) {
        let at = |offset| HostPhysicalAddress(area.wrapping_add(16 * u64::from(number - 1) + offset));
        let entry = MsrEntry {
            index: subject.memory.doubleword(at(0)),
            reserved: subject.memory.doubleword(at(4)),
            value: subject.memory.quadword(at(8)),
        };
        load_one(&MsrSubject { subject, entry, number }, &mut load)?;
    }
    Ok(())
}

fn load_one(it: &MsrSubject, load: &mut impl FnMut(u32, u64) -> MsrLoad) -> Result<(), Violation> {
    let breaks = |rule: &&&Rule| matches!(rule.predicate, Predicate::Entry(must) if !must(it));
    let violated = BEFORE.iter().find(breaks).copied();
    let violated = match violated {
        None if load(it.entry.index, it.entry.value) == MsrLoad::Faults => *WRMSR,
        other => other,
    };
    match violated {
        Some(rule) => Err(Violation::of_entry(rule, it.subject, it.entry, it.number)),
        None => Ok(()),
    }
}
