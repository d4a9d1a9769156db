//! Translation coherence in hardware, as a bound.

use super::{Batch, Strategy};
use crate::compare::machine::Machine;

/// Nobody executes anything: what an edit made stale is gone, everywhere, and nothing else is.
pub(crate) struct Coherent;

impl Strategy for Coherent {
    fn edited(&mut self, machine: &mut Machine, batch: Batch) {
        machine.remove_exactly(&batch);
        machine.complete(&batch.changes);
    }
}
