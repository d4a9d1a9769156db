//! The machine of a replay: a processor with its address space, and what a record may do to it.

use super::ReplayError;
use super::meter::Meter;
use super::options::{ReplayOptions, geometry};
use super::space::{AddressSpace, SpaceError};
use super::watch::{Oracular, Watch};
use crate::processor::Processor;
use isa::address::{AccessKind, HostPhysicalAddress, LinearAddress, PAGE_SIZE};
use isa::cpu::Stop;
use isa::engine::{CodeCache, Run};
use isa::registers::Registers;
use isa::state::State;
use mmu::tlb::Invalidation;
use mmu::{Mmu, Ram};
use timing::model::Model;
use traces::{Content, Permissions, Store};

type Watched = Processor<true, Meter>;

pub(super) struct Machine {
    pub(super) cpu: Watched,
    code: CodeCache<Watched>,
    space: AddressSpace,
}

impl Machine {
    pub(super) fn new(options: &ReplayOptions, code: CodeCache<Watched>) -> Result<Self, ReplayError> {
        let processor = timing::processor::Processor::select(&options.tlb)?;
        let ram = Ram::new(options.memory)?;
        let space = AddressSpace::new(&ram, options)?;
        let geometry = options.walk_caches.of(geometry(&processor)?);
        let mut memory = Mmu::new(ram, &geometry)?;
        memory.set_context(space.context());
        let watch = match options.oracle {
            Oracular::On => Some(Watch::new(memory.context())),
            Oracular::Off => None,
        };
        let cpu = Processor::new(memory, Meter::new(Model::new(&processor), watch));
        Ok(Self { cpu, code, space })
    }

    /// Runs at most `budget` instructions.
    pub(super) fn run(&mut self, budget: u64) -> Run {
        let mut run = self.code.run(&mut self.cpu, budget);
        // A user-level program has no machine that looks at what the instruction changed.
        while run.stop == Some(Stop::Done) {
            let rest = self.code.run(&mut self.cpu, budget - run.executed);
            run = Run { executed: run.executed + rest.executed, ..rest };
        }
        run
    }

    /// Whether the page around an address is mapped.
    pub(super) fn is_mapped(&self, at: LinearAddress) -> bool {
        self.space.locate(at).is_some()
    }

    /// An access that only touches: it goes through the TLB and is charged.
    pub(super) fn access(
        &mut self,
        at: LinearAddress,
        kind: AccessKind,
        bytes: u16,
    ) -> Result<(), SpaceError> {
        self.cpu.memory.clear_reports();
        self.cpu.memory.translate(at, kind, bytes).map_err(|fault| SpaceError::Access { at, fault })?;
        let Watched { memory, outside, .. } = &mut self.cpu;
        for report in memory.reports() {
            outside.access(memory.ram(), memory.context(), &report);
        }
        Ok(())
    }

    /// Time for an instruction whose effect was taken from the record.
    pub(super) fn charge_instruction(&mut self) {
        self.cpu.outside.instruction();
    }

    pub(super) fn registers(&self) -> Registers {
        self.cpu.state.registers()
    }

    pub(super) fn set_registers(&mut self, registers: &Registers) {
        self.cpu.state = State::from(registers);
    }

    /// A program starts in an empty address space.
    pub(super) fn exec(&mut self, registers: &Registers) -> Result<(), ReplayError> {
        self.space.restart(self.cpu.memory.ram())?;
        let context = self.space.context();
        let Watched { memory, outside, .. } = &mut self.cpu;
        memory.set_context(context);
        if let Some(watch) = &mut outside.watch {
            watch.restarted(memory.ram(), memory.tlb(), &context);
        }
        memory.invalidate(Invalidation::Everything);
        self.set_registers(registers);
        Ok(())
    }

    /// A page with its content.
    pub(super) fn page(
        &mut self,
        page: LinearAddress,
        permissions: Permissions,
        content: &[u8; PAGE_SIZE as usize],
    ) -> Result<(), SpaceError> {
        self.permit(page, permissions)?;
        self.patch(page, content)
    }

    /// Other permissions for a page.
    pub(super) fn permit(&mut self, page: LinearAddress, permissions: Permissions) -> Result<(), SpaceError> {
        let Watched { memory, outside, .. } = &mut self.cpu;
        let Some(edited) = self.space.map(memory.ram(), page, permissions)? else { return Ok(()) };
        if let Some(watch) = &mut outside.watch {
            watch.permitted(memory.ram(), memory.tlb(), memory.context(), page, edited.entry);
        }
        memory.invalidate(edited.invalidation);
        Ok(())
    }

    /// Bytes that came from outside, within one page; decoded code of the page is dropped.
    pub(super) fn patch(&mut self, at: LinearAddress, bytes: &[u8]) -> Result<(), SpaceError> {
        let Some(physical) = self.space.locate(at) else { return Ok(()) };
        self.drop_code(physical.page());
        self.cpu.memory.ram().copy_in(physical, bytes)?;
        Ok(())
    }

    fn drop_code(&mut self, page: HostPhysicalAddress) {
        if self.cpu.memory.ram().holds_code(page) {
            self.code.drop_page(page);
            self.cpu.memory.unmark_code(page);
        }
    }

    /// Stores of an instruction that is taken from the record.
    pub(super) fn store(&mut self, store: &Store<'_>) -> Result<(), SpaceError> {
        let Content::Bytes(bytes) = store.content else { return Ok(()) };
        for (at, part) in within_pages(store.address, bytes) {
            self.patch(at, part)?;
        }
        Ok(())
    }

    /// Reads memory as the program sees it, past the TLB; false when a page is not mapped.
    pub(super) fn peek(&self, at: u64, bytes: &mut [u8]) -> bool {
        let mut at = at;
        let mut rest = bytes;
        while !rest.is_empty() {
            let here = rest.len().min(PAGE_SIZE as usize - LinearAddress(at).page_offset());
            let (part, more) = rest.split_at_mut(here);
            let Some(physical) = self.space.locate(LinearAddress(at)) else { return false };
            if self.cpu.memory.ram().copy_out(physical, part).is_err() {
                return false;
            }
            at = at.wrapping_add(here as u64);
            rest = more;
        }
        true
    }
}

/// The parts of some bytes that are in different pages.
fn within_pages(address: u64, bytes: &[u8]) -> impl Iterator<Item = (LinearAddress, &[u8])> {
    let mut at = LinearAddress(address);
    let mut rest = bytes;
    core::iter::from_fn(move || {
        let here = rest.len().min(PAGE_SIZE as usize - at.page_offset());
        let (part, more) = rest.split_at(here);
        let item = (at, part);
        rest = more;
        at = at.add(here as u64);
        (here > 0).then_some(item)
    })
}
