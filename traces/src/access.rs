//! The view that all traces share: instructions with the memory they touch.

use crate::format::{Step, StepKind};
use crate::operand::{operands_of, repeat_of};
use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory};
use isa::address::LinearAddress;
use isa::registers::Registers;
use smallvec::SmallVec;
use std::num::NonZeroU32;

/// One memory access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    /// The lowest linear address.
    pub address: LinearAddress,
    /// How many bytes, where the trace tells.
    pub size: Option<NonZeroU32>,
}

/// Whether an instruction is a branch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Branch {
    /// It is none, or the trace does not tell.
    #[default]
    None,
    /// A branch that was not taken.
    NotTaken,
    /// A branch that was taken.
    Taken,
}

/// An instruction and the memory it touched; what a study of caches and TLBs needs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AccessStep {
    /// The address of the instruction.
    pub ip: LinearAddress,
    /// What it read.
    pub loads: SmallVec<[Access; 4]>,
    /// What it wrote.
    pub stores: SmallVec<[Access; 2]>,
    /// Whether it is a branch.
    pub branch: Branch,
    /// Bytes of the instruction; 0 where the trace does not tell.
    pub length: u8,
}

impl Access {
    /// An access of `size` bytes; 0 when the size is not known.
    #[must_use]
    pub const fn new(address: u64, size: u32) -> Self {
        Self { address: LinearAddress(address), size: NonZeroU32::new(size) }
    }
}

/// Finds the memory accesses of the steps of a [`Walk`](crate::Walk).
///
/// Steps of one walk are given in order; the state before the first is that of the chunk.
pub struct AccessFinder {
    before: Registers,
    factory: InstructionInfoFactory,
}

impl AccessFinder {
    /// Starts with the registers before the first step.
    #[must_use]
    pub fn new(before: &Registers) -> Self {
        Self { before: *before, factory: InstructionInfoFactory::new() }
    }

    /// An [`Event::Effect`](crate::Event::Effect) or [`Event::Exec`](crate::Event::Exec) replaced all registers.
    pub const fn replace(&mut self, registers: &Registers) {
        self.before = *registers;
    }

    /// The memory that `step` touched.
    pub fn find(&mut self, step: &Step<'_>) -> AccessStep {
        let instruction = Decoder::with_ip(64, step.bytes, step.rip, DecoderOptions::NONE).decode();
        let mut found = self.operands(&instruction, step);
        found.ip = LinearAddress(step.rip);
        found.branch = branch_of(&instruction, step);
        found.length = step.bytes.len() as u8;
        self.before = *step.after;
        found
    }

    fn operands(&mut self, instruction: &Instruction, step: &Step<'_>) -> AccessStep {
        let mut found = AccessStep::default();
        let repeated = instruction.has_rep_prefix() || instruction.has_repne_prefix();
        if let Some(repeat) = repeated.then(|| repeat_of(instruction)).flatten() {
            let count = repeat.count(&self.before) - repeat.count(step.after);
            let access =
                |(address, size): (u64, u64)| Access::new(address, u32::try_from(size).unwrap_or(u32::MAX));
            if repeat.kind.uses_source() && count != 0 {
                found.loads.push(access(repeat.source(&self.before, count)));
            }
            if repeat.kind.uses_destination() && count != 0 {
                let access = access(repeat.destination(&self.before, count));
                if repeat.kind.stores() { found.stores.push(access) } else { found.loads.push(access) }
            }
            return found;
        }
        for operand in operands_of(instruction, self.factory.info(instruction)) {
            let access = Access::new(operand.address(&self.before), operand.size);
            if operand.loads {
                found.loads.push(access);
            }
            if operand.stores {
                found.stores.push(access);
            }
        }
        found
    }
}

/// Whether `instruction` transfers control, other than into the kernel.
pub(crate) fn is_branch(instruction: &Instruction) -> bool {
    use FlowControl as F;
    matches!(
        instruction.flow_control(),
        F::UnconditionalBranch
            | F::IndirectBranch
            | F::ConditionalBranch
            | F::Return
            | F::Call
            | F::IndirectCall
    ) && !matches!(instruction.mnemonic(), iced_x86::Mnemonic::Syscall | iced_x86::Mnemonic::Sysenter)
}

fn branch_of(instruction: &Instruction, step: &Step<'_>) -> Branch {
    if !is_branch(instruction) || (step.kind == StepKind::Taken && instruction.is_invalid()) {
        return Branch::None;
    }
    if instruction.flow_control() == FlowControl::ConditionalBranch && step.after.rip == instruction.next_ip()
    {
        return Branch::NotTaken;
    }
    Branch::Taken
}
