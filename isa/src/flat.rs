//! The smallest machine: a piece of memory at a fixed address, no paging.
//!
//! It exists so that every instruction can be tried without a machine around it.

use crate::address::{HostPhysicalAddress, LinearAddress, PAGE_SIZE};
use crate::cpu::{Cpu, Stop, Stopped};
use crate::event::Exception;
use crate::record::Record;
use crate::state::{Slot, State};
use crate::width::Scalar;
use rustc_hash::FxHashSet;

/// A processor with [`FlatMachine::SIZE`] bytes of memory at [`FlatMachine::BASE`].
#[derive(Clone, Debug)]
pub struct FlatMachine {
    /// The registers.
    pub state: State,
    memory: Vec<u8>,
    code: FxHashSet<u64>,
}

impl FlatMachine {
    /// The first address that has memory.
    pub const BASE: u64 = 0x10_0000;
    /// Bytes of memory.
    pub const SIZE: u64 = 16 * PAGE_SIZE;

    /// A machine with `code` at [`Self::BASE`], RIP there and the stack at the end of memory.
    #[must_use]
    pub fn with_code(code: &[u8]) -> Self {
        let mut machine = Self {
            state: State::default(),
            memory: vec![0; usize::try_from(Self::SIZE).unwrap_or(0)],
            code: FxHashSet::default(),
        };
        machine.state.set_rip(Self::BASE);
        machine.state.set_slot(Slot::Rsp, Self::BASE + Self::SIZE - 64);
        let length = code.len().min(machine.memory.len());
        machine.memory[..length].copy_from_slice(&code[..length]);
        machine
    }

    /// All of the memory.
    #[must_use]
    pub fn memory(&self) -> &[u8] {
        &self.memory
    }

    /// All of the memory, to change; decoded code is not told.
    pub fn memory_mut(&mut self) -> &mut [u8] {
        &mut self.memory
    }

    /// Where an access of `bytes` bytes is in memory; outside it is a page fault at the first missing byte.
    fn locate(&self, at: LinearAddress, bytes: usize, code: u16) -> Result<usize, Stopped> {
        let fault = |address| Err(Stop::Exception(Exception::page_fault(address, code)).into());
        let offset = at.0.wrapping_sub(Self::BASE);
        if !matches!(at.0.cast_signed() >> 47, 0 | -1) {
            return Err(Stop::Exception(Exception::non_canonical(at)).into());
        }
        if offset >= Self::SIZE {
            return fault(at);
        }
        if Self::SIZE - offset < bytes as u64 {
            return fault(LinearAddress(Self::BASE + Self::SIZE));
        }
        usize::try_from(offset).map_err(|_| Stop::Machine.into())
    }

    fn locate_write(&self, at: LinearAddress, bytes: usize) -> Result<usize, Stopped> {
        let offset = self.locate(at, bytes, 6)?;
        for page in [at.page(), at.add(bytes as u64 - 1).page()] {
            if self.code.contains(&page.0) {
                return Err(Stop::CodeWrite(HostPhysicalAddress(page.0)).into());
            }
        }
        Ok(offset)
    }
}

impl Cpu for FlatMachine {
    const OBSERVED: bool = false;

    fn state(&self) -> &State {
        &self.state
    }

    fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    fn read<S: Scalar>(&mut self, at: LinearAddress) -> Result<S, Stopped> {
        let offset = self.locate(at, S::BYTES, 4)?;
        Ok(S::from_le_slice(&self.memory[offset..offset + S::BYTES]))
    }

    fn write<S: Scalar>(&mut self, at: LinearAddress, value: S) -> Result<(), Stopped> {
        let offset = self.locate_write(at, S::BYTES)?;
        value.to_le_slice(&mut self.memory[offset..offset + S::BYTES]);
        Ok(())
    }

    fn modify<S: Scalar>(
        &mut self,
        at: LinearAddress,
        compute: impl FnOnce(&mut State, S) -> S,
    ) -> Result<(), Stopped> {
        let offset = self.locate_write(at, S::BYTES)?;
        let place = &mut self.memory[offset..offset + S::BYTES];
        compute(&mut self.state, S::from_le_slice(place)).to_le_slice(place);
        Ok(())
    }

    fn translate_fetch(&mut self, at: LinearAddress) -> Result<HostPhysicalAddress, Stopped> {
        self.locate(at, 1, 0x14).map(|_| HostPhysicalAddress(at.0))
    }

    fn code_bytes(&mut self, at: HostPhysicalAddress, into: &mut [u8]) {
        if let Ok(offset) = self.locate(LinearAddress(at.0), into.len(), 0) {
            into.copy_from_slice(&self.memory[offset..offset + into.len()]);
        }
    }

    fn fetch_epoch(&self) -> u64 {
        0
    }

    fn code_cached(&mut self, page: HostPhysicalAddress) {
        self.code.insert(page.0);
    }

    fn code_dropped(&mut self, page: HostPhysicalAddress) {
        self.code.remove(&page.0);
    }

    fn copy_run(&mut self, from: LinearAddress, to: LinearAddress, count: u64, element: u64) -> u64 {
        let (Ok(source), Ok(target)) = (self.locate(from, 1, 4), self.locate_write(to, 1)) else { return 0 };
        let count = within_page(from, within_page(to, count));
        let count = count - count % element;
        for byte in 0..usize::try_from(count).unwrap_or(0) {
            self.memory[target + byte] = self.memory[source + byte];
        }
        count
    }

    fn fill_run<S: Scalar>(&mut self, to: LinearAddress, count: u64, pattern: S) -> u64 {
        let Ok(target) = self.locate_write(to, 1) else { return 0 };
        let elements = usize::try_from(within_page(to, count)).unwrap_or(0) / S::BYTES;
        for element in self.memory[target..].chunks_exact_mut(S::BYTES).take(elements) {
            pattern.to_le_slice(element);
        }
        (elements * S::BYTES) as u64
    }

    fn cpuid(&mut self, leaf: u32, _: u32) -> Result<[u32; 4], Stopped> {
        // The highest leaf is 0, and the vendor is nobody's.
        Ok(if leaf == 0 { [0, u32::from_le_bytes(*b"vmxs"), 0, 0] } else { [0; 4] })
    }

    fn time_stamp_counter(&mut self) -> Result<u64, Stopped> {
        Ok(0)
    }

    fn time_stamp_auxiliary(&mut self) -> Result<u32, Stopped> {
        Ok(0)
    }

    fn random(&mut self) -> Result<u64, Stopped> {
        Ok(4)
    }
}

/// How many of `count` bytes from `at` on are on the same page.
fn within_page(at: LinearAddress, count: u64) -> u64 {
    count.min(PAGE_SIZE - at.0 % PAGE_SIZE)
}

/// A machine with an observer that counts: every instruction is executed alone, with all its flags.
///
/// ```
/// use isa::engine::CodeCache;
/// use isa::flat::{FlatMachine, Observed};
///
/// // inc eax / hlt
/// let mut machine = Observed::new(FlatMachine::with_code(&[0xff, 0xc0, 0xf4]));
/// CodeCache::new().run(&mut machine, 10);
/// assert_eq!((machine.started, machine.completed), (2, 1));
/// ```
#[derive(Clone, Debug)]
pub struct Observed<C> {
    /// The machine itself.
    pub machine: C,
    /// Instructions that were about to execute.
    pub started: u64,
    /// Instructions that have completed.
    pub completed: u64,
}

impl<C> Observed<C> {
    /// A machine whose observer has seen nothing.
    pub const fn new(machine: C) -> Self {
        Self { machine, started: 0, completed: 0 }
    }
}

impl<C: Cpu> Cpu for Observed<C> {
    const OBSERVED: bool = true;

    fn state(&self) -> &State {
        self.machine.state()
    }

    fn state_mut(&mut self) -> &mut State {
        self.machine.state_mut()
    }

    fn read<S: Scalar>(&mut self, at: LinearAddress) -> Result<S, Stopped> {
        self.machine.read(at)
    }

    fn write<S: Scalar>(&mut self, at: LinearAddress, value: S) -> Result<(), Stopped> {
        self.machine.write(at, value)
    }

    fn modify<S: Scalar>(
        &mut self,
        at: LinearAddress,
        compute: impl FnOnce(&mut State, S) -> S,
    ) -> Result<(), Stopped> {
        self.machine.modify(at, compute)
    }

    fn translate_fetch(&mut self, at: LinearAddress) -> Result<HostPhysicalAddress, Stopped> {
        self.machine.translate_fetch(at)
    }

    fn code_bytes(&mut self, at: HostPhysicalAddress, into: &mut [u8]) {
        self.machine.code_bytes(at, into);
    }

    fn fetch_epoch(&self) -> u64 {
        self.machine.fetch_epoch()
    }

    fn code_cached(&mut self, page: HostPhysicalAddress) {
        self.machine.code_cached(page);
    }

    fn code_dropped(&mut self, page: HostPhysicalAddress) {
        self.machine.code_dropped(page);
    }

    fn cpuid(&mut self, leaf: u32, subleaf: u32) -> Result<[u32; 4], Stopped> {
        self.machine.cpuid(leaf, subleaf)
    }

    fn time_stamp_counter(&mut self) -> Result<u64, Stopped> {
        self.machine.time_stamp_counter()
    }

    fn time_stamp_auxiliary(&mut self) -> Result<u32, Stopped> {
        self.machine.time_stamp_auxiliary()
    }

    fn random(&mut self) -> Result<u64, Stopped> {
        self.machine.random()
    }

    fn before(&mut self, _: &Record<Self>, _: u64) -> Result<(), Stopped> {
        self.started += 1;
        Ok(())
    }

    fn after(&mut self, _: &Record<Self>) -> Result<(), Stopped> {
        self.completed += 1;
        Ok(())
    }
}
