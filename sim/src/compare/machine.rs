//! The machine of one strategy: processors over shared tables, and the operations that they carry out.

mod invalidate;
mod measure;
mod transition;
mod word;

pub(super) use word::Words;

use super::error::MachineError;
use super::processor::{Counts, Place, Processor};
use super::space::{Guest, MOST_GUESTS, Monitor, Process};
use super::strategy::{Batch, Page};
use super::tags::TagPolicy;
use super::work::{Editor, Topology};
use mmu::Ram;
use mmu::operation::{Paging, Registers};
use mmu::oracle::{ChangeId, Oracle};
use mmu::tlb::Dropped;
use std::collections::BTreeMap;
use timing::model::Model;
use timing::operations::OperationCosts;
use timing::stack::Cause;

/// Processors over shared tables.
pub(crate) struct Machine {
    pub(super) ram: Ram,
    pub(super) guests: Vec<Guest>,
    pub(super) processes: Vec<Process>,
    pub(super) monitor: Monitor,
    pub(super) processors: Vec<Processor>,
    pub(super) tags: TagPolicy,
    pub(super) costs: OperationCosts,
    pub(super) oracle: Option<Oracle>,
    pub(super) tally: Tally,
    held: Held,
    /// Instructions so far, for reports.
    pub(super) now: u64,
    /// What went wrong where nothing can be returned.
    pub(super) failed: Option<MachineError>,
}

/// What was done.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) invalidations: BTreeMap<&'static str, u64>,
    pub(super) dropped: Dropped,
    pub(super) ipis: u64,
    pub(super) exits: u64,
    pub(super) faults: u64,
    /// By process; the last is the monitor.
    pub(super) counts: Vec<Counts>,
}

/// What may be cached where: what was run since it was last flushed.
struct Held {
    processes: Vec<Vec<bool>>,
    guests: Vec<Vec<bool>>,
}

/// What a machine is made of.
pub(super) struct Parts<'a> {
    pub(super) topology: &'a Topology,
    pub(super) processor: &'a timing::processor::Processor,
    pub(super) geometry: &'a mmu::Geometry,
    pub(super) tags: TagPolicy,
    pub(super) tag_bits: u8,
    pub(super) oracle: bool,
    pub(super) monitor_pages: u32,
}

impl Machine {
    pub(super) fn new(parts: &Parts<'_>) -> Result<Self, MachineError> {
        let Topology { processors, guests, processes } = parts.topology;
        if guests.len() > MOST_GUESTS {
            return Err(MachineError::TooMany { what: "guests", given: guests.len(), most: MOST_GUESTS });
        }
        let ram = Ram::new(parts.topology.host_memory())?;
        let monitor = Monitor::new(&ram, parts.monitor_pages)?;
        let mut machines =
            (0..guests.len() as u16).map(|number| Guest::new(&ram, number)).collect::<Result<Vec<_>, _>>()?;
        let mut made = Vec::new();
        for process in processes {
            let guest = usize::from(process.guest);
            let of = processes.iter().filter(|other| other.guest == process.guest).count() as u64;
            made.push(Process::new(&ram, &mut machines, guest, process.number, of)?);
        }
        let count = usize::from(*processors);
        let host = Paging::four_level(monitor.root());
        let processors = (0..count)
            .map(|_| {
                let model = Model::new(parts.processor);
                let words = (parts.tags == TagPolicy::TagWord)
                    .then(|| Words::new(parts.tag_bits, guests.len()))
                    .transpose()?;
                let counts = (guests.len(), processes.len());
                Processor::new(parts.geometry, Registers::root(host), model, counts, words)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let held = Held {
            processes: vec![vec![false; processes.len()]; count],
            guests: vec![vec![false; guests.len()]; count],
        };
        Ok(Self {
            ram,
            guests: machines,
            processes: made,
            monitor,
            processors,
            tags: parts.tags,
            costs: *parts.processor.operations(),
            oracle: parts.oracle.then(|| Oracle::new(count)),
            tally: Tally { counts: vec![Counts::default(); processes.len() + 1], ..Tally::default() },
            held,
            now: 0,
            failed: None,
        })
    }

    pub(crate) fn processors(&self) -> usize {
        self.processors.len()
    }

    /// The process whose address space is loaded on a processor that is in a guest.
    pub(crate) fn running(&self, processor: usize) -> Option<usize> {
        self.processors[processor].running()
    }

    /// The guest that a processor is in.
    pub(crate) fn guest_on(&self, processor: usize) -> Option<usize> {
        match self.processors[processor].place {
            Place::Root => None,
            Place::Guest(guest) => Some(guest),
        }
    }

    pub(crate) fn guest_of(&self, process: usize) -> usize {
        self.processes[process].guest
    }

    /// The PCID that belongs to a process for good: 1 and up within its guest.
    pub(crate) fn own_pcid(&self, process: usize) -> u16 {
        self.processes[process].number % 4095 + 1
    }

    /// Whether a processor may have cached what a batch made stale.
    pub(crate) fn holds(&self, processor: usize, batch: &Batch) -> bool {
        match batch.by {
            Editor::Kernel => self.held.processes[processor][batch.process],
            Editor::Monitor => self.held.guests[processor][batch.guest],
        }
    }

    /// The processors that may have cached what a batch made stale, and the one that made the edit.
    pub(crate) fn holders(&self, batch: &Batch) -> Vec<usize> {
        (0..self.processors()).filter(|&at| at == batch.processor || self.holds(at, batch)).collect()
    }

    /// Whether a processor runs now what a batch changed.
    pub(crate) fn runs(&self, processor: usize, batch: &Batch) -> bool {
        match batch.by {
            Editor::Kernel => self.running(processor) == Some(batch.process),
            Editor::Monitor => self.guest_on(processor) == Some(batch.guest),
        }
    }

    /// Software relies on the changes from here on.
    pub(crate) fn complete(&mut self, changes: &[ChangeId]) {
        if let Some(oracle) = &mut self.oracle {
            changes.iter().for_each(|&change| oracle.completed(change));
        }
    }

    /// Interrupts `targets`, waits until the slowest has answered, and does the same on the processor itself.
    pub(crate) fn shoot(&mut self, from: usize, targets: &[usize], mut action: impl FnMut(&mut Self, usize)) {
        let mut slowest = 0;
        for &at in targets {
            if at == from {
                action(self, at);
                continue;
            }
            self.tally.ipis += 1;
            self.spend(from, Cause::Shootdown, self.costs.ipi_send());
            let before = self.cycles(at);
            self.spend(at, Cause::Shootdown, self.costs.ipi_receive());
            action(self, at);
            slowest = slowest.max(self.cycles(at) - before);
        }
        self.spend(from, Cause::Shootdown, slowest);
    }

    fn fail(&mut self, error: impl Into<MachineError>) {
        self.failed.get_or_insert(error.into());
    }

    pub(super) fn spend(&mut self, processor: usize, cause: Cause, cycles: u64) {
        self.processors[processor].model.spend(cause, cycles);
    }

    fn cycles(&self, processor: usize) -> u64 {
        self.processors[processor].model.clock().cycles()
    }

    /// Removes, without anybody executing anything, exactly what a batch made stale.
    pub(crate) fn remove_exactly(&mut self, batch: &Batch) {
        for page in &batch.pages {
            match *page {
                Page::Linear(address) => self.remove_linear(batch.process, address),
                Page::GuestPhysical { address, was, bytes } => {
                    self.remove_guest_physical(batch.guest, address, was, bytes);
                }
            }
        }
    }
}
