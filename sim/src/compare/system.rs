//! One strategy at its work: events go to the machine, and what they mean for translations to the strategy.

use super::error::MachineError;
use super::machine::{Machine, Parts};
use super::space::{self, Written};
use super::strategy::{Batch, Known, Page, Strategy, StrategyOptions};
use super::work::{Access, Block, Change, Edit, Editor, Event};
use isa::address::{AccessKind, HostPhysicalAddress, LinearAddress};
use mmu::Fault;
use mmu::oracle::{self, Actor, What};
use timing::stack::Cause;

/// A machine and the strategy that runs it.
pub(super) struct System {
    pub(super) known: &'static Known,
    pub(super) machine: Machine,
    strategy: Box<dyn Strategy>,
    /// The action whose edits are under way.
    open: Option<Batch>,
    /// The guest that was left for an action of the monitor.
    left: Option<usize>,
    monitor_pages: u32,
}

impl System {
    pub(super) fn new(
        known: &'static Known,
        options: &StrategyOptions,
        parts: &Parts<'_>,
    ) -> Result<Self, MachineError> {
        Ok(Self {
            known,
            machine: Machine::new(&Parts { tags: known.tags, ..*parts })?,
            strategy: (known.build)(options),
            open: None,
            left: None,
            monitor_pages: parts.monitor_pages,
        })
    }

    /// Does the work of a block.
    pub(super) fn run(&mut self, block: &Block) -> Result<(), MachineError> {
        for event in &block.events {
            match event {
                Event::Dispatch { processor, process } => {
                    self.dispatch(usize::from(*processor), usize::from(*process));
                }
                Event::Run { processor, accesses } => {
                    let accesses = &block.accesses[accesses.start as usize..accesses.end as usize];
                    self.accesses(usize::from(*processor), accesses)?;
                }
                Event::Exit { processor, .. } => self.visit_monitor(usize::from(*processor))?,
                Event::Reload { processor } => self.reload(usize::from(*processor)),
                Event::Fault { processor, address, kind, .. } => {
                    self.fault(usize::from(*processor), *address, *kind);
                }
                Event::Edit(edit) => self.edit(edit)?,
            }
        }
        self.machine.failed.take().map_or(Ok(()), Err)
    }

    /// A processor goes on with a process: a change of guest, of address space, or only a tick.
    fn dispatch(&mut self, processor: usize, process: usize) {
        let guest = self.machine.guest_of(process);
        if self.machine.guest_on(processor) != Some(guest) {
            self.machine.exit(processor);
            if self.machine.processors[processor].loaded[guest].is_none() {
                self.machine.boot(processor, guest, process);
            }
            self.enter(processor, guest);
        }
        if self.machine.running(processor) == Some(process) {
            self.strategy.resuming(&mut self.machine, processor);
        } else {
            self.machine.spend(processor, Cause::Transition, self.machine.costs.context_switch());
            let load = self.strategy.load(&mut self.machine, processor, process);
            self.machine.load(processor, process, load);
        }
    }

    fn reload(&mut self, processor: usize) {
        if let Some(process) = self.machine.running(processor) {
            self.machine.invalidate_process(processor, process);
        }
    }

    fn enter(&mut self, processor: usize, guest: usize) {
        self.strategy.entering(&mut self.machine, processor, guest);
        self.machine.enter(processor, guest);
    }

    fn accesses(&mut self, processor: usize, accesses: &[Access]) -> Result<(), MachineError> {
        let machine = &mut self.machine;
        let tag = machine.running(processor).unwrap_or(machine.processes.len());
        let before = machine.processors[processor].counts;
        let done = if machine.oracle.is_some() {
            machine.access_all::<true>(processor, accesses)
        } else {
            machine.access_all::<false>(processor, accesses)
        };
        let counts = machine.processors[processor].counts.since(before);
        machine.tally.counts[tag].add(counts);
        done.map_err(|(address, fault)| self.refused(address, fault))
    }

    fn refused(&self, address: LinearAddress, fault: Fault) -> MachineError {
        MachineError::Refused { strategy: self.known.name.to_owned(), address, fault }
    }

    /// A VM exit whose handler touches the monitor's pages, and the entry after it.
    fn visit_monitor(&mut self, processor: usize) -> Result<(), MachineError> {
        let Some(guest) = self.machine.guest_on(processor) else { return Ok(()) };
        self.machine.exit(processor);
        let touched: Vec<Access> = (0..self.monitor_pages)
            .map(|page| Access {
                address: space::Monitor::page(page),
                bytes: 8,
                kind: AccessKind::Read,
                instructions: 1,
            })
            .collect();
        self.accesses(processor, &touched)?;
        self.enter(processor, guest);
        self.strategy.resuming(&mut self.machine, processor);
        Ok(())
    }

    /// An access that the tables refuse. Through a stale translation it may go through all the same.
    fn fault(&mut self, processor: usize, address: LinearAddress, kind: AccessKind) {
        let access = Access { address, bytes: 1, kind, instructions: 0 };
        if let Err(fault) = self.machine.access::<true>(processor, &access) {
            self.machine.tally.faults += 1;
            self.machine.processors[processor].refused(&access);
            if !matches!(fault, Fault::EptViolation(_)) {
                let costs = self.machine.costs;
                self.machine.spend(processor, Cause::Fault, costs.page_fault() + costs.fault_handler());
            }
        }
    }

    fn edit(&mut self, edit: &Edit) -> Result<(), MachineError> {
        let (processor, process) = (usize::from(edit.processor), usize::from(edit.process));
        if edit.by == Editor::Monitor && self.open.is_none() {
            self.left = self.machine.guest_on(processor);
            self.machine.exit(processor);
        }
        let Machine { ram, guests, processes, .. } = &mut self.machine;
        let written = space::apply(ram, guests, processes, edit)
            .map_err(|source| MachineError::Edit { edit: edit.id, source })?;
        let guest = self.machine.guest_of(process);
        let batch = self.open.get_or_insert_with(|| Batch {
            processor,
            by: edit.by,
            process,
            guest,
            pages: Vec::new(),
            changes: Vec::new(),
        });
        let change = self.machine.change(edit, guest, &written);
        if change.takes_away() {
            batch.pages.push(stale_page(edit, &written));
        }
        batch.changes.extend(self.machine.oracle.as_mut().map(|oracle| oracle.changed(change)));
        if edit.last {
            self.finish(processor);
        }
        Ok(())
    }

    /// After the last edit of a batch.
    fn finish(&mut self, processor: usize) {
        let Some(batch) = self.open.take() else { return };
        if batch.pages.is_empty() {
            self.machine.complete(&batch.changes);
        } else {
            self.strategy.edited(&mut self.machine, batch);
        }
        if let Some(guest) = self.left.take() {
            self.enter(processor, guest);
            self.strategy.resuming(&mut self.machine, processor);
        }
    }
}

impl Machine {
    fn access_all<const JUDGED: bool>(
        &mut self,
        processor: usize,
        accesses: &[Access],
    ) -> Result<(), (LinearAddress, Fault)> {
        for access in accesses {
            self.access::<JUDGED>(processor, access).map_err(|fault| (access.address, fault))?;
        }
        Ok(())
    }

    #[inline]
    fn access<const JUDGED: bool>(&mut self, processor: usize, access: &Access) -> Result<(), Fault> {
        let Self { ram, processors, oracle, now, .. } = self;
        let at = &mut processors[processor];
        let found = at.access(ram, access)?;
        *now += u64::from(access.instructions);
        if JUDGED && let Some(oracle) = oracle {
            let context = at.translator.context();
            oracle.used(ram, processor, context, access.address, access.kind, &found, *now);
        }
        Ok(())
    }

    /// What an edit has changed.
    fn change(&self, edit: &Edit, guest: usize, written: &Written) -> oracle::Change {
        let context = *self.processors[usize::from(edit.processor)].translator.context();
        let what = match edit.change {
            Change::Map { page, size, .. }
            | Change::Unmap { page, size }
            | Change::Protect { page, size, .. }
            | Change::Remap { page, size, .. } => What::GuestEntry { context, page, size: size.bytes() },
            Change::MapHost { guest_physical, size, .. }
            | Change::MigrateHost { guest_physical, size, .. }
            | Change::CutHost { guest_physical, size }
            | Change::RestoreHost { guest_physical, size } => {
                What::EptEntry { ept: self.guests[guest].context(), page: guest_physical, size: size.bytes() }
            }
        };
        let who = match edit.by {
            Editor::Kernel => "the kernel",
            Editor::Monitor => "the monitor",
        };
        let by = Actor { processor: usize::from(edit.processor), who: who.into() };
        let Written { entry, level, old, new } = *written;
        oracle::Change { by, at: self.now, what, entry, level, old, new }
    }
}

fn stale_page(edit: &Edit, written: &Written) -> Page {
    match edit.change {
        Change::Map { page, .. }
        | Change::Unmap { page, .. }
        | Change::Protect { page, .. }
        | Change::Remap { page, .. } => Page::Linear(page),
        Change::MapHost { guest_physical, size, .. }
        | Change::MigrateHost { guest_physical, size, .. }
        | Change::CutHost { guest_physical, size }
        | Change::RestoreHost { guest_physical, size } => Page::GuestPhysical {
            address: guest_physical,
            was: HostPhysicalAddress(written.old & space::ADDRESS & !size.offset_mask()),
            bytes: size.bytes(),
        },
    }
}
