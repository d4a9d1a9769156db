//! Which instructions the engine computes, and whose results come from elsewhere.

use crate::decode;
use crate::mode::CodeMode;
use iced_x86::{Instruction, Mnemonic};

/// Where the effect of an instruction comes from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scope {
    /// The engine computes it from registers and memory.
    Computed,
    /// Silicon or the operating system chooses it: CPUID, time, random numbers, system calls, and FXSAVE, whose image
    /// has fields that differ between processors (MXCSR_MASK, the last x87 instruction and operand).
    Outside,
    /// The engine does not model the instruction.
    Unmodelled,
}

/// Where the effect of `instruction` comes from.
///
/// ```
/// use iced_x86::{Decoder, DecoderOptions};
/// use isa::scope::{self, Scope};
///
/// let scope = |bytes| scope::of(&Decoder::new(64, bytes, DecoderOptions::NONE).decode());
/// assert_eq!(scope(&[0x48, 0x01, 0xc8]), Scope::Computed); // add rax,rcx
/// assert_eq!(scope(&[0x0f, 0xa2]), Scope::Outside); // cpuid
/// assert_eq!(scope(&[0x0f, 0x08]), Scope::Unmodelled); // invd
/// ```
#[must_use]
pub fn of(instruction: &Instruction) -> Scope {
    of_in(CodeMode::LONG, instruction)
}

/// As [`of`], in any mode.
#[must_use]
pub fn of_in(mode: CodeMode, instruction: &Instruction) -> Scope {
    match instruction.mnemonic() {
        Mnemonic::Syscall
        | Mnemonic::Sysenter
        | Mnemonic::Int
        | Mnemonic::Cpuid
        | Mnemonic::Rdtsc
        | Mnemonic::Rdtscp
        | Mnemonic::Rdpid
        | Mnemonic::Rdrand
        | Mnemonic::Rdseed
        | Mnemonic::Rdpmc
        | Mnemonic::Xgetbv
        | Mnemonic::Fxsave
        | Mnemonic::Fxsave64 => Scope::Outside,
        _ if decode::is_modelled_in(mode, instruction) => Scope::Computed,
        _ => Scope::Unmodelled,
    }
}
