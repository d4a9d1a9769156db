//! RCPPS RCPSS RSQRTPS RSQRTSS (SDM Vol. 1, 11.4.1.2 and Vol. 2B).
//!
//! The manual asks for a relative error of at most 1.5 * 2^-12 and leaves the rest to the processor; no two makers
//! agree. This twin gives the exact value rounded to [`PRECISION`] bits, an error of at most 2^-13. On x86-64 hosts
//! the other twin uses the host's own instruction, so that results depend on where they were computed.
//!
//! These instructions neither look at MXCSR nor raise anything: denormal operands are zeros, and tiny results are
//! flushed.

use super::arithmetic::root;
use super::round::{Exact, Sign, round, shift_and_round};
use crate::float::format::{Class, Format, Single, class, finite, is_denormal};
use crate::float::mxcsr::{Environment, Mxcsr, Rounding};

/// Significant bits of an approximation.
const PRECISION: i32 = 13;

/// An approximation of 1 / `b`.
pub(crate) fn reciprocal(_: u64, b: u64, _: &mut Environment) -> u64 {
    approximate(b, |number| Exact {
        sign: number.sign,
        exponent: -number.exponent - 100,
        significand: (1 << 100) / number.significand,
    })
}

/// An approximation of 1 / sqrt(`b`).
pub(crate) fn reciprocal_square_root(_: u64, b: u64, _: &mut Environment) -> u64 {
    let negative = b & Single::SIGN != 0;
    if negative && class::<Single>(b) != Class::Zero && !is_denormal::<Single>(b) {
        let nan = matches!(class::<Single>(b), Class::QuietNan | Class::SignalingNan);
        return if nan { b | Single::QUIET } else { Single::INDEFINITE };
    }
    approximate(b, |number| {
        let root = root(number);
        Exact { sign: root.sign, exponent: -root.exponent - 120, significand: (1 << 120) / root.significand }
    })
}

/// `compute` on a normal number; what the operand's class decides is decided here.
fn approximate(b: u64, compute: fn(Exact) -> Exact) -> u64 {
    let sign = Sign::of::<Single>(b);
    match class::<Single>(b) {
        Class::QuietNan | Class::SignalingNan => b | Single::QUIET,
        Class::Infinity => sign.apply::<Single>(0),
        Class::Zero => sign.apply::<Single>(Single::INFINITY),
        Class::Finite if is_denormal::<Single>(b) => sign.apply::<Single>(Single::INFINITY),
        Class::Finite => {
            let number = finite::<Single>(b);
            let significand = u128::from(number.significand);
            shorten(compute(Exact { sign, exponent: number.exponent, significand }))
        }
    }
}

fn shorten(value: Exact) -> u64 {
    let top = 128 - value.significand.leading_zeros().cast_signed();
    let shift = top - PRECISION;
    let rounded = shift_and_round(value, shift, Rounding::Nearest);
    let short =
        Exact { sign: value.sign, exponent: value.exponent + shift, significand: rounded.significand };
    let flush = Mxcsr::DEFAULT | Mxcsr::FTZ;
    round::<Single>(short, &mut Environment::new(flush.bits()))
}
