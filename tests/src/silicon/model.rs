//! The engine's side.

use super::draft::Program;
use super::outcome::{self, End, Outcome};
use super::shared::{BASE, CODE_SIZE};
use isa::address::HostPhysicalAddress;
use isa::cpu::{Cpu, Stop};
use isa::engine::{CodeCache, Run};
use isa::flat::{FlatMachine, Observed};
use isa::registers::X87;
use isa::state::State;

/// Most instructions that a sequence executes.
const LONGEST_RUN: u64 = 1000;

/// A machine whose memory is that of a [`FlatMachine`].
pub(crate) trait Machine: Cpu {
    fn new(flat: FlatMachine) -> Self;
    fn flat(&mut self) -> &mut FlatMachine;
}

impl Machine for FlatMachine {
    fn new(flat: FlatMachine) -> Self {
        flat
    }
    fn flat(&mut self) -> &mut FlatMachine {
        self
    }
}

/// The observed mode of the engine: an instruction at a time, without fusion or dead flags.
impl Machine for Observed<FlatMachine> {
    fn new(flat: FlatMachine) -> Self {
        Self::new(flat)
    }
    fn flat(&mut self) -> &mut FlatMachine {
        &mut self.machine
    }
}

/// A machine and its decoded code.
pub(crate) struct Model<M> {
    pub(crate) machine: M,
    cache: CodeCache<M>,
}

impl<M: Machine> Model<M> {
    /// The engine as it runs programs.
    pub(crate) fn of_blocks() -> Self {
        Self { machine: M::new(FlatMachine::with_code(&[])), cache: CodeCache::new() }
    }

    /// The engine as it runs single instructions.
    pub(crate) fn of_single_instructions() -> Self {
        Self { cache: CodeCache::of_single_instructions(), ..Self::of_blocks() }
    }

    /// What every case finds in memory.
    pub(crate) fn set_pristine(&mut self, pristine: &[u8]) {
        self.machine.flat().memory_mut().copy_from_slice(pristine);
    }

    /// Puts registers and memory as the program wants them.
    pub(crate) fn prepare(&mut self, program: &Program) {
        for offset in (0..FlatMachine::SIZE).step_by(4096) {
            let page = HostPhysicalAddress(BASE + offset);
            if offset < CODE_SIZE as u64 || !self.cache.is_empty() {
                self.cache.drop_page(page);
                self.machine.code_dropped(page);
            }
        }
        let flat = self.machine.flat();
        flat.state = State::from(&program.registers);
        program.mode.enter(&mut flat.state);
        let memory = flat.memory_mut();
        for patch in &program.patches {
            let (offset, bytes) = (patch.offset as usize, patch.bytes as usize);
            memory[offset..offset + bytes].copy_from_slice(&patch.value.to_le_bytes()[..bytes]);
        }
        let offset = usize::try_from(program.start - program.mode.base()).unwrap_or(0);
        memory[offset..offset + program.bytes.len()].copy_from_slice(&program.bytes);
    }

    /// Executes at most `budget` instructions.
    pub(crate) fn step(&mut self, budget: u64) -> Run {
        let mut run = self.cache.run(&mut self.machine, budget);
        while run.stop == Some(Stop::Done) {
            let rest = self.cache.run(&mut self.machine, budget - run.executed);
            run = Run { executed: run.executed + rest.executed, ..rest };
        }
        run
    }

    /// Executes a program to its end.
    pub(crate) fn run(&mut self, program: &Program, pristine: &[u8]) -> Outcome {
        self.prepare(program);
        let run = self.step(LONGEST_RUN);
        self.outcome(program, &run, pristine)
    }

    /// Makes memory pristine again and says what was in it.
    pub(crate) fn outcome(&mut self, program: &Program, run: &Run, pristine: &[u8]) -> Outcome {
        let flat = self.machine.flat();
        let lines = outcome::take_lines(flat.memory_mut(), pristine);
        let mut registers = flat.state.registers();
        let x87 = registers.x87;
        registers.x87 = X87 { opcode: 0, instruction_pointer: 0, data_pointer: 0, ..x87 };
        let trap = |vector| End::Exception { vector, error_code: 0, address: 0 };
        let end = match run.stop {
            Some(Stop::Halt) if registers.rip == program.end() => End::Completed,
            Some(Stop::Exception(exception)) => End::Exception {
                vector: exception.vector as u8,
                error_code: exception.error_code.unwrap_or(0).into(),
                address: exception.address.0,
            },
            Some(Stop::SoftwareInterrupt { vector, .. }) => {
                registers.rip = run.next_rip;
                trap(vector)
            }
            stop => End::Other(format!("{stop:?}")),
        };
        Outcome { end, registers, lines }
    }
}
