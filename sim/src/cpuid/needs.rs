//! Features that no processor has without another.

use super::Feature::{self, *};
use super::feature::Features;

/// The second feature of each row is there wherever the first is.
const NEEDS: [(Feature, Feature); 33] = [
    (Mmx, Fpu),
    (Fxsr, Fpu),
    (Sse, Fxsr),
    (Sse2, Sse),
    (Sse3, Sse2),
    (Ssse3, Sse3),
    (Sse41, Ssse3),
    (Sse42, Sse41),
    (Aesni, Sse2),
    (Pclmulqdq, Sse2),
    (Xsave, Fxsr),
    (Pku, Xsave),
    (Pku, Lm),
    (X2apic, Apic),
    (TscDeadline, Apic),
    (TscDeadline, Tsc),
    (Arat, Apic),
    (TscAdjust, Tsc),
    (Rdtscp, Tsc),
    (InvariantTsc, Tsc),
    (Mtrr, Msr),
    (Mca, Mce),
    (Pse36, Pse),
    (Nx, Pae),
    (Lm, Pae),
    (Page1Gb, Lm),
    (Syscall, Lm),
    (LahfSahf, Lm),
    (Cmpxchg16b, Lm),
    (Fsgsbase, Lm),
    (Pcid, Lm),
    (Clflushopt, Clfsh),
    (Clwb, Clfsh),
];

/// A feature of the set, and another that it needs and the set lacks.
pub(super) fn lacking(features: &Features) -> Option<(Feature, Feature)> {
    let lacks = |(has, needs): &(Feature, Feature)| features.contains(*has) && !features.contains(*needs);
    NEEDS.into_iter().find(lacks)
}
