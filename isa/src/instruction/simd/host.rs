//! Operations for which an x86-64 host has an instruction: the same handlers with the host's instruction in place of
//! the portable meaning. A first reader may skip this; it only makes the engine fast.
#![allow(unsafe_code, reason = "an instruction is used only after the host was asked for it")]

use super::{Operation, aes, carryless, frequent, integer, packed, shift, shuffle};
use crate::cpu::Cpu;
use crate::decode::Form;
use crate::record::Handler;
use core::arch::x86_64::{self, __m128i};
use core::marker::PhantomData;
use iced_x86::Mnemonic;

/// An operation that the host can do in one instruction.
trait OnHost: Operation<Source = u128> {
    /// The same result as the operation. Called only where the host has the instruction.
    fn execute(destination: u128, source: u128, immediate: u8) -> u128;
}

/// An operation done by the host.
struct Host<O>(PhantomData<O>);

impl<O: OnHost> Operation for Host<O> {
    type Source = u128;
    #[inline(always)]
    fn apply(destination: u128, source: u128, immediate: u8) -> u128 {
        O::execute(destination, source, immediate)
    }
}

/// Each row: how the handler is chosen, the operation, what the host must have, and its instruction.
macro_rules! host_instructions {
    ($($choose:ident $family:ident::$name:ident $feature:tt $intrinsic:ident;)*) => {
        $(
            impl OnHost for $family::$name {
                #[inline(always)]
                #[allow(unused_unsafe, reason = "what every host has is safe to use")]
                fn execute(destination: u128, source: u128, _: u8) -> u128 {
                    #[inline]
                    #[target_feature(enable = $feature)]
                    fn instruction(a: u128, b: u128) -> u128 {
                        value(x86_64::$intrinsic(vector(a), vector(b)))
                    }
                    // SAFETY: `select` returns this operation only on a host with the feature.
                    unsafe { instruction(destination, source) }
                }
            }
        )*

        /// The handler for a form that the host has an instruction for.
        pub(super) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
            match form.mnemonic() {
                $(
                    Mnemonic::$name if is_x86_feature_detected!($feature) => {
                        $choose::<C, Host<$family::$name>>(form)
                    }
                )*
                Mnemonic::Pclmulqdq if is_x86_feature_detected!("pclmulqdq") => {
                    packed::<C, Host<carryless::Pclmulqdq>>(form)
                }
                _ => None,
            }
        }

        #[test]
        fn the_host_agrees_with_the_portable_meaning() {
            $(if is_x86_feature_detected!($feature) { tests::agree::<$family::$name>(stringify!($name)); })*
            if is_x86_feature_detected!("pclmulqdq") {
                tests::agree::<carryless::Pclmulqdq>("Pclmulqdq");
            }
        }
    };
}
host_instructions! {
    frequent integer::Pand "sse2" _mm_and_si128;
    frequent integer::Pandn "sse2" _mm_andnot_si128;
    frequent integer::Por "sse2" _mm_or_si128;
    frequent integer::Pxor "sse2" _mm_xor_si128;
    frequent integer::Paddb "sse2" _mm_add_epi8;
    frequent integer::Paddw "sse2" _mm_add_epi16;
    frequent integer::Paddd "sse2" _mm_add_epi32;
    frequent integer::Paddq "sse2" _mm_add_epi64;
    packed integer::Paddsb "sse2" _mm_adds_epi8;
    packed integer::Paddsw "sse2" _mm_adds_epi16;
    packed integer::Paddusb "sse2" _mm_adds_epu8;
    packed integer::Paddusw "sse2" _mm_adds_epu16;
    frequent integer::Psubb "sse2" _mm_sub_epi8;
    frequent integer::Psubw "sse2" _mm_sub_epi16;
    frequent integer::Psubd "sse2" _mm_sub_epi32;
    frequent integer::Psubq "sse2" _mm_sub_epi64;
    packed integer::Psubsb "sse2" _mm_subs_epi8;
    packed integer::Psubsw "sse2" _mm_subs_epi16;
    packed integer::Psubusb "sse2" _mm_subs_epu8;
    packed integer::Psubusw "sse2" _mm_subs_epu16;
    frequent integer::Pmullw "sse2" _mm_mullo_epi16;
    packed integer::Pmulhw "sse2" _mm_mulhi_epi16;
    packed integer::Pmulhuw "sse2" _mm_mulhi_epu16;
    frequent integer::Pmuludq "sse2" _mm_mul_epu32;
    packed integer::Pmaddwd "sse2" _mm_madd_epi16;
    packed integer::Pavgb "sse2" _mm_avg_epu8;
    packed integer::Pavgw "sse2" _mm_avg_epu16;
    packed integer::Psadbw "sse2" _mm_sad_epu8;
    frequent integer::Pminub "sse2" _mm_min_epu8;
    packed integer::Pminsw "sse2" _mm_min_epi16;
    packed integer::Pmaxub "sse2" _mm_max_epu8;
    packed integer::Pmaxsw "sse2" _mm_max_epi16;
    frequent integer::Pcmpeqb "sse2" _mm_cmpeq_epi8;
    packed integer::Pcmpeqw "sse2" _mm_cmpeq_epi16;
    frequent integer::Pcmpeqd "sse2" _mm_cmpeq_epi32;
    packed integer::Pcmpgtb "sse2" _mm_cmpgt_epi8;
    packed integer::Pcmpgtw "sse2" _mm_cmpgt_epi16;
    frequent integer::Pcmpgtd "sse2" _mm_cmpgt_epi32;
    shift shift::Psllw "sse2" _mm_sll_epi16;
    shift shift::Pslld "sse2" _mm_sll_epi32;
    shift shift::Psllq "sse2" _mm_sll_epi64;
    shift shift::Psrlw "sse2" _mm_srl_epi16;
    shift shift::Psrld "sse2" _mm_srl_epi32;
    shift shift::Psrlq "sse2" _mm_srl_epi64;
    shift shift::Psraw "sse2" _mm_sra_epi16;
    shift shift::Psrad "sse2" _mm_sra_epi32;
    frequent shuffle::Punpcklbw "sse2" _mm_unpacklo_epi8;
    packed shuffle::Punpcklwd "sse2" _mm_unpacklo_epi16;
    frequent shuffle::Punpckldq "sse2" _mm_unpacklo_epi32;
    frequent shuffle::Punpcklqdq "sse2" _mm_unpacklo_epi64;
    packed shuffle::Punpckhbw "sse2" _mm_unpackhi_epi8;
    packed shuffle::Punpckhwd "sse2" _mm_unpackhi_epi16;
    packed shuffle::Punpckhdq "sse2" _mm_unpackhi_epi32;
    packed shuffle::Punpckhqdq "sse2" _mm_unpackhi_epi64;
    packed shuffle::Packsswb "sse2" _mm_packs_epi16;
    packed shuffle::Packssdw "sse2" _mm_packs_epi32;
    packed shuffle::Packuswb "sse2" _mm_packus_epi16;
    packed shuffle::Pshufb "ssse3" _mm_shuffle_epi8;
    packed integer::Pmulhrsw "ssse3" _mm_mulhrs_epi16;
    packed integer::Pmaddubsw "ssse3" _mm_maddubs_epi16;
    packed integer::Psignb "ssse3" _mm_sign_epi8;
    packed integer::Psignw "ssse3" _mm_sign_epi16;
    packed shuffle::Packusdw "sse4.1" _mm_packus_epi32;
    packed integer::Pminuw "sse4.1" _mm_min_epu16;
    packed integer::Pminsb "sse4.1" _mm_min_epi8;
    packed integer::Pmaxuw "sse4.1" _mm_max_epu16;
    packed integer::Pmaxsb "sse4.1" _mm_max_epi8;
    packed aes::Aesenc "aes" _mm_aesenc_si128;
    packed aes::Aesenclast "aes" _mm_aesenclast_si128;
    packed aes::Aesdec "aes" _mm_aesdec_si128;
    packed aes::Aesdeclast "aes" _mm_aesdeclast_si128;
}

impl OnHost for carryless::Pclmulqdq {
    #[inline(always)]
    fn execute(destination: u128, source: u128, immediate: u8) -> u128 {
        #[target_feature(enable = "pclmulqdq")]
        fn instruction(a: u128, b: u128) -> u128 {
            value(x86_64::_mm_clmulepi64_si128::<0>(vector(a), vector(b)))
        }
        let (a, b) = carryless::factors(destination, source, immediate);
        // SAFETY: `select` returns this operation only on a host with the feature.
        unsafe { instruction(a.into(), b.into()) }
    }
}

#[inline(always)]
fn vector(value: u128) -> __m128i {
    zerocopy::transmute!(value)
}

#[inline(always)]
fn value(vector: __m128i) -> u128 {
    zerocopy::transmute!(vector)
}

#[cfg(test)]
mod tests {
    use super::OnHost;
    use proptest::prelude::*;
    use proptest::test_runner::TestRunner;

    /// Registers of any bits, of lanes near the ends of their ranges, and small counts.
    fn register() -> impl Strategy<Value = u128> {
        let corners = prop::array::uniform16(prop::sample::select(vec![0, 1, 0x7f, 0x80, 0xff]));
        prop_oneof![any::<u128>(), corners.prop_map(u128::from_le_bytes), 0..80_u128]
    }

    /// Compares the host's instruction with the portable meaning of an operation.
    pub(super) fn agree<O: OnHost>(name: &str) {
        let operands = (register(), register(), any::<u8>());
        TestRunner::default()
            .run(&operands, |(a, b, immediate)| {
                prop_assert_eq!(O::execute(a, b, immediate), O::apply(a, b, immediate), "{}", name);
                Ok(())
            })
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}
