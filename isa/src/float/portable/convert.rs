//! Conversions and rounding to integral values (SDM Vol. 1, 11.4.1.6 and 12.8.4).

use super::nan::propagate;
use super::round::{Exact, Rounded, Sign, round, shift_and_round};
use crate::float::format::{Class, Double, Format, Single, class, finite, is_denormal, operand};
use crate::float::mxcsr::{Environment, Mxcsr, Rounding};

/// A signed integer that floating-point values are converted to and from.
pub(crate) trait Integer {
    /// Bits of the integer.
    const BITS: u32;
    /// The bits of the integer.
    const MASK: u64 = u64::MAX >> (64 - Self::BITS);
    /// The integer indefinite (SDM Vol. 1, table 4-1).
    const INDEFINITE: u64 = 1 << (Self::BITS - 1);
    /// The value of the low bits.
    fn value(bits: u64) -> i64;
}

/// 32 bits.
pub(crate) struct Doubleword;
/// 64 bits.
pub(crate) struct Quadword;
impl Integer for Doubleword {
    const BITS: u32 = 32;
    #[allow(clippy::cast_possible_truncation, reason = "the low bits are the integer")]
    fn value(bits: u64) -> i64 {
        i64::from((bits as u32).cast_signed())
    }
}
impl Integer for Quadword {
    const BITS: u32 = 64;
    fn value(bits: u64) -> i64 {
        bits.cast_signed()
    }
}

/// An integer as a number of format `F`.
pub(crate) fn from_integer<F: Format, I: Integer>(bits: u64, environment: &mut Environment) -> u64 {
    let value = I::value(bits);
    if value == 0 {
        return 0;
    }
    let sign = if value < 0 { Sign::Minus } else { Sign::Plus };
    let significand = u128::from(value.unsigned_abs());
    round::<F>(Exact { sign, exponent: 0, significand }, environment)
}

/// A number as an integer, rounded as `rounding` says. What does not fit is the integer indefinite.
pub(crate) fn to_integer<F: Format, I: Integer>(
    bits: u64,
    rounding: Rounding,
    environment: &mut Environment,
) -> u64 {
    let bits = operand::<F>(bits, environment);
    let rounded = match class::<F>(bits) {
        Class::Zero => return 0,
        Class::Finite => integral::<F>(bits, rounding),
        _ => None,
    };
    let sign = Sign::of::<F>(bits);
    let limit = u128::from(I::INDEFINITE) - u128::from(sign == Sign::Plus);
    match rounded {
        Some(Rounded { significand, inexact }) if significand <= limit => {
            raise_if_inexact(inexact, environment);
            with_sign(significand, sign) & I::MASK
        }
        _ => {
            environment.raise(Mxcsr::IE);
            I::INDEFINITE
        }
    }
}

fn raise_if_inexact(inexact: bool, environment: &mut Environment) {
    if inexact {
        environment.raise(Mxcsr::PE);
    }
}

/// The magnitude of a finite number rounded to an integer; `None` when it is beyond 2^64.
fn integral<F: Format>(bits: u64, rounding: Rounding) -> Option<Rounded> {
    let number = finite::<F>(bits);
    let exact = Exact {
        sign: Sign::of::<F>(bits),
        exponent: number.exponent,
        significand: u128::from(number.significand),
    };
    (number.exponent <= 12 + 63).then(|| shift_and_round(exact, -number.exponent, rounding))
}

#[allow(clippy::cast_possible_truncation, reason = "the magnitude is at most 2^63")]
fn with_sign(magnitude: u128, sign: Sign) -> u64 {
    let magnitude = magnitude as u64;
    if sign == Sign::Minus { magnitude.wrapping_neg() } else { magnitude }
}

/// A number of one format in another.
pub(crate) fn format<From: Format, To: Format>(bits: u64, environment: &mut Environment) -> u64 {
    if propagate::<From>(bits, bits, environment).is_some() {
        return convert_nan::<From, To>(bits);
    }
    let bits = operand::<From>(bits, environment);
    if is_denormal::<From>(bits) {
        environment.raise(Mxcsr::DE);
    }
    let sign = Sign::of::<From>(bits);
    match class::<From>(bits) {
        Class::Zero => sign.apply::<To>(0),
        Class::Finite => {
            let number = finite::<From>(bits);
            let significand = u128::from(number.significand);
            round::<To>(Exact { sign, exponent: number.exponent, significand }, environment)
        }
        _ => sign.apply::<To>(To::INFINITY),
    }
}

/// The top of the fraction is kept, and the NaN becomes quiet.
fn convert_nan<From: Format, To: Format>(bits: u64) -> u64 {
    let fraction = bits & From::FRACTION_MASK;
    let fraction = if From::FRACTION > To::FRACTION {
        fraction >> From::FRACTION.saturating_sub(To::FRACTION)
    } else {
        fraction << To::FRACTION.saturating_sub(From::FRACTION)
    };
    Sign::of::<From>(bits).apply::<To>(To::INFINITY | To::QUIET | fraction)
}

/// ROUND: immediate bits 1:0 are the rounding mode unless bit 2 chooses that of MXCSR; bit 3 keeps the precision
/// exception from being raised (SDM Vol. 2B, table 4-17).
pub(crate) fn round_to_integral<F: Format, const CONTROL: u8>(
    _: u64,
    bits: u64,
    environment: &mut Environment,
) -> u64 {
    if let Some(nan) = propagate::<F>(bits, bits, environment) {
        return nan;
    }
    let bits = operand::<F>(bits, environment);
    let number = match class::<F>(bits) {
        Class::Finite => finite::<F>(bits),
        _ => return bits,
    };
    let mxcsr = environment.control().rounding();
    let rounding = if CONTROL & 4 == 0 { Rounding::from_control(u32::from(CONTROL)) } else { mxcsr };
    match integral::<F>(bits, rounding) {
        Some(rounded) if number.exponent < 0 => {
            raise_if_inexact(rounded.inexact && CONTROL & 8 == 0, environment);
            integer_as_number::<F>(Sign::of::<F>(bits), rounded.significand)
        }
        _ => bits,
    }
}

/// An integer magnitude that fits in the significand; 0 keeps the sign.
fn integer_as_number<F: Format>(sign: Sign, magnitude: u128) -> u64 {
    if magnitude == 0 {
        return sign.apply::<F>(0);
    }
    // It is exact, so it is rounded under any control and raises nothing.
    round::<F>(Exact { sign, exponent: 0, significand: magnitude }, &mut Environment::new(0))
}

/// CVTDQ2PS.
pub(crate) fn integers_to_singles(a: u128, environment: &mut Environment) -> u128 {
    convert_lanes::<Single, Single>(a, 4, |bits| from_integer::<Single, Doubleword>(bits, environment))
}

/// CVTDQ2PD.
pub(crate) fn integers_to_doubles(a: u128, environment: &mut Environment) -> u128 {
    convert_lanes::<Single, Double>(a, 2, |bits| from_integer::<Double, Doubleword>(bits, environment))
}

/// CVTPS2DQ CVTTPS2DQ.
pub(crate) fn singles_to_integers(a: u128, rounding: Rounding, environment: &mut Environment) -> u128 {
    convert_lanes::<Single, Single>(a, 4, |bits| {
        to_integer::<Single, Doubleword>(bits, rounding, environment)
    })
}

/// CVTPD2DQ CVTTPD2DQ: the upper half becomes 0.
pub(crate) fn doubles_to_integers(a: u128, rounding: Rounding, environment: &mut Environment) -> u128 {
    convert_lanes::<Double, Single>(a, 2, |bits| {
        to_integer::<Double, Doubleword>(bits, rounding, environment)
    })
}

/// CVTPS2PD.
pub(crate) fn singles_to_doubles(a: u128, environment: &mut Environment) -> u128 {
    convert_lanes::<Single, Double>(a, 2, |bits| format::<Single, Double>(bits, environment))
}

/// CVTPD2PS: the upper half becomes 0.
pub(crate) fn doubles_to_singles(a: u128, environment: &mut Environment) -> u128 {
    convert_lanes::<Double, Single>(a, 2, |bits| format::<Double, Single>(bits, environment))
}

/// Converts the lowest `count` elements; those that are left are 0.
fn convert_lanes<From: Format, To: Format>(a: u128, count: u32, mut convert: impl FnMut(u64) -> u64) -> u128 {
    (0..count).fold(0, |result, lane| To::with_lane(result, lane, convert(From::lane(a, lane))))
}

/// CVTSS2SD CVTSD2SS: the lowest element; the others come from `a`.
pub(crate) fn scalar_format<From: Format, To: Format>(
    a: u128,
    b: u128,
    environment: &mut Environment,
) -> u128 {
    To::with_lane(a, 0, format::<From, To>(From::lane(b, 0), environment))
}

/// CVTSI2SS CVTSI2SD: the lowest element; the others come from `a`.
pub(crate) fn scalar_from_integer<F: Format, I: Integer>(
    a: u128,
    b: u128,
    environment: &mut Environment,
) -> u128 {
    F::with_lane(a, 0, from_integer::<F, I>(Double::lane(b, 0) & I::MASK, environment))
}

/// CVTSS2SI CVTSD2SI CVTTSS2SI CVTTSD2SI.
pub(crate) fn scalar_to_integer<F: Format, I: Integer>(
    b: u128,
    rounding: Rounding,
    environment: &mut Environment,
) -> u128 {
    u128::from(to_integer::<F, I>(F::lane(b, 0), rounding, environment))
}
