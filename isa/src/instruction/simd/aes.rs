//! AES rounds (SDM Vol. 1, 5.12; FIPS 197). Byte `4 * column + row` of a register is an element of the
//! AES state.

use super::lanes::{Lane, from_lanes};
use super::operations;

operations! {
    packed Aesenc(state, key: u128, _) => {
        mix_columns(substitute(shift_rows(state), &SUBSTITUTION), [2, 3, 1, 1]) ^ key
    };
    packed Aesenclast(state, key: u128, _) => substitute(shift_rows(state), &SUBSTITUTION) ^ key;
    packed Aesdec(state, key: u128, _) => inverse_mix(substitute(inverse_shift_rows(state), &INVERSE)) ^ key;
    packed Aesdeclast(state, key: u128, _) => substitute(inverse_shift_rows(state), &INVERSE) ^ key;
    packed Aesimc(_, key: u128, _) => inverse_mix(key);
    packed Aeskeygenassist(_, key: u128, constant) => {
        let words = u32::split(substitute(key, &SUBSTITUTION));
        let rotated = |i: usize| words[i].rotate_right(8) ^ u32::from(constant);
        from_lanes(|i| if i % 2 == 0 { words[i | 1] } else { rotated(i) })
    };
}

/// The product of two elements of the field of 256 elements, modulo x^8 + x^4 + x^3 + x + 1 (FIPS 197, 4.2).
const fn product(mut a: u8, mut b: u8) -> u8 {
    let mut sum = 0;
    while b != 0 {
        if b & 1 != 0 {
            sum ^= a;
        }
        a = a << 1 ^ if a & 0x80 != 0 { 0x1b } else { 0 };
        b >>= 1;
    }
    sum
}

/// The affine map of the substitution box (FIPS 197, 5.1.1).
const fn affine(a: u8) -> u8 {
    a ^ a.rotate_left(1) ^ a.rotate_left(2) ^ a.rotate_left(3) ^ a.rotate_left(4) ^ 0x63
}

/// SubBytes: the inverse in the field, then the affine map. The powers of 3 run through all elements but 0, and
/// those of its inverse F6H through their inverses.
const SUBSTITUTION: [u8; 256] = {
    let mut table = [0x63; 256];
    let (mut element, mut inverse) = (1_u8, 1_u8);
    let mut step = 0;
    while step < 255 {
        table[element as usize] = affine(inverse);
        element = product(element, 3);
        inverse = product(inverse, 0xf6);
        step += 1;
    }
    table
};

/// InvSubBytes.
const INVERSE: [u8; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        table[SUBSTITUTION[i] as usize] = i as u8;
        i += 1;
    }
    table
};

fn substitute(state: u128, table: &[u8; 256]) -> u128 {
    let state = u8::split(state);
    from_lanes(|i| table[usize::from(state[i])])
}

/// Row `r` moves `r` columns to the left.
#[inline(always)]
fn shift_rows(state: u128) -> u128 {
    let state = u8::split(state);
    from_lanes(|i| state[(i + 4 * (i % 4)) % 16])
}

/// Row `r` moves `r` columns to the right.
#[inline(always)]
fn inverse_shift_rows(state: u128) -> u128 {
    let state = u8::split(state);
    from_lanes(|i| state[(i + 12 * (i % 4)) % 16])
}

/// Each column multiplied by the polynomial whose coefficients for the row itself and the three below are given.
#[inline(always)]
fn mix_columns(state: u128, coefficients: [u8; 4]) -> u128 {
    let state = u8::split(state);
    let term = |i: usize, below: usize| product(state[i & !3 | (i + below) & 3], coefficients[below]);
    from_lanes(|i| term(i, 0) ^ term(i, 1) ^ term(i, 2) ^ term(i, 3))
}

#[inline(always)]
fn inverse_mix(state: u128) -> u128 {
    mix_columns(state, [14, 11, 13, 9])
}
