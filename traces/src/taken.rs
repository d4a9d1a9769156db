//! Which instructions a replay takes from the record when nobody says otherwise.

use iced_x86::{CpuidFeature, Instruction, Mnemonic, OpKind, Register};

/// Whether the effect of `instruction` is taken from the record: silicon or the kernel chooses the result, or the
/// instruction lies beyond general-purpose instructions, SSE to SSE4.2, AES and PCLMULQDQ.
#[must_use]
pub fn is_taken(instruction: &Instruction) -> bool {
    is_chosen_outside(instruction.mnemonic())
        || instruction.cpuid_features().iter().any(|feature| !is_modelled(*feature))
        || instruction
            .op_kinds()
            .enumerate()
            .any(|(i, kind)| kind == OpKind::Register && is_rare_register(instruction.op_register(i as u32)))
}

/// Instructions whose result depends on more than registers and memory.
const fn is_chosen_outside(mnemonic: Mnemonic) -> bool {
    use Mnemonic as M;
    matches!(
        mnemonic,
        M::Syscall
            | M::Sysenter
            | M::Sysret
            | M::Sysexit
            | M::Cpuid
            | M::Rdtsc
            | M::Rdtscp
            | M::Rdrand
            | M::Rdseed
            | M::Rdpid
            | M::Rdpmc
            | M::Rdpru
            | M::Rdpkru
            | M::Wrpkru
            | M::Xgetbv
            | M::Int
            | M::Int1
            | M::Int3
            | M::Into
            | M::Iret
            | M::Iretd
            | M::Iretq
            | M::Retf
            | M::Sgdt
            | M::Sidt
            | M::Sldt
            | M::Str
            | M::Smsw
            | M::Lar
            | M::Lsl
            | M::Verr
            | M::Verw
            | M::Lss
            | M::Lfs
            | M::Lgs
            | M::Fxsave
            | M::Fxsave64
            | M::Fxrstor
            | M::Fxrstor64
            | M::Emms
            | M::Wait
    )
}

const fn is_modelled(feature: CpuidFeature) -> bool {
    use CpuidFeature as F;
    matches!(
        feature,
        F::INTEL8086
            | F::INTEL186
            | F::INTEL286
            | F::INTEL386
            | F::INTEL486
            | F::X64
            | F::CMOV
            | F::CX8
            | F::CMPXCHG16B
            | F::SSE
            | F::SSE2
            | F::SSE3
            | F::SSSE3
            | F::SSE4_1
            | F::SSE4_2
            | F::AES
            | F::PCLMULQDQ
            | F::POPCNT
            | F::LZCNT
            | F::BMI1
            | F::BMI2
            | F::ADX
            | F::MOVBE
            | F::FSGSBASE
            | F::CLFSH
            | F::PREFETCHW
            | F::MULTIBYTENOP
            | F::PAUSE
            | F::CET_IBT
            | F::CET_SS
    )
}

/// MMX, x87, segment, control and debug registers.
fn is_rare_register(register: Register) -> bool {
    register.is_mm()
        || register.is_st()
        || register.is_segment_register()
        || register.is_cr()
        || register.is_dr()
}

#[cfg(test)]
mod tests {
    use super::*;
    use iced_x86::{Decoder, DecoderOptions};

    fn decode(bytes: &[u8]) -> Instruction {
        Decoder::new(64, bytes, DecoderOptions::NONE).decode()
    }

    #[test]
    fn what_silicon_chooses_is_taken_and_what_the_engine_computes_is_not() {
        let taken: [&[u8]; 10] = [
            &[0x0f, 0x05],                   // syscall
            &[0x0f, 0xa2],                   // cpuid
            &[0x0f, 0x31],                   // rdtsc
            &[0x0f, 0xc7, 0xf0],             // rdrand eax
            &[0xcc],                         // int3
            &[0xd9, 0xe8],                   // fld1
            &[0x0f, 0xef, 0xc0],             // pxor mm0,mm0
            &[0x8c, 0xd8],                   // mov eax,ds
            &[0xc5, 0xf9, 0xef, 0xc0],       // vpxor xmm0,xmm0,xmm0
            &[0x48, 0x0f, 0xae, 0x04, 0x24], // fxsave64 [rsp]
        ];
        for bytes in taken {
            assert!(is_taken(&decode(bytes)), "{bytes:02x?}");
        }
        let computed: [&[u8]; 10] = [
            &[0x90],                                        // nop
            &[0x48, 0x89, 0x04, 0x24],                      // mov [rsp],rax
            &[0xf3, 0x0f, 0x1e, 0xfa],                      // endbr64
            &[0x66, 0x0f, 0xef, 0xc0],                      // pxor xmm0,xmm0
            &[0x66, 0x0f, 0x38, 0xdc, 0xc1],                // aesenc xmm0,xmm1
            &[0xf3, 0x0f, 0xbd, 0xc1],                      // lzcnt eax,ecx
            &[0xc4, 0xe2, 0xf3, 0xf6, 0xc1],                // mulx rax,rcx,rcx
            &[0x64, 0x48, 0x8b, 0x04, 0x25, 0x28, 0, 0, 0], // mov rax,fs:[0x28]
            &[0xf3, 0x48, 0xab],                            // rep stosq
            &[0x0f, 0xae, 0xe8],                            // lfence
        ];
        for bytes in computed {
            assert!(!is_taken(&decode(bytes)), "{bytes:02x?}");
        }
    }
}
