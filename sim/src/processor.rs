//! A logical processor: registers, memory, and someone who watches.

use isa::address::{AccessKind, HostPhysicalAddress, LinearAddress};
use isa::cpu::{Cpu, Stop, Stopped};
use isa::event::Exception;
use isa::record::Record;
use isa::state::State;
use isa::width::Scalar;
use mmu::mmu::AccessReport;
use mmu::{Context, Fault, Mmu, Ram};

/// Bytes that one fetch brings; each next line asks the instruction TLB again.
const FETCH_LINE: u64 = 64;

/// Bytes below which a string instruction goes element by element.
const SHORT_RUN: u64 = 64;

/// Sees each instruction of an observed processor after it has completed.
pub trait Observer {
    /// One instruction, with its fetches and data accesses in order, made in `context`.
    fn executed<'a>(
        &mut self,
        ram: &Ram,
        context: &Context,
        accesses: impl Iterator<Item = AccessReport<'a>>,
    );
}

/// Nobody watches.
impl Observer for () {
    fn executed<'a>(&mut self, _: &Ram, _: &Context, _: impl Iterator<Item = AccessReport<'a>>) {}
}

/// A logical processor at user level.
///
/// `OBSERVED` chooses between the plain instantiation, where a load that hits costs one compare, and the observed one,
/// where every access goes through the TLB and is reported to the [`Observer`].
pub struct Processor<const OBSERVED: bool, O = ()> {
    /// The registers.
    pub state: State,
    /// Memory as this processor sees it.
    pub memory: Mmu<OBSERVED>,
    /// Who watches.
    pub observer: O,
    /// The fault behind the last [`Stop::Machine`].
    pub fault: Option<Fault>,
    line: u64,
}

impl<const OBSERVED: bool, O: Observer> Processor<OBSERVED, O> {
    /// A processor with this memory and registers of 0.
    #[must_use]
    pub fn new(memory: Mmu<OBSERVED>, observer: O) -> Self {
        Self { state: State::default(), memory, observer, fault: None, line: u64::MAX }
    }

    /// What a refused access is to the instruction that made it.
    #[cold]
    fn refused(&mut self, fault: Fault) -> Stopped {
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

impl<const OBSERVED: bool, O: Observer> Cpu for Processor<OBSERVED, O> {
    const OBSERVED: bool = OBSERVED;

    #[inline(always)]
    fn state(&self) -> &State {
        &self.state
    }

    #[inline(always)]
    fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    #[inline(always)]
    fn read<S: Scalar>(&mut self, at: LinearAddress) -> Result<S, Stopped> {
        self.memory.read(at).map_err(|fault| self.refused(fault))
    }

    #[inline(always)]
    fn write<S: Scalar>(&mut self, at: LinearAddress, value: S) -> Result<(), Stopped> {
        self.memory.write(at, value).map_err(|fault| self.refused(fault))
    }

    #[inline(always)]
    fn modify<S: Scalar>(
        &mut self,
        at: LinearAddress,
        compute: impl FnOnce(&mut State, S) -> S,
    ) -> Result<(), Stopped> {
        let state = &mut self.state;
        match self.memory.modify(at, |old| compute(state, old)) {
            Ok(_) => Ok(()),
            Err(fault) => Err(self.refused(fault)),
        }
    }

    fn translate_fetch(&mut self, at: LinearAddress) -> Result<HostPhysicalAddress, Stopped> {
        self.memory.probe(at, AccessKind::Execute).map_err(|fault| self.refused(fault))
    }

    fn code_bytes(&mut self, at: HostPhysicalAddress, into: &mut [u8]) {
        // A fetch to this page has been translated, so it is in RAM.
        let copied = self.memory.ram().copy_out(at, into);
        debug_assert!(copied.is_ok(), "{copied:?}");
    }

    #[inline(always)]
    fn fetch_epoch(&self) -> u64 {
        self.memory.epoch()
    }

    fn code_cached(&mut self, page: HostPhysicalAddress) {
        self.memory.mark_code(page);
    }

    fn code_dropped(&mut self, page: HostPhysicalAddress) {
        self.memory.unmark_code(page);
    }

    fn copy_run(&mut self, from: LinearAddress, to: LinearAddress, count: u64, element: u64) -> u64 {
        if count < SHORT_RUN {
            return 0;
        }
        let Ok(source) = self.memory.run(from, AccessKind::Read, count) else { return 0 };
        let Ok(target) = self.memory.run(to, AccessKind::Write, source.length) else { return 0 };
        // Copying upward onto itself repeats what is in front: what is read must not have been written in this run.
        let distance = target.host_physical.0.wrapping_sub(source.host_physical.0);
        let bytes = if distance == 0 { target.length } else { target.length.min(distance) };
        let bytes = bytes - bytes % element;
        match self.memory.ram().copy_within(source.host_physical, target.host_physical, bytes) {
            Ok(()) => bytes,
            Err(_) => 0,
        }
    }

    fn fill_run<S: Scalar>(&mut self, to: LinearAddress, count: u64, pattern: S) -> u64 {
        if count < SHORT_RUN {
            return 0;
        }
        let Ok(target) = self.memory.run(to, AccessKind::Write, count) else { return 0 };
        let elements = target.length / S::BYTES as u64;
        match self.memory.ram().fill(target.host_physical, pattern, elements) {
            Ok(()) => elements * S::BYTES as u64,
            Err(_) => 0,
        }
    }

    fn cpuid(&mut self, _: u32, _: u32) -> Result<[u32; 4], Stopped> {
        Err(Stop::Machine.into())
    }

    fn time_stamp_counter(&mut self) -> Result<u64, Stopped> {
        Err(Stop::Machine.into())
    }

    fn time_stamp_auxiliary(&mut self) -> Result<u32, Stopped> {
        Err(Stop::Machine.into())
    }

    fn random(&mut self) -> Result<u64, Stopped> {
        Err(Stop::Machine.into())
    }

    #[inline(always)]
    fn before(&mut self, record: &Record<Self>, rip: u64) -> Result<(), Stopped> {
        self.memory.clear_reports();
        self.fetch_lines(rip, record.length)
    }

    #[inline(always)]
    fn after(&mut self, _: &Record<Self>) -> Result<(), Stopped> {
        let Self { memory, observer, .. } = self;
        observer.executed(memory.ram(), memory.context(), memory.reports());
        Ok(())
    }
}
