//! Shuffles, interleaving, packing, extension and blends (SDM Vol. 1, 5.4.2, 5.5.1.4, 5.6.1.4, 5.6.3, 5.8.5, 5.10.4,
//! 5.10.8 and 5.10.13). The blends that XMM0 controls are in [`super::element`].

use super::lanes::{Lane, from_lanes};
use super::operations;

operations! {
    frequent Pshufd(_, b: u128, order) => {
        let b = u32::split(b);
        from_lanes(|i| b[selector(order, i)])
    };
    packed Pshuflw(_, b: u128, order) => shuffle_words(b, 0, order);
    packed Pshufhw(_, b: u128, order) => shuffle_words(b, 4, order);
    packed Shufps(a, b: u128, order) => {
        let (a, b) = (u32::split(a), u32::split(b));
        from_lanes(|i| if i < 2 { a[selector(order, i)] } else { b[selector(order, i)] })
    };
    packed Shufpd(a, b: u128, order) => {
        let (a, b) = (u64::split(a), u64::split(b));
        from_lanes(|i| if i == 0 { a[usize::from(order & 1)] } else { b[usize::from(order >> 1 & 1)] })
    };
    packed Pshufb(a, b: u128, _) => {
        let (a, b) = (u8::split(a), u8::split(b));
        from_lanes(|i| if b[i] < 0x80 { a[usize::from(b[i] & 15)] } else { 0 })
    };

    frequent Punpcklbw(a, b: u128, _) => interleave_low::<u8>(a, b);
    packed Punpcklwd(a, b: u128, _) => interleave_low::<u16>(a, b);
    frequent Punpckldq(a, b: u128, _) => interleave_low::<u32>(a, b);
    frequent Punpcklqdq(a, b: u128, _) => interleave_low::<u64>(a, b);
    packed Punpckhbw(a, b: u128, _) => interleave_high::<u8>(a, b);
    packed Punpckhwd(a, b: u128, _) => interleave_high::<u16>(a, b);
    packed Punpckhdq(a, b: u128, _) => interleave_high::<u32>(a, b);
    packed Punpckhqdq(a, b: u128, _) => interleave_high::<u64>(a, b);
    packed Unpcklps(a, b: u128, _) => interleave_low::<u32>(a, b);
    packed Unpcklpd(a, b: u128, _) => interleave_low::<u64>(a, b);
    packed Unpckhps(a, b: u128, _) => interleave_high::<u32>(a, b);
    packed Unpckhpd(a, b: u128, _) => interleave_high::<u64>(a, b);

    packed Packsswb(a, b: u128, _) => pack(a, b, saturate_i16_to_i8);
    packed Packssdw(a, b: u128, _) => pack(a, b, saturate_i32_to_i16);
    packed Packuswb(a, b: u128, _) => pack(a, b, saturate_i16_to_u8);
    packed Packusdw(a, b: u128, _) => pack(a, b, saturate_i32_to_u16);

    packed Pblendw(a, b: u128, choice) => blend::<u16>(a, b, choice);
    packed Blendps(a, b: u128, choice) => blend::<u32>(a, b, choice);
    packed Blendpd(a, b: u128, choice) => blend::<u64>(a, b, choice);

    // A memory operand is as wide as the lanes that are read.
    packed Pmovsxbw(_, b: u64, _) => extend::<i8, i16>(b);
    packed Pmovsxbd(_, b: u32, _) => extend::<i8, i32>(b.into());
    packed Pmovsxbq(_, b: u16, _) => extend::<i8, i64>(b.into());
    packed Pmovsxwd(_, b: u64, _) => extend::<i16, i32>(b);
    packed Pmovsxwq(_, b: u32, _) => extend::<i16, i64>(b.into());
    packed Pmovsxdq(_, b: u64, _) => extend::<i32, i64>(b);
    packed Pmovzxbw(_, b: u64, _) => extend::<u8, u16>(b);
    packed Pmovzxbd(_, b: u32, _) => extend::<u8, u32>(b.into());
    packed Pmovzxbq(_, b: u16, _) => extend::<u8, u64>(b.into());
    packed Pmovzxwd(_, b: u64, _) => extend::<u16, u32>(b);
    packed Pmovzxwq(_, b: u32, _) => extend::<u16, u64>(b.into());
    packed Pmovzxdq(_, b: u64, _) => extend::<u32, u64>(b);
}

/// The two bits of the order byte for lane `lane`.
#[inline(always)]
fn selector(order: u8, lane: usize) -> usize {
    usize::from(order >> (2 * lane) & 3)
}

/// Shuffles the four words from lane `first` on.
#[inline(always)]
fn shuffle_words(b: u128, first: usize, order: u8) -> u128 {
    let b = u16::split(b);
    from_lanes(|i| if i & 4 == first { b[first + selector(order, i & 3)] } else { b[i] })
}

#[inline(always)]
fn interleave_low<L: Lane>(a: u128, b: u128) -> u128 {
    interleave::<L>(a, b, 0)
}

#[inline(always)]
fn interleave_high<L: Lane>(a: u128, b: u128) -> u128 {
    interleave::<L>(a, b, L::COUNT / 2)
}

/// Lanes of `a` and `b` in turn, from lane `first` on.
#[inline(always)]
fn interleave<L: Lane>(a: u128, b: u128, first: usize) -> u128 {
    let (a, b) = (L::split(a), L::split(b));
    from_lanes(|i| if i % 2 == 0 { a[first + i / 2] } else { b[first + i / 2] })
}

/// Narrowed lanes of `a` below those of `b`.
#[inline(always)]
fn pack<W: Lane, N: Lane>(a: u128, b: u128, narrow: impl Fn(W) -> N) -> u128 {
    let (a, b) = (W::split(a), W::split(b));
    from_lanes(|i| narrow(if i < W::COUNT { a[i] } else { b[i - W::COUNT] }))
}

macro_rules! saturations {
    ($($name:ident: $wide:ty => $narrow:ty;)*) => {$(
        #[inline(always)]
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the value is in range")]
        fn $name(value: $wide) -> $narrow {
            value.clamp(<$wide>::from(<$narrow>::MIN), <$wide>::from(<$narrow>::MAX)) as $narrow
        }
    )*};
}
saturations! {
    saturate_i16_to_i8: i16 => i8;
    saturate_i32_to_i16: i32 => i16;
    saturate_i16_to_u8: i16 => u8;
    saturate_i32_to_u16: i32 => u16;
}

/// Lane `i` of `b` where bit `i` of `choice` is set, else of `a`.
#[inline(always)]
fn blend<L: Lane>(a: u128, b: u128, choice: u8) -> u128 {
    let (a, b) = (L::split(a), L::split(b));
    from_lanes(|i| if choice >> i & 1 == 0 { a[i] } else { b[i] })
}

/// The low lanes of `b`, widened.
#[inline(always)]
fn extend<N: Lane, W: Lane + From<N>>(b: u64) -> u128 {
    let b = N::split(b.into());
    from_lanes(|i| W::from(b[i]))
}
