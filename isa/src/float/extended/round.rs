//! Rounding to a precision, with overflow and underflow (SDM Vol. 1, 4.8.4, 8.5.4 and 8.5.5).

use super::{
    Control, EXPONENT_BIAS, Extended, INTEGER, LARGEST_EXPONENT, OVERFLOW, Outcome, PRECISION, Rounding,
    UNDERFLOW,
};

/// What is added to the exponent of a result whose underflow is not masked, and taken from that of an overflow (SDM Vol.
/// 1, 8.5.4 and 8.5.5).
const ADJUSTMENT: i32 = 0x6000;

/// Where a result is rounded to.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub(super) precision: u32,
    pub(super) bias: i32,
    /// The biased exponent of infinities.
    pub(super) largest: i32,
}

/// A rounded number: a biased exponent and the significand with its integer bit in bit 63.
pub(super) struct Rounded {
    pub(super) exponent: i32,
    pub(super) significand: u64,
    pub(super) exceptions: u16,
    pub(super) rounded_up: bool,
}

/// Whether a magnitude is rounded up, by its discarded bits and the lowest kept one.
pub(super) fn rounds_up(rounding: Rounding, negative: bool, odd: bool, rest: u128, half: u128) -> bool {
    match rounding {
        Rounding::Nearest => rest > half || rest == half && odd,
        Rounding::Down => negative && rest != 0,
        Rounding::Up => !negative && rest != 0,
        Rounding::Truncate => false,
    }
}

/// Rounds `significand` (bit 127 set, bit 0 sticky) times 2^(`exponent` - 127). Tininess is found after rounding.
pub(super) fn round(
    negative: bool,
    exponent: i32,
    significand: u128,
    control: Control,
    target: Target,
) -> Rounded {
    let step = 1_u128 << (128 - target.precision);
    let kept = |value: u128| {
        let rest = value & (step - 1);
        let up = rounds_up(control.rounding, negative, value & step != 0, rest, step >> 1);
        (value - rest, up, rest != 0)
    };
    let mut exponent = exponent + target.bias;
    let mut significand = significand;
    let mut tiny = false;
    if exponent <= 0 {
        let (unbounded, up, _) = kept(significand);
        tiny = exponent < 0 || !(up && unbounded.checked_add(step).is_none());
    }
    let mut exceptions = if tiny && control.masks & UNDERFLOW == 0 { UNDERFLOW } else { 0 };
    // A result for memory is not delivered then.
    let adjusts = target.largest == i32::from(LARGEST_EXPONENT);
    if exceptions != 0 && adjusts {
        exponent += ADJUSTMENT;
    } else if exponent <= 0 {
        let shift = (1 - exponent).cast_unsigned();
        significand = shift_right_sticky(significand, shift);
        exponent = 0;
    }
    let (mut result, rounded_up, inexact) = kept(significand);
    if rounded_up {
        let (sum, carry) = result.overflowing_add(step);
        result = if carry { 1 << 127 } else { sum };
        exponent += i32::from(carry);
    }
    if exponent == 0 && result >> 127 != 0 {
        exponent = 1;
    }
    if inexact {
        exceptions |= if tiny { PRECISION | UNDERFLOW } else { PRECISION };
    }
    if exponent >= target.largest {
        if control.masks & OVERFLOW != 0 || !adjusts {
            return overflowed(negative, control, target);
        }
        exceptions |= OVERFLOW;
        exponent -= ADJUSTMENT;
    }
    Rounded { exponent, significand: high_half(result), exceptions, rounded_up }
}

#[allow(clippy::cast_possible_truncation, reason = "the upper 64 of 128 bits")]
fn high_half(value: u128) -> u64 {
    (value >> 64) as u64
}

/// Infinity, or the largest number where the direction is away from it.
fn overflowed(negative: bool, control: Control, target: Target) -> Rounded {
    let infinite = match control.rounding {
        Rounding::Nearest => true,
        Rounding::Down => negative,
        Rounding::Up => !negative,
        Rounding::Truncate => false,
    };
    let (exponent, significand) = if infinite {
        (target.largest, INTEGER)
    } else {
        (target.largest - 1, u64::MAX << (64 - target.precision))
    };
    Rounded { exponent, significand, exceptions: OVERFLOW | PRECISION, rounded_up: infinite }
}

pub(super) fn shift_right_sticky(value: u128, shift: u32) -> u128 {
    match shift {
        0 => value,
        1..=127 => value >> shift | u128::from(value << (128 - shift) != 0),
        _ => u128::from(value != 0),
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a biased exponent of 15 bits")]
pub(super) fn rounded(negative: bool, exponent: i32, significand: u128, control: Control) -> Outcome {
    let target =
        Target { precision: control.precision, bias: EXPONENT_BIAS, largest: i32::from(LARGEST_EXPONENT) };
    let shift = significand.leading_zeros();
    let exponent = exponent - shift.cast_signed();
    let rounded = round(negative, exponent, significand << shift, control, target);
    let value = Extended { negative, exponent: rounded.exponent as u16, significand: rounded.significand };
    Outcome { value, exceptions: rounded.exceptions, rounded_up: rounded.rounded_up }
}
