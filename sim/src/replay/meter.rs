//! Hands the accesses of each instruction to the cost model.

use super::watch::Watch;
use crate::processor::Outside;
use mmu::mmu::{AccessReport, Hit};
use mmu::{Context, Dimension, Ram, Reference};
use timing::model::Model;
use timing::step::{self, Access, Translation, WalkReference};

/// What is outside of a replayed processor: charges every step.
pub(super) struct Meter {
    pub(super) model: Model,
    /// The most references of one walk.
    pub(super) most_references: u64,
    /// The oracle, if it watches.
    pub(super) watch: Option<Watch>,
    references: Vec<WalkReference>,
}

impl Meter {
    pub(super) fn new(model: Model, watch: Option<Watch>) -> Self {
        Self { model, most_references: 0, watch, references: Vec::new() }
    }

    /// One more instruction.
    pub(super) fn instruction(&mut self) {
        self.model.charge_instructions(1);
        if let Some(watch) = &mut self.watch {
            watch.instruction();
        }
    }

    /// Charges an access.
    pub(super) fn access(&mut self, ram: &Ram, context: &Context, report: &AccessReport<'_>) {
        if let Some(watch) = &mut self.watch {
            watch.used(ram, context, report);
        }
        self.charge(report);
    }

    fn charge(&mut self, report: &AccessReport<'_>) {
        let Some(address) = report.host_physical else { return };
        self.references.clear();
        self.references.extend(report.references.iter().map(walk_reference));
        self.most_references = self.most_references.max(self.references.len() as u64);
        let translation = match report.hit {
            Hit::L1 => Translation::L1,
            Hit::L2 => Translation::L2,
            Hit::Walk => Translation::Walk { references: &self.references },
        };
        let access = Access { kind: report.kind, address, bytes: report.bytes, translation };
        self.model.charge_access(&access);
    }
}

/// A reference of a walk as time takes it.
pub(crate) const fn walk_reference(reference: &Reference) -> WalkReference {
    let dimension = match reference.dimension {
        Dimension::Guest => step::Dimension::Guest,
        Dimension::Ept => step::Dimension::Ept,
    };
    WalkReference { dimension, level: reference.level, address: reference.host_physical }
}

impl Outside for Meter {
    #[inline]
    fn executed<'a>(
        &mut self,
        ram: &Ram,
        context: &Context,
        accesses: impl Iterator<Item = AccessReport<'a>>,
    ) {
        self.instruction();
        for report in accesses {
            self.access(ram, context, &report);
        }
    }
}
