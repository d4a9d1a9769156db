//! MIN MAX CMPcc COMIS UCOMIS (SDM Vol. 1, 11.4.1.2 and 11.4.1.4).

use super::nan::signal_if_signaling;
use crate::flags::Rflags;
use crate::float::format::{Format, is_denormal, is_nan, is_negative, operand};
use crate::float::mxcsr::{Environment, Mxcsr};
use core::cmp::Ordering;

/// Which NaNs a comparison refuses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Signals {
    /// SNaN only.
    Signaling,
    /// Any NaN.
    Any,
}

/// How two operands compare, `None` when unordered; with the exceptions of the comparison.
fn order<F: Format>(a: u64, b: u64, signals: Signals, environment: &mut Environment) -> Option<Ordering> {
    if is_nan::<F>(a) || is_nan::<F>(b) {
        match signals {
            Signals::Any => environment.raise(Mxcsr::IE),
            Signals::Signaling => signal_if_signaling::<F>(a, b, environment),
        }
        return None;
    }
    if is_denormal::<F>(a) || is_denormal::<F>(b) {
        environment.raise(Mxcsr::DE);
    }
    Some(rank::<F>(a).cmp(&rank::<F>(b)))
}

/// Numbers in order as integers; both zeros are equal.
fn rank<F: Format>(bits: u64) -> i64 {
    let magnitude = (bits & !F::SIGN).cast_signed();
    if is_negative::<F>(bits) { -magnitude } else { magnitude }
}

/// MIN: the first operand if it is less, otherwise (equal, or a NaN) the second.
pub(crate) fn minimum<F: Format>(a: u64, b: u64, environment: &mut Environment) -> u64 {
    select::<F>(a, b, Ordering::Less, environment)
}

/// MAX: the first operand if it is greater, otherwise (equal, or a NaN) the second.
pub(crate) fn maximum<F: Format>(a: u64, b: u64, environment: &mut Environment) -> u64 {
    select::<F>(a, b, Ordering::Greater, environment)
}

fn select<F: Format>(a: u64, b: u64, wanted: Ordering, environment: &mut Environment) -> u64 {
    let (a, b) = (operand::<F>(a, environment), operand::<F>(b, environment));
    if order::<F>(a, b, Signals::Any, environment) == Some(wanted) { a } else { b }
}

/// CMPcc with one of the eight predicates (SDM Vol. 2A, CMPPD): all ones or all zeros.
pub(crate) fn compare<F: Format, const PREDICATE: u8>(a: u64, b: u64, environment: &mut Environment) -> u64 {
    let (a, b) = (operand::<F>(a, environment), operand::<F>(b, environment));
    // EQ, UNORD and their complements are quiet, LT and LE are not.
    let signals = if matches!(PREDICATE & 3, 1 | 2) { Signals::Any } else { Signals::Signaling };
    let order = order::<F>(a, b, signals, environment);
    let holds = match PREDICATE & 3 {
        0 => order == Some(Ordering::Equal),
        1 => order == Some(Ordering::Less),
        2 => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        _ => order.is_none(),
    };
    let negated = PREDICATE & 4 != 0;
    if holds == negated { 0 } else { F::SIGN | (F::SIGN - 1) }
}

/// COMISS COMISD: the status flags; any NaN is invalid.
pub(crate) fn ordered<F: Format>(a: u128, b: u128, environment: &mut Environment) -> u128 {
    status_flags::<F>(a, b, Signals::Any, environment)
}

/// UCOMISS UCOMISD: the status flags; an SNaN is invalid.
pub(crate) fn unordered<F: Format>(a: u128, b: u128, environment: &mut Environment) -> u128 {
    status_flags::<F>(a, b, Signals::Signaling, environment)
}

fn status_flags<F: Format>(a: u128, b: u128, signals: Signals, environment: &mut Environment) -> u128 {
    let (a, b) = (operand::<F>(F::lane(a, 0), environment), operand::<F>(F::lane(b, 0), environment));
    let flags = match order::<F>(a, b, signals, environment) {
        None => Rflags::ZF | Rflags::PF | Rflags::CF,
        Some(Ordering::Greater) => Rflags::empty(),
        Some(Ordering::Less) => Rflags::CF,
        Some(Ordering::Equal) => Rflags::ZF,
    };
    u128::from(flags.bits())
}
