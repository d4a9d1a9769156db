//! A logical processor: registers, memory, and what is outside of it.

mod cpu;
mod elsewhere;
mod outside;
mod translation;

pub use outside::Outside;

use isa::address::LinearAddress;
use isa::cpu::{Privilege, Stop, Stopped};
use isa::event::Exception;
use isa::flags::Rflags;
use isa::state::State;
use mmu::context::Controls;
use mmu::operation::{Paging, Registers};
use mmu::{Fault, Mmu};

/// Bytes that one fetch brings; each next line asks the instruction TLB again.
const FETCH_LINE: u64 = 64;

/// Bytes below which a string instruction goes element by element.
const SHORT_RUN: u64 = 64;

/// A logical processor.
///
/// `OBSERVED` chooses between the plain instantiation, where a load that hits costs one compare, and the observed one,
/// where every access goes through the TLB and is reported to [`Outside::executed`].
pub struct Processor<const OBSERVED: bool, O = ()> {
    /// The registers.
    pub state: State,
    /// Memory as this processor sees it.
    pub memory: Mmu<OBSERVED>,
    /// Who watches, and what answers.
    pub outside: O,
    /// The registers that translation depends on, as the processor with a system around it has them.
    pub translation: Registers,
    /// The fault behind the last [`Stop::Machine`].
    pub fault: Option<Fault>,
    line: u64,
}

impl<const OBSERVED: bool, O: Outside> Processor<OBSERVED, O> {
    /// A processor with this memory and registers of 0.
    #[must_use]
    pub fn new(memory: Mmu<OBSERVED>, outside: O) -> Self {
        let translation = Registers::outside(Paging::default());
        Self { state: State::default(), memory, outside, translation, fault: None, line: u64::MAX }
    }

    /// Translates from now on as the registers say: after anything that privilege, EFLAGS.AC or the control registers
    /// depend on has changed.
    pub fn select_context(&mut self) {
        let privilege = memory_privilege(Privilege::of_level(self.state.system.cpl));
        let mut context = self.translation.context(privilege);
        context.controls.set(Controls::SMAP_OVERRIDE, self.state.flags.rest() & Rflags::AC.bits() != 0);
        context.pkru = self.state.system.pkru;
        self.memory.set_context(context);
    }

    /// The same for the delivery of an event, most of whose accesses are implicit.
    pub fn select_context_of_delivery(&mut self) {
        self.select_context();
        self.memory.set_privilege(mmu::Privilege::ImplicitSupervisor);
    }

    /// Makes an access with other rights.
    fn with<T>(&mut self, privilege: Privilege, access: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.memory.context().privilege;
        self.memory.set_privilege(memory_privilege(privilege));
        let outcome = access(self);
        self.memory.set_privilege(before);
        outcome
    }

    /// What a refused access is to the instruction that made it.
    #[cold]
    pub(super) fn refused(&mut self, fault: Fault) -> Stopped {
        Box::new(match fault {
            Fault::Page(page) => Stop::Exception(page.exception()),
            Fault::NonCanonical { address } => Stop::Exception(Exception::non_canonical(address)),
            Fault::CodePage { page } => Stop::CodeWrite(page),
            Fault::EptViolation(_)
            | Fault::EptMisconfiguration(_)
            | Fault::PageModificationLogFull { .. }
            | Fault::OutsideRam { .. } => {
                self.fault = Some(fault);
                Stop::Machine
            }
        })
    }

    /// Fetches the lines of an instruction that are not the one fetched last.
    fn fetch_lines(&mut self, rip: u64, length: u8) -> Result<(), Stopped> {
        for line in [rip / FETCH_LINE, rip.wrapping_add(u64::from(length) - 1) / FETCH_LINE] {
            if line != self.line {
                self.line = line;
                let at = LinearAddress(line * FETCH_LINE);
                self.memory.fetch(at).map_err(|fault| self.refused(fault))?;
            }
        }
        Ok(())
    }
}

/// The rights of an access, as memory has them.
const fn memory_privilege(privilege: Privilege) -> mmu::Privilege {
    match privilege {
        Privilege::User => mmu::Privilege::User,
        Privilege::Supervisor => mmu::Privilege::Supervisor,
        Privilege::Implicit => mmu::Privilege::ImplicitSupervisor,
    }
}
