//! The oracle on a replay: every translation that the program uses is checked, and every invalidation judged.

use super::space::EditedEntry;
use isa::address::LinearAddress;
use mmu::ept::EptLevels;
use mmu::mmu::AccessReport;
use mmu::operation::{Paging, Registers, VmxOperation};
use mmu::oracle::{Actor, Change, Oracle, Summary, Use, What};
use mmu::tlb::Tlb;
use mmu::{Context, Operation, PagingMode, Ram};
use serde::Serialize;

/// Whether the oracle watches.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Oracular {
    /// It judges.
    On,
    /// It does not, which is faster.
    #[default]
    Off,
}

/// What the oracle has found out about a replay.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct OracleReport {
    /// Counts.
    #[serde(flatten)]
    pub summary: Summary,
    /// Translations that should not have been used, a readable paragraph each.
    pub findings: Vec<String>,
}

impl OracleReport {
    /// Whether every translation that was used is in order.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.summary.missing == 0 && self.summary.incoherent == 0
    }
}

/// The oracle, and what it has to be told of a replay.
pub(super) struct Watch {
    oracle: Oracle,
    registers: Registers,
    /// Instructions so far.
    now: u64,
}

impl Watch {
    pub(super) fn new(context: &Context) -> Self {
        Self { oracle: Oracle::new(1), registers: registers(context), now: 0 }
    }

    pub(super) fn instruction(&mut self) {
        self.now += 1;
    }

    pub(super) fn used(&mut self, ram: &Ram, context: &Context, report: &AccessReport<'_>) {
        if let Some(host_physical) = report.host_physical {
            let AccessReport { linear: address, kind, hit, .. } = *report;
            let used = Use { address, kind, host_physical, hit, at: self.now };
            self.oracle.reported(ram, 0, context, &used);
        }
    }

    /// The kernel that was recorded has changed what a page permits; INVLPG is about to be made.
    pub(super) fn permitted(
        &mut self,
        ram: &Ram,
        tlb: &Tlb,
        context: &Context,
        page: LinearAddress,
        edited: EditedEntry,
    ) {
        let EditedEntry { entry, size, old, new } = edited;
        let by = Actor { processor: 0, who: "the recorded kernel".into() };
        let page = LinearAddress(page.0 & !size.offset_mask());
        let what = What::GuestEntry { context: *context, page, size: size.bytes() };
        let level = size as u8 + 1;
        let change = self.oracle.changed(Change { by, at: self.now, what, entry, level, old, new });
        self.perform(ram, tlb, Operation::Invlpg(page));
        self.oracle.completed(change);
    }

    /// A program starts in other tables; everything is about to be removed.
    pub(super) fn restarted(&mut self, ram: &Ram, tlb: &Tlb, context: &Context) {
        self.perform(ram, tlb, Operation::MovToCr3(context.cr3.0));
    }

    fn perform(&mut self, ram: &Ram, tlb: &Tlb, operation: Operation) {
        let performed = self.registers.perform(ram, &operation);
        self.oracle.performing(ram, 0, &performed, tlb);
    }

    pub(super) fn report(&self) -> OracleReport {
        let findings = self.oracle.findings().iter().map(ToString::to_string).collect();
        OracleReport { summary: self.oracle.summary(), findings }
    }
}

/// The registers of a processor that runs in a context.
fn registers(context: &Context) -> Registers {
    let mut paging = Paging::four_level(context.cr3.0);
    if context.mode == PagingMode::FiveLevel {
        paging.cr4 |= Paging::LA57;
    }
    let eptp = context.ept.map(|ept| {
        let length = if ept.levels == EptLevels::Five { 4 } else { 3 };
        ept.root.0 | length << 3 | 6
    });
    let guest = VmxOperation::NonRoot { vpid: Some(context.vpid), eptp };
    let vmx = if eptp.is_some() { guest } else { VmxOperation::Outside };
    Registers { vmx, ..Registers::outside(paging) }
}
