//! Conversions between double-extended precision, the shorter formats, and integers (SDM Vol. 1, 4.8.4 and 8.3.4).

use super::round::{Target, round, rounded, rounds_up, shift_right_sticky};
use super::{
    Class, Control, DENORMAL, EXPONENT_BIAS, Extended, INTEGER, INVALID, LARGEST_EXPONENT, Outcome,
    PRECISION, Rounding, special,
};

/// A single- or double-precision format: bits of the exponent and of the fraction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Short {
    exponent_bits: u32,
    fraction_bits: u32,
}

impl Short {
    pub(crate) const SINGLE: Self = Self { exponent_bits: 8, fraction_bits: 23 };
    pub(crate) const DOUBLE: Self = Self { exponent_bits: 11, fraction_bits: 52 };

    fn largest(self) -> i32 {
        (1 << self.exponent_bits) - 1
    }

    fn bias(self) -> i32 {
        self.largest() / 2
    }

    /// The number that these bits are; #IA says that it is a signaling NaN.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "fields of the format")]
    pub(crate) fn extend(self, bits: u64) -> Outcome {
        let fraction = bits << (63 - self.fraction_bits) & !INTEGER;
        let exponent = (bits >> self.fraction_bits) as i32 & self.largest();
        let negative = bits >> (self.exponent_bits + self.fraction_bits) & 1 != 0;
        let value =
            |exponent: i32, significand| Extended { negative, exponent: exponent as u16, significand };
        if exponent == self.largest() {
            let value = value(i32::from(LARGEST_EXPONENT), INTEGER | fraction);
            return match value.class() {
                Class::SignalingNan => Outcome::exact(value).with(INVALID),
                _ => Outcome::exact(value),
            };
        }
        if exponent != 0 {
            return Outcome::exact(value(exponent - self.bias() + EXPONENT_BIAS, INTEGER | fraction));
        }
        if fraction == 0 {
            return Outcome::exact(Extended::zero(negative));
        }
        let shift = fraction.leading_zeros();
        let exponent = 1 - self.bias() + EXPONENT_BIAS - shift.cast_signed();
        Outcome::exact(value(exponent, fraction << shift)).with(DENORMAL)
    }

    /// The bits of a number rounded to this format.
    #[allow(clippy::cast_sign_loss, reason = "a biased exponent is not negative")]
    pub(crate) fn shorten(self, a: Extended, control: Control) -> Outcome<u64> {
        let pack = |negative: bool, exponent: i32, significand: u64| {
            let fraction = (significand & !INTEGER) >> (63 - self.fraction_bits);
            let sign = u64::from(negative) << (self.exponent_bits + self.fraction_bits);
            sign | (exponent as u64) << self.fraction_bits | fraction
        };
        let special = |a: Extended| Outcome::exact(pack(a.negative, self.largest(), a.significand));
        match a.class() {
            Class::Unsupported => special(Extended::INDEFINITE).with(INVALID),
            Class::SignalingNan => special(a.quieted()).with(INVALID),
            Class::QuietNan | Class::Infinity => special(a),
            Class::Zero => Outcome::exact(pack(a.negative, 0, 0)),
            Class::Normal | Class::Denormal => {
                let (exponent, significand) = a.parts();
                let target =
                    Target { precision: self.fraction_bits + 1, bias: self.bias(), largest: self.largest() };
                let r = round(a.negative, exponent, u128::from(significand) << 64, control, target);
                let value = pack(a.negative, r.exponent, r.significand);
                Outcome { value, exceptions: r.exceptions, rounded_up: r.rounded_up }
            }
        }
    }
}

/// The number that an integer is.
#[allow(clippy::cast_possible_truncation, reason = "an exponent of 15 bits")]
pub(crate) fn from_integer(value: i64) -> Extended {
    let magnitude = value.unsigned_abs();
    if magnitude == 0 {
        return Extended::ZERO;
    }
    let shift = magnitude.leading_zeros();
    let exponent = (EXPONENT_BIAS.cast_unsigned() + 63 - shift) as u16;
    Extended { negative: value < 0, exponent, significand: magnitude << shift }
}

/// An integer of `bits` bits; what does not fit is the integer indefinite.
pub(crate) fn to_integer(a: Extended, bits: u32, rounding: Rounding) -> Outcome<i64> {
    let indefinite = Outcome::exact(i64::MIN >> (64 - bits)).with(INVALID);
    let magnitude = match a.class() {
        Class::Zero => return Outcome::exact(0),
        Class::Normal | Class::Denormal => magnitude(a, rounding),
        _ => return indefinite,
    };
    let limit = (1_u128 << (bits - 1)) + u128::from(a.negative);
    match magnitude {
        Some(Outcome { value, exceptions, rounded_up }) if value < limit => {
            let value = i128::try_from(value).unwrap_or(0);
            let value = i64::try_from(if a.negative { -value } else { value }).unwrap_or(0);
            Outcome { value, exceptions, rounded_up }
        }
        _ => indefinite,
    }
}

/// The magnitude rounded to an integer; nothing when it is far above all integers.
fn magnitude(a: Extended, rounding: Rounding) -> Option<Outcome<u128>> {
    let (exponent, significand) = a.parts();
    if exponent > 63 {
        return None;
    }
    // 64 bits of fraction.
    let fixed = shift_right_sticky(u128::from(significand) << 64, (63 - exponent).cast_unsigned());
    let rest = fixed & u128::from(u64::MAX);
    let whole = fixed >> 64;
    let up = rounds_up(rounding, a.negative, whole & 1 != 0, rest, 1 << 63);
    let exceptions = if rest == 0 { 0 } else { PRECISION };
    Some(Outcome { value: whole + u128::from(up), exceptions, rounded_up: up })
}

/// `a` rounded to an integer, in the format.
pub(crate) fn round_to_integer(a: Extended, control: Control) -> Outcome {
    let denormal = match special(a, Extended::ZERO) {
        Ok(denormal) => denormal,
        Err(outcome) => return outcome,
    };
    if matches!(a.class(), Class::Zero | Class::Infinity) {
        return Outcome::exact(a);
    }
    let Some(Outcome { value, exceptions, rounded_up }) = magnitude(a, control.rounding) else {
        return Outcome::exact(a);
    };
    let exact = Control { precision: 64, ..control };
    let result =
        if value == 0 { Extended::zero(a.negative) } else { rounded(a.negative, 127, value, exact).value };
    Outcome { value: result, exceptions: exceptions | denormal, rounded_up }
}
