//! Numbers in memory: their formats as types.

use crate::address::AccessKind;
use crate::cpu::{Cpu, Stopped};
use crate::float::extended::{Control, Extended, Outcome, Rounding, Short, from_integer, to_integer};
use crate::operand::{Destination, Memory, Source};
use crate::record::Record;

/// A format of numbers in memory.
pub(super) trait Format {
    /// The number in the memory operand, with the exceptions of its conversion.
    ///
    /// # Errors
    /// What the memory refuses.
    fn load<C: Cpu>(cpu: &mut C, record: &Record<C>) -> Result<Outcome, Stopped>;
}

/// A format in which results are stored.
pub(super) trait Stored {
    /// Bytes in memory.
    const BYTES: usize;
    /// Asks whether it could be stored.
    ///
    /// # Errors
    /// What the memory refuses.
    fn probe<C: Cpu>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
        let at = record.linear_address(cpu.state(), Self::BYTES, AccessKind::Write)?;
        cpu.modify::<u8>(at, |_, old| old)?;
        cpu.modify::<u8>(at.add(Self::BYTES as u64 - 1), |_, old| old)
    }
    /// The bits of a number in this format.
    fn convert(value: Extended, control: Control) -> Outcome<u128>;
    /// Stores the bits.
    ///
    /// # Errors
    /// What the memory refuses; nothing has been written.
    fn store<C: Cpu>(cpu: &mut C, record: &Record<C>, bits: u128) -> Result<(), Stopped>;
}

pub(super) struct Single;
pub(super) struct Double;
pub(super) struct DoubleExtended;
pub(super) struct Integer16;
pub(super) struct Integer32;
pub(super) struct Integer64;
/// An integer that is truncated, whatever the control word says: FISTTP.
pub(super) struct Truncated<F>(core::marker::PhantomData<F>);

macro_rules! short {
    ($name:ident, $bits:ty, $format:expr) => {
        impl Format for $name {
            fn load<C: Cpu>(cpu: &mut C, record: &Record<C>) -> Result<Outcome, Stopped> {
                let bits: $bits = Memory::load(cpu, record)?;
                Ok($format.extend(u64::from(bits)))
            }
        }

        impl Stored for $name {
            const BYTES: usize = size_of::<$bits>();

            fn convert(value: Extended, control: Control) -> Outcome<u128> {
                let Outcome { value, exceptions, rounded_up } = $format.shorten(value, control);
                Outcome { value: value.into(), exceptions, rounded_up }
            }

            #[allow(clippy::cast_possible_truncation, reason = "the bits of the format")]
            fn store<C: Cpu>(cpu: &mut C, record: &Record<C>, bits: u128) -> Result<(), Stopped> {
                Memory::store(cpu, record, bits as $bits)
            }
        }
    };
}
short!(Single, u32, Short::SINGLE);
short!(Double, u64, Short::DOUBLE);

macro_rules! integer {
    ($name:ident, $bits:ty) => {
        impl Format for $name {
            fn load<C: Cpu>(cpu: &mut C, record: &Record<C>) -> Result<Outcome, Stopped> {
                let bits: $bits = Memory::load(cpu, record)?;
                Ok(Outcome::exact(from_integer(i64::from(bits.cast_signed()))))
            }
        }

        impl Stored for $name {
            const BYTES: usize = size_of::<$bits>();

            fn convert(value: Extended, control: Control) -> Outcome<u128> {
                let Outcome { value, exceptions, rounded_up } =
                    to_integer(value, <$bits>::BITS, control.rounding);
                Outcome { value: value.cast_unsigned().into(), exceptions, rounded_up }
            }

            #[allow(clippy::cast_possible_truncation, reason = "the bits of the format")]
            fn store<C: Cpu>(cpu: &mut C, record: &Record<C>, bits: u128) -> Result<(), Stopped> {
                Memory::store(cpu, record, bits as $bits)
            }
        }
    };
}
integer!(Integer16, u16);
integer!(Integer32, u32);
integer!(Integer64, u64);

impl<F: Stored> Stored for Truncated<F> {
    const BYTES: usize = F::BYTES;

    fn convert(value: Extended, control: Control) -> Outcome<u128> {
        F::convert(value, Control { rounding: Rounding::Truncate, ..control })
    }

    fn store<C: Cpu>(cpu: &mut C, record: &Record<C>, bits: u128) -> Result<(), Stopped> {
        F::store(cpu, record, bits)
    }
}

/// Nothing is converted, so nothing is raised.
impl Format for DoubleExtended {
    fn load<C: Cpu>(cpu: &mut C, record: &Record<C>) -> Result<Outcome, Stopped> {
        let at = record.linear_address(cpu.state(), 10, AccessKind::Read)?;
        let significand: u64 = cpu.read(at)?;
        let head: u16 = cpu.read(at.add(8))?;
        Ok(Outcome::exact(Extended::from_bits(u128::from(head) << 64 | u128::from(significand))))
    }
}

impl Stored for DoubleExtended {
    const BYTES: usize = 10;

    fn convert(value: Extended, _: Control) -> Outcome<u128> {
        Outcome::exact(value.to_bits())
    }

    /// Both parts are tried before the first is written.
    #[allow(clippy::cast_possible_truncation, reason = "the parts of the format")]
    fn store<C: Cpu>(cpu: &mut C, record: &Record<C>, bits: u128) -> Result<(), Stopped> {
        let at = record.linear_address(cpu.state(), 10, AccessKind::Write)?;
        cpu.modify::<u64>(at, |_, old| old)?;
        cpu.write(at.add(8), (bits >> 64) as u16)?;
        cpu.write(at, bits as u64)
    }
}
