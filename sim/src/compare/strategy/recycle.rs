//! A new tag instead of a flush.

use super::{Batch, Cached, Load, Reach, Strategy};
use crate::compare::machine::Machine;
use crate::compare::work::Editor;
use std::collections::BTreeMap;

/// Each edit starts a new generation of the address space; a processor that runs an old one takes a PCID that it has
/// not used since its last flush, so that stale entries cannot be found. When PCIDs are used up, one flush makes
/// all of them new. EPT has no such tag: the monitor's edits invalidate by context.
pub(crate) struct Recycle {
    /// PCIDs 1 to this.
    pcids: u16,
    /// By process.
    generations: BTreeMap<usize, u64>,
    /// By processor and process: the generation that it runs, and under which PCID.
    given: BTreeMap<(usize, usize), (u64, u16)>,
    /// By processor and guest: the PCID given last.
    last: BTreeMap<(usize, usize), u16>,
}

impl Recycle {
    pub(crate) fn new(pcids: u16) -> Self {
        let pcids = pcids.clamp(1, 4095);
        Self { pcids, generations: BTreeMap::new(), given: BTreeMap::new(), last: BTreeMap::new() }
    }

    fn generation(&self, process: usize) -> u64 {
        self.generations.get(&process).copied().unwrap_or(0)
    }

    /// The PCID under which the present generation of a process runs on a processor.
    fn current(&self, processor: usize, process: usize) -> Option<u16> {
        let (generation, pcid) = *self.given.get(&(processor, process))?;
        (generation == self.generation(process)).then_some(pcid)
    }

    /// Gives a fresh PCID; flushes all of the guest's when there is none.
    fn fresh(&mut self, machine: &mut Machine, processor: usize, process: usize) -> u16 {
        let guest = machine.guest_of(process);
        let last = self.last.get(&(processor, guest)).copied().unwrap_or(0);
        let pcid = if last < self.pcids {
            last + 1
        } else {
            machine.invalidate_virtual_processor(processor, guest);
            self.given.retain(|&(at, of), _| at != processor || machine.guest_of(of) != guest);
            1
        };
        self.last.insert((processor, guest), pcid);
        self.given.insert((processor, process), (self.generation(process), pcid));
        pcid
    }

    /// Takes a fresh PCID for what runs, if it is of an old generation.
    fn renew(&mut self, machine: &mut Machine, processor: usize) {
        let Some(process) = machine.running(processor) else { return };
        if self.current(processor, process).is_none() {
            let pcid = self.fresh(machine, processor, process);
            machine.load(processor, process, Load { pcid, cached: Cached::Kept });
        }
    }
}

impl Strategy for Recycle {
    fn edited(&mut self, machine: &mut Machine, batch: Batch) {
        let own = batch.processor;
        match batch.by {
            Editor::Kernel => {
                *self.generations.entry(batch.process).or_default() += 1;
                let now: Vec<usize> =
                    (0..machine.processors()).filter(|&at| machine.runs(at, &batch)).collect();
                machine.shoot(own, &now, |machine, at| self.renew(machine, at));
            }
            Editor::Monitor => {
                let holders = machine.holders(&batch);
                machine.shoot(own, &holders, |machine, at| Reach::Context.remove(machine, at, &batch));
            }
        }
        machine.complete(&batch.changes);
    }

    fn resuming(&mut self, machine: &mut Machine, processor: usize) {
        self.renew(machine, processor);
    }

    fn load(&mut self, machine: &mut Machine, processor: usize, process: usize) -> Load {
        let pcid = match self.current(processor, process) {
            Some(pcid) => pcid,
            None => self.fresh(machine, processor, process),
        };
        Load { pcid, cached: Cached::Kept }
    }
}
