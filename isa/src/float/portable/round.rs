//! From an exact value to the nearest number of a format (SDM Vol. 1, 4.8.4 and 4.9.1).

use crate::float::format::Format;
use crate::float::mxcsr::{Environment, Mxcsr, Rounding};

/// The sign of a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sign {
    Plus,
    Minus,
}

impl Sign {
    /// The sign of an encoding.
    pub(crate) fn of<F: Format>(bits: u64) -> Self {
        if bits & F::SIGN == 0 { Self::Plus } else { Self::Minus }
    }

    /// The sign of a product or quotient.
    pub(crate) fn times(self, other: Self) -> Self {
        if self == other { Self::Plus } else { Self::Minus }
    }

    /// An encoding without sign, given this sign.
    pub(crate) fn apply<F: Format>(self, magnitude: u64) -> u64 {
        if self == Self::Minus { magnitude | F::SIGN } else { magnitude }
    }
}

/// A value other than zero: `significand` * 2^`exponent`. Where it is not exact the lowest bit is set and far below
/// the precision of any format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Exact {
    pub(crate) sign: Sign,
    pub(crate) exponent: i32,
    pub(crate) significand: u128,
}

/// A significand after low bits were taken away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Rounded {
    pub(crate) significand: u128,
    pub(crate) inexact: bool,
}

/// Shifts right by `shift` (left if negative) and rounds.
pub(crate) fn shift_and_round(value: Exact, shift: i32, rounding: Rounding) -> Rounded {
    if shift <= 0 {
        return Rounded { significand: value.significand << -shift, inexact: false };
    }
    if shift > 127 {
        let away = rounds_away(value.sign, rounding, false, 1, 2);
        return Rounded { significand: u128::from(away), inexact: true };
    }
    let kept = value.significand >> shift;
    let lost = value.significand & ((1 << shift) - 1);
    let away = lost != 0 && rounds_away(value.sign, rounding, kept & 1 == 1, lost, 1 << (shift - 1));
    Rounded { significand: kept + u128::from(away), inexact: lost != 0 }
}

/// Whether a magnitude grows to the next one, when `lost` of it is left over and `half` is half the distance.
fn rounds_away(sign: Sign, rounding: Rounding, odd: bool, lost: u128, half: u128) -> bool {
    match rounding {
        Rounding::Nearest => lost > half || (lost == half && odd),
        Rounding::Down => sign == Sign::Minus,
        Rounding::Up => sign == Sign::Plus,
        Rounding::Zero => false,
    }
}

/// The number of format `F` for `value`, with overflow, underflow and precision exceptions.
pub(crate) fn round<F: Format>(value: Exact, environment: &mut Environment) -> u64 {
    let rounding = environment.control().rounding();
    let top = 127 - value.significand.leading_zeros().cast_signed();
    let fraction = F::FRACTION.cast_signed();
    let unbounded = shift_and_round(value, top - fraction, rounding);
    let carried = i32::from(unbounded.significand >> (fraction + 1) != 0);
    let exponent = value.exponent + top + carried;
    if exponent > F::LARGEST_EXPONENT {
        return overflow::<F>(value.sign, unbounded.inexact, environment);
    }
    if exponent < F::SMALLEST_EXPONENT {
        return underflow::<F>(value, unbounded.inexact, environment);
    }
    raise_if(unbounded.inexact, Mxcsr::PE, environment);
    encode::<F>(value.sign, exponent, unbounded.significand >> carried)
}

/// The masked response by rounding mode (SDM Vol. 1, table 4-10). Without mask the precision exception belongs to the
/// result with unbounded exponent.
fn overflow<F: Format>(sign: Sign, inexact: bool, environment: &mut Environment) -> u64 {
    environment.raise(Mxcsr::OE);
    raise_if(inexact || !environment.unmasks(Mxcsr::OE), Mxcsr::PE, environment);
    let infinite = match environment.control().rounding() {
        Rounding::Nearest => true,
        Rounding::Down => sign == Sign::Minus,
        Rounding::Up => sign == Sign::Plus,
        Rounding::Zero => false,
    };
    sign.apply::<F>(if infinite { F::INFINITY } else { F::LARGEST })
}

/// A tiny result: flushed, denormal, or without mask an exception even when it is exact (SDM Vol. 1, 4.9.1.5 and
/// 10.2.3.3).
fn underflow<F: Format>(value: Exact, inexact: bool, environment: &mut Environment) -> u64 {
    if environment.unmasks(Mxcsr::UE) {
        environment.raise(Mxcsr::UE);
        raise_if(inexact, Mxcsr::PE, environment);
        return value.sign.apply::<F>(0);
    }
    if environment.control().contains(Mxcsr::FTZ) {
        environment.raise(Mxcsr::UE | Mxcsr::PE);
        return value.sign.apply::<F>(0);
    }
    let lowest = F::SMALLEST_EXPONENT - F::FRACTION.cast_signed();
    let denormal = shift_and_round(value, lowest - value.exponent, environment.control().rounding());
    raise_if(denormal.inexact, Mxcsr::UE | Mxcsr::PE, environment);
    // A carry into the exponent field gives the smallest normal number.
    value.sign.apply::<F>(low(denormal.significand))
}

fn raise_if(condition: bool, flags: Mxcsr, environment: &mut Environment) {
    if condition {
        environment.raise(flags);
    }
}

/// Joins the parts of a normal number; `significand` has its leading one.
fn encode<F: Format>(sign: Sign, exponent: i32, significand: u128) -> u64 {
    let field = u64::from((exponent - F::SMALLEST_EXPONENT + 1).cast_unsigned());
    sign.apply::<F>(field << F::FRACTION | low(significand) & F::FRACTION_MASK)
}

#[allow(clippy::cast_possible_truncation, reason = "a rounded significand has at most 54 bits")]
fn low(significand: u128) -> u64 {
    significand as u64
}
