//! Operand kinds as types.
//!
//! A handler names the kinds of its operands as type parameters and is compiled once for each combination; the
//! choice is made when the instruction is decoded.

use crate::address::{AccessKind, LinearAddress};
use crate::cpu::{Cpu, Stopped};
use crate::record::Record;
use crate::state::{Byte, Slot, State};
use crate::width::Width;

/// An operand that can be read.
pub trait Source {
    /// Reads it.
    ///
    /// # Errors
    /// What the memory refuses.
    fn load<C: Cpu, W: Width>(cpu: &mut C, record: &Record<C>) -> Result<W, Stopped>;
}

/// An operand that can be written.
pub trait Destination: Source {
    /// Writes it.
    ///
    /// # Errors
    /// What the memory refuses; nothing has been written.
    fn store<C: Cpu, W: Width>(cpu: &mut C, record: &Record<C>, value: W) -> Result<(), Stopped>;

    /// Reads it, computes, and writes the result.
    ///
    /// # Errors
    /// What the memory refuses; `compute` has not been called.
    fn modify<C: Cpu, W: Width>(
        cpu: &mut C,
        record: &Record<C>,
        compute: impl FnOnce(&mut State, W) -> W,
    ) -> Result<(), Stopped>;
}

#[inline(always)]
fn get<W: Width>(state: &State, slot: Slot, byte: Byte) -> W {
    if W::BITS == 8 && byte == Byte::High { W::truncate(state.slot(slot) >> 8) } else { state.get(slot) }
}

#[inline(always)]
fn put<W: Width>(state: &mut State, slot: Slot, byte: Byte, value: W) {
    if W::BITS == 8 && byte == Byte::High {
        let kept = state.slot(slot) & !0xff00;
        state.set_slot(slot, kept | value.zero_extend() << 8);
    } else {
        state.put(slot, value);
    }
}

/// The register in [`Record::destination`].
pub struct Register;

impl Source for Register {
    #[inline(always)]
    fn load<C: Cpu, W: Width>(cpu: &mut C, record: &Record<C>) -> Result<W, Stopped> {
        Ok(get(cpu.state(), record.destination, record.modifiers.destination_byte()))
    }
}

impl Destination for Register {
    #[inline(always)]
    fn store<C: Cpu, W: Width>(cpu: &mut C, record: &Record<C>, value: W) -> Result<(), Stopped> {
        put(cpu.state_mut(), record.destination, record.modifiers.destination_byte(), value);
        Ok(())
    }

    #[inline(always)]
    fn modify<C: Cpu, W: Width>(
        cpu: &mut C,
        record: &Record<C>,
        compute: impl FnOnce(&mut State, W) -> W,
    ) -> Result<(), Stopped> {
        let byte = record.modifiers.destination_byte();
        let state = cpu.state_mut();
        let old = get(state, record.destination, byte);
        let new = compute(state, old);
        put(state, record.destination, byte, new);
        Ok(())
    }
}

/// The register in [`Record::source`].
pub struct SourceRegister;

impl Source for SourceRegister {
    #[inline(always)]
    fn load<C: Cpu, W: Width>(cpu: &mut C, record: &Record<C>) -> Result<W, Stopped> {
        Ok(get(cpu.state(), record.source, record.modifiers.source_byte()))
    }
}

impl SourceRegister {
    /// Writes the register, for the few instructions that exchange their operands.
    #[inline(always)]
    pub(crate) fn put<C, W: Width>(state: &mut State, record: &Record<C>, value: W) {
        put(state, record.source, record.modifiers.source_byte(), value);
    }
}

/// The register in [`Record::third`], of 16 to 64 bits, or CL.
pub struct ThirdRegister;

impl Source for ThirdRegister {
    #[inline(always)]
    fn load<C: Cpu, W: Width>(cpu: &mut C, record: &Record<C>) -> Result<W, Stopped> {
        Ok(cpu.state().get(record.third))
    }
}

/// The immediate.
pub struct Immediate;

impl Source for Immediate {
    #[inline(always)]
    fn load<C: Cpu, W: Width>(_: &mut C, record: &Record<C>) -> Result<W, Stopped> {
        Ok(W::truncate(record.immediate))
    }
}

impl<C: Cpu> Record<C> {
    #[inline(always)]
    fn flat(&self, state: &State, _: usize, _: AccessKind) -> Result<LinearAddress, Stopped> {
        Ok(self.flat_address(state))
    }
}

macro_rules! memory_operand {
    ($(#[$meta:meta])* $name:ident, $address:ident) => {
        $(#[$meta])*
        pub struct $name;

        impl Source for $name {
            #[inline(always)]
            fn load<C: Cpu, W: Width>(cpu: &mut C, record: &Record<C>) -> Result<W, Stopped> {
                let at = record.$address(cpu.state(), W::BYTES, AccessKind::Read)?;
                cpu.read(at)
            }
        }

        impl Destination for $name {
            #[inline(always)]
            fn store<C: Cpu, W: Width>(cpu: &mut C, record: &Record<C>, value: W) -> Result<(), Stopped> {
                let at = record.$address(cpu.state(), W::BYTES, AccessKind::Write)?;
                cpu.write(at, value)
            }

            #[inline(always)]
            fn modify<C: Cpu, W: Width>(
                cpu: &mut C,
                record: &Record<C>,
                compute: impl FnOnce(&mut State, W) -> W,
            ) -> Result<(), Stopped> {
                let at = record.$address(cpu.state(), W::BYTES, AccessKind::Write)?;
                cpu.modify(at, compute)
            }
        }
    };
}
memory_operand!(
    /// Memory whose segment base is 0 and whose address has 64 bits: nearly all of them.
    Flat,
    flat
);
memory_operand!(
    /// Any memory operand.
    Memory,
    linear_address
);
