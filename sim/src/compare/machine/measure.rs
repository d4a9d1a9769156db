//! What a machine tells of its run.

use super::Machine;
use crate::compare::processor::Counts;
use crate::compare::system::System;
use mmu::tlb::Occupant;
use std::collections::BTreeMap;
use timing::stack::{CycleStack, WholeCycles};

impl Machine {
    /// Cycles of all processors together, by cause.
    pub(in crate::compare) fn cycles_by_cause(&self) -> WholeCycles {
        let mut sum = CycleStack::default();
        for processor in &self.processors {
            processor.model.stack().iter().for_each(|(cause, time)| sum.add(cause, time));
        }
        sum.whole_cycles()
    }

    /// Entries in the TLBs of all processors, by tag.
    pub(in crate::compare) fn occupancy(&self) -> Vec<(String, u64)> {
        let mut entries = BTreeMap::new();
        for processor in &self.processors {
            for (occupant, count) in processor.translator.tlb().occupancy() {
                *entries.entry(self.name_of(&occupant)).or_default() += count;
            }
        }
        entries.into_iter().filter(|&(_, count)| count != 0).collect()
    }
}

impl System {
    /// What all processes and the monitor have cost.
    pub(in crate::compare) fn total(&self) -> Counts {
        let mut total = Counts::default();
        self.machine.tally.counts.iter().for_each(|&counts| total.add(counts));
        total
    }
}
