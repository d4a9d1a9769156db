//! The twins against each other, over all operations and all controls.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::format::{Class, Format, Single, class, is_denormal};
use super::mxcsr::{Environment, Mxcsr};
use super::operations::*;
use super::portable;
use crate::cpu::Stop;
use proptest::prelude::*;

/// Cases of a property: `VMXSIM_CASES`, or the number for every day.
fn cases() -> ProptestConfig {
    let cases = std::env::var("VMXSIM_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(256);
    ProptestConfig::with_cases(cases)
}

/// Result (or exception) and MXCSR after an operation.
type Outcome = (Result<u128, Stop>, u32);
type Run = fn(u32, u128, u128, u8) -> Outcome;

fn in_software<O: Operation>(mxcsr: u32, a: u128, b: u128, immediate: u8) -> Outcome {
    let mut after = mxcsr;
    let result = portable::exact::<O>(&mut after, a, b, immediate).map_err(|stop| *stop);
    (result, after)
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
fn on_host<O: Operation>(mxcsr: u32, a: u128, b: u128, immediate: u8) -> Outcome {
    let mut after = mxcsr;
    let result = super::host::exact::<O>(&mut after, a, b, immediate).map_err(|stop| *stop);
    (result, after)
}

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
fn on_host<O: Operation>(mxcsr: u32, a: u128, b: u128, immediate: u8) -> Outcome {
    in_software::<O>(mxcsr, a, b, immediate)
}

/// An operation by name, and its twins.
struct Twins {
    name: String,
    portable: Run,
    host: Run,
}

macro_rules! twins {
    (@one $all:ident, $name:ident) => {
        $all.push(Twins {
            name: stringify!($name).into(),
            portable: in_software::<$name>,
            host: on_host::<$name>,
        });
    };
    (@one $all:ident, $name:ident $parameter:ident) => {
        twins!(@each $all, $name: 0 1 2 3 4 5 6 7);
        if stringify!($parameter) == "CONTROL" {
            twins!(@each $all, $name: 8 9 10 11 12 13 14 15);
        }
    };
    (@each $all:ident, $name:ident: $($value:literal)*) => {$(
        $all.push(Twins {
            name: format!("{}<{}>", stringify!($name), $value),
            portable: in_software::<$name<$value>>,
            host: on_host::<$name<$value>>,
        });
    )*};
    ($(
        $name:ident $(<$parameter:ident>)?: $source:ty, $shape:ident $text:literal $(, $detail:tt)* => $portable:expr;
    )*) => {
        /// All operations whose result the manual defines.
        fn all() -> Vec<Twins> {
            let mut all = Vec::new();
            $(twins!(@one all, $name $($parameter)?);)*
            all.retain(|twins| !twins.name.starts_with('R') || twins.name.starts_with("Round"));
            all
        }
    };
}
table!(twins);

/// Numbers of which rules speak, and their neighbours.
fn special(bits: u32, fraction: u32) -> impl Strategy<Value = u64> {
    let all = u64::MAX >> (64 - bits);
    let infinity = all >> 1 & !((1 << fraction) - 1);
    let one = infinity >> 1 & infinity;
    let values = vec![
        0,
        1,
        2,
        (1 << fraction) - 1,
        1 << fraction,
        1 << (fraction - 1),
        one,
        one - (1 << fraction),
        one + (1 << fraction),
        one + (u64::from(fraction) << fraction),
        one + (31 << fraction),
        one + (63 << fraction),
        one / 2,
        one / 2 + infinity / 2,
        infinity - 1,
        infinity,
        infinity | 1,
        infinity | 1 << (fraction - 1),
        infinity | 1 << (fraction - 2),
        infinity | 0x15_5555 << (fraction - 22),
    ];
    (prop::sample::select(values), -2_i64..=2, any::<bool>()).prop_map(move |(value, near, minus)| {
        let value = value.wrapping_add_signed(if near.abs() == 2 { 0 } else { near }) & all >> 1;
        value | u64::from(minus) << (bits - 1)
    })
}

/// Numbers of moderate size with few ones, whose sums and products are halfway cases.
fn short(bits: u32, fraction: u32) -> impl Strategy<Value = u64> {
    let middle = (1_i64 << (bits - fraction - 2)) - 1;
    (any::<u64>(), 0..fraction, -66_i64..66, any::<bool>()).prop_map(move |(ones, low, exponent, minus)| {
        let significand = ones & ((1 << fraction) - 1) >> low << low;
        let field = (middle + exponent.clamp(2 - middle, middle - 2)).cast_unsigned();
        significand | field << fraction | u64::from(minus) << (bits - 1)
    })
}

fn single() -> BoxedStrategy<u64> {
    let random = any::<u32>().prop_map(u64::from);
    prop_oneof![special(32, 23), short(32, 23), random].boxed()
}

fn double() -> BoxedStrategy<u64> {
    prop_oneof![special(64, 52), short(64, 52), any::<u64>()].boxed()
}

/// A register of numbers of either format, or of small integers.
fn register() -> impl Strategy<Value = u128> {
    let singles = prop::array::uniform4(single())
        .prop_map(|lanes| lanes.iter().rev().fold(0, |all, &lane| all << 32 | u128::from(lane)));
    let doubles = prop::array::uniform2(double())
        .prop_map(|lanes| lanes.iter().rev().fold(0, |all, &lane| all << 64 | u128::from(lane)));
    prop_oneof![singles, doubles]
}

/// Any MXCSR without reserved bits; often with all exceptions masked, otherwise results are rare.
fn mxcsr() -> impl Strategy<Value = u32> {
    prop_oneof![
        any::<u16>().prop_map(u32::from),
        any::<u16>().prop_map(|bits| u32::from(bits) | 0x1f80),
        (any::<u16>(), 7_u32..13).prop_map(|(bits, mask)| (u32::from(bits) | 0x1f80) & !(1_u32 << mask)),
        Just(0x1f80),
    ]
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn the_twins_agree_on_results_flags_and_exceptions(
        mxcsr in mxcsr(), a in register(), b in register(), immediate: u8,
    ) {
        for twins in all() {
            let portable = (twins.portable)(mxcsr, a, b, immediate);
            let host = (twins.host)(mxcsr, a, b, immediate);
            prop_assert_eq!(
                &portable, &host,
                "{} mxcsr {:#x} a {:#034x} b {:#034x} immediate {:#x}: {:x?} and {:x?}",
                twins.name, mxcsr, a, b, immediate, &portable, &host
            );
        }
    }

    #[test]
    fn approximations_are_as_good_as_the_manual_asks(bits in single()) {
        let value = f64::from(f32::from_bits(u32::try_from(bits).unwrap()));
        let normal = class::<Single>(bits) == Class::Finite && !is_denormal::<Single>(bits);
        for run in [in_software::<Rcpss>, on_host::<Rcpss>] {
            check(run, bits, normal.then_some(1.0 / value));
        }
        for run in [in_software::<Rsqrtss>, on_host::<Rsqrtss>] {
            check(run, bits, (normal && value > 0.0).then_some(1.0 / value.sqrt()));
        }
    }
}

/// An approximation has the exact value within 1.5 * 2^-12, raises nothing, and special operands give the same
/// in both twins.
fn check(run: Run, bits: u64, exact: Option<f64>) {
    let (result, after) = run(0, 0, u128::from(bits), 0);
    assert_eq!(after, 0);
    let result = f32::from_bits(u32::try_from(result.unwrap()).unwrap());
    if let Some(exact) = exact {
        let tiny = exact.abs() < f64::from(f32::MIN_POSITIVE) * 1.001;
        let close = ((f64::from(result) - exact) / exact).abs() <= 1.5 / 4096.0;
        assert!(close || (tiny && result == 0.0), "{bits:#x}: {result} for {exact}");
    }
}

#[test]
fn approximations_of_special_operands_are_the_same_everywhere() {
    for bits in [0, 1 << 31, 1, 0x8000_0001, 0x7f80_0000, 0xff80_0000, 0x7f80_0001, 0xffc0_1234, 0x7f_ffff] {
        assert_eq!(in_software::<Rcpss>(0, 0, bits, 0), on_host::<Rcpss>(0, 0, bits, 0), "{bits:#x}");
        assert_eq!(in_software::<Rsqrtss>(0, 0, bits, 0), on_host::<Rsqrtss>(0, 0, bits, 0), "{bits:#x}");
    }
    assert_eq!(in_software::<Rsqrtss>(0, 0, 0xbf80_0000, 0), on_host::<Rsqrtss>(0, 0, 0xbf80_0000, 0));
}

#[test]
fn an_unmasked_exception_before_the_computation_hides_those_after_it() {
    let mut environment = Environment::new(Mxcsr::DEFAULT.bits() & !Mxcsr::DM.bits());
    environment.raise(Mxcsr::DE | Mxcsr::UE | Mxcsr::PE);
    let mut mxcsr = 0;
    assert!(environment.complete(&mut mxcsr).is_err());
    assert_eq!(mxcsr, Mxcsr::DE.bits());
}

#[test]
fn formats_have_the_constants_of_the_manual() {
    assert_eq!((Single::SMALLEST_EXPONENT, Single::LARGEST_EXPONENT), (-126, 127));
    assert_eq!((Single::INFINITY, Single::INDEFINITE), (0x7f80_0000, 0xffc0_0000));
    assert_eq!(super::format::Double::SMALLEST_EXPONENT, -1022);
    assert_eq!(super::format::Double::INDEFINITE, 0xfff8_0000_0000_0000);
}
