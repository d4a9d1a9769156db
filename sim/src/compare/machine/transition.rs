//! Transitions between root operation, guests and address spaces.

use super::Machine;
use crate::compare::processor::Place;
use crate::compare::strategy::{Cached, Load};
use crate::compare::tags::TagPolicy;
use mmu::Operation;
use mmu::operation::{Entry, Exit, Invvpid, Paging};
use timing::stack::Cause;

/// Bit 63 of the source of MOV to CR3: keep what is cached.
const KEEP: u64 = 1 << 63;

impl Machine {
    /// A VM exit, if the processor is in a guest.
    pub(in crate::compare) fn exit(&mut self, processor: usize) {
        let Place::Guest(guest) = self.processors[processor].place else { return };
        self.tally.exits += 1;
        self.spend(processor, Cause::Transition, self.costs.vm_exit());
        let at = &mut self.processors[processor];
        at.saved[guest] = at.registers.paging;
        at.place = Place::Root;
        let paging = Paging::four_level(self.monitor.root());
        self.perform(processor, Operation::VmExit(Exit { paging, ..Exit::default() }));
        self.exit_words(processor, guest);
        self.forget_untagged(processor);
    }

    /// A VM entry into a guest, whose virtual processor goes on where it was.
    pub(in crate::compare) fn enter(&mut self, processor: usize, guest: usize) {
        self.separate(processor, guest);
        self.spend(processor, Cause::Transition, self.costs.vm_entry());
        let entry = Entry {
            vpid: self.tags.vpid(guest),
            eptp: Some(self.guests[guest].eptp()),
            paging: self.processors[processor].saved[guest],
            ..Entry::default()
        };
        let at = &mut self.processors[processor];
        at.place = Place::Guest(guest);
        at.last_guest = Some(guest);
        self.perform(processor, Operation::VmEntry(entry));
        self.enter_words(processor, guest);
        self.forget_untagged(processor);
        self.held.guests[processor][guest] = true;
        if let Some(process) = self.running(processor) {
            self.held.processes[processor][process] = true;
        }
    }

    /// Where guests share a tag, removes what another one has left.
    fn separate(&mut self, processor: usize, guest: usize) {
        let last = self.processors[processor].last_guest;
        if self.tags == TagPolicy::ModeBit && last.is_some_and(|last| last != guest) {
            self.spend(processor, Cause::Invalidation, self.costs.invvpid_context());
            self.perform(processor, Operation::Invvpid(Invvpid::Context { vpid: 1 }));
            self.forget_processes(processor, None);
        }
    }

    /// Without VPIDs a transition has removed what was cached.
    fn forget_untagged(&mut self, processor: usize) {
        if self.tags == TagPolicy::None {
            self.forget_processes(processor, None);
        }
    }

    /// Does something in root operation, between a VM exit and a VM entry where the processor is in a guest.
    pub(in crate::compare) fn in_root(&mut self, processor: usize, action: impl FnOnce(&mut Self)) {
        let place = self.processors[processor].place;
        self.exit(processor);
        action(self);
        if let Place::Guest(guest) = place {
            self.enter(processor, guest);
        }
    }

    /// MOV to CR3 in the guest that the processor is in.
    pub(crate) fn load(&mut self, processor: usize, process: usize, load: Load) {
        let guest = self.guest_of(process);
        let pcids = self.tags.has_pcids();
        let pcid = if pcids { load.pcid } else { 0 };
        let keep = (pcids || self.tags == TagPolicy::TagWord) && load.cached == Cached::Kept;
        self.spend(processor, Cause::Transition, self.costs.mov_to_cr3_keep());
        if !keep {
            let more = self.costs.mov_to_cr3().saturating_sub(self.costs.mov_to_cr3_keep());
            self.spend(processor, Cause::Invalidation, more);
        }
        let source = self.processes[process].root() | u64::from(pcid) | if keep && pcids { KEEP } else { 0 };
        let at = &mut self.processors[processor];
        at.loaded[guest] = Some(process);
        at.pcids[process] = pcid;
        if self.tags == TagPolicy::TagWord {
            self.load_under_word(processor, process, source, load.cached);
        } else {
            self.perform(processor, Operation::MovToCr3(source));
        }
        if !pcids && self.tags != TagPolicy::TagWord {
            self.forget_processes(processor, Some(guest));
        }
        self.held.processes[processor][process] = true;
    }

    /// The registers of a guest's virtual processor before its first entry.
    pub(in crate::compare) fn boot(&mut self, processor: usize, guest: usize, process: usize) {
        let paging = Paging::four_level(self.processes[process].root());
        let paging = if self.tags.has_pcids() { paging.with_pcids() } else { paging };
        self.processors[processor].saved[guest] = paging;
    }
}
