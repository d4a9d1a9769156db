//! A decoded instruction: a handler and its resolved operands in 32 bytes.

use crate::address::{AccessKind, LinearAddress};
use crate::cpu::{Cpu, Stopped};
use crate::state::{Byte, Slot, State};

/// The code of an instruction for operands of one kind. It reads everything, then writes: when it returns an
/// error it has changed nothing.
pub type Handler<C> = fn(&mut C, &Record<C>) -> Result<(), Stopped>;

/// A decoded instruction.
///
/// Branch targets, RIP-relative addresses and return addresses are relative to the start of the block, so that a
/// record is valid wherever its page is mapped.
#[repr(C)]
pub struct Record<C> {
    /// What the instruction does.
    pub handler: Handler<C>,
    /// The immediate operand, sign-extended as the instruction asks; for branches the target relative to the block.
    pub immediate: u64,
    /// Displacement of the memory operand; with RIP as base it is relative to the block.
    pub displacement: i32,
    /// Register operand that is written (and often read).
    pub destination: Slot,
    /// Register operand that is only read, or the second one.
    pub source: Slot,
    /// Base of the memory operand.
    pub base: Slot,
    /// Index of the memory operand.
    pub index: Slot,
    /// Base of the segment, [`Slot::Zero`] where it is 0 in 64-bit mode.
    pub segment: Slot,
    /// Third register operand (BMI2 and three-operand forms).
    pub third: Slot,
    /// Shift of the index: 0 to 3.
    pub scale: u8,
    /// Modifiers, see [`Modifiers`].
    pub modifiers: Modifiers,
    /// Bytes from the start of the block to the instruction.
    pub offset: u16,
    /// Bytes of the instruction.
    pub length: u8,
}

impl<C> Clone for Record<C> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<C> Copy for Record<C> {}

/// Bits that few forms look at.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Modifiers(u8);

impl Modifiers {
    const DESTINATION_HIGH: u8 = 1;
    const SOURCE_HIGH: u8 = 2;
    const ADDRESS_32: u8 = 4;
    const MEMORY: u8 = 8;
    const ADDRESS_16: u8 = 16;
    const SEGMENTED: u8 = 32;
    const ALIGNMENT: u8 = 64;
    const STACK: u8 = 128;

    pub(crate) fn with_high_destination(self) -> Self {
        Self(self.0 | Self::DESTINATION_HIGH)
    }

    pub(crate) fn with_high_source(self) -> Self {
        Self(self.0 | Self::SOURCE_HIGH)
    }

    pub(crate) fn with_32_bit_address(self) -> Self {
        Self(self.0 | Self::ADDRESS_32)
    }

    pub(crate) fn with_16_bit_address(self) -> Self {
        Self(self.0 | Self::ADDRESS_16)
    }

    pub(crate) fn with_segment(self) -> Self {
        Self(self.0 | Self::SEGMENTED)
    }

    pub(crate) fn with_alignment_check(self) -> Self {
        Self(self.0 | Self::ALIGNMENT)
    }

    pub(crate) fn with_stack(self) -> Self {
        Self(self.0 | Self::STACK)
    }

    /// Whether the instruction pushes or pops.
    #[inline(always)]
    #[must_use]
    pub fn uses_stack(self) -> bool {
        self.0 & Self::STACK != 0
    }

    pub(crate) fn with_memory_operand(self) -> Self {
        Self(self.0 | Self::MEMORY)
    }

    /// Which byte an 8-bit destination is.
    #[inline(always)]
    #[must_use]
    pub fn destination_byte(self) -> Byte {
        if self.0 & Self::DESTINATION_HIGH == 0 { Byte::Low } else { Byte::High }
    }

    /// Which byte an 8-bit source is.
    #[inline(always)]
    #[must_use]
    pub fn source_byte(self) -> Byte {
        if self.0 & Self::SOURCE_HIGH == 0 { Byte::Low } else { Byte::High }
    }

    /// Whether the effective address is truncated to 32 bits (prefix 67H).
    #[inline(always)]
    #[must_use]
    pub fn has_32_bit_address(self) -> bool {
        self.0 & Self::ADDRESS_32 != 0
    }

    /// Whether the effective address has 16 bits.
    #[inline(always)]
    #[must_use]
    pub fn has_16_bit_address(self) -> bool {
        self.0 & Self::ADDRESS_16 != 0
    }

    /// Whether the effective address has fewer than 64 bits.
    #[inline(always)]
    #[must_use]
    pub fn has_short_address(self) -> bool {
        self.0 & (Self::ADDRESS_32 | Self::ADDRESS_16) != 0
    }

    /// Whether memory is reached through a segment with base, limit and rights: outside 64-bit mode.
    #[inline(always)]
    #[must_use]
    pub fn is_segmented(self) -> bool {
        self.0 & Self::SEGMENTED != 0
    }

    /// Whether a reference is more than its address: it has a segment, or must be aligned.
    #[inline(always)]
    #[must_use]
    pub fn is_checked(self) -> bool {
        self.0 & (Self::SEGMENTED | Self::ALIGNMENT) != 0
    }

    /// Whether one of the operands is in memory.
    #[inline(always)]
    #[must_use]
    pub fn has_memory_operand(self) -> bool {
        self.0 & Self::MEMORY != 0
    }
}

impl<C: Cpu> Record<C> {
    /// The effective address in 64-bit mode with 64-bit address size, before the segment base (SDM Vol. 1, 3.7.5).
    #[inline(always)]
    #[must_use]
    pub fn effective_address(&self, state: &State) -> u64 {
        state
            .slot(self.base)
            .wrapping_add(state.slot(self.index) << self.scale)
            .wrapping_add(i64::from(self.displacement).cast_unsigned())
    }

    /// The linear address of a memory operand without segment base and address-size prefix.
    #[inline(always)]
    #[must_use]
    pub fn flat_address(&self, state: &State) -> LinearAddress {
        LinearAddress(self.effective_address(state))
    }

    /// An offset in the address size of the instruction.
    #[inline(always)]
    #[must_use]
    pub fn in_address_size(&self, offset: u64) -> u64 {
        match self.modifiers.0 & (Modifiers::ADDRESS_32 | Modifiers::ADDRESS_16) {
            0 => offset,
            Modifiers::ADDRESS_32 => offset & 0xffff_ffff,
            _ => offset & 0xffff,
        }
    }

    /// The linear address of an access of `bytes` bytes to any memory operand.
    ///
    /// # Errors
    ///
    /// Outside 64-bit mode, what the segment refuses; #AC(0) where alignment is checked.
    #[inline(always)]
    pub fn linear_address(
        &self,
        state: &State,
        bytes: usize,
        kind: AccessKind,
    ) -> Result<LinearAddress, Stopped> {
        self.address_at(state, self.effective_address(state), bytes, kind)
    }

    /// The linear address of an access of `bytes` bytes at `offset` in the segment of the memory operand.
    ///
    /// # Errors
    ///
    /// Outside 64-bit mode, what the segment refuses; #AC(0) where alignment is checked.
    #[inline(always)]
    pub fn address_at(
        &self,
        state: &State,
        offset: u64,
        bytes: usize,
        kind: AccessKind,
    ) -> Result<LinearAddress, Stopped> {
        if self.modifiers.is_checked() {
            return self.checked_address(state, self.segment, offset, bytes, kind);
        }
        Ok(LinearAddress(state.slot(self.segment).wrapping_add(self.in_address_size(offset))))
    }

    /// The linear address of an access at `offset` in a segment, with all checks.
    ///
    /// # Errors
    ///
    /// What the segment refuses, and #AC(0).
    pub(crate) fn checked_address(
        &self,
        state: &State,
        segment: Slot,
        offset: u64,
        bytes: usize,
        kind: AccessKind,
    ) -> Result<LinearAddress, Stopped> {
        let offset = self.in_address_size(offset);
        let at = if self.modifiers.is_segmented() {
            state.linear_in_segment(segment, offset, bytes, kind)?
        } else {
            LinearAddress(state.slot(segment).wrapping_add(offset))
        };
        state.check_alignment(at, bytes)?;
        Ok(at)
    }

    /// Whether a reference that the instruction made in 64-bit mode was to the stack: an operand with RSP or RBP as base,
    /// or what the instruction pushes or pops.
    #[cold]
    pub(crate) fn refers_to_stack(&self, state: &State, address: LinearAddress) -> bool {
        if matches!(self.base, Slot::Rsp | Slot::Rbp) && self.segment == Slot::Zero {
            return true;
        }
        let operand =
            state.slot(self.segment).wrapping_add(self.in_address_size(self.effective_address(state)));
        let is_operand = self.modifiers.has_memory_operand() && address.0.wrapping_sub(operand) < 8;
        self.modifiers.uses_stack() && !is_operand
    }

    /// The linear address of the following instruction, while the block runs.
    #[inline(always)]
    #[must_use]
    pub fn next_rip(&self, state: &State) -> u64 {
        state.rip().wrapping_add(u64::from(self.offset) + u64::from(self.length))
    }

    /// The target of a direct branch.
    #[inline(always)]
    #[must_use]
    pub fn target(&self, state: &State) -> u64 {
        state.rip().wrapping_add(self.immediate)
    }
}
