//! Carry-less multiplication (SDM Vol. 1, 5.12; PCLMULQDQ in Vol. 2B).

use super::lanes::Lane;
use super::operations;

operations! {
    packed Pclmulqdq(a, b: u128, choice) => {
        let (a, b) = factors(a, b, choice);
        multiply(a, b)
    };
}

/// The halves of the operands that bits 0 and 4 of the immediate choose.
#[inline(always)]
pub(super) fn factors(a: u128, b: u128, choice: u8) -> (u64, u64) {
    let (a, b) = (u64::split(a), u64::split(b));
    (a[usize::from(choice & 1)], b[usize::from(choice >> 4 & 1)])
}

/// The product of two polynomials over the field of two elements.
fn multiply(a: u64, b: u64) -> u128 {
    let term = |i: u32| if b >> i & 1 == 0 { 0 } else { u128::from(a) << i };
    (0..64).fold(0, |product, i| product ^ term(i))
}
