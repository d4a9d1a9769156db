//! Forms, operands and the real processor for the tests of floating point.
#![allow(clippy::unwrap_used, reason = "tests")]

#[cfg(target_arch = "x86_64")]
pub(crate) mod silicon;

use crate::simd_forms::{RegisterOrMemory, SimdForm};
use iced_x86::{Code, CpuidFeature, EncodingKind, OpCodeOperandKind};

/// Beginnings of the names of floating-point arithmetic, comparison and conversion.
const FLOATING_POINT: [&str; 18] = [
    "Add", "Sub", "Mul", "Div", "Sqrt", "Min", "Max", "Rcp", "Rsqrt", "Cmpp", "Cmps", "Comi", "Ucomi", "Cvt",
    "Round", "Dpp", "Hadd", "Hsub",
];

/// All floating-point forms that use XMM registers and no MMX register.
pub(crate) fn all() -> Vec<SimdForm> {
    let form = |code| move |kind| SimdForm { code, kind };
    let kinds = [RegisterOrMemory::Register, RegisterOrMemory::Memory];
    Code::values().filter(|&code| is_in_scope(code)).flat_map(|code| kinds.map(form(code))).collect()
}

fn is_in_scope(code: Code) -> bool {
    use OpCodeOperandKind as K;
    let op_code = code.op_code();
    let name = format!("{:?}", code.mnemonic());
    let features = [CpuidFeature::SSE, CpuidFeature::SSE2, CpuidFeature::SSE3, CpuidFeature::SSE4_1];
    code.encoding() == EncodingKind::Legacy
        && op_code.mode64()
        && code.cpuid_features().iter().any(|feature| features.contains(feature))
        && op_code.op_kinds().iter().any(|&kind| matches!(kind, K::xmm_or_mem | K::xmm_reg))
        && !op_code.op_kinds().iter().any(|&kind| matches!(kind, K::mm_or_mem | K::mm_reg))
        && FLOATING_POINT.iter().any(|beginning| name.starts_with(beginning))
}

/// Whether the manual leaves the result to the processor.
pub(crate) fn is_approximation(form: SimdForm) -> bool {
    let name = format!("{:?}", form.code.mnemonic());
    name.starts_with("Rcp") || name.starts_with("Rsqrt")
}

/// A small generator (SplitMix64), so that a failure can be repeated.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// A number with `fraction` bits of fraction in `bits` bits: near a corner of the format, short, or any.
    fn number(&mut self, bits: u32, fraction: u32) -> u64 {
        let all = u64::MAX >> (64 - bits);
        let infinity = all >> 1 & !((1 << fraction) - 1);
        let one = infinity >> 1 & infinity;
        let exponent = (self.next() % 140) << fraction;
        let corner = self.pick(&[0, 1 << fraction, one, infinity, infinity | 1 << (fraction - 1), all >> 1]);
        let near = self.pick(&[0, 0, 1, 2, all]);
        let short = (all << self.below(fraction as usize)) & self.next() & ((1 << fraction) - 1);
        let middle = ((one - (70 << fraction)) + exponent) | short;
        let low = exponent | short;
        let magnitude = match self.below(8) {
            0 | 1 => corner.wrapping_add(near),
            2 | 3 => middle,
            4 => low,
            5 => (infinity - exponent - (1 << fraction)) | short,
            6 => one / 2 + exponent / 2,
            _ => self.next(),
        };
        (magnitude ^ (self.next() & 1) << (bits - 1)) & all
    }

    /// A register of numbers of either format.
    pub(crate) fn vector(&mut self) -> u128 {
        if self.next() & 1 == 0 {
            (0..4).fold(0, |all, _| all << 32 | u128::from(self.number(32, 23)))
        } else {
            (0..2).fold(0, |all, _| all << 64 | u128::from(self.number(64, 52)))
        }
    }

    /// A control and flags without reserved bits; usually with most exceptions masked.
    pub(crate) fn mxcsr(&mut self) -> u32 {
        let any = u32::try_from(self.next() & 0xffff).unwrap();
        match self.below(4) {
            0 => 0x1f80,
            1 => any | 0x1f80,
            2 => (any | 0x1f80) & !(1 << (7 + self.below(6))),
            _ => any,
        }
    }
}
