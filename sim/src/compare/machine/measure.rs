//! What a machine tells of its run.

use super::Machine;
use crate::compare::processor::{Counts, Processor};
use crate::compare::system::System;
use crate::compare::work::Topology;
use isa::address::HostPhysicalAddress;
use mmu::Space;
use mmu::tlb::TagMeaning;
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

    /// Entries in the TLBs of all processors, by whose they are.
    pub(in crate::compare) fn occupancy(&self, topology: &Topology) -> Vec<(String, u64)> {
        let mut entries = BTreeMap::new();
        for processor in &self.processors {
            for (meaning, count) in processor.translator.tlb().occupancy() {
                if count != 0 {
                    *entries.entry(self.owner(topology, processor, meaning)).or_default() += count;
                }
            }
        }
        entries.into_iter().collect()
    }

    /// Whose entries a tag stands for, as far as it tells.
    fn owner(&self, topology: &Topology, processor: &Processor, meaning: TagMeaning) -> String {
        let Some(ept) = meaning.ept() else { return "monitor".to_owned() };
        let guest = self.guests.iter().position(|guest| guest.context().root == ept).unwrap_or(0);
        let name = &topology.guests[guest].name;
        let Some(space) = meaning.space() else { return format!("{name}, EPT") };
        match self.process_of(processor, guest, space) {
            Some(process) => topology.processes[process].name.clone(),
            None if self.tells_processes() => format!("{name}, old tags"),
            None => name.clone(),
        }
    }

    /// Whether tags tell processes of a guest apart.
    const fn tells_processes(&self) -> bool {
        use crate::compare::tags::TagPolicy;
        matches!(self.tags, TagPolicy::TagWord | TagPolicy::VpidPcid)
    }

    fn process_of(&self, processor: &Processor, guest: usize, space: Space) -> Option<usize> {
        if let Some(words) = &processor.words {
            return words.owner_of(guest, space.word);
        }
        let mut processes = 0..self.processes.len();
        processes.find(|&process| {
            self.guest_of(process) == guest && space.pcid != 0 && processor.pcids[process] == space.pcid
        })
    }

    /// EPTP bits 51:12 of a guest.
    pub(in crate::compare) fn ept_root(&self, guest: usize) -> HostPhysicalAddress {
        self.guests[guest].context().root
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
