//! The faults that name a selector (SDM Vol. 3A, 7.13).
//!
//! They are raised with EXT = 0; the delivery of an event that no program asked for sets it on their way out.

use super::selector::Selector;
use crate::cpu::{Stop, Stopped};
use crate::event::{Exception, Vector};

/// A fault with an error code of its own.
#[cold]
pub(crate) fn with_code(vector: Vector, code: u16) -> Stopped {
    Stop::Exception(Exception::with_code(vector, code)).into()
}

/// #GP for a selector.
#[cold]
pub(crate) fn general_protection(selector: Selector) -> Stopped {
    with_code(Vector::GeneralProtection, selector.error_code())
}

/// #NP for a selector.
#[cold]
pub(crate) fn not_present(selector: Selector) -> Stopped {
    with_code(Vector::SegmentNotPresent, selector.error_code())
}

/// #SS for a selector.
#[cold]
pub(crate) fn stack(selector: Selector) -> Stopped {
    with_code(Vector::StackFault, selector.error_code())
}

/// #TS for a selector.
#[cold]
pub(crate) fn invalid_tss(selector: Selector) -> Stopped {
    with_code(Vector::InvalidTss, selector.error_code())
}

/// #GP(0).
#[cold]
pub(crate) fn general_protection_0() -> Stopped {
    Stop::GENERAL_PROTECTION.into()
}

/// `Ok` if `condition` holds, else what `fault` makes of the selector.
pub(crate) fn require(
    condition: bool,
    fault: fn(Selector) -> Stopped,
    selector: Selector,
) -> Result<(), Stopped> {
    if condition { Ok(()) } else { Err(fault(selector)) }
}
