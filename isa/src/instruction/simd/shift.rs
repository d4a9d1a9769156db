//! Packed shifts (SDM Vol. 1, 5.4.6, 5.6.3 and 5.8.7). The count is the low 64 bits of a register or memory operand
//! of 16 bytes, or an immediate; a count beyond the lane shifts everything out.

use super::lanes::{Lane, map};
use super::operations;

operations! {
    shift Psllw(a, count: u128, _) => left::<u16>(a, count);
    shift Pslld(a, count: u128, _) => left::<u32>(a, count);
    shift Psllq(a, count: u128, _) => left::<u64>(a, count);
    shift Psrlw(a, count: u128, _) => right::<u16>(a, count);
    shift Psrld(a, count: u128, _) => right::<u32>(a, count);
    shift Psrlq(a, count: u128, _) => right::<u64>(a, count);
    shift Psraw(a, count: u128, _) => right::<i16>(a, count);
    shift Psrad(a, count: u128, _) => right::<i32>(a, count);
    // These have an immediate only: bytes.
    shift Pslldq(a, count: u128, _) => if count < 16 { a << (8 * count) } else { 0 };
    shift Psrldq(a, count: u128, _) => if count < 16 { a >> (8 * count) } else { 0 };
    packed Palignr(a, b: u128, count) => {
        let bits = 8 * u32::from(count);
        match count {
            0 => b,
            1..16 => b >> bits | a << (128 - bits),
            16..32 => a >> (bits - 128),
            _ => 0,
        }
    };
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

#[inline(always)]
fn left<L: ShiftLane>(a: u128, count: u128) -> u128 {
    let count = low64(count);
    map(a, |lane: L| lane.left(count))
}

#[inline(always)]
fn right<L: ShiftLane>(a: u128, count: u128) -> u128 {
    let count = low64(count);
    map(a, |lane: L| lane.right(count))
}

#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "the count is the low 64 bits")]
fn low64(count: u128) -> u64 {
    count as u64
}
