//! The table of operations: an instruction a row.
//!
//! A row gives the name, what the memory form of the source carries, the shape and the mnemonic for the host, and what
//! the portable twin computes from `a` (the destination before), `b` (the source), the immediate and the environment.

use super::format::{Double, Single};
#[cfg(all(target_arch = "x86_64", not(miri)))]
use super::host::Native;
use super::mxcsr::{Environment, Rounding};
use super::portable::approximate::{reciprocal, reciprocal_square_root};
use super::portable::arithmetic::*;
use super::portable::compare::*;
use super::portable::convert::*;
use super::portable::{packed, scalar};
use crate::width::Scalar;

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
mod no_host {
    /// There is no host twin.
    pub(crate) trait Native {}
    impl<T> Native for T {}
}
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
use no_host::Native;

/// What a floating-point instruction computes.
///
/// Operands and results travel in 128 bits: an XMM register, a general-purpose register, or for comparisons into
/// RFLAGS the status flags.
pub(crate) trait Operation: Native {
    /// What the memory form of the source carries.
    type Source: Scalar;

    /// The result, computed with integers.
    fn portable(a: u128, b: u128, immediate: u8, environment: &mut Environment) -> u128;
}

/// Hands the rows to the macro `$expand`: what the instructions mean, and in `host` what they are called there.
macro_rules! table {
    ($expand:ident) => { $expand! {
            Addps: u128, xmm "addps" => |a, b, _, e| packed::<Single>(a, b, e, add::<Single>);
            Addpd: u128, xmm "addpd" => |a, b, _, e| packed::<Double>(a, b, e, add::<Double>);
            Addss: u32, xmm "addss" => |a, b, _, e| scalar::<Single>(a, b, e, add::<Single>);
            Addsd: u64, xmm "addsd" => |a, b, _, e| scalar::<Double>(a, b, e, add::<Double>);
            Subps: u128, xmm "subps" => |a, b, _, e| packed::<Single>(a, b, e, subtract::<Single>);
            Subpd: u128, xmm "subpd" => |a, b, _, e| packed::<Double>(a, b, e, subtract::<Double>);
            Subss: u32, xmm "subss" => |a, b, _, e| scalar::<Single>(a, b, e, subtract::<Single>);
            Subsd: u64, xmm "subsd" => |a, b, _, e| scalar::<Double>(a, b, e, subtract::<Double>);
            Mulps: u128, xmm "mulps" => |a, b, _, e| packed::<Single>(a, b, e, multiply::<Single>);
            Mulpd: u128, xmm "mulpd" => |a, b, _, e| packed::<Double>(a, b, e, multiply::<Double>);
            Mulss: u32, xmm "mulss" => |a, b, _, e| scalar::<Single>(a, b, e, multiply::<Single>);
            Mulsd: u64, xmm "mulsd" => |a, b, _, e| scalar::<Double>(a, b, e, multiply::<Double>);
            Divps: u128, xmm "divps" => |a, b, _, e| packed::<Single>(a, b, e, divide::<Single>);
            Divpd: u128, xmm "divpd" => |a, b, _, e| packed::<Double>(a, b, e, divide::<Double>);
            Divss: u32, xmm "divss" => |a, b, _, e| scalar::<Single>(a, b, e, divide::<Single>);
            Divsd: u64, xmm "divsd" => |a, b, _, e| scalar::<Double>(a, b, e, divide::<Double>);
            Sqrtps: u128, xmm "sqrtps" => |a, b, _, e| packed::<Single>(a, b, e, square_root::<Single>);
            Sqrtpd: u128, xmm "sqrtpd" => |a, b, _, e| packed::<Double>(a, b, e, square_root::<Double>);
            Sqrtss: u32, xmm "sqrtss" => |a, b, _, e| scalar::<Single>(a, b, e, square_root::<Single>);
            Sqrtsd: u64, xmm "sqrtsd" => |a, b, _, e| scalar::<Double>(a, b, e, square_root::<Double>);
            Minps: u128, xmm "minps" => |a, b, _, e| packed::<Single>(a, b, e, minimum::<Single>);
            Minpd: u128, xmm "minpd" => |a, b, _, e| packed::<Double>(a, b, e, minimum::<Double>);
            Minss: u32, xmm "minss" => |a, b, _, e| scalar::<Single>(a, b, e, minimum::<Single>);
            Minsd: u64, xmm "minsd" => |a, b, _, e| scalar::<Double>(a, b, e, minimum::<Double>);
            Maxps: u128, xmm "maxps" => |a, b, _, e| packed::<Single>(a, b, e, maximum::<Single>);
            Maxpd: u128, xmm "maxpd" => |a, b, _, e| packed::<Double>(a, b, e, maximum::<Double>);
            Maxss: u32, xmm "maxss" => |a, b, _, e| scalar::<Single>(a, b, e, maximum::<Single>);
            Maxsd: u64, xmm "maxsd" => |a, b, _, e| scalar::<Double>(a, b, e, maximum::<Double>);
            Rcpps: u128, xmm "rcpps" => |a, b, _, e| packed::<Single>(a, b, e, reciprocal);
            Rcpss: u32, xmm "rcpss" => |a, b, _, e| scalar::<Single>(a, b, e, reciprocal);
            Rsqrtps: u128, xmm "rsqrtps" => |a, b, _, e| packed::<Single>(a, b, e, reciprocal_square_root);
            Rsqrtss: u32, xmm "rsqrtss" => |a, b, _, e| scalar::<Single>(a, b, e, reciprocal_square_root);
            Cmpps<PREDICATE>: u128, xmm "cmpps" => |a, b, _, e| packed::<Single>(a, b, e, compare::<Single, PREDICATE>);
            Cmppd<PREDICATE>: u128, xmm "cmppd" => |a, b, _, e| packed::<Double>(a, b, e, compare::<Double, PREDICATE>);
            Cmpss<PREDICATE>: u32, xmm "cmpss" => |a, b, _, e| scalar::<Single>(a, b, e, compare::<Single, PREDICATE>);
            Cmpsd<PREDICATE>: u64, xmm "cmpsd" => |a, b, _, e| scalar::<Double>(a, b, e, compare::<Double, PREDICATE>);
            Roundps<CONTROL>: u128, xmm "roundps" => |a, b, _, e| packed::<Single>(a, b, e, round_to_integral::<Single, CONTROL>);
            Roundpd<CONTROL>: u128, xmm "roundpd" => |a, b, _, e| packed::<Double>(a, b, e, round_to_integral::<Double, CONTROL>);
            Roundss<CONTROL>: u32, xmm "roundss" => |a, b, _, e| scalar::<Single>(a, b, e, round_to_integral::<Single, CONTROL>);
            Roundsd<CONTROL>: u64, xmm "roundsd" => |a, b, _, e| scalar::<Double>(a, b, e, round_to_integral::<Double, CONTROL>);
            Comiss: u32, flags "comiss" => |a, b, _, e| ordered::<Single>(a, b, e);
            Comisd: u64, flags "comisd" => |a, b, _, e| ordered::<Double>(a, b, e);
            Ucomiss: u32, flags "ucomiss" => |a, b, _, e| unordered::<Single>(a, b, e);
            Ucomisd: u64, flags "ucomisd" => |a, b, _, e| unordered::<Double>(a, b, e);
            Haddps: u128, xmm "haddps" => |a, b, _, e| horizontal::<Single>(a, b, e, add::<Single>);
            Haddpd: u128, xmm "haddpd" => |a, b, _, e| horizontal::<Double>(a, b, e, add::<Double>);
            Hsubps: u128, xmm "hsubps" => |a, b, _, e| horizontal::<Single>(a, b, e, subtract::<Single>);
            Hsubpd: u128, xmm "hsubpd" => |a, b, _, e| horizontal::<Double>(a, b, e, subtract::<Double>);
            Addsubps: u128, xmm "addsubps" => |a, b, _, e| add_subtract::<Single>(a, b, e);
            Addsubpd: u128, xmm "addsubpd" => |a, b, _, e| add_subtract::<Double>(a, b, e);
            Dpps: u128, dot "dpps", "0xff", Single => |a, b, i, e| dot_product_single(a, b, i, e);
            Dppd: u128, dot "dppd", "0x33", Double => |a, b, i, e| dot_product_double(a, b, i, e);
            Cvtdq2ps: u128, xmm "cvtdq2ps" => |_, b, _, e| integers_to_singles(b, e);
            Cvtdq2pd: u64, xmm "cvtdq2pd" => |_, b, _, e| integers_to_doubles(b, e);
            Cvtps2dq: u128, xmm "cvtps2dq" => |_, b, _, e| singles_to_integers(b, e.control().rounding(), e);
            Cvtpd2dq: u128, xmm "cvtpd2dq" => |_, b, _, e| doubles_to_integers(b, e.control().rounding(), e);
            Cvttps2dq: u128, xmm "cvttps2dq" => |_, b, _, e| singles_to_integers(b, Rounding::Zero, e);
            Cvttpd2dq: u128, xmm "cvttpd2dq" => |_, b, _, e| doubles_to_integers(b, Rounding::Zero, e);
            Cvtps2pd: u64, xmm "cvtps2pd" => |_, b, _, e| singles_to_doubles(b, e);
            Cvtpd2ps: u128, xmm "cvtpd2ps" => |_, b, _, e| doubles_to_singles(b, e);
            Cvtss2sd: u32, xmm "cvtss2sd" => |a, b, _, e| scalar_format::<Single, Double>(a, b, e);
            Cvtsd2ss: u64, xmm "cvtsd2ss" => |a, b, _, e| scalar_format::<Double, Single>(a, b, e);
            Cvtsi32ss: u32, from "cvtsi2ss", "e" => |a, b, _, e| scalar_from_integer::<Single, Doubleword>(a, b, e);
            Cvtsi64ss: u64, from "cvtsi2ss", "r" => |a, b, _, e| scalar_from_integer::<Single, Quadword>(a, b, e);
            Cvtsi32sd: u32, from "cvtsi2sd", "e" => |a, b, _, e| scalar_from_integer::<Double, Doubleword>(a, b, e);
            Cvtsi64sd: u64, from "cvtsi2sd", "r" => |a, b, _, e| scalar_from_integer::<Double, Quadword>(a, b, e);
            Cvtss32: u32, to "cvtss2si", "e" => |_, b, _, e| scalar_to_integer::<Single, Doubleword>(b, e.control().rounding(), e);
            Cvtss64: u32, to "cvtss2si", "r" => |_, b, _, e| scalar_to_integer::<Single, Quadword>(b, e.control().rounding(), e);
            Cvttss32: u32, to "cvttss2si", "e" => |_, b, _, e| scalar_to_integer::<Single, Doubleword>(b, Rounding::Zero, e);
            Cvttss64: u32, to "cvttss2si", "r" => |_, b, _, e| scalar_to_integer::<Single, Quadword>(b, Rounding::Zero, e);
            Cvtsd32: u64, to "cvtsd2si", "e" => |_, b, _, e| scalar_to_integer::<Double, Doubleword>(b, e.control().rounding(), e);
            Cvtsd64: u64, to "cvtsd2si", "r" => |_, b, _, e| scalar_to_integer::<Double, Quadword>(b, e.control().rounding(), e);
            Cvttsd32: u64, to "cvttsd2si", "e" => |_, b, _, e| scalar_to_integer::<Double, Doubleword>(b, Rounding::Zero, e);
            Cvttsd64: u64, to "cvttsd2si", "r" => |_, b, _, e| scalar_to_integer::<Double, Quadword>(b, Rounding::Zero, e);
    } };
}
#[cfg(any(test, all(target_arch = "x86_64", not(miri))))]
pub(super) use table;

macro_rules! meanings {
    ($(
        $name:ident $(<$parameter:ident>)?: $source:ty, $shape:ident $text:literal $(, $detail:tt)* => $portable:expr;
    )*) => {$(
        pub(crate) struct $name$(<const $parameter: u8>)?;

        impl$(<const $parameter: u8>)? Operation for $name$(<$parameter>)? {
            type Source = $source;

            fn portable(a: u128, b: u128, immediate: u8, environment: &mut Environment) -> u128 {
                let compute: fn(u128, u128, u8, &mut Environment) -> u128 = $portable;
                compute(a, b, immediate, environment)
            }
        }
    )*};
}
table!(meanings);
