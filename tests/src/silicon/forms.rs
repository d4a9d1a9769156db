//! Every form that the engine computes, from the tables of iced-x86.

use super::draft::{Draft, set_target};
use super::mode::Mode;
use super::plan::Plan;
use iced_x86::{
    Code, CpuidFeature, Decoder, DecoderOptions, Encoder, EncodingKind, Instruction, Mnemonic,
    OpCodeOperandKind as K, OpKind, Register,
};
use isa::scope::{self, Scope};
use std::collections::BTreeMap;

/// A code of iced-x86 with one of the kinds its operands can have.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Form {
    pub(crate) code: Code,
    /// The operand that may be a register or memory is in memory.
    pub(crate) in_memory: bool,
}

/// All forms, and the codes in scope that are left out with the reason.
pub(crate) struct Catalogue {
    pub(crate) forms: Vec<Form>,
    pub(crate) left_out: BTreeMap<Code, &'static str>,
}

impl Catalogue {
    /// What the engine computes and this host has.
    pub(crate) fn of_host(mode: Mode) -> Self {
        let mut catalogue = Self { forms: Vec::new(), left_out: BTreeMap::new() };
        let exists = |code: &Code| match mode {
            Mode::Bits64 => code.op_code().mode64(),
            Mode::Bits32 => code.op_code().mode32(),
            Mode::Bits16 => code.op_code().mode16(),
        };
        for code in Code::values().filter(exists) {
            for form in forms_of(code) {
                match judge(form, mode) {
                    Judgement::Generated => catalogue.forms.push(form),
                    Judgement::LeftOut(reason) => {
                        catalogue.left_out.insert(code, reason);
                    }
                    Judgement::OutOfScope => {}
                }
            }
        }
        catalogue
    }
}

/// Instructions with a code of legacy encoding that exists in a mode and that the engine does not model there.
pub(crate) fn unmodelled(mode: Mode) -> std::collections::BTreeSet<Mnemonic> {
    let exists = |code: &Code| match mode {
        Mode::Bits64 => code.op_code().mode64(),
        Mode::Bits32 => code.op_code().mode32(),
        Mode::Bits16 => code.op_code().mode16(),
    };
    let legacy = Code::values().filter(exists).filter(|code| code.encoding() == EncodingKind::Legacy);
    let models = |form| {
        let draft = build(form, &mut Plan::simple(0, mode));
        draft.is_some_and(|draft| scope::of_in(mode.code(), &draft.instruction) != Scope::Unmodelled)
    };
    legacy.filter(|&code| !forms_of(code).into_iter().any(models)).map(|code| code.mnemonic()).collect()
}

enum Judgement {
    Generated,
    LeftOut(&'static str),
    OutOfScope,
}

fn forms_of(code: Code) -> Vec<Form> {
    let kinds = code.op_code().op_kinds();
    let form = |in_memory| Form { code, in_memory };
    if kinds.iter().any(|&kind| may_be_memory(kind)) {
        vec![form(false), form(true)]
    } else {
        vec![form(kinds.iter().any(|&kind| is_memory(kind)))]
    }
}

fn may_be_memory(kind: K) -> bool {
    matches!(
        kind,
        K::r8_or_mem | K::r16_or_mem | K::r32_or_mem | K::r64_or_mem | K::mm_or_mem | K::xmm_or_mem
    )
}

fn is_memory(kind: K) -> bool {
    matches!(kind, K::mem | K::mem_offs | K::seg_rSI | K::es_rDI | K::seg_rDI | K::seg_rBX_al)
}

/// Operands with which one attempt fails (AH with REX, an exchange of RAX with itself) are followed by others.
const ATTEMPTS: u64 = 16;

fn judge(form: Form, mode: Mode) -> Judgement {
    let built = build(form, &mut Plan::simple(0, mode));
    let scope =
        built.as_ref().map_or(Scope::Unmodelled, |draft| scope::of_in(mode.code(), &draft.instruction));
    if scope != Scope::Computed {
        return Judgement::OutOfScope;
    }
    if let Some(reason) = exclusion(form.code, mode) {
        return Judgement::LeftOut(reason);
    }
    let mut attempts = (0..ATTEMPTS).map(|seed| build_exact(form, &mut Plan::simple(seed, mode)));
    match attempts.find_map(|draft| draft) {
        Some(_) => Judgement::Generated,
        None => Judgement::LeftOut("in this mode its bytes are another code"),
    }
}

/// An instruction of this form whose bytes are decoded as the form; nothing if the choices of the plan allow none.
pub(crate) fn build_exact(form: Form, plan: &mut Plan) -> Option<Draft> {
    let draft = build(form, plan)?;
    let mut instruction = draft.instruction;
    let (bits, start) = (plan.mode.bits(), plan.mode.data());
    if draft.target.is_some() {
        set_target(&mut instruction, start);
    }
    let mut encoder = Encoder::new(bits);
    encoder.encode(&instruction, start).ok()?;
    let bytes = encoder.take_buffer();
    let decoded = Decoder::with_ip(bits, &bytes, start, DecoderOptions::NONE).decode();
    (decoded.code() == form.code && decoded.len() == bytes.len()).then_some(draft)
}

fn exclusion(code: Code, mode: Mode) -> Option<&'static str> {
    if mode == Mode::Bits32 && is_short_branch(code) {
        return Some("its target has 16 bits, and there is no code");
    }
    if is_selector_push(code) {
        return Some("AMD's processors store 32 bits, Intel's 16");
    }
    if mode != Mode::Bits64 && loads_segment(code) {
        return Some("loads a segment register");
    }
    if code.mnemonic() == Mnemonic::Hlt {
        return Some("ends every sequence");
    }
    if code.mnemonic() == Mnemonic::Maskmovq {
        return Some("may fault with a mask of 0, and after the change to MMX state");
    }
    if code.mnemonic() == Mnemonic::Int1 {
        return Some("a hypervisor may report its trap at the instruction instead of after it");
    }
    if matches!(
        code,
        Code::Reservednop_rm16_r16_0F0D | Code::Reservednop_rm32_r32_0F0D | Code::Reservednop_rm64_r64_0F0D
    ) {
        return Some("AMD's processors have prefetches there, which refuse registers");
    }
    if code.cpuid_features().iter().any(|&feature| !host_has(feature)) {
        return Some("the host lacks it");
    }
    None
}

/// PUSH of a segment register with a 32-bit operand.
fn is_selector_push(code: Code) -> bool {
    let pushes = matches!(code, Code::Pushd_ES | Code::Pushd_CS | Code::Pushd_SS | Code::Pushd_DS);
    pushes || matches!(code, Code::Pushd_FS | Code::Pushd_GS)
}

/// Whether a near branch truncates its target to 16 bits.
fn is_short_branch(code: Code) -> bool {
    matches!(code, Code::Retnw | Code::Retnw_imm16 | Code::Call_rm16 | Code::Jmp_rm16)
        || code.op_code().op_kinds().iter().any(|kind| matches!(kind, K::br16_1 | K::br16_2))
}

fn loads_segment(code: Code) -> bool {
    let first = code.op_code().op_kind(0);
    let writes = code.op_code().op_count() > 0
        && matches!(first, K::seg_reg | K::es | K::cs | K::ss | K::ds | K::fs | K::gs)
        && code.mnemonic() != Mnemonic::Push;
    let far = matches!(code.mnemonic(), Mnemonic::Lds | Mnemonic::Les | Mnemonic::Lfs | Mnemonic::Lgs)
        || matches!(code.mnemonic(), Mnemonic::Lss | Mnemonic::Retf | Mnemonic::Iret | Mnemonic::Iretd)
        || code.is_jmp_far()
        || code.is_jmp_far_indirect()
        || code.is_call_far()
        || code.is_call_far_indirect();
    writes || far
}

fn host_has(feature: CpuidFeature) -> bool {
    match feature {
        CpuidFeature::SSE3 => is_x86_feature_detected!("sse3"),
        CpuidFeature::SSSE3 => is_x86_feature_detected!("ssse3"),
        CpuidFeature::SSE4_1 => is_x86_feature_detected!("sse4.1"),
        CpuidFeature::SSE4_2 => is_x86_feature_detected!("sse4.2"),
        CpuidFeature::AES => is_x86_feature_detected!("aes"),
        CpuidFeature::PCLMULQDQ => is_x86_feature_detected!("pclmulqdq"),
        CpuidFeature::POPCNT => is_x86_feature_detected!("popcnt"),
        CpuidFeature::LZCNT => is_x86_feature_detected!("lzcnt"),
        CpuidFeature::BMI1 => is_x86_feature_detected!("bmi1"),
        CpuidFeature::BMI2 => is_x86_feature_detected!("bmi2"),
        CpuidFeature::ADX => is_x86_feature_detected!("adx"),
        CpuidFeature::MOVBE => is_x86_feature_detected!("movbe"),
        CpuidFeature::FSGSBASE => super::child::has_bases(),
        CpuidFeature::SHA => is_x86_feature_detected!("sha"),
        _ => true,
    }
}

/// An instruction of this form with operands of the plan; nothing if an operand is of a kind that no handler has.
fn build(form: Form, plan: &mut Plan) -> Option<Draft> {
    let op_code = form.code.op_code();
    if !matches!(form.code.encoding(), EncodingKind::Legacy | EncodingKind::VEX) {
        return None;
    }
    let mut instruction = Instruction::default();
    instruction.set_code(form.code);
    plan.begin(form);
    let mut target = None;
    for (number, &kind) in (0..).zip(op_code.op_kinds()) {
        operand(&mut instruction, number, kind, form, plan, &mut target)?;
    }
    let in_memory = op_code.op_count() > 0 && instruction.op0_kind() == OpKind::Memory;
    plan.prefixes(&mut instruction, in_memory);
    Some(Draft { instruction, target })
}

fn operand(
    instruction: &mut Instruction,
    number: u32,
    kind: K,
    form: Form,
    plan: &mut Plan,
    target: &mut Option<usize>,
) -> Option<()> {
    if matches!(kind, K::mem | K::mem_offs) || (form.in_memory && may_be_memory(kind)) {
        instruction.set_op_kind(number, OpKind::Memory);
        plan.memory(instruction, kind == K::mem_offs);
    } else if let Some((first, count)) = register_range(kind) {
        let count = if plan.mode == Mode::Bits64 || kind == K::seg_reg { count } else { count.min(8) };
        let chosen = plan.register(number, first, count);
        instruction.set_op_register(number, chosen);
    } else if let Some(register) = fixed_register(kind) {
        instruction.set_op_register(number, register);
    } else if let Some(branch) = branch_kind(kind) {
        instruction.set_op_kind(number, branch);
        *target = Some(plan.target());
    } else if is_memory(kind) {
        plan.string_memory(instruction, number, kind);
    } else {
        immediate(instruction, number, kind, plan)?;
    }
    Some(())
}

fn branch_kind(kind: K) -> Option<OpKind> {
    Some(match kind {
        K::br16_1 | K::br16_2 => OpKind::NearBranch16,
        K::br32_1 | K::br32_4 => OpKind::NearBranch32,
        K::br64_1 | K::br64_4 => OpKind::NearBranch64,
        _ => return None,
    })
}

/// The first register of a kind and how many there are.
fn register_range(kind: K) -> Option<(Register, u32)> {
    Some(match kind {
        K::r8_or_mem | K::r8_reg | K::r8_opcode => (Register::AL, 20),
        K::r16_or_mem | K::r16_reg | K::r16_rm | K::r16_opcode => (Register::AX, 16),
        K::r32_or_mem | K::r32_reg | K::r32_rm | K::r32_opcode | K::r32_vvvv => (Register::EAX, 16),
        K::r64_or_mem | K::r64_reg | K::r64_rm | K::r64_opcode | K::r64_vvvv => (Register::RAX, 16),
        K::xmm_or_mem | K::xmm_reg | K::xmm_rm => (Register::XMM0, 16),
        K::mm_or_mem | K::mm_reg | K::mm_rm => (Register::MM0, 8),
        K::seg_reg => (Register::ES, 6),
        K::sti_opcode => (Register::ST0, 8),
        _ => return None,
    })
}

fn fixed_register(kind: K) -> Option<Register> {
    Some(match kind {
        K::al => Register::AL,
        K::cl => Register::CL,
        K::ax => Register::AX,
        K::dx => Register::DX,
        K::eax => Register::EAX,
        K::rax => Register::RAX,
        K::st0 => Register::ST0,
        K::es => Register::ES,
        K::cs => Register::CS,
        K::ss => Register::SS,
        K::ds => Register::DS,
        K::fs => Register::FS,
        K::gs => Register::GS,
        _ => return None,
    })
}

#[allow(clippy::cast_possible_truncation, reason = "immediates take the low bits of a random number")]
fn immediate(instruction: &mut Instruction, number: u32, kind: K, plan: &mut Plan) -> Option<()> {
    let value = plan.immediate();
    let byte = i64::from(value as i8);
    let (op_kind, value) = match kind {
        K::imm8 if number > 0 && instruction.op_kind(number - 1) == OpKind::Immediate16 => {
            instruction.set_op_kind(number, OpKind::Immediate8_2nd);
            instruction.set_immediate8_2nd(value as u8);
            return Some(());
        }
        K::imm8 if number > 0 && instruction.op_kind(number - 1) == OpKind::Immediate8 => return None,
        K::imm8 => (OpKind::Immediate8, i64::from(value as u8)),
        K::imm8_const_1 => (OpKind::Immediate8, 1),
        K::imm8sex16 => (OpKind::Immediate8to16, byte),
        K::imm8sex32 => (OpKind::Immediate8to32, byte),
        K::imm8sex64 => (OpKind::Immediate8to64, byte),
        K::imm16 => (OpKind::Immediate16, i64::from(value as u16)),
        K::imm32 => (OpKind::Immediate32, i64::from(value as u32)),
        K::imm32sex64 => (OpKind::Immediate32to64, i64::from(value as i32)),
        K::imm64 => (OpKind::Immediate64, value.cast_signed()),
        _ => return None,
    };
    instruction.set_op_kind(number, op_kind);
    instruction.set_immediate_u64(number, value.cast_unsigned());
    Some(())
}
