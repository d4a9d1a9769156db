//! The host's own instructions (SDM Vol. 1, chapter 11), on x86-64 with SSE4.1.
#![allow(unsafe_code, reason = "the host's instructions are reached through inline assembly")]

use super::format::{Double, Format, Single};
use super::mxcsr::Mxcsr;
use super::operations::*;
use super::portable;
use crate::cpu::Stopped;
use core::arch::x86_64::__m128i;

/// An operation as an instruction of the host.
pub(crate) trait Native {
    /// The result under the host's MXCSR as it is; exception flags stay there.
    fn native(a: u128, b: u128, immediate: u8) -> u128;

    /// The result under `control`, which masks all exceptions, and the flags raised. The host's MXCSR is
    /// as before.
    fn native_under(a: u128, b: u128, immediate: u8, control: Masked) -> (u128, u32);
}

/// Control bits under which no instruction of the host raises an exception: all are masked, and no flag is set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Masked(u32);

impl Masked {
    const MASKS: u32 = 0x1f80;
    /// DAZ, RC and FTZ.
    const FREE: u32 = 0xe040;
    /// Round to nearest, no DAZ, no FTZ.
    pub(crate) const DEFAULT: Self = Self(Self::MASKS);

    /// DAZ, RC and FTZ of `mxcsr`.
    pub(crate) fn new(mxcsr: u32) -> Self {
        Self(mxcsr & Self::FREE | Self::MASKS)
    }
}

/// The exception flags in the host's MXCSR.
pub(crate) fn flags() -> u32 {
    mxcsr() & 0x3f
}

/// The host's MXCSR.
pub(crate) fn mxcsr() -> u32 {
    let mut value = 0_u32;
    // SAFETY: stores to a local variable of the right size.
    unsafe { core::arch::asm!("stmxcsr [{}]", in(reg) &raw mut value, options(nostack, preserves_flags)) };
    value
}

/// Replaces the host's MXCSR by `control`, without any exception flag.
pub(crate) fn set_mxcsr(control: Masked) {
    // SAFETY: loads from a local variable; a `Masked` has no reserved bit and no exception unmasked. The session that
    // calls this runs no floating-point code of Rust before it restores the control bits.
    unsafe { core::arch::asm!("ldmxcsr [{}]", in(reg) &raw const control.0, options(nostack, readonly)) };
}

/// Gives the host's MXCSR the value back that [`mxcsr`] returned.
pub(crate) fn restore_mxcsr(value: u32) {
    // SAFETY: loads from a local variable, a value that MXCSR has had.
    unsafe { core::arch::asm!("ldmxcsr [{}]", in(reg) &raw const value, options(nostack, readonly)) };
}

#[inline(always)]
fn vector(value: u128) -> __m128i {
    // SAFETY: both are 128 bits without invalid values.
    unsafe { core::mem::transmute(value) }
}

#[inline(always)]
fn integer(value: __m128i) -> u128 {
    // SAFETY: both are 128 bits without invalid values.
    unsafe { core::mem::transmute(value) }
}

#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "the operand is a general-purpose register")]
fn low(value: u128) -> u64 {
    value as u64
}

/// All ones in the elements that the low bits of `immediate` choose.
fn lanes<F: Format>(immediate: u8) -> u128 {
    let element = F::SIGN | (F::SIGN - 1);
    (0..F::LANES)
        .filter(|lane| immediate >> lane & 1 == 1)
        .fold(0, |mask, lane| F::with_lane(mask, lane, element))
}

/// An operation under the guest's control; its flags are in the guest's MXCSR afterwards.
///
/// The host has all exceptions masked. An unmasked underflow differs from a masked one (it needs no loss of
/// accuracy, and FTZ has no effect), so then the host runs with FTZ, which reports every tiny result. Whenever an
/// exception would be delivered, the portable twin computes which flags it leaves.
pub(super) fn exact<O: Operation>(mxcsr: &mut u32, a: u128, b: u128, immediate: u8) -> Result<u128, Stopped> {
    let guest = Mxcsr::from_bits_truncate(*mxcsr);
    let control = if guest.contains(Mxcsr::UM) { guest } else { guest | Mxcsr::FTZ };
    let (result, flags) = O::native_under(a, b, immediate, Masked::new(control.bits()));
    let raised = Mxcsr::from_bits_truncate(flags) & Mxcsr::FLAGS;
    if !guest.unmasked(raised).is_empty() {
        return portable::exact::<O>(mxcsr, a, b, immediate);
    }
    *mxcsr |= raised.bits();
    Ok(result)
}

/// Implements [`Native`] for a row of the table, by the shape of its operands.
///
/// All blocks of assembly are sound for the same reasons: the lines only read and write the registers named; under a
/// control they also read and write an array of two words; every exception is masked, so that nothing traps; the
/// control bits of MXCSR are the same afterwards, and its flags may change because `preserves_flags` is not promised.
macro_rules! native {
    // An XMM register is read and written, another one read.
    (xmm $name:ident $(<$parameter:ident>)? $text:literal) => {
        native! {
            @both $name $(<$parameter>)? (a, b, _immediate)
            { let mut result = vector(a); }
            [concat!($text, " {a}, {b}" $(, ", {", stringify!($parameter), "}")?)]
            { a = inout(xmm_reg) result, b = in(xmm_reg) vector(b), $($parameter = const $parameter,)? }
            integer(result)
        }
    };
    // A sum of products that an immediate chooses: +0 in place of the operands gives the +0 of a product that is not
    // chosen, and raises nothing, so that one immediate serves for all.
    (dot $name:ident $text:literal, $all:literal, $format:ty) => {
        native! {
            @both $name (a, b, immediate)
            {
                let (chosen, places) = (lanes::<$format>(immediate >> 4), lanes::<$format>(immediate));
                let mut result = vector(a & chosen);
            }
            [concat!($text, " {a}, {b}, ", $all)]
            { a = inout(xmm_reg) result, b = in(xmm_reg) vector(b & chosen), }
            integer(result) & places
        }
    };
    // A general-purpose register is read; `$register` is its size in the template.
    (from $name:ident $text:literal, $register:literal) => {
        native! {
            @both $name (a, b, _immediate)
            { let (mut result, b) = (vector(a), low(b)); }
            [concat!($text, " {a}, {b:", $register, "}")]
            { a = inout(xmm_reg) result, b = in(reg) b, }
            integer(result)
        }
    };
    // A general-purpose register is written.
    (to $name:ident $text:literal, $register:literal) => {
        native! {
            @both $name (_a, b, _immediate)
            { let result: u64; }
            [concat!($text, " {a:", $register, "}, {b}")]
            { a = out(reg) result, b = in(xmm_reg) vector(b), }
            u128::from(result)
        }
    };
    // ZF, PF and CF are written; LAHF puts them into AH where they stand in RFLAGS.
    (flags $name:ident $text:literal) => {
        native! {
            @both $name (a, b, _immediate)
            { let result: u64; }
            [concat!($text, " {a}, {b}"), "lahf"]
            { a = in(xmm_reg) vector(a), b = in(xmm_reg) vector(b), out("rax") result, }
            u128::from(result >> 8 & 0x45)
        }
    };
    (
        @both $name:ident $(<$parameter:ident>)? ($a:ident, $b:ident, $immediate:ident)
        { $($before:tt)* } [$($line:expr),*] { $($operands:tt)* } $result:expr
    ) => {
        impl$(<const $parameter: u8>)? Native for $name$(<$parameter>)? {
            #[inline(always)]
            fn native($a: u128, $b: u128, $immediate: u8) -> u128 {
                $($before)*
                // SAFETY: see `native`.
                unsafe { core::arch::asm!($($line,)* $($operands)* options(nomem, nostack)) };
                $result
            }

            fn native_under($a: u128, $b: u128, $immediate: u8, control: Masked) -> (u128, u32) {
                let mut mxcsr = [0, control.0];
                $($before)*
                // SAFETY: see `native`.
                unsafe {
                    core::arch::asm!(
                        "stmxcsr [{mxcsr}]",
                        "ldmxcsr [{mxcsr} + 4]",
                        $($line,)*
                        "stmxcsr [{mxcsr} + 4]",
                        "ldmxcsr [{mxcsr}]",
                        mxcsr = in(reg) mxcsr.as_mut_ptr(),
                        $($operands)*
                        options(nostack)
                    );
                }
                ($result, mxcsr[1])
            }
        }
    };
}

macro_rules! rows {
    ($(
        $name:ident $(<$parameter:ident>)?: $source:ty, $shape:ident $text:literal $(, $detail:tt)* => $portable:expr;
    )*) => {$(
        native! { $shape $name $(<$parameter>)? $text $(, $detail)* }
    )*};
}
table!(rows);
