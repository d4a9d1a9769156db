//! Operand sizes as types.
//!
//! [`Scalar`] is anything that one memory access can carry (8 to 128 bits); [`Width`] is a general-purpose operand
//! size (8 to 64 bits), with the arithmetic that handlers need and the rule how a result enters a register.

use core::fmt::{Debug, LowerHex};
use core::ops::{BitAnd, BitOr, BitXor, Not, Shl, Shr};

mod sealed {
    pub trait Sealed {}
    impl Sealed for u8 {}
    impl Sealed for u16 {}
    impl Sealed for u32 {}
    impl Sealed for u64 {}
    impl Sealed for u128 {}
}

/// A value that one memory access carries: `u8`, `u16`, `u32`, `u64` or `u128`, little-endian in memory.
///
/// Sealed: every bit pattern of an implementor is a valid value, on which raw accesses to memory rely.
pub trait Scalar: sealed::Sealed + Copy + Eq + Default + Debug + LowerHex + 'static {
    /// Bytes in memory.
    const BYTES: usize;
    /// The value that these bytes hold; `bytes` must have exactly [`Self::BYTES`] elements.
    fn from_le_slice(bytes: &[u8]) -> Self;
    /// Writes the value to exactly [`Self::BYTES`] bytes.
    fn to_le_slice(self, bytes: &mut [u8]);
    /// The value whose bytes in memory, read in the host's order, are `raw`.
    #[must_use]
    fn from_le(raw: Self) -> Self;
    /// The value to store in the host's order so that memory holds `self` little-endian.
    #[must_use]
    fn to_le(self) -> Self;
    /// The value of the first [`Self::BYTES`] bytes of `bytes`.
    #[must_use]
    fn from_bytes(bytes: [u8; 16]) -> Self;
    /// The bytes of the value, followed by zeros.
    #[must_use]
    fn to_bytes(self) -> [u8; 16];
    /// The value zero-extended.
    fn to_u128(self) -> u128;
    /// The low bits of `value`.
    fn from_u128(value: u128) -> Self;
}

macro_rules! scalar {
    ($($t:ty),*) => {$(
        impl Scalar for $t {
            const BYTES: usize = size_of::<$t>();
            #[inline(always)]
            fn from_le_slice(bytes: &[u8]) -> Self {
                let mut copy = [0; size_of::<$t>()];
                copy.copy_from_slice(bytes);
                Self::from_le_bytes(copy)
            }
            #[inline(always)]
            fn to_le_slice(self, bytes: &mut [u8]) {
                bytes.copy_from_slice(&self.to_le_bytes());
            }
            #[inline(always)]
            fn from_le(raw: Self) -> Self {
                <$t>::from_le(raw)
            }
            #[inline(always)]
            fn to_le(self) -> Self {
                <$t>::to_le(self)
            }
            #[inline]
            fn from_bytes(bytes: [u8; 16]) -> Self {
                Self::from_le_slice(&bytes[..Self::BYTES])
            }
            #[inline]
            fn to_bytes(self) -> [u8; 16] {
                let mut bytes = [0; 16];
                self.to_le_slice(&mut bytes[..Self::BYTES]);
                bytes
            }
            #[inline(always)]
            #[allow(clippy::useless_conversion, reason = "written once for all sizes")]
            fn to_u128(self) -> u128 {
                u128::from(self)
            }
            #[inline(always)]
            #[allow(clippy::cast_possible_truncation, reason = "the low bits are what is asked for")]
            fn from_u128(value: u128) -> Self {
                value as $t
            }
        }
    )*};
}
scalar!(u8, u16, u32, u64, u128);

/// A general-purpose operand size: `u8`, `u16`, `u32` or `u64`.
pub trait Width:
    Scalar
    + Ord
    + BitAnd<Output = Self>
    + BitOr<Output = Self>
    + BitXor<Output = Self>
    + Not<Output = Self>
    + Shl<u32, Output = Self>
    + Shr<u32, Output = Self>
{
    /// Bits of the operand.
    const BITS: u32;
    /// Zero.
    const ZERO: Self;
    /// One.
    const ONE: Self;

    /// The low bits of `value`.
    fn truncate(value: u64) -> Self;
    /// The value zero-extended to 64 bits.
    fn zero_extend(self) -> u64;
    /// The value sign-extended to 64 bits.
    fn sign_extend(self) -> u64;
    /// `self + other + carry`, with the carry out of the top bit.
    fn add_with_carry(self, other: Self, carry: bool) -> (Self, bool);
    /// `self - other - borrow`, with the borrow into the top bit.
    fn sub_with_borrow(self, other: Self, borrow: bool) -> (Self, bool);
    /// Whether adding these as signed numbers leaves the signed range.
    fn signed_add_overflows(self, other: Self) -> bool;
    /// Whether subtracting these as signed numbers leaves the signed range.
    fn signed_sub_overflows(self, other: Self) -> bool;
    /// The register content after a result of this width is written: 32-bit results zero the upper half, 8- and
    /// 16-bit results leave the other bits (SDM Vol. 1, 3.4.1.1).
    #[must_use]
    fn merge(self, register: u64) -> u64;
    /// Shift right that copies the sign.
    #[must_use]
    fn arithmetic_shift_right(self, count: u32) -> Self;

    /// The sign bit.
    #[inline(always)]
    fn is_negative(self) -> bool {
        self >> (Self::BITS - 1) != Self::ZERO
    }
}

macro_rules! width {
    ($($t:ty, $signed:ty, $merge:expr;)*) => {$(
        #[allow(clippy::cast_possible_truncation, reason = "truncation is the operand size at work")]
        #[allow(clippy::cast_sign_loss, clippy::cast_possible_wrap, reason = "bit patterns change their reading")]
        #[allow(clippy::unnecessary_cast, clippy::cast_lossless, reason = "written once for all sizes")]
        impl Width for $t {
            const BITS: u32 = <$t>::BITS;
            const ZERO: Self = 0;
            const ONE: Self = 1;
            #[inline(always)]
            fn truncate(value: u64) -> Self {
                value as $t
            }
            #[inline(always)]
            fn zero_extend(self) -> u64 {
                self as u64
            }
            #[inline(always)]
            fn sign_extend(self) -> u64 {
                self as $signed as i64 as u64
            }
            #[inline(always)]
            fn add_with_carry(self, other: Self, carry: bool) -> (Self, bool) {
                let (sum, first) = self.overflowing_add(other);
                let (sum, second) = sum.overflowing_add(carry as $t);
                (sum, first | second)
            }
            #[inline(always)]
            fn sub_with_borrow(self, other: Self, borrow: bool) -> (Self, bool) {
                let (difference, first) = self.overflowing_sub(other);
                let (difference, second) = difference.overflowing_sub(borrow as $t);
                (difference, first | second)
            }
            #[inline(always)]
            fn signed_add_overflows(self, other: Self) -> bool {
                (self as $signed).overflowing_add(other as $signed).1
            }
            #[inline(always)]
            fn signed_sub_overflows(self, other: Self) -> bool {
                (self as $signed).overflowing_sub(other as $signed).1
            }
            #[inline(always)]
            fn merge(self, register: u64) -> u64 {
                let merge: fn($t, u64) -> u64 = $merge;
                merge(self, register)
            }
            #[inline(always)]
            fn arithmetic_shift_right(self, count: u32) -> Self {
                ((self as $signed) >> count) as $t
            }
        }
    )*};
}
width! {
    u8, i8, |value, register| register & !0xff | u64::from(value);
    u16, i16, |value, register| register & !0xffff | u64::from(value);
    u32, i32, |value, _| u64::from(value);
    u64, i64, |value, _| value;
}
