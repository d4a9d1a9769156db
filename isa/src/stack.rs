//! The stack as instructions use it, in every mode (SDM Vol. 1, 6.2).

use crate::address::{AccessKind, LinearAddress};
use crate::cpu::{Cpu, Stop, Stopped};
use crate::event::{Exception, Vector};
use crate::mode::CodeSize;
use crate::segment::{AccessRights, SegmentRegister};
use crate::state::{Slot, State};
use crate::width::{Scalar, Width};

/// The size of the stack pointer (SDM Vol. 1, 6.2.3 and 6.2.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StackSize {
    /// SP: SS.B is 0.
    Bits16,
    /// ESP: SS.B is 1.
    Bits32,
    /// RSP: 64-bit mode.
    Bits64,
}

impl StackSize {
    /// The low bits of `pointer` that are the stack pointer.
    #[must_use]
    pub const fn truncate(self, pointer: u64) -> u64 {
        match self {
            Self::Bits16 => pointer & 0xffff,
            Self::Bits32 => pointer & 0xffff_ffff,
            Self::Bits64 => pointer,
        }
    }
}

impl State {
    /// The size of the stack pointer.
    #[must_use]
    pub fn stack_size(&self) -> StackSize {
        if self.code_size() == CodeSize::Bits64 {
            StackSize::Bits64
        } else if self.rights(SegmentRegister::Ss).contains(AccessRights::DEFAULT_BIG) {
            StackSize::Bits32
        } else {
            StackSize::Bits16
        }
    }

    /// Replaces SP, ESP or RSP.
    pub fn set_stack_pointer(&mut self, size: StackSize, pointer: u64) {
        match size {
            StackSize::Bits16 => self.put(Slot::Rsp, u16::truncate(pointer)),
            StackSize::Bits32 => self.put(Slot::Rsp, u32::truncate(pointer)),
            StackSize::Bits64 => self.set_slot(Slot::Rsp, pointer),
        }
    }
}

/// A place in the stack segment that moves as values are pushed and popped. The registers follow when an instruction
/// [commits](Stack::commit), so that a fault in the middle leaves them alone.
#[derive(Clone, Copy, Debug)]
pub struct Stack {
    size: StackSize,
    pointer: u64,
}

impl Stack {
    /// The stack at its top.
    #[must_use]
    pub fn of(state: &State) -> Self {
        Self::at(state, state.slot(Slot::Rsp))
    }

    /// The stack with another pointer, of which the bits of the stack size count.
    #[must_use]
    pub fn at(state: &State, pointer: u64) -> Self {
        let size = state.stack_size();
        Self { size, pointer: size.truncate(pointer) }
    }

    /// The offset in SS.
    #[must_use]
    pub fn pointer(&self) -> u64 {
        self.pointer
    }

    /// What RSP would be with this pointer.
    #[must_use]
    pub fn register(&self, state: &State) -> u64 {
        match self.size {
            StackSize::Bits16 => state.slot(Slot::Rsp) & !0xffff | self.pointer,
            StackSize::Bits32 | StackSize::Bits64 => self.pointer,
        }
    }

    /// Moves up by `bytes`.
    pub fn release(&mut self, bytes: u64) {
        self.pointer = self.size.truncate(self.pointer.wrapping_add(bytes));
    }

    /// Moves down by `bytes`.
    pub fn reserve(&mut self, bytes: u64) {
        self.pointer = self.size.truncate(self.pointer.wrapping_sub(bytes));
    }

    /// The linear address of an access of `bytes` bytes at the pointer.
    ///
    /// # Errors
    ///
    /// #SS(0) where SS refuses it, #AC(0) where it must be aligned and is not.
    pub fn linear(&self, state: &State, bytes: usize, kind: AccessKind) -> Result<LinearAddress, Stopped> {
        let at = match self.size {
            StackSize::Bits64 => LinearAddress(self.pointer),
            _ => state.linear_in_segment(Slot::SsBase, self.pointer, bytes, kind)?,
        };
        state.check_alignment(at, bytes)?;
        Ok(at)
    }

    /// Moves down and stores a value.
    ///
    /// # Errors
    ///
    /// What SS and the memory refuse.
    pub fn push<C: Cpu, S: Scalar>(&mut self, cpu: &mut C, value: S) -> Result<(), Stopped> {
        self.push_into(cpu, S::BYTES as u64, value)
    }

    /// Moves down by `room` bytes and stores a value, which may be shorter.
    ///
    /// # Errors
    ///
    /// What SS and the memory refuse.
    pub fn push_into<C: Cpu, S: Scalar>(&mut self, cpu: &mut C, room: u64, value: S) -> Result<(), Stopped> {
        let mut moved = *self;
        moved.reserve(room);
        let at = moved.linear(cpu.state(), S::BYTES, AccessKind::Write)?;
        cpu.write(at, value).map_err(|stop| stack_fault(stop, |_| true))?;
        *self = moved;
        Ok(())
    }

    /// Loads a value and moves up.
    ///
    /// # Errors
    ///
    /// What SS and the memory refuse.
    pub fn pop<C: Cpu, S: Scalar>(&mut self, cpu: &mut C) -> Result<S, Stopped> {
        let at = self.linear(cpu.state(), S::BYTES, AccessKind::Read)?;
        let value = cpu.read(at).map_err(|stop| stack_fault(stop, |_| true))?;
        self.release(S::BYTES as u64);
        Ok(value)
    }

    /// Asks whether a value could be stored at the pointer.
    ///
    /// # Errors
    ///
    /// What SS and the memory refuse.
    pub fn probe<C: Cpu, S: Scalar>(&self, cpu: &mut C) -> Result<(), Stopped> {
        let at = self.linear(cpu.state(), S::BYTES, AccessKind::Write)?;
        cpu.modify(at, |_, old: S| old).map_err(|stop| stack_fault(stop, |_| true))
    }

    /// Makes the pointer SP, ESP or RSP.
    pub fn commit(self, state: &mut State) {
        state.set_stack_pointer(self.size, self.pointer);
    }
}

/// What a refused access is: a reference to a non-canonical address is #SS(0) when it was to the stack (SDM Vol. 1,
/// 3.3.7.1).
#[cold]
pub(crate) fn stack_fault(mut stop: Stopped, is_to_stack: impl FnOnce(LinearAddress) -> bool) -> Stopped {
    if let Stop::Exception(exception) = &mut *stop
        && exception.is_non_canonical()
        && is_to_stack(exception.address)
    {
        *exception = Exception::with_code(Vector::StackFault, 0);
    }
    stop
}
