//! Single and double precision (SDM Vol. 1, 4.2.2), and how an XMM register holds them.

use super::mxcsr::{Environment, Mxcsr};

/// A binary floating-point format; its encodings travel in the low bits of a `u64`.
pub(crate) trait Format {
    /// Bits of an encoding.
    const BITS: u32;
    /// Bits of the fraction: the significand without its leading one.
    const FRACTION: u32;
    /// Elements of an XMM register.
    const LANES: u32 = 128 / Self::BITS;
    /// The sign bit.
    const SIGN: u64 = 1 << (Self::BITS - 1);
    /// The bits of the fraction.
    const FRACTION_MASK: u64 = (1 << Self::FRACTION) - 1;
    /// The quiet bit of a NaN.
    const QUIET: u64 = 1 << (Self::FRACTION - 1);
    /// Plus infinity: all ones in the exponent.
    const INFINITY: u64 = (Self::SIGN - 1) & !Self::FRACTION_MASK;
    /// The largest finite number.
    const LARGEST: u64 = Self::INFINITY - 1;
    /// The QNaN floating-point indefinite (SDM Vol. 1, 4.8.3.7).
    const INDEFINITE: u64 = Self::SIGN | Self::INFINITY | Self::QUIET;
    /// Exponent of the smallest normal number.
    const SMALLEST_EXPONENT: i32 = 2 - (1 << (Self::BITS - Self::FRACTION - 2));
    /// Exponent of the largest finite number.
    const LARGEST_EXPONENT: i32 = 1 - Self::SMALLEST_EXPONENT;

    /// Element `lane` of a register.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "the bits above the element are masked")]
    fn lane(register: u128, lane: u32) -> u64 {
        (register >> (lane * Self::BITS)) as u64 & (Self::SIGN | (Self::SIGN - 1))
    }

    /// The register with element `lane` replaced.
    #[inline(always)]
    fn with_lane(register: u128, lane: u32, element: u64) -> u128 {
        let mask = u128::from(Self::SIGN | (Self::SIGN - 1)) << (lane * Self::BITS);
        register & !mask | u128::from(element) << (lane * Self::BITS)
    }
}

/// 32 bits.
pub(crate) struct Single;
/// 64 bits.
pub(crate) struct Double;
impl Format for Single {
    const BITS: u32 = 32;
    const FRACTION: u32 = 23;
}
impl Format for Double {
    const BITS: u32 = 64;
    const FRACTION: u32 = 52;
}

/// What an encoding stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Class {
    Zero,
    Finite,
    Infinity,
    QuietNan,
    SignalingNan,
}

/// A finite number other than zero: `significand` * 2^`exponent`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Finite {
    pub(crate) exponent: i32,
    /// Has [`Format::FRACTION`] + 1 bits unless the number is denormal.
    pub(crate) significand: u64,
}

pub(crate) fn class<F: Format>(bits: u64) -> Class {
    let magnitude = bits & !F::SIGN;
    match magnitude {
        0 => Class::Zero,
        _ if magnitude < F::INFINITY => Class::Finite,
        _ if magnitude == F::INFINITY => Class::Infinity,
        _ if magnitude & F::QUIET != 0 => Class::QuietNan,
        _ => Class::SignalingNan,
    }
}

pub(crate) fn is_nan<F: Format>(bits: u64) -> bool {
    bits & !F::SIGN > F::INFINITY
}

pub(crate) fn is_negative<F: Format>(bits: u64) -> bool {
    bits & F::SIGN != 0
}

pub(crate) fn is_denormal<F: Format>(bits: u64) -> bool {
    let magnitude = bits & !F::SIGN;
    magnitude != 0 && magnitude <= F::FRACTION_MASK
}

/// The parts of a finite number other than zero.
pub(crate) fn finite<F: Format>(bits: u64) -> Finite {
    let fraction = bits & F::FRACTION_MASK;
    let fraction_bits = F::FRACTION.cast_signed();
    let field = u32::try_from((bits & !F::SIGN) >> F::FRACTION).unwrap_or(0).cast_signed();
    if field == 0 {
        return Finite { exponent: F::SMALLEST_EXPONENT - fraction_bits, significand: fraction };
    }
    Finite {
        exponent: F::SMALLEST_EXPONENT + field - 1 - fraction_bits,
        significand: fraction | 1 << F::FRACTION,
    }
}

/// An operand as the operation sees it: with DAZ a denormal is a zero of the same sign.
pub(crate) fn operand<F: Format>(bits: u64, environment: &Environment) -> u64 {
    if environment.control().contains(Mxcsr::DAZ) && is_denormal::<F>(bits) { bits & F::SIGN } else { bits }
}
