//! ADD SUB MUL DIV SQRT (SDM Vol. 1, 11.4.1.2), and the horizontal forms and dot products made of them.

use super::nan::{invalid, propagate};
use super::round::{Exact, Sign, round};
use crate::float::format::{Class, Double, Format, Single, class, finite, is_denormal, operand};
use crate::float::mxcsr::{Environment, Mxcsr, Progress, Rounding};

/// Bits below the significand in an intermediate sum.
const GUARD: u32 = 64;

/// Raises the denormal-operand exception, which comes after invalid operation and division by zero.
fn signal_if_denormal<F: Format>(a: u64, b: u64, environment: &mut Environment) {
    if is_denormal::<F>(a) || is_denormal::<F>(b) {
        environment.raise(Mxcsr::DE);
    }
}

/// `a + b`.
pub(crate) fn add<F: Format>(a: u64, b: u64, environment: &mut Environment) -> u64 {
    match propagate::<F>(a, b, environment) {
        Some(nan) => nan,
        None => sum::<F>(a, b, environment),
    }
}

/// `a - b`.
pub(crate) fn subtract<F: Format>(a: u64, b: u64, environment: &mut Environment) -> u64 {
    match propagate::<F>(a, b, environment) {
        Some(nan) => nan,
        None => sum::<F>(a, b ^ F::SIGN, environment),
    }
}

fn sum<F: Format>(a: u64, b: u64, environment: &mut Environment) -> u64 {
    let (a, b) = (operand::<F>(a, environment), operand::<F>(b, environment));
    match (class::<F>(a), class::<F>(b)) {
        (Class::Infinity, Class::Infinity) if a != b => return invalid::<F>(environment),
        _ => signal_if_denormal::<F>(a, b, environment),
    }
    match (class::<F>(a), class::<F>(b)) {
        (Class::Infinity, _) => a,
        (_, Class::Infinity) => b,
        (Class::Zero, Class::Zero) if a == b => a,
        (Class::Zero, Class::Zero) => zero_difference::<F>(environment),
        (Class::Zero, _) => round_operand::<F>(b, environment),
        (_, Class::Zero) => round_operand::<F>(a, environment),
        _ => sum_of_finite::<F>(a, b, environment),
    }
}

/// An exact difference of 0 is negative only when rounding toward minus infinity (SDM Vol. 1, 4.8.3.1).
fn zero_difference<F: Format>(environment: &Environment) -> u64 {
    if environment.control().rounding() == Rounding::Down { F::SIGN } else { 0 }
}

/// A number as its own result: denormal ones underflow.
fn round_operand<F: Format>(bits: u64, environment: &mut Environment) -> u64 {
    round::<F>(exact::<F>(bits), environment)
}

fn exact<F: Format>(bits: u64) -> Exact {
    let number = finite::<F>(bits);
    Exact {
        sign: Sign::of::<F>(bits),
        exponent: number.exponent,
        significand: u128::from(number.significand),
    }
}

fn sum_of_finite<F: Format>(a: u64, b: u64, environment: &mut Environment) -> u64 {
    let (a, b) = (exact::<F>(a), exact::<F>(b));
    let (high, low) = if a.exponent >= b.exponent { (a, b) } else { (b, a) };
    let wide = high.significand << GUARD;
    let small = shift_right_sticky(low.significand << GUARD, (high.exponent - low.exponent).cast_unsigned());
    let exponent = high.exponent - GUARD.cast_signed();
    let (sign, significand) = if high.sign == low.sign {
        (high.sign, wide + small)
    } else if wide >= small {
        (high.sign, wide - small)
    } else {
        (low.sign, small - wide)
    };
    if significand == 0 {
        return zero_difference::<F>(environment);
    }
    round::<F>(Exact { sign, exponent, significand }, environment)
}

/// Shifts right; the lowest bit tells whether ones were lost.
pub(crate) fn shift_right_sticky(value: u128, shift: u32) -> u128 {
    match value.checked_shr(shift) {
        Some(shifted) => shifted | u128::from(shifted << shift != value),
        None => u128::from(value != 0),
    }
}

/// `a * b`.
pub(crate) fn multiply<F: Format>(a: u64, b: u64, environment: &mut Environment) -> u64 {
    if let Some(nan) = propagate::<F>(a, b, environment) {
        return nan;
    }
    let (a, b) = (operand::<F>(a, environment), operand::<F>(b, environment));
    let sign = Sign::of::<F>(a).times(Sign::of::<F>(b));
    match (class::<F>(a), class::<F>(b)) {
        (Class::Infinity, Class::Zero) | (Class::Zero, Class::Infinity) => return invalid::<F>(environment),
        _ => signal_if_denormal::<F>(a, b, environment),
    }
    match (class::<F>(a), class::<F>(b)) {
        (Class::Infinity, _) | (_, Class::Infinity) => sign.apply::<F>(F::INFINITY),
        (Class::Zero, _) | (_, Class::Zero) => sign.apply::<F>(0),
        _ => {
            let (a, b) = (exact::<F>(a), exact::<F>(b));
            let significand = a.significand * b.significand;
            round::<F>(Exact { sign, exponent: a.exponent + b.exponent, significand }, environment)
        }
    }
}

/// `a / b`.
pub(crate) fn divide<F: Format>(a: u64, b: u64, environment: &mut Environment) -> u64 {
    if let Some(nan) = propagate::<F>(a, b, environment) {
        return nan;
    }
    let (a, b) = (operand::<F>(a, environment), operand::<F>(b, environment));
    let sign = Sign::of::<F>(a).times(Sign::of::<F>(b));
    match (class::<F>(a), class::<F>(b)) {
        (Class::Infinity, Class::Infinity) | (Class::Zero, Class::Zero) => {
            return invalid::<F>(environment);
        }
        (Class::Finite, Class::Zero) => {
            environment.raise(Mxcsr::ZE);
            return sign.apply::<F>(F::INFINITY);
        }
        _ => signal_if_denormal::<F>(a, b, environment),
    }
    match (class::<F>(a), class::<F>(b)) {
        (Class::Infinity, _) => sign.apply::<F>(F::INFINITY),
        (Class::Zero, _) | (_, Class::Infinity) => sign.apply::<F>(0),
        _ => round::<F>(quotient(exact::<F>(a), exact::<F>(b), sign), environment),
    }
}

/// The quotient to more than 60 bits.
fn quotient(a: Exact, b: Exact, sign: Sign) -> Exact {
    let shift = a.significand.leading_zeros() - 1;
    let dividend = a.significand << shift;
    let quotient = dividend / b.significand;
    let sticky = u128::from(!dividend.is_multiple_of(b.significand));
    Exact { sign, exponent: a.exponent - b.exponent - shift.cast_signed(), significand: quotient | sticky }
}

/// The square root of `b`; the first operand is not looked at.
pub(crate) fn square_root<F: Format>(_: u64, b: u64, environment: &mut Environment) -> u64 {
    if let Some(nan) = propagate::<F>(b, b, environment) {
        return nan;
    }
    let b = operand::<F>(b, environment);
    match (class::<F>(b), Sign::of::<F>(b)) {
        (Class::Zero, _) => b,
        (_, Sign::Minus) => invalid::<F>(environment),
        (Class::Infinity, Sign::Plus) => b,
        _ => {
            signal_if_denormal::<F>(b, b, environment);
            round::<F>(root(exact::<F>(b)), environment)
        }
    }
}

/// The square root to more than 60 bits.
pub(crate) fn root(value: Exact) -> Exact {
    let shift = value.significand.leading_zeros() - 1;
    // The exponent must be even to be halved.
    let shift = shift - (value.exponent - shift.cast_signed()).cast_unsigned() % 2;
    let radicand = value.significand << shift;
    let root = radicand.isqrt();
    Exact {
        sign: value.sign,
        exponent: (value.exponent - shift.cast_signed()) / 2,
        significand: root | u128::from(root * root != radicand),
    }
}

/// What a horizontal operation does to two neighbours.
type Pairwise = fn(u64, u64, &mut Environment) -> u64;

/// HADDPS HADDPD HSUBPS HSUBPD: neighbours of `a`, then neighbours of `b`.
pub(crate) fn horizontal<F: Format>(
    a: u128,
    b: u128,
    environment: &mut Environment,
    operation: Pairwise,
) -> u128 {
    let half = F::LANES / 2;
    (0..F::LANES).fold(0, |result, lane| {
        let (from, pair) = if lane < half { (a, lane) } else { (b, lane - half) };
        let element = operation(F::lane(from, 2 * pair), F::lane(from, 2 * pair + 1), environment);
        F::with_lane(result, lane, element)
    })
}

/// ADDSUBPS ADDSUBPD: even elements are subtracted, odd ones added.
pub(crate) fn add_subtract<F: Format>(a: u128, b: u128, environment: &mut Environment) -> u128 {
    (0..F::LANES).fold(0, |result, lane| {
        let operation = if lane % 2 == 0 { subtract::<F> } else { add::<F> };
        F::with_lane(result, lane, operation(F::lane(a, lane), F::lane(b, lane), environment))
    })
}

/// DPPS: immediate bits 7:4 choose the products, bits 3:0 where the sum goes. Products, sums of two and the sum are
/// steps of their own.
pub(crate) fn dot_product_single(a: u128, b: u128, immediate: u8, environment: &mut Environment) -> u128 {
    let products = products::<Single>(a, b, immediate, environment);
    if environment.settle() == Progress::Stops {
        return a;
    }
    let low = add::<Single>(Single::lane(products, 0), Single::lane(products, 1), environment);
    let high = add::<Single>(Single::lane(products, 2), Single::lane(products, 3), environment);
    if environment.settle() == Progress::Stops {
        return a;
    }
    broadcast::<Single>(add::<Single>(low, high, environment), immediate)
}

/// DPPD: immediate bits 5:4 choose the products, bits 1:0 where the sum goes.
pub(crate) fn dot_product_double(a: u128, b: u128, immediate: u8, environment: &mut Environment) -> u128 {
    let products = products::<Double>(a, b, immediate, environment);
    if environment.settle() == Progress::Stops {
        return a;
    }
    let sum = add::<Double>(Double::lane(products, 0), Double::lane(products, 1), environment);
    broadcast::<Double>(sum, immediate)
}

fn products<F: Format>(a: u128, b: u128, immediate: u8, environment: &mut Environment) -> u128 {
    (0..F::LANES).filter(|lane| immediate >> (4 + lane) & 1 == 1).fold(0, |result, lane| {
        F::with_lane(result, lane, multiply::<F>(F::lane(a, lane), F::lane(b, lane), environment))
    })
}

fn broadcast<F: Format>(element: u64, immediate: u8) -> u128 {
    (0..F::LANES)
        .filter(|lane| immediate >> lane & 1 == 1)
        .fold(0, |result, lane| F::with_lane(result, lane, element))
}
