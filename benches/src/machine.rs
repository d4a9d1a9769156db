//! Machines with page tables for a guest program.

use isa::address::{GuestPhysicalAddress, HostPhysicalAddress, LinearAddress};
use isa::engine::{CodeCache, Run};
use isa::registers::{Gpr, Registers};
use isa::state::{Slot, State};
use mmu::ept::{EptContext, EptLevels, EptPermissions};
use mmu::tables::{EptTables, FrameAllocator, Home, PagePermissions, PageTables};
use mmu::{Context, Geometry, Mmu, PageSize, PagingMode, Ram};
use std::error::Error;
use timing::processor::Processor;
use vmxsim::replay::options::geometry;

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
/// Where the frames of the program start in guest-physical memory.
const FRAMES: u64 = 0x100_0000;
/// Guest-physical memory.
const RAM: u64 = 0x1800_0000;

/// How many dimensions the translation of an address has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dimensions {
    /// Native paging.
    One,
    /// Guest paging and EPT.
    Two,
}

/// Memory with code, data and a stack mapped in 4-KByte pages: plain with the large functional TLB, or observed with
/// the TLB of Skylake.
///
/// # Panics
///
/// When the host has no memory for it.
#[must_use]
pub fn memory<const OBSERVED: bool>(dimensions: Dimensions) -> Mmu<OBSERVED> {
    build(dimensions).expect("memory of a benchmark")
}

fn build<const OBSERVED: bool>(dimensions: Dimensions) -> Result<Mmu<OBSERVED>, Box<dyn Error>> {
    let ram = Ram::new(2 * RAM)?;
    let ept = if dimensions == Dimensions::Two { Some(ept(&ram)?) } else { None };
    let home = ept.map_or(Home::Identity, Home::Ept);
    let frames = FrameAllocator::new(GuestPhysicalAddress(TABLES), TABLE_FRAMES);
    let mut tables = PageTables::new(&ram, PagingMode::FourLevel, frames, home)?;
    let permissions = PagePermissions::WRITE | PagePermissions::USER;
    let mut next = FRAMES;
    for (start, bytes) in [(CODE, 0x1000), (DATA, DATA_BYTES), (STACK - STACK_BYTES, STACK_BYTES)] {
        let (from, to) = (LinearAddress(start), GuestPhysicalAddress(next));
        tables.map(&ram, from, to, bytes, PageSize::Size4K, permissions)?;
        next += bytes;
    }
    let geometry = if OBSERVED { geometry(&Processor::named("skylake")?)? } else { Geometry::functional() };
    let mut memory = Mmu::new(ram, &geometry)?;
    let vpid = u16::from(ept.is_some());
    memory.set_context(Context { cr3: tables.root(), ept, vpid, ..Context::user(PagingMode::FourLevel) });
    Ok(memory)
}

/// EPT that maps guest-physical memory to itself, with its tables behind it.
fn ept(ram: &Ram) -> Result<EptContext, Box<dyn Error>> {
    let frames = FrameAllocator::new(HostPhysicalAddress(RAM), RAM / 0x1000);
    let mut tables = EptTables::new(ram, EptLevels::Four, frames)?;
    let everything = EptPermissions::READ | EptPermissions::WRITE | EptPermissions::EXECUTE;
    tables.map(ram, GuestPhysicalAddress(0), HostPhysicalAddress(0), RAM, PageSize::Size4K, everything)?;
    Ok(tables.context())
}

/// A processor without observer, and its decoded code.
pub struct PlainMachine {
    cpu: vmxsim::processor::Processor<false>,
    code: CodeCache<vmxsim::processor::Processor<false>>,
}

impl PlainMachine {
    /// A machine with `code` at [`CODE`], data and a stack.
    ///
    /// # Errors
    ///
    /// Those of building RAM and page tables.
    pub fn new(code: &[u8]) -> Result<Self, Box<dyn Error>> {
        let memory = build::<false>(Dimensions::One)?;
        memory.ram().copy_in(HostPhysicalAddress(FRAMES), code)?;
        let mut cpu = vmxsim::processor::Processor::new(memory, ());
        let mut registers = Registers { rip: CODE, ..Registers::default() };
        registers.gpr[Gpr::Rsp as usize] = STACK - 64;
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

    /// Drops the decoded code of the page at [`CODE`].
    pub fn drop_code(&mut self) {
        let page = HostPhysicalAddress(FRAMES);
        self.code.drop_page(page);
        self.cpu.memory.unmark_code(page);
    }

    /// The registers.
    #[must_use]
    pub fn registers(&self) -> Registers {
        self.cpu.state.registers()
    }
}
