//! Invalidating operations, chosen by where the processor is.

use super::Machine;
use crate::compare::processor::Place;
use crate::compare::strategy::{Batch, Cached, Load};
use crate::compare::tags::TagPolicy;
use crate::compare::work::Editor;
use isa::address::{GuestPhysicalAddress, HostPhysicalAddress, LinearAddress};
use mmu::operation::{Invept, Invpcid, Invvpid};
use mmu::tlb::{Dropped, Globals, Invalidation, Pcids, Structures};
use mmu::{Mapping, Operation};
use timing::stack::Cause;

impl Machine {
    /// Carries out an operation on a processor: its registers, its TLB, the oracle and the tally. Costs nothing.
    pub(super) fn perform(&mut self, processor: usize, operation: Operation) {
        let Self { ram, processors, oracle, tally, .. } = self;
        let at = &mut processors[processor];
        let mut performed = at.registers.perform(ram, &operation);
        if let Some(words) = &at.words {
            performed.invalidations = words.invalidations(&performed);
        }
        if let Some(oracle) = oracle {
            oracle.performing(ram, processor, &performed, at.translator.tlb());
        }
        for &invalidation in &performed.invalidations {
            tally.drop(at.translator.invalidate(invalidation));
        }
        if !performed.invalidations.is_empty() {
            *tally.invalidations.entry(name_of(&operation)).or_default() += 1;
        }
        at.refresh();
    }

    /// Carries out an invalidating instruction and charges it.
    fn invalidate(&mut self, processor: usize, operation: Operation, cycles: u64) {
        self.spend(processor, Cause::Invalidation, cycles);
        self.perform(processor, operation);
    }

    /// Whether a processor executes in a guest now.
    fn is_in(&self, processor: usize, guest: usize) -> bool {
        self.processors[processor].place == Place::Guest(guest)
    }

    /// The VPID under which a processor may hold entries of a guest that it is not in.
    fn foreign_vpid(&self, processor: usize, guest: usize) -> Option<u16> {
        let vpid = self.tags.vpid(guest)?;
        let shared = self.tags == TagPolicy::ModeBit;
        (!shared || self.processors[processor].last_guest == Some(guest)).then_some(vpid)
    }

    /// Removes one page of a process.
    pub(crate) fn invalidate_page(&mut self, processor: usize, process: usize, address: LinearAddress) {
        let guest = self.guest_of(process);
        let invlpg = Operation::Invlpg(address);
        if self.running(processor) == Some(process) {
            self.invalidate(processor, invlpg, self.costs.invlpg());
        } else if self.tags == TagPolicy::TagWord {
            self.under_word(processor, process, |machine| {
                machine.invalidate(processor, invlpg, machine.costs.invlpg());
            });
        } else if !self.is_in(processor, guest) {
            if let Some(vpid) = self.foreign_vpid(processor, guest) {
                let operation = Operation::Invvpid(Invvpid::Address { vpid, address });
                self.by_root(processor, operation, self.costs.invvpid_address());
            }
        } else if self.tags.has_pcids() {
            let pcid = self.processors[processor].pcids[process];
            let operation = Operation::Invpcid(Invpcid::Address { pcid, address });
            self.invalidate(processor, operation, self.costs.invpcid_address());
        }
        // Without PCIDs the load of another CR3 has removed everything already.
    }

    /// Removes the address space of a process.
    pub(crate) fn invalidate_process(&mut self, processor: usize, process: usize) {
        let guest = self.guest_of(process);
        if self.running(processor) == Some(process) {
            let pcid = self.processors[processor].pcids[process];
            self.load(processor, process, Load { pcid, cached: Cached::Dropped });
        } else if self.tags == TagPolicy::TagWord {
            self.under_word(processor, process, |machine| {
                let source = machine.processes[process].root();
                machine.invalidate(processor, Operation::MovToCr3(source), machine.costs.mov_to_cr3());
            });
        } else if !self.is_in(processor, guest) {
            self.invalidate_virtual_processor(processor, guest);
        } else if self.tags.has_pcids() {
            let pcid = self.processors[processor].pcids[process];
            let operation = Operation::Invpcid(Invpcid::Context { pcid });
            self.invalidate(processor, operation, self.costs.invpcid_context());
        }
        self.forget_process(processor, process);
    }

    /// Removes all linear and combined mappings of a guest.
    pub(crate) fn invalidate_virtual_processor(&mut self, processor: usize, guest: usize) {
        if self.tags == TagPolicy::TagWord {
            for process in (0..self.processes.len())
                .filter(|&process| self.guest_of(process) == guest)
                .collect::<Vec<_>>()
            {
                self.invalidate_process(processor, process);
            }
        } else if self.is_in(processor, guest) {
            self.invalidate(processor, Operation::Invpcid(Invpcid::AllWithGlobals), self.costs.invpcid_all());
        } else if let Some(vpid) = self.foreign_vpid(processor, guest) {
            let operation = Operation::Invvpid(Invvpid::Context { vpid });
            self.by_root(processor, operation, self.costs.invvpid_context());
        }
        self.forget_processes(processor, Some(guest));
    }

    /// Removes what was made through the EPT of a guest.
    pub(crate) fn invalidate_guest(&mut self, processor: usize, guest: usize) {
        let eptp = self.guests[guest].eptp();
        self.by_root(processor, Operation::Invept(Invept::Context { eptp }), self.costs.invept_context());
        self.held.guests[processor][guest] = self.is_in(processor, guest);
    }

    /// Removes everything that the editor can.
    pub(crate) fn invalidate_everything(&mut self, processor: usize, batch: &Batch) {
        match batch.by {
            Editor::Kernel => self.invalidate_virtual_processor(processor, batch.guest),
            Editor::Monitor => {
                let all = [
                    (Operation::Invept(Invept::All), self.costs.invept_all()),
                    (Operation::Invvpid(Invvpid::All), self.costs.invvpid_context()),
                ];
                self.in_root(processor, |machine| {
                    all.into_iter()
                        .for_each(|(operation, cycles)| machine.invalidate(processor, operation, cycles));
                });
                for guest in 0..self.guests.len() {
                    self.held.guests[processor][guest] = self.is_in(processor, guest);
                }
                self.forget_processes(processor, None);
            }
        }
    }

    /// Carries out an instruction of root operation, after a VM exit where that is needed.
    fn by_root(&mut self, processor: usize, operation: Operation, cycles: u64) {
        self.in_root(processor, |machine| machine.invalidate(processor, operation, cycles));
    }

    /// A process that does not run here now has nothing cached here any more.
    pub(super) fn forget_process(&mut self, processor: usize, process: usize) {
        self.held.processes[processor][process] = self.running(processor) == Some(process);
    }

    /// The same for all processes of a guest, or of all guests.
    pub(super) fn forget_processes(&mut self, processor: usize, guest: Option<usize>) {
        for process in 0..self.processes.len() {
            if guest.is_none_or(|guest| guest == self.guest_of(process)) {
                self.forget_process(processor, process);
            }
        }
    }

    /// Removes a page of a process on every processor; see [`remove_exactly`](Self::remove_exactly).
    pub(super) fn remove_linear(&mut self, process: usize, address: LinearAddress) {
        let vpid = self.tags.vpid(self.guest_of(process)).unwrap_or(0);
        for at in &mut self.processors {
            let invalidation = Invalidation::Address {
                vpid,
                pcids: Pcids::One(at.pcids[process]),
                globals: Globals::Drop,
                structures: Structures::OfAddress,
                address,
            };
            self.tally.drop(at.translator.invalidate(invalidation));
        }
    }

    /// Removes a guest-physical page, and every combined mapping to it, on every processor.
    pub(super) fn remove_guest_physical(
        &mut self,
        guest: usize,
        address: GuestPhysicalAddress,
        host: HostPhysicalAddress,
        bytes: u64,
    ) {
        let root = self.ept_root(guest);
        for at in &mut self.processors {
            let mut stale = vec![Invalidation::GuestPhysical { root, address }];
            at.translator.tlb().for_each_mapping(|mapping| {
                if let Mapping::Translation { space, translation } = mapping
                    && space.ept == Some(root)
                    && (host.0..host.0 + bytes).contains(&translation.host_physical.0)
                {
                    stale.push(Invalidation::Combined { space, address: translation.linear });
                }
            });
            for invalidation in stale {
                self.tally.drop(at.translator.invalidate(invalidation));
            }
        }
    }
}

impl super::Tally {
    pub(super) fn drop(&mut self, dropped: Dropped) {
        self.dropped.entries += dropped.entries;
        self.dropped.structures += dropped.structures;
        self.dropped.guest_physical += dropped.guest_physical;
    }
}

/// What an invalidating operation is called in results.
const fn name_of(operation: &Operation) -> &'static str {
    match operation {
        Operation::MovToCr3(_) => "mov_to_cr3",
        Operation::Invlpg(_) => "invlpg",
        Operation::Invpcid(Invpcid::Address { .. }) => "invpcid_address",
        Operation::Invpcid(Invpcid::Context { .. }) => "invpcid_context",
        Operation::Invpcid(_) => "invpcid_all",
        Operation::Invvpid(Invvpid::Address { .. }) => "invvpid_address",
        Operation::Invvpid(Invvpid::Context { .. } | Invvpid::ContextButGlobals { .. }) => "invvpid_context",
        Operation::Invvpid(Invvpid::All) => "invvpid_all",
        Operation::Invept(Invept::Context { .. }) => "invept_context",
        Operation::Invept(Invept::All) => "invept_all",
        Operation::VmEntry(_) => "vm_entry",
        Operation::VmExit(_) => "vm_exit",
        _ => "other",
    }
}
