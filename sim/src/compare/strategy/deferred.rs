//! Invalidation without IPIs: every other processor at its own next entry or tick.

use super::lazy::Owed;
use super::{Batch, Load, Reach, Strategy};
use crate::compare::machine::Machine;

/// The editing processor invalidates at once, the others when they next enter the guest, load the address space or
/// take a scheduler tick. Until the last of them has, the edit is not done: the frames are held back, and a stale
/// translation may be used (SDM 5.10.4.4).
pub(crate) struct Deferred {
    reach: Reach,
    owed: Owed,
    pending: Vec<Batch>,
}

impl Deferred {
    pub(crate) fn new(reach: Reach) -> Self {
        Self { reach, owed: Owed::default(), pending: Vec::new() }
    }

    /// Edits that no processor owes anything for any more are done.
    fn settle(&mut self, machine: &mut Machine) {
        let Self { pending, owed, .. } = self;
        pending.retain(|batch| {
            let open = (0..machine.processors()).any(|at| owed.owes(at, batch));
            if !open {
                machine.complete(&batch.changes);
            }
            open
        });
    }
}

impl Strategy for Deferred {
    fn edited(&mut self, machine: &mut Machine, batch: Batch) {
        let own = batch.processor;
        self.reach.remove(machine, own, &batch);
        for at in (0..machine.processors()).filter(|&at| at != own) {
            if machine.holds(at, &batch) {
                self.owed.note(at, &batch);
            }
        }
        self.pending.push(batch);
        self.settle(machine);
    }

    fn entering(&mut self, machine: &mut Machine, processor: usize, guest: usize) {
        self.owed.entering(machine, processor, guest);
        self.settle(machine);
    }

    fn resuming(&mut self, machine: &mut Machine, processor: usize) {
        // A tick: also what another guest's change needs, from root operation.
        if let Some(guest) = machine.guest_on(processor) {
            self.owed.entering(machine, processor, guest);
        }
        self.owed.resuming(machine, processor);
        self.settle(machine);
    }

    fn load(&mut self, machine: &mut Machine, processor: usize, process: usize) -> Load {
        self.owed.load(machine, processor, process)
    }
}
