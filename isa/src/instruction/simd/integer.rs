//! Packed integer arithmetic, comparison and logic (SDM Vol. 1, 5.4, 5.5.4, 5.6.3, 5.8, 5.10 and 5.11).

use super::lanes::{Lane, from_lanes, map, zip};
use super::operations;

operations! {
    // Logic: the same bits whatever the lanes are called.
    frequent Pand(a, b: u128, _) => a & b;
    frequent Pandn(a, b: u128, _) => !a & b;
    frequent Por(a, b: u128, _) => a | b;
    frequent Pxor(a, b: u128, _) => a ^ b;
    frequent Andps(a, b: u128, _) => a & b;
    frequent Andnps(a, b: u128, _) => !a & b;
    frequent Orps(a, b: u128, _) => a | b;
    frequent Xorps(a, b: u128, _) => a ^ b;
    frequent Andpd(a, b: u128, _) => a & b;
    frequent Andnpd(a, b: u128, _) => !a & b;
    frequent Orpd(a, b: u128, _) => a | b;
    frequent Xorpd(a, b: u128, _) => a ^ b;

    frequent Paddb(a, b: u128, _) => zip(a, b, u8::wrapping_add);
    frequent Paddw(a, b: u128, _) => zip(a, b, u16::wrapping_add);
    frequent Paddd(a, b: u128, _) => zip(a, b, u32::wrapping_add);
    frequent Paddq(a, b: u128, _) => zip(a, b, u64::wrapping_add);
    packed Paddsb(a, b: u128, _) => zip(a, b, i8::saturating_add);
    packed Paddsw(a, b: u128, _) => zip(a, b, i16::saturating_add);
    packed Paddusb(a, b: u128, _) => zip(a, b, u8::saturating_add);
    packed Paddusw(a, b: u128, _) => zip(a, b, u16::saturating_add);
    frequent Psubb(a, b: u128, _) => zip(a, b, u8::wrapping_sub);
    frequent Psubw(a, b: u128, _) => zip(a, b, u16::wrapping_sub);
    frequent Psubd(a, b: u128, _) => zip(a, b, u32::wrapping_sub);
    frequent Psubq(a, b: u128, _) => zip(a, b, u64::wrapping_sub);
    packed Psubsb(a, b: u128, _) => zip(a, b, i8::saturating_sub);
    packed Psubsw(a, b: u128, _) => zip(a, b, i16::saturating_sub);
    packed Psubusb(a, b: u128, _) => zip(a, b, u8::saturating_sub);
    packed Psubusw(a, b: u128, _) => zip(a, b, u16::saturating_sub);

    frequent Pmullw(a, b: u128, _) => zip(a, b, u16::wrapping_mul);
    frequent Pmulld(a, b: u128, _) => zip(a, b, u32::wrapping_mul);
    packed Pmulhw(a, b: u128, _) => zip(a, b, |a: i16, b| high16(i32::from(a) * i32::from(b)));
    packed Pmulhuw(a, b: u128, _) => zip(a, b, |a: u16, b| unsigned_high16(u32::from(a) * u32::from(b)));
    packed Pmulhrsw(a, b: u128, _) => zip(a, b, |a: i16, b| {
        high16((((i32::from(a) * i32::from(b)) >> 14) + 1) << 15)
    });
    frequent Pmuludq(a, b: u128, _) => zip(a, b, |a: u64, b| (a & LOW_32) * (b & LOW_32));
    packed Pmuldq(a, b: u128, _) => zip(a, b, |a: i64, b| signed_low32(a) * signed_low32(b));
    packed Pmaddwd(a, b: u128, _) => {
        let (a, b) = (i16::split(a), i16::split(b));
        // Only (-32768)^2 + (-32768)^2 leaves 32 bits.
        pairs(|i| i32::from(a[i]) * i32::from(b[i]), i32::wrapping_add)
    };
    packed Pmaddubsw(a, b: u128, _) => {
        let (a, b) = (u8::split(a), i8::split(b));
        pairs(|i| i16::from(a[i]).wrapping_mul(i16::from(b[i])), i16::saturating_add)
    };
    packed Pavgb(a, b: u128, _) => zip(a, b, average8);
    packed Pavgw(a, b: u128, _) => zip(a, b, average16);
    packed Psadbw(a, b: u128, _) => {
        let (a, b) = (u8::split(a), u8::split(b));
        from_lanes(|i| (8 * i..8 * i + 8).map(|j| u64::from(a[j].abs_diff(b[j]))).sum::<u64>())
    };
    packed Mpsadbw(a, b: u128, immediate) => sums_of_differences(a, b, immediate);

    frequent Pminub(a, b: u128, _) => zip(a, b, u8::min);
    packed Pminuw(a, b: u128, _) => zip(a, b, u16::min);
    packed Pminud(a, b: u128, _) => zip(a, b, u32::min);
    packed Pminsb(a, b: u128, _) => zip(a, b, i8::min);
    packed Pminsw(a, b: u128, _) => zip(a, b, i16::min);
    packed Pminsd(a, b: u128, _) => zip(a, b, i32::min);
    packed Pmaxub(a, b: u128, _) => zip(a, b, u8::max);
    packed Pmaxuw(a, b: u128, _) => zip(a, b, u16::max);
    packed Pmaxud(a, b: u128, _) => zip(a, b, u32::max);
    packed Pmaxsb(a, b: u128, _) => zip(a, b, i8::max);
    packed Pmaxsw(a, b: u128, _) => zip(a, b, i16::max);
    packed Pmaxsd(a, b: u128, _) => zip(a, b, i32::max);

    frequent Pcmpeqb(a, b: u128, _) => zip(a, b, |a: i8, b| -i8::from(a == b));
    packed Pcmpeqw(a, b: u128, _) => zip(a, b, |a: i16, b| -i16::from(a == b));
    frequent Pcmpeqd(a, b: u128, _) => zip(a, b, |a: i32, b| -i32::from(a == b));
    packed Pcmpeqq(a, b: u128, _) => zip(a, b, |a: i64, b| -i64::from(a == b));
    packed Pcmpgtb(a, b: u128, _) => zip(a, b, |a: i8, b| -i8::from(a > b));
    packed Pcmpgtw(a, b: u128, _) => zip(a, b, |a: i16, b| -i16::from(a > b));
    frequent Pcmpgtd(a, b: u128, _) => zip(a, b, |a: i32, b| -i32::from(a > b));
    packed Pcmpgtq(a, b: u128, _) => zip(a, b, |a: i64, b| -i64::from(a > b));

    packed Pabsb(_, b: u128, _) => map(b, i8::wrapping_abs);
    packed Pabsw(_, b: u128, _) => map(b, i16::wrapping_abs);
    packed Pabsd(_, b: u128, _) => map(b, i32::wrapping_abs);
    packed Psignb(a, b: u128, _) => zip(a, b, |a: i8, b| a.wrapping_mul(b.signum()));
    packed Psignw(a, b: u128, _) => zip(a, b, |a: i16, b| a.wrapping_mul(b.signum()));
    packed Psignd(a, b: u128, _) => zip(a, b, |a: i32, b| a.wrapping_mul(b.signum()));

    packed Phaddw(a, b: u128, _) => horizontal(a, b, u16::wrapping_add);
    packed Phaddd(a, b: u128, _) => horizontal(a, b, u32::wrapping_add);
    packed Phaddsw(a, b: u128, _) => horizontal(a, b, i16::saturating_add);
    packed Phsubw(a, b: u128, _) => horizontal(a, b, u16::wrapping_sub);
    packed Phsubd(a, b: u128, _) => horizontal(a, b, u32::wrapping_sub);
    packed Phsubsw(a, b: u128, _) => horizontal(a, b, i16::saturating_sub);
    packed Phminposuw(_, b: u128, _) => minimum_and_position(b);
}

const LOW_32: u64 = 0xffff_ffff;

#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "bits 31:16 are what is asked for")]
fn high16(product: i32) -> i16 {
    (product >> 16) as i16
}

#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "bits 31:16 are what is asked for")]
fn unsigned_high16(product: u32) -> u16 {
    (product >> 16) as u16
}

#[inline(always)]
fn signed_low32(lane: i64) -> i64 {
    lane << 32 >> 32
}

#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "an average is no larger than its operands")]
fn average8(a: u8, b: u8) -> u8 {
    ((u16::from(a) + u16::from(b) + 1) >> 1) as u8
}

#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "an average is no larger than its operands")]
fn average16(a: u16, b: u16) -> u16 {
    ((u32::from(a) + u32::from(b) + 1) >> 1) as u16
}

/// Joins the values for the narrow lanes `2i` and `2i + 1` to the wide lane `i`.
#[inline(always)]
fn pairs<L: Lane>(value: impl Fn(usize) -> L, join: impl Fn(L, L) -> L) -> u128 {
    from_lanes(|i| join(value(2 * i), value(2 * i + 1)))
}

/// Neighbours in `a` give the low lanes, neighbours in `b` the high ones.
#[inline(always)]
fn horizontal<L: Lane>(a: u128, b: u128, join: impl Fn(L, L) -> L) -> u128 {
    let (a, b) = (L::split(a), L::split(b));
    let value = |i: usize| if i < L::COUNT { a[i] } else { b[i - L::COUNT] };
    pairs(value, join)
}

/// PHMINPOSUW: the smallest 16-bit lane, and above it the number of the first lane that holds it.
fn minimum_and_position(b: u128) -> u128 {
    let smallest = (0_u128..).zip(u16::split(b)).min_by_key(|&(_, lane)| lane);
    smallest.map_or(0, |(position, lane)| u128::from(lane) | position << 16)
}

/// MPSADBW: four bytes of `b` against the eleven bytes of `a`, at eight places.
fn sums_of_differences(a: u128, b: u128, immediate: u8) -> u128 {
    let (a, b) = (u8::split(a), u8::split(b));
    let first_a = usize::from(immediate >> 2 & 1) * 4;
    let first_b = usize::from(immediate & 3) * 4;
    from_lanes(|i| (0..4).map(|j| u16::from(a[first_a + i + j].abs_diff(b[first_b + j]))).sum::<u16>())
}
