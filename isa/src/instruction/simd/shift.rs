//! Packed shifts (SDM Vol. 1, 5.6.3, 5.6.5 and 5.7.1). The count is the low 64 bits of a register or memory operand
//! of 16 bytes, or an immediate; a count beyond the lane shifts everything out.

use super::lanes::{Lane, map};
use super::{Operation, immediate8, packed, set_xmm, xmm};
use crate::cpu::{Cpu, Stopped};
use crate::decode::{Form, Kind};
use crate::record::{Handler, Record};
use core::marker::PhantomData;
use iced_x86::Mnemonic;

/// The handler for a form of this family.
pub(super) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    match form.mnemonic() {
        Mnemonic::Psllw => either::<C, Left<u16>>(form),
        Mnemonic::Pslld => either::<C, Left<u32>>(form),
        Mnemonic::Psllq => either::<C, Left<u64>>(form),
        Mnemonic::Psrlw => either::<C, Right<u16>>(form),
        Mnemonic::Psrld => either::<C, Right<u32>>(form),
        Mnemonic::Psrlq => either::<C, Right<u64>>(form),
        Mnemonic::Psraw => either::<C, Right<i16>>(form),
        Mnemonic::Psrad => either::<C, Right<i32>>(form),
        Mnemonic::Pslldq => immediate::<C, LeftBytes>(form),
        Mnemonic::Psrldq => immediate::<C, RightBytes>(form),
        Mnemonic::Palignr => packed::<C, Palignr>(form),
        _ => None,
    }
}

/// A shift of a register by a count.
trait Shift {
    fn shift(value: u128, count: u64) -> u128;
}

/// A lane that can be shifted.
trait ShiftLane: Lane {
    fn left(self, count: u64) -> Self;
    fn right(self, count: u64) -> Self;
}

macro_rules! shift_lane {
    // What is left when all bits have been shifted out to the right: zeros, or copies of the sign.
    ($($type:ty, |$lane:ident| $all_out:expr;)*) => {$(
        impl ShiftLane for $type {
            #[inline(always)]
            #[allow(clippy::cast_possible_truncation, reason = "the count is less than the bits of a lane")]
            fn left(self, count: u64) -> Self {
                if count < u64::from(Self::BITS) { self << count as u32 } else { 0 }
            }
            #[inline(always)]
            #[allow(clippy::cast_possible_truncation, reason = "the count is less than the bits of a lane")]
            fn right(self, count: u64) -> Self {
                let $lane = self;
                if count < u64::from(Self::BITS) { self >> count as u32 } else { $all_out }
            }
        }
    )*};
}
shift_lane! {
    u16, |_lane| 0;
    u32, |_lane| 0;
    u64, |_lane| 0;
    i16, |lane| lane >> 15;
    i32, |lane| lane >> 31;
}

/// PSLLx.
struct Left<L>(PhantomData<L>);
/// PSRLx, or PSRAx where the lane is signed.
struct Right<L>(PhantomData<L>);
/// PSLLDQ.
struct LeftBytes;
/// PSRLDQ.
struct RightBytes;

impl<L: ShiftLane> Shift for Left<L> {
    #[inline(always)]
    fn shift(value: u128, count: u64) -> u128 {
        map(value, |lane: L| lane.left(count))
    }
}

impl<L: ShiftLane> Shift for Right<L> {
    #[inline(always)]
    fn shift(value: u128, count: u64) -> u128 {
        map(value, |lane: L| lane.right(count))
    }
}

impl Shift for LeftBytes {
    #[inline(always)]
    fn shift(value: u128, count: u64) -> u128 {
        if count < 16 { value << (8 * count) } else { 0 }
    }
}

impl Shift for RightBytes {
    #[inline(always)]
    fn shift(value: u128, count: u64) -> u128 {
        if count < 16 { value >> (8 * count) } else { 0 }
    }
}

/// A shift whose count is the low half of the source operand.
struct ByOperand<O>(PhantomData<O>);

impl<O: Shift> Operation for ByOperand<O> {
    type Source = u128;
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "the count is the low 64 bits")]
    fn apply(destination: u128, source: u128, _: u8) -> u128 {
        O::shift(destination, source as u64)
    }
}

fn either<C: Cpu, O: Shift>(form: &Form<'_>) -> Option<Handler<C>> {
    match form.kinds[1] {
        Kind::Immediate => immediate::<C, O>(form),
        _ => packed::<C, ByOperand<O>>(form),
    }
}

fn immediate<C: Cpu, O: Shift>(form: &Form<'_>) -> Option<Handler<C>> {
    (form.kinds[0] == Kind::Xmm).then_some(by_immediate::<C, O>)
}

fn by_immediate<C: Cpu, O: Shift>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let count = u64::from(immediate8(record));
    let state = cpu.state_mut();
    let result = O::shift(xmm(state, record.destination), count);
    set_xmm(state, record.destination, result);
    Ok(())
}

/// The destination above the source, shifted right by bytes.
struct Palignr;

impl Operation for Palignr {
    type Source = u128;
    #[inline(always)]
    fn apply(destination: u128, source: u128, count: u8) -> u128 {
        let bits = 8 * u32::from(count);
        match count {
            0 => source,
            1..16 => source >> bits | destination << (128 - bits),
            16..32 => destination >> (bits - 128),
            _ => 0,
        }
    }
}
