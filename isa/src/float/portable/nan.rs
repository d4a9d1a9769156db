//! NaN operands (SDM Vol. 1, table 4-7).

use crate::float::format::{Class, Format, class, is_nan};
use crate::float::mxcsr::{Environment, Mxcsr};

/// The result when an operand is a NaN: the first operand if it is one, otherwise the second, made quiet. An SNaN
/// raises the invalid-operation exception.
pub(crate) fn propagate<F: Format>(a: u64, b: u64, environment: &mut Environment) -> Option<u64> {
    signal_if_signaling::<F>(a, b, environment);
    [a, b].into_iter().find(|&operand| is_nan::<F>(operand)).map(|nan| nan | F::QUIET)
}

/// Raises the invalid-operation exception for an SNaN.
pub(crate) fn signal_if_signaling<F: Format>(a: u64, b: u64, environment: &mut Environment) {
    if class::<F>(a) == Class::SignalingNan || class::<F>(b) == Class::SignalingNan {
        environment.raise(Mxcsr::IE);
    }
}

/// The result of an invalid operation on numbers.
pub(crate) fn invalid<F: Format>(environment: &mut Environment) -> u64 {
    environment.raise(Mxcsr::IE);
    F::INDEFINITE
}
