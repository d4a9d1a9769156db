//! Double-extended precision, the format of the x87 registers (SDM Vol. 1, 4.2.2 and 8.3).
//!
//! A number is unpacked, computed exactly or with enough bits and a sticky one, and rounded once, to the precision and in
//! the direction of the control word. Exceptions are the low six bits of the status word.

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

/// What is added to the exponent of a result whose underflow is not masked, and taken from that of an overflow (SDM Vol.
/// 1, 8.5.4 and 8.5.5).
const ADJUSTMENT: i32 = 0x6000;

/// Where a result is rounded to.
#[derive(Clone, Copy)]
struct Target {
    precision: u32,
    bias: i32,
    /// The biased exponent of infinities.
    largest: i32,
}

/// A rounded number: a biased exponent and the significand with its integer bit in bit 63.
struct Rounded {
    exponent: i32,
    significand: u64,
    exceptions: u16,
    rounded_up: bool,
}

/// Whether a magnitude is rounded up, by its discarded bits and the lowest kept one.
fn rounds_up(rounding: Rounding, negative: bool, odd: bool, rest: u128, half: u128) -> bool {
    match rounding {
        Rounding::Nearest => rest > half || rest == half && odd,
        Rounding::Down => negative && rest != 0,
        Rounding::Up => !negative && rest != 0,
        Rounding::Truncate => false,
    }
}

/// Rounds `significand` (bit 127 set, bit 0 sticky) times 2^(`exponent` - 127). Tininess is found after rounding.
fn round(negative: bool, exponent: i32, significand: u128, control: Control, target: Target) -> Rounded {
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

fn shift_right_sticky(value: u128, shift: u32) -> u128 {
    match shift {
        0 => value,
        1..=127 => value >> shift | u128::from(value << (128 - shift) != 0),
        _ => u128::from(value != 0),
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a biased exponent of 15 bits")]
fn rounded(negative: bool, exponent: i32, significand: u128, control: Control) -> Outcome {
    let target =
        Target { precision: control.precision, bias: EXPONENT_BIAS, largest: i32::from(LARGEST_EXPONENT) };
    let shift = significand.leading_zeros();
    let exponent = exponent - shift.cast_signed();
    let rounded = round(negative, exponent, significand << shift, control, target);
    let value = Extended { negative, exponent: rounded.exponent as u16, significand: rounded.significand };
    Outcome { value, exceptions: rounded.exceptions, rounded_up: rounded.rounded_up }
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
            let quotient = high << 62 | rest / divisor | u128::from(rest % divisor != 0);
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
