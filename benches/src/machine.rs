//! A plain machine with page tables for a guest program.

use isa::address::{GuestPhysicalAddress, HostPhysicalAddress, LinearAddress};
use isa::engine::{CodeCache, Run};
use isa::registers::Registers;
use isa::state::{Slot, State};
use mmu::tables::{FrameAllocator, Home, PagePermissions, PageTables};
use mmu::{Context, Geometry, Mmu, PageSize, PagingMode, Ram};
use std::error::Error;
use vmxsim::processor::Processor;

/// Where the code is.
pub const CODE: u64 = 0x40_0000;
/// Where the data starts.
pub const DATA: u64 = 0x1000_0000;
/// Bytes of data.
pub const DATA_BYTES: u64 = 128 << 20;
/// Where the stack ends.
pub const STACK: u64 = 0x7fff_0000;
const STACK_BYTES: u64 = 0x1_0000;
const TABLES: u64 = 0x10_0000;
const TABLE_FRAMES: u64 = 2048;
const FRAMES: u64 = 0x100_0000;

/// A processor without observer, and its decoded code.
pub struct PlainMachine {
    cpu: Processor<false>,
    code: CodeCache<Processor<false>>,
}

impl PlainMachine {
    /// A machine with `code` at [`CODE`], data and a stack, all in 4-KByte pages.
    ///
    /// # Errors
    ///
    /// Those of building RAM and page tables.
    pub fn new(code: &[u8]) -> Result<Self, Box<dyn Error>> {
        let ram = Ram::new(1 << 30)?;
        let frames = FrameAllocator::new(GuestPhysicalAddress(TABLES), TABLE_FRAMES);
        let mut tables = PageTables::new(&ram, PagingMode::FourLevel, frames, Home::Identity)?;
        let permissions = PagePermissions::WRITE | PagePermissions::USER;
        let mut next = FRAMES;
        for (start, bytes) in [(CODE, 0x1000), (DATA, DATA_BYTES), (STACK - STACK_BYTES, STACK_BYTES)] {
            let (from, to) = (LinearAddress(start), GuestPhysicalAddress(next));
            tables.map(&ram, from, to, bytes, PageSize::Size4K, permissions)?;
            next += bytes;
        }
        ram.copy_in(HostPhysicalAddress(FRAMES), code)?;
        let mut memory = Mmu::new(ram, &Geometry::functional())?;
        memory.set_context(Context { cr3: tables.root(), ..Context::user(PagingMode::FourLevel) });
        let mut cpu = Processor::new(memory, ());
        let mut registers = Registers { rip: CODE, ..Registers::default() };
        registers.gpr[4] = STACK - 64;
        cpu.state = State::from(&registers);
        Ok(Self { cpu, code: CodeCache::new() })
    }

    /// Sets the number of iterations.
    pub fn set_iterations(&mut self, iterations: u64) {
        self.cpu.state.set_slot(Slot::R15, iterations);
    }

    /// Goes back to the start of the code, for this many iterations.
    pub fn restart(&mut self, iterations: u64) {
        self.cpu.state.set_rip(CODE);
        self.set_iterations(iterations);
    }

    /// Runs the program from where it is.
    pub fn run(&mut self, budget: u64) -> Run {
        self.code.run(&mut self.cpu, budget)
    }

    /// The registers.
    #[must_use]
    pub fn registers(&self) -> Registers {
        self.cpu.state.registers()
    }
}
