//! IEEE 754 arithmetic in software, with the rules that are x86's own.
//!
//! Every operation computes an exact (or exactly sticky) intermediate value as integers and rounds it once, in
//! [`round`]. Tininess is detected after rounding with unbounded exponent, as SDM Vol. 1, 4.9.1.5 asks.

pub(crate) mod approximate;
pub(crate) mod arithmetic;
pub(crate) mod compare;
pub(crate) mod convert;
mod nan;
pub(crate) mod round;

use super::format::Format;
use super::mxcsr::Environment;
use super::operations::Operation;
use crate::cpu::Stopped;

/// `operation` on each pair of elements.
pub(crate) fn packed<F: Format>(
    a: u128,
    b: u128,
    environment: &mut Environment,
    operation: fn(u64, u64, &mut Environment) -> u64,
) -> u128 {
    (0..F::LANES).fold(0, |result, lane| {
        let element = operation(F::lane(a, lane), F::lane(b, lane), environment);
        F::with_lane(result, lane, element)
    })
}

/// `operation` on the lowest elements; the others come from `a`.
pub(crate) fn scalar<F: Format>(
    a: u128,
    b: u128,
    environment: &mut Environment,
    operation: fn(u64, u64, &mut Environment) -> u64,
) -> u128 {
    F::with_lane(a, 0, operation(F::lane(a, 0), F::lane(b, 0), environment))
}

/// An operation under the guest's control; its flags are in the guest's MXCSR afterwards.
///
/// # Errors
/// #XM.
pub(crate) fn exact<O: Operation>(mxcsr: &mut u32, a: u128, b: u128, immediate: u8) -> Result<u128, Stopped> {
    let mut environment = Environment::new(*mxcsr);
    let result = O::portable(a, b, immediate, &mut environment);
    environment.complete(mxcsr)?;
    Ok(result)
}
