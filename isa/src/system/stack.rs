//! Stacks that transfers push to and pop from, apart from the registers, which change only when all has succeeded.

use super::descriptor::OperandSize;
use super::fault;
use crate::address::{AccessKind, LinearAddress};
use crate::cpu::{Cpu, Privilege, Stopped};
use crate::event::Vector;
use crate::mode::CodeSize;
use crate::segment::{AccessRights, Segment, SegmentRegister};
use crate::state::{Slot, State};
use crate::width::Scalar;

/// How an address on a stack is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reach {
    /// The pointer is the linear address, which must be canonical.
    Long,
    /// Base and limit of the segment apply.
    Segment(Segment),
}

/// A stack and a pointer into it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stack {
    reach: Reach,
    pointer: u64,
    /// The bits of the pointer that move.
    mask: u64,
    privilege: Privilege,
    /// The selector of the error code when it is too small.
    code: u16,
}

/// The bits of the stack pointer that a stack segment uses outside 64-bit mode.
pub(crate) fn pointer_mask(segment: &Segment) -> u64 {
    if segment.rights.contains(AccessRights::DEFAULT_BIG) { 0xffff_ffff } else { 0xffff }
}

impl Stack {
    /// The stack in use, SS:RSP.
    pub(crate) fn current(state: &State) -> Self {
        let pointer = state.slot(Slot::Rsp);
        let privilege = Privilege::of_level(state.system.cpl);
        if state.code_size() == CodeSize::Bits64 {
            return Self { privilege, ..Self::long(pointer, 0) };
        }
        let segment = state.segment(SegmentRegister::Ss);
        Self { reach: Reach::Segment(segment), pointer, mask: pointer_mask(&segment), privilege, code: 0 }
    }

    /// A stack of 64-bit code at privilege level `cpl`.
    pub(crate) fn long(pointer: u64, cpl: u8) -> Self {
        Self { reach: Reach::Long, pointer, mask: u64::MAX, privilege: Privilege::of_level(cpl), code: 0 }
    }

    /// A stack that a more privileged level switches to; it is named when it is too small.
    pub(crate) fn inner(segment: Segment, pointer: u64, cpl: u8) -> Self {
        Self {
            reach: Reach::Segment(segment),
            pointer,
            mask: pointer_mask(&segment),
            privilege: Privilege::of_level(cpl),
            code: segment.selector & !3,
        }
    }

    /// The pointer aligned down to 16 bytes, as IA-32e mode does before it delivers an event.
    pub(crate) fn aligned(self) -> Self {
        Self { pointer: self.pointer & !15, ..self }
    }

    fn move_by(&mut self, bytes: u64) {
        self.pointer = self.pointer & !self.mask | self.pointer.wrapping_add(bytes) & self.mask;
    }

    /// Skips `bytes` bytes upward.
    pub(crate) fn skip(&mut self, bytes: u64) {
        self.move_by(bytes);
    }

    fn address(&self, state: &State, bytes: usize, kind: AccessKind) -> Result<LinearAddress, Stopped> {
        let offset = self.pointer & self.mask;
        let at = match self.reach {
            Reach::Long => state.is_canonical(offset).then_some(LinearAddress(offset)),
            Reach::Segment(segment) => segment.linear(offset, bytes, kind),
        };
        at.ok_or_else(|| fault::with_code(Vector::StackFault, self.code))
    }

    fn write<C: Cpu, S: Scalar>(&self, cpu: &mut C, value: S) -> Result<(), Stopped> {
        let at = self.address(cpu.state(), S::BYTES, AccessKind::Write)?;
        cpu.write_as(self.privilege, at, value)
    }

    fn read<C: Cpu, S: Scalar>(&self, cpu: &mut C) -> Result<S, Stopped> {
        let at = self.address(cpu.state(), S::BYTES, AccessKind::Read)?;
        cpu.read_as(self.privilege, at)
    }

    /// Pushes `value` in a size.
    #[allow(clippy::cast_possible_truncation, reason = "the size says how much is pushed")]
    pub(crate) fn push<C: Cpu>(&mut self, cpu: &mut C, size: OperandSize, value: u64) -> Result<(), Stopped> {
        let mut below = *self;
        below.move_by(size.bytes().wrapping_neg());
        match size {
            OperandSize::Word => below.write(cpu, value as u16),
            OperandSize::Doubleword => below.write(cpu, value as u32),
            OperandSize::Quadword => below.write(cpu, value),
        }?;
        *self = below;
        Ok(())
    }

    /// Pushes several values, the first one first.
    pub(crate) fn push_all<C: Cpu>(
        &mut self,
        cpu: &mut C,
        size: OperandSize,
        values: &[u64],
    ) -> Result<(), Stopped> {
        values.iter().try_for_each(|&value| self.push(cpu, size, value))
    }

    /// Pops a value of a size.
    pub(crate) fn pop<C: Cpu>(&mut self, cpu: &mut C, size: OperandSize) -> Result<u64, Stopped> {
        let value = match size {
            OperandSize::Word => self.read::<C, u16>(cpu)?.into(),
            OperandSize::Doubleword => self.read::<C, u32>(cpu)?.into(),
            OperandSize::Quadword => self.read(cpu)?,
        };
        self.move_by(size.bytes());
        Ok(value)
    }

    /// Pops a selector of a size.
    #[allow(clippy::cast_possible_truncation, reason = "a selector has 16 bits")]
    pub(crate) fn pop_selector<C: Cpu>(
        &mut self,
        cpu: &mut C,
        size: OperandSize,
    ) -> Result<super::Selector, Stopped> {
        Ok(super::Selector(self.pop(cpu, size)? as u16))
    }

    /// What RSP becomes. A pointer of 32 bits zeroes the upper half, one of 16 bits leaves the rest of what was.
    pub(crate) fn rsp(&self) -> u64 {
        if self.mask == 0xffff_ffff { self.pointer & self.mask } else { self.pointer }
    }
}
