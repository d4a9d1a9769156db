//! Shootdown of processors that are busy elsewhere when they come back.

use super::{Batch, Cached, Load, Reach, Strategy};
use crate::compare::machine::Machine;
use crate::compare::work::Editor;
use std::collections::BTreeSet;

/// Tells the processors that run the address space now; the others flush before they run it again.
///
/// An edit counts as done at once: nobody can use a stale entry before it is flushed.
pub(crate) struct Lazy {
    reach: Reach,
    owed: Owed,
}

/// What processors have to flush before they go on with something.
#[derive(Default)]
pub(super) struct Owed {
    processes: BTreeSet<(usize, usize)>,
    guests: BTreeSet<(usize, usize)>,
}

impl Owed {
    /// `processor` has to flush what a batch made stale.
    pub(super) fn note(&mut self, processor: usize, batch: &Batch) {
        match batch.by {
            Editor::Kernel => self.processes.insert((processor, batch.process)),
            Editor::Monitor => self.guests.insert((processor, batch.guest)),
        };
    }

    /// Before the entry into a guest.
    pub(super) fn entering(&mut self, machine: &mut Machine, processor: usize, guest: usize) {
        if self.guests.remove(&(processor, guest)) {
            machine.invalidate_guest(processor, guest);
        }
    }

    /// Before a processor goes on with the address space that it has loaded.
    pub(super) fn resuming(&mut self, machine: &mut Machine, processor: usize) {
        if let Some(process) = machine.running(processor)
            && self.processes.remove(&(processor, process))
        {
            machine.invalidate_process(processor, process);
        }
    }

    /// What a load of an address space has to do.
    pub(super) fn load(&mut self, machine: &Machine, processor: usize, process: usize) -> Load {
        let owed = self.processes.remove(&(processor, process));
        let cached = if owed { Cached::Dropped } else { Cached::Kept };
        Load { pcid: machine.own_pcid(process), cached }
    }

    /// Whether a processor still has to flush what a batch made stale.
    pub(super) fn owes(&self, processor: usize, batch: &Batch) -> bool {
        match batch.by {
            Editor::Kernel => self.processes.contains(&(processor, batch.process)),
            Editor::Monitor => self.guests.contains(&(processor, batch.guest)),
        }
    }
}

impl Lazy {
    pub(crate) fn new(reach: Reach) -> Self {
        Self { reach, owed: Owed::default() }
    }
}

impl Strategy for Lazy {
    fn edited(&mut self, machine: &mut Machine, batch: Batch) {
        let own = batch.processor;
        let mut now = vec![own];
        for at in (0..machine.processors()).filter(|&at| at != own) {
            if machine.runs(at, &batch) {
                now.push(at);
            } else if machine.holds(at, &batch) {
                self.owed.note(at, &batch);
            }
        }
        let reach = self.reach;
        machine.shoot(own, &now, |machine, at| reach.remove(machine, at, &batch));
        machine.complete(&batch.changes);
    }

    fn entering(&mut self, machine: &mut Machine, processor: usize, guest: usize) {
        self.owed.entering(machine, processor, guest);
    }

    fn resuming(&mut self, machine: &mut Machine, processor: usize) {
        self.owed.resuming(machine, processor);
    }

    fn load(&mut self, machine: &mut Machine, processor: usize, process: usize) -> Load {
        self.owed.load(machine, processor, process)
    }
}
