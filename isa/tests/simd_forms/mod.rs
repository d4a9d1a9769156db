//! Every form of the SSE instructions that are not floating-point arithmetic, from the tables of iced-x86.
#![allow(clippy::unwrap_used, reason = "tests")]

use iced_x86::{
    Code, CpuidFeature, Decoder, DecoderOptions, Encoder, EncodingKind, Instruction, Mnemonic,
    OpCodeOperandKind, OpKind, Register,
};

/// The kind of an operand that may be a register or memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RegisterOrMemory {
    Register,
    Memory,
}

/// How the address of a memory operand is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Addressing {
    /// `[rdi]`
    Flat,
    /// `fs:[rdi]`
    Fs,
    /// `[edi]`
    Edi,
}

/// What to put into the operands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice {
    /// XMM registers in the order of operands.
    pub(crate) xmm: [usize; 2],
    /// Number of the general-purpose register.
    pub(crate) gpr: usize,
    pub(crate) immediate: u8,
    pub(crate) addressing: Addressing,
}

impl Choice {
    pub(crate) const SIMPLE: Self = Self { xmm: [1, 2], gpr: 3, immediate: 0, addressing: Addressing::Flat };
}

/// A code of iced-x86 with one of the kinds its operands can have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SimdForm {
    pub(crate) code: Code,
    pub(crate) kind: RegisterOrMemory,
}

const FEATURES: [CpuidFeature; 8] = [
    CpuidFeature::SSE,
    CpuidFeature::SSE2,
    CpuidFeature::SSE3,
    CpuidFeature::SSSE3,
    CpuidFeature::SSE4_1,
    CpuidFeature::SSE4_2,
    CpuidFeature::AES,
    CpuidFeature::PCLMULQDQ,
];

/// Beginnings of the names of floating-point arithmetic, comparison and conversion.
const FLOATING_POINT: [&str; 17] = [
    "Add", "Sub", "Mul", "Div", "Sqrt", "Min", "Max", "Rcp", "Rsqrt", "Cmp", "Comi", "Ucomi", "Cvt", "Round",
    "Dpp", "Hadd", "Hsub",
];

/// All forms in 64-bit mode that use XMM registers and no MMX register.
pub(crate) fn all() -> Vec<SimdForm> {
    Code::values().filter(|&code| is_in_scope(code)).flat_map(kinds).collect()
}

fn is_in_scope(code: Code) -> bool {
    let op_code = code.op_code();
    let name = format!("{:?}", code.mnemonic());
    code.encoding() == EncodingKind::Legacy
        && op_code.mode64()
        && code.cpuid_features().iter().any(|feature| FEATURES.contains(feature))
        && op_code.op_kinds().iter().any(|&kind| is_xmm(kind))
        && !op_code.op_kinds().iter().any(|&kind| is_mmx(kind))
        && !FLOATING_POINT.iter().any(|beginning| name.starts_with(beginning))
}

fn is_xmm(kind: OpCodeOperandKind) -> bool {
    use OpCodeOperandKind as K;
    matches!(kind, K::xmm_or_mem | K::xmm_reg | K::xmm_rm)
}

fn is_mmx(kind: OpCodeOperandKind) -> bool {
    use OpCodeOperandKind as K;
    matches!(kind, K::mm_or_mem | K::mm_reg | K::mm_rm)
}

fn kinds(code: Code) -> Vec<SimdForm> {
    use OpCodeOperandKind as K;
    let has = |wanted: &[K]| code.op_code().op_kinds().iter().any(|kind| wanted.contains(kind));
    let form = |kind| SimdForm { code, kind };
    if has(&[K::mem, K::seg_rDI]) {
        vec![form(RegisterOrMemory::Memory)]
    } else if has(&[K::xmm_or_mem, K::r32_or_mem, K::r64_or_mem]) {
        vec![form(RegisterOrMemory::Register), form(RegisterOrMemory::Memory)]
    } else {
        vec![form(RegisterOrMemory::Register)]
    }
}

impl SimdForm {
    /// The bytes of the form with these operands.
    pub(crate) fn encode(self, choice: Choice) -> Vec<u8> {
        let mut instruction = Instruction::default();
        instruction.set_code(self.code);
        let mut xmm = choice.xmm.iter();
        for (number, &kind) in (0..).zip(self.code.op_code().op_kinds()) {
            self.set_operand(&mut instruction, number, kind, choice, &mut xmm);
        }
        let mut encoder = Encoder::new(64);
        encoder.encode(&instruction, 0).unwrap_or_else(|error| panic!("{self:?}: {error}"));
        encoder.take_buffer()
    }

    fn set_operand<'a>(
        self,
        instruction: &mut Instruction,
        operand: u32,
        kind: OpCodeOperandKind,
        choice: Choice,
        xmm: &mut impl Iterator<Item = &'a usize>,
    ) {
        use OpCodeOperandKind as K;
        let in_memory = self.kind == RegisterOrMemory::Memory;
        match kind {
            K::mem => set_memory(instruction, operand, choice.addressing),
            K::xmm_or_mem | K::r32_or_mem | K::r64_or_mem if in_memory => {
                set_memory(instruction, operand, choice.addressing);
            }
            K::xmm_or_mem | K::xmm_reg | K::xmm_rm => {
                let number = u32::try_from(*xmm.next().unwrap()).unwrap();
                instruction.set_op_register(operand, Register::XMM0 + number);
            }
            K::r32_or_mem | K::r32_reg | K::r32_rm => {
                instruction.set_op_register(operand, Register::EAX + u32::try_from(choice.gpr).unwrap());
            }
            K::r64_or_mem | K::r64_reg | K::r64_rm => {
                instruction.set_op_register(operand, Register::RAX + u32::try_from(choice.gpr).unwrap());
            }
            K::imm8 => {
                instruction.set_op_kind(operand, OpKind::Immediate8);
                instruction.set_immediate8(choice.immediate);
            }
            K::seg_rDI => set_string_memory(instruction, operand, choice.addressing),
            _ => panic!("{self:?} has an operand {kind:?}"),
        }
    }

    /// The decoded form with these operands.
    pub(crate) fn instruction(self, choice: Choice) -> Instruction {
        let bytes = self.encode(choice);
        let instruction = Decoder::with_ip(64, &bytes, 0, DecoderOptions::NONE).decode();
        assert_eq!(instruction.len(), bytes.len(), "{self:?}");
        instruction
    }

    /// Bytes of the memory operand.
    pub(crate) fn memory_bytes(self) -> usize {
        self.instruction(Choice::SIMPLE).memory_size().size()
    }

    /// Whether the first operand is in memory.
    pub(crate) fn writes_memory(self) -> bool {
        let instruction = self.instruction(Choice::SIMPLE);
        matches!(instruction.op0_kind(), OpKind::Memory | OpKind::MemorySegRDI)
    }

    /// Whether the memory operand may be at any address (SDM Vol. 2A, 2.4, and the pages of the instructions).
    pub(crate) fn may_be_misaligned(self) -> bool {
        let unaligned = matches!(
            self.code.mnemonic(),
            Mnemonic::Movups
                | Mnemonic::Movupd
                | Mnemonic::Movdqu
                | Mnemonic::Lddqu
                | Mnemonic::Maskmovdqu
                | Mnemonic::Pcmpestri
                | Mnemonic::Pcmpestri64
                | Mnemonic::Pcmpestrm
                | Mnemonic::Pcmpestrm64
                | Mnemonic::Pcmpistri
                | Mnemonic::Pcmpistrm
        );
        unaligned || self.memory_bytes() < 16
    }
}

fn set_memory(instruction: &mut Instruction, operand: u32, addressing: Addressing) {
    instruction.set_op_kind(operand, OpKind::Memory);
    instruction.set_memory_base(if addressing == Addressing::Edi { Register::EDI } else { Register::RDI });
    set_segment(instruction, addressing);
}

fn set_string_memory(instruction: &mut Instruction, operand: u32, addressing: Addressing) {
    let edi = addressing == Addressing::Edi;
    instruction.set_op_kind(operand, if edi { OpKind::MemorySegEDI } else { OpKind::MemorySegRDI });
    set_segment(instruction, addressing);
}

fn set_segment(instruction: &mut Instruction, addressing: Addressing) {
    if addressing == Addressing::Fs {
        instruction.set_segment_prefix(Register::FS);
    }
}
