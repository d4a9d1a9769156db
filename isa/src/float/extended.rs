//! Double-extended precision, the format of the x87 registers (SDM Vol. 1, 4.2.2 and 8.3).
//!
//! A number is unpacked, computed exactly or with enough bits and a sticky one, and rounded once, to the precision and in
//! the direction of the control word. Exceptions are the low six bits of the status word.

mod convert;
mod round;

use round::{rounded, shift_right_sticky};

pub(crate) use convert::{Short, from_integer, round_to_integer, to_integer};

/// #IA, an invalid operand.
pub(crate) const INVALID: u16 = 1;
/// #D, a denormal operand.
pub(crate) const DENORMAL: u16 = 1 << 1;
/// #Z, a division by zero.
pub(crate) const ZERO_DIVIDE: u16 = 1 << 2;
/// #O, overflow.
pub(crate) const OVERFLOW: u16 = 1 << 3;
/// #U, underflow.
pub(crate) const UNDERFLOW: u16 = 1 << 4;
/// #P, an inexact result.
pub(crate) const PRECISION: u16 = 1 << 5;

const EXPONENT_BIAS: i32 = 16383;
const LARGEST_EXPONENT: u16 = 0x7fff;
/// The integer bit of the significand, which this format stores.
const INTEGER: u64 = 1 << 63;
const QUIET: u64 = 1 << 62;

/// A number as the registers hold it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Extended {
    pub(crate) negative: bool,
    /// Biased, 15 bits.
    pub(crate) exponent: u16,
    /// With the integer bit.
    pub(crate) significand: u64,
}

/// What a number is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Class {
    Zero,
    /// A denormal or pseudo-denormal.
    Denormal,
    Normal,
    Infinity,
    QuietNan,
    SignalingNan,
    /// An encoding that the processor does not support (SDM Vol. 1, table 8-3).
    Unsupported,
}

/// RC, the rounding control.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rounding {
    Nearest,
    Down,
    Up,
    Truncate,
}

/// What of the control word an operation needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Control {
    pub(crate) rounding: Rounding,
    /// Bits of the significand.
    pub(crate) precision: u32,
    /// The exceptions that are masked.
    pub(crate) masks: u16,
}

impl Control {
    /// Of a control word.
    pub(crate) fn of(word: u16) -> Self {
        let precision = match word >> 8 & 3 {
            0 => 24,
            2 => 53,
            _ => 64,
        };
        let rounding = [Rounding::Nearest, Rounding::Down, Rounding::Up, Rounding::Truncate]
            [usize::from(word >> 10 & 3)];
        Self { rounding, precision, masks: word & 0x3f }
    }
}

/// A result and what happened on the way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Outcome<T = Extended> {
    pub(crate) value: T,
    pub(crate) exceptions: u16,
    /// C1: the magnitude was rounded up.
    pub(crate) rounded_up: bool,
}

impl<T> Outcome<T> {
    pub(crate) fn exact(value: T) -> Self {
        Self { value, exceptions: 0, rounded_up: false }
    }

    fn with(mut self, exceptions: u16) -> Self {
        self.exceptions |= exceptions;
        self
    }
}

impl Extended {
    pub(crate) const ZERO: Self = Self { negative: false, exponent: 0, significand: 0 };
    /// The real indefinite: the QNaN of masked invalid operations.
    pub(crate) const INDEFINITE: Self =
        Self { negative: true, exponent: LARGEST_EXPONENT, significand: INTEGER | QUIET };

    #[allow(clippy::cast_possible_truncation, reason = "the fields of the format")]
    pub(crate) fn from_bits(bits: u128) -> Self {
        let head = (bits >> 64) as u16;
        Self { negative: head >> 15 != 0, exponent: head & 0x7fff, significand: bits as u64 }
    }

    pub(crate) fn to_bits(self) -> u128 {
        let head = u128::from(self.exponent) | u128::from(self.negative) << 15;
        head << 64 | u128::from(self.significand)
    }

    pub(crate) fn class(self) -> Class {
        let integer = self.significand & INTEGER != 0;
        match (self.exponent, integer) {
            (0, _) if self.significand == 0 => Class::Zero,
            (0, _) => Class::Denormal,
            (_, false) => Class::Unsupported,
            (LARGEST_EXPONENT, true) if self.significand == INTEGER => Class::Infinity,
            (LARGEST_EXPONENT, true) if self.significand & QUIET != 0 => Class::QuietNan,
            (LARGEST_EXPONENT, true) => Class::SignalingNan,
            _ => Class::Normal,
        }
    }

    pub(crate) fn is_nan(self) -> bool {
        matches!(self.class(), Class::QuietNan | Class::SignalingNan)
    }

    fn infinity(negative: bool) -> Self {
        Self { negative, exponent: LARGEST_EXPONENT, significand: INTEGER }
    }

    fn zero(negative: bool) -> Self {
        Self { negative, ..Self::ZERO }
    }

    /// A NaN made quiet.
    pub(crate) fn quieted(self) -> Self {
        Self { significand: self.significand | QUIET, ..self }
    }

    /// Exponent, unbiased, and significand with the integer bit set, of a number that is neither zero nor special.
    fn parts(self) -> (i32, u64) {
        let shift = self.significand.leading_zeros();
        let exponent = i32::from(self.exponent.max(1)) - EXPONENT_BIAS;
        (exponent - shift.cast_signed(), self.significand << shift)
    }
}

fn invalid() -> Outcome {
    Outcome::exact(Extended::INDEFINITE).with(INVALID)
}

/// The result when an operand is a NaN or unsupported (SDM Vol. 1, table 4-7), and the exception of a denormal one.
fn special(a: Extended, b: Extended) -> Result<u16, Outcome> {
    let classes = [a.class(), b.class()];
    if classes.contains(&Class::Unsupported) {
        return Err(invalid());
    }
    if a.is_nan() || b.is_nan() {
        let exceptions = if classes.contains(&Class::SignalingNan) { INVALID } else { 0 };
        return Err(Outcome::exact(nan(a, b)).with(exceptions));
    }
    Ok(if classes.contains(&Class::Denormal) { DENORMAL } else { 0 })
}

/// Of two NaNs a quiet one before a signaling one, then the larger significand, then the positive one.
fn nan(a: Extended, b: Extended) -> Extended {
    match (a.is_nan(), b.is_nan()) {
        (true, false) => return a.quieted(),
        (false, true) => return b.quieted(),
        _ => {}
    }
    match (a.class(), b.class()) {
        (Class::SignalingNan, Class::QuietNan) => b,
        (Class::QuietNan, Class::SignalingNan) => a,
        _ if a.significand > b.significand => a.quieted(),
        _ if a.significand < b.significand => b.quieted(),
        _ if a.negative => b.quieted(),
        _ => a.quieted(),
    }
}

/// `a + b`.
pub(crate) fn add(a: Extended, b: Extended, control: Control) -> Outcome {
    let denormal = match special(a, b) {
        Ok(denormal) => denormal,
        Err(outcome) => return outcome,
    };
    match (a.class(), b.class()) {
        (Class::Infinity, Class::Infinity) if a.negative != b.negative => invalid(),
        (Class::Infinity, _) => Outcome::exact(a).with(denormal),
        (_, Class::Infinity) => Outcome::exact(b).with(denormal),
        (Class::Zero, Class::Zero) => Outcome::exact(Extended::zero(if a.negative == b.negative {
            a.negative
        } else {
            control.rounding == Rounding::Down
        })),
        (Class::Zero, _) => by_itself(b, control).with(denormal),
        (_, Class::Zero) => by_itself(a, control).with(denormal),
        _ => add_numbers(a, b, control).with(denormal),
    }
}

/// A number rounded to the precision.
fn by_itself(a: Extended, control: Control) -> Outcome {
    let (exponent, significand) = a.parts();
    rounded(a.negative, exponent, u128::from(significand) << 64, control)
}

fn add_numbers(a: Extended, b: Extended, control: Control) -> Outcome {
    let ((exponent_a, significand_a), (exponent_b, significand_b)) = (a.parts(), b.parts());
    let larger = if (exponent_a, significand_a) >= (exponent_b, significand_b) { a } else { b };
    let exponent = exponent_a.max(exponent_b);
    let align = |significand: u64, of: i32| {
        shift_right_sticky(u128::from(significand) << 63, (exponent - of).cast_unsigned())
    };
    let (left, right) = (align(significand_a, exponent_a), align(significand_b, exponent_b));
    if a.negative == b.negative {
        return rounded(a.negative, exponent + 1, left + right, control);
    }
    let difference = left.abs_diff(right);
    if difference == 0 {
        return Outcome::exact(Extended::zero(control.rounding == Rounding::Down));
    }
    rounded(larger.negative, exponent + 1, difference, control)
}

/// `a - b`.
pub(crate) fn subtract(a: Extended, b: Extended, control: Control) -> Outcome {
    if b.is_nan() {
        return add(a, b, control);
    }
    add(a, Extended { negative: !b.negative, ..b }, control)
}

/// `a * b`.
pub(crate) fn multiply(a: Extended, b: Extended, control: Control) -> Outcome {
    let denormal = match special(a, b) {
        Ok(denormal) => denormal,
        Err(outcome) => return outcome,
    };
    let negative = a.negative != b.negative;
    match (a.class(), b.class()) {
        (Class::Infinity, Class::Zero) | (Class::Zero, Class::Infinity) => invalid(),
        (Class::Infinity, _) | (_, Class::Infinity) => {
            Outcome::exact(Extended::infinity(negative)).with(denormal)
        }
        (Class::Zero, _) | (_, Class::Zero) => Outcome::exact(Extended::zero(negative)).with(denormal),
        _ => {
            let ((exponent_a, a), (exponent_b, b)) = (a.parts(), b.parts());
            let product = u128::from(a) * u128::from(b);
            rounded(negative, exponent_a + exponent_b + 1, product, control).with(denormal)
        }
    }
}

/// `a / b`.
pub(crate) fn divide(a: Extended, b: Extended, control: Control) -> Outcome {
    let denormal = match special(a, b) {
        Ok(denormal) => denormal,
        Err(outcome) => return outcome,
    };
    let negative = a.negative != b.negative;
    match (a.class(), b.class()) {
        (Class::Infinity, Class::Infinity) | (Class::Zero, Class::Zero) => invalid(),
        (Class::Infinity, _) => Outcome::exact(Extended::infinity(negative)).with(denormal),
        (_, Class::Infinity) | (Class::Zero, _) => Outcome::exact(Extended::zero(negative)).with(denormal),
        (_, Class::Zero) => Outcome::exact(Extended::infinity(negative)).with(ZERO_DIVIDE),
        _ => {
            let ((exponent_a, a), (exponent_b, b)) = (a.parts(), b.parts());
            let divisor = u128::from(b);
            let dividend = u128::from(a) << 64;
            let (high, rest) = (dividend / divisor, (dividend % divisor) << 62);
            let quotient = high << 62 | (rest / divisor) | u128::from(rest % divisor != 0);
            rounded(negative, exponent_a - exponent_b + 1, quotient, control).with(denormal)
        }
    }
}

/// The square root of `a`.
pub(crate) fn square_root(a: Extended, control: Control) -> Outcome {
    let denormal = match special(a, Extended::ZERO) {
        Ok(denormal) => denormal,
        Err(outcome) => return outcome,
    };
    match a.class() {
        Class::Zero => Outcome::exact(a),
        _ if a.negative => invalid(),
        Class::Infinity => Outcome::exact(a),
        _ => {
            let (exponent, significand) = a.parts();
            let odd = exponent & 1;
            let radicand = u128::from(significand) << (63 + odd);
            let root = radicand.isqrt();
            let rest = radicand - root * root;
            // The root has 64 bits; the rest tells the next one and whether there are more.
            let below = u128::from(rest > root) << 63 | u128::from(rest != 0);
            rounded(false, (exponent - odd) / 2, root << 64 | below, control).with(denormal)
        }
    }
}

/// How two numbers compare; nothing when they are unordered.
pub(crate) fn compare(a: Extended, b: Extended) -> Option<core::cmp::Ordering> {
    let special = |x: Extended| x.is_nan() || x.class() == Class::Unsupported;
    if special(a) || special(b) {
        return None;
    }
    if a.class() == Class::Zero && b.class() == Class::Zero {
        return Some(core::cmp::Ordering::Equal);
    }
    let magnitude = |x: Extended| (x.exponent.max(u16::from(x.significand & INTEGER != 0)), x.significand);
    let key = |x: Extended| (magnitude(x), x.negative);
    let order = key(a).0.cmp(&key(b).0);
    Some(match (a.negative, b.negative) {
        (false, false) => order,
        (true, true) => order.reverse(),
        (true, false) => core::cmp::Ordering::Less,
        (false, true) => core::cmp::Ordering::Greater,
    })
}
