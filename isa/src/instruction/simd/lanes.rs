//! A 128-bit register as lanes: 16 of 8 bits, 8 of 16, 4 of 32 or 2 of 64, lane 0 in the low bits.

use core::ops::IndexMut;

/// An integer that can be a lane.
pub(crate) trait Lane: Copy + Default {
    /// All lanes of a register.
    type Lanes: Copy + Default + IndexMut<usize, Output = Self>;
    /// Lanes in a register.
    const COUNT: usize;
    /// The lanes of a register.
    fn split(value: u128) -> Self::Lanes;
    /// The register with these lanes.
    fn join(lanes: Self::Lanes) -> u128;
}

macro_rules! lane {
    ($($type:ty),*) => {$(
        impl Lane for $type {
            type Lanes = [$type; 16 / size_of::<$type>()];
            const COUNT: usize = 16 / size_of::<$type>();
            #[inline(always)]
            fn split(value: u128) -> Self::Lanes {
                let lanes: Self::Lanes = zerocopy::transmute!(value.to_le());
                lanes.map(<$type>::from_le)
            }
            #[inline(always)]
            fn join(lanes: Self::Lanes) -> u128 {
                u128::from_le(zerocopy::transmute!(lanes.map(<$type>::to_le)))
            }
        }
    )*};
}
lane!(u8, i8, u16, i16, u32, i32, u64, i64);

/// The register whose lane `i` is `lane(i)`.
#[inline(always)]
pub(crate) fn from_lanes<L: Lane>(lane: impl Fn(usize) -> L) -> u128 {
    let mut lanes = L::Lanes::default();
    for i in 0..L::COUNT {
        lanes[i] = lane(i);
    }
    L::join(lanes)
}

/// Applies an operation to each lane.
#[inline(always)]
pub(crate) fn map<L: Lane>(a: u128, operation: impl Fn(L) -> L) -> u128 {
    let a = L::split(a);
    from_lanes(|i| operation(a[i]))
}

/// Applies an operation to the lanes of two registers, pair by pair.
#[inline(always)]
pub(crate) fn zip<L: Lane>(a: u128, b: u128, operation: impl Fn(L, L) -> L) -> u128 {
    let (a, b) = (L::split(a), L::split(b));
    from_lanes(|i| operation(a[i], b[i]))
}

/// Each lane with all of its bits set to its sign bit.
#[inline(always)]
pub(crate) fn spread_signs<L: Lane>(value: u128) -> u128 {
    let bits = 128 / L::COUNT;
    let lowest_of_each = u128::MAX / (u128::MAX >> (128 - bits));
    let signs = value >> (bits - 1) & lowest_of_each;
    (signs << bits).wrapping_sub(signs)
}

/// A lane whose sign bits can be collected.
pub(crate) trait SignedLane: Lane + PartialOrd {
    /// The sign bits of all lanes, that of lane 0 lowest.
    #[inline(always)]
    fn signs(value: u128) -> u64 {
        let lanes = Self::split(value);
        (0..Self::COUNT).fold(0, |signs, i| signs | u64::from(lanes[i] < Self::default()) << i)
    }
}
impl SignedLane for i32 {}
impl SignedLane for i64 {}
impl SignedLane for i8 {
    #[inline(always)]
    fn signs(value: u128) -> u64 {
        let [low, high] = u64::split(value);
        eight_signs(low) | eight_signs(high) << 8
    }
}

/// The sign bits of eight bytes: each factor of the product moves one of them to the top byte.
#[inline(always)]
fn eight_signs(bytes: u64) -> u64 {
    (bytes >> 7 & 0x0101_0101_0101_0101).wrapping_mul(0x0102_0408_1020_4080) >> 56
}
