//! A case: instructions that are not yet encoded, and what they start from.

use super::mode::Mode;
use super::shared::{HLT, Patch};
use iced_x86::{Decoder, DecoderOptions, Encoder, Instruction, OpKind};
use isa::registers::Registers;

/// An instruction before it has an address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draft {
    pub(crate) instruction: Instruction,
    /// For direct branches the number of the instruction they go to; the end is the number after the last.
    pub(crate) target: Option<usize>,
}

/// A value in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Content {
    Number {
        value: u64,
        bytes: u32,
    },
    /// The address of an instruction.
    AddressOf(usize),
}

/// A case.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) drafts: Vec<Draft>,
    pub(crate) mode: Mode,
    /// The address of the first instruction.
    pub(crate) start: u64,
    pub(crate) registers: Registers,
    /// General-purpose registers that hold the address of an instruction.
    pub(crate) code_registers: Vec<(usize, usize)>,
    pub(crate) contents: Vec<(u64, Content)>,
}

/// A case that can be executed.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// The instructions as they are decoded.
    pub(crate) instructions: Vec<Instruction>,
    pub(crate) mode: Mode,
    pub(crate) start: u64,
    /// Instructions, and HLT.
    pub(crate) bytes: Vec<u8>,
    pub(crate) registers: Registers,
    pub(crate) patches: Vec<Patch>,
}

impl Program {
    /// Where the HLT after the last instruction is.
    pub(crate) fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64 - 1
    }

    /// The number of the instruction at an address.
    pub(crate) fn number_at(&self, address: u64) -> Option<usize> {
        self.instructions.iter().position(|instruction| instruction.ip() == address)
    }
}

impl Case {
    /// Leaves out all instructions from `length` on.
    pub(crate) fn truncate(&mut self, length: usize) {
        self.drafts.truncate(length);
        for target in self.targets() {
            *target = (*target).min(length);
        }
    }

    /// Leaves out one instruction.
    pub(crate) fn remove(&mut self, number: usize) {
        self.drafts.remove(number);
        for target in self.targets().filter(|target| **target > number) {
            *target -= 1;
        }
    }

    fn targets(&mut self) -> impl Iterator<Item = &mut usize> {
        let contents = self.contents.iter_mut().filter_map(|(_, content)| match content {
            Content::AddressOf(target) => Some(target),
            Content::Number { .. } => None,
        });
        let registers = self.code_registers.iter_mut().map(|(_, target)| target);
        self.drafts.iter_mut().filter_map(|draft| draft.target.as_mut()).chain(registers).chain(contents)
    }

    /// Gives every instruction its address; nothing if one cannot be encoded.
    pub(crate) fn lay_out(&self) -> Option<Program> {
        let mut addresses = vec![self.start];
        self.encode(|_| self.start, &mut |_, bytes| {
            let next = addresses[addresses.len() - 1] + bytes as u64;
            addresses.push(next);
        })?;
        let mut bytes = self.encode(|target| addresses[target], &mut |_, _| ())?;
        let instructions =
            Decoder::with_ip(self.mode.bits(), &bytes, self.start, DecoderOptions::NONE).iter().collect();
        bytes.push(HLT);
        let mut registers = self.registers;
        registers.rip = self.start;
        for &(register, target) in &self.code_registers {
            registers.gpr[register] = addresses[target];
        }
        let patches = self.contents.iter().map(|&(address, content)| {
            let (value, bytes) = match content {
                Content::Number { value, bytes } => (value, bytes),
                Content::AddressOf(target) => (addresses[target], 8),
            };
            Patch { offset: u32::try_from(address - self.mode.base()).unwrap_or(0), bytes, value }
        });
        Some(Program {
            instructions,
            mode: self.mode,
            start: self.start,
            bytes,
            registers,
            patches: patches.collect(),
        })
    }

    fn encode(&self, address: impl Fn(usize) -> u64, each: &mut dyn FnMut(usize, usize)) -> Option<Vec<u8>> {
        let mut encoder = Encoder::new(self.mode.bits());
        let mut rip = self.start;
        for (number, draft) in self.drafts.iter().enumerate() {
            let mut instruction = draft.instruction;
            if let Some(target) = draft.target {
                // The first pass wants lengths only: a short branch reaches itself from anywhere.
                let target = address(target);
                set_target(&mut instruction, if target == self.start { rip } else { target });
            }
            let length = encoder.encode(&instruction, rip).ok()?;
            each(number, length);
            rip += length as u64;
        }
        Some(encoder.take_buffer())
    }
}

/// Sets the target of a near branch of any operand size.
#[allow(clippy::cast_possible_truncation, reason = "code is below 64 KiB where offsets have 16 bits")]
pub(crate) fn set_target(instruction: &mut Instruction, target: u64) {
    match instruction.op0_kind() {
        OpKind::NearBranch16 => instruction.set_near_branch16(target as u16),
        OpKind::NearBranch32 => instruction.set_near_branch32(target as u32),
        _ => instruction.set_near_branch64(target),
    }
}
