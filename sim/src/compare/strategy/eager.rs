//! Invalidation at once, on every processor that has to know.

use super::{Batch, Reach, Strategy};
use crate::compare::machine::Machine;

/// Which processors are told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Targets {
    /// All.
    Everyone,
    /// Those that may have cached something.
    Holders,
    /// The one that made the edit. Not enough on more than one processor.
    Itself,
}

/// Removes what became stale before the edit counts as done.
pub(crate) struct Eager {
    pub(crate) reach: Reach,
    pub(crate) targets: Targets,
}

impl Strategy for Eager {
    fn edited(&mut self, machine: &mut Machine, batch: Batch) {
        let own = batch.processor;
        let targets: Vec<usize> = match self.targets {
            Targets::Everyone => (0..machine.processors()).collect(),
            Targets::Holders => machine.holders(&batch),
            Targets::Itself => vec![own],
        };
        let reach = self.reach;
        machine.shoot(own, &targets, |machine, at| reach.remove(machine, at, &batch));
        machine.complete(&batch.changes);
    }
}
