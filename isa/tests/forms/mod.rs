//! Every 64-bit form of an instruction, encoded: the table of operand kinds of iced-x86 with registers, addresses
//! and immediates put in.
#![allow(dead_code, reason = "each test file uses a part")]

use iced_x86::{
    Code, Encoder, EncodingKind, Instruction, MemoryOperand, Mnemonic, OpCodeOperandKind as Operand, OpKind,
    Register,
};

/// A small generator of reproducible values (SplitMix64).
pub(crate) struct Values(u64);

impl Values {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.below(choices.len() as u64)).unwrap()]
    }

    /// A value at the edge of some operand size, a small number, or anything.
    pub(crate) fn operand(&mut self) -> u64 {
        let sign = 1u64 << self.one_of(&[7, 15, 31, 63]);
        match self.below(8) {
            0 => self.one_of(&[0, 1, u64::MAX, sign, sign - 1, sign << 1, sign | 1]),
            1 => self.below(70),
            2 => self.next() >> self.below(64),
            3 => 0u64.wrapping_sub(self.next() >> self.below(64)),
            4 => 1 << self.below(64),
            _ => self.next(),
        }
    }

    /// A count at the edge of some operand size, or any byte.
    pub(crate) fn count(&mut self) -> u64 {
        let width = self.one_of(&[8, 16, 32, 64]);
        match self.below(4) {
            0 => self.one_of(&[0, 1, width - 1, width, width + 1]),
            1 => self.below(256),
            _ => self.below(64),
        }
    }
}

/// Where a memory operand is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Address {
    /// RBX plus a scaled RSI plus a displacement.
    Flat,
    /// The same under GS.
    Gs,
    /// EBX plus a displacement: the address has 32 bits.
    Narrow,
}

/// An encoded instruction.
pub(crate) struct Encoded {
    pub(crate) instruction: Instruction,
    pub(crate) bytes: Vec<u8>,
    /// None when all operands are registers.
    pub(crate) address: Option<Address>,
}

/// Displacement of every memory operand.
pub(crate) const DISPLACEMENT: i64 = 0x18;

/// `count` encodings of every form and address kind of a mnemonic.
pub(crate) fn of(mnemonic: Mnemonic, count: u64, values: &mut Values) -> Vec<Encoded> {
    let addresses = [None, Some(Address::Flat), Some(Address::Gs), Some(Address::Narrow)];
    let codes = Code::values().filter(|code| code.mnemonic() == mnemonic && is_encodable(*code));
    let mut forms = Vec::new();
    for code in codes {
        for address in addresses {
            forms.extend((0..count).filter_map(|_| encode(code, address, values)));
        }
    }
    assert!(!forms.is_empty(), "{mnemonic:?} has no forms");
    forms
}

fn is_encodable(code: Code) -> bool {
    let info = code.op_code();
    let is_knights_corner = format!("{code:?}").starts_with("VEX_KNC");
    info.mode64() && !is_knights_corner && matches!(info.encoding(), EncodingKind::Legacy | EncodingKind::VEX)
}

/// None if the form has no such operand.
fn encode(code: Code, address: Option<Address>, values: &mut Values) -> Option<Encoded> {
    let info = code.op_code();
    let mut instruction = Instruction::default();
    instruction.set_code(code);
    let mut in_memory = false;
    for operand in 0..info.op_count() {
        let kind = info.op_kind(operand);
        in_memory |= put_operand(&mut instruction, operand, kind, address, values)?;
    }
    if in_memory != address.is_some() {
        return None;
    }
    let mut encoder = Encoder::new(64);
    // AH..BH and a REX prefix exclude each other.
    let length = encoder.encode(&instruction, 0).ok()?;
    let bytes = encoder.take_buffer();
    assert_eq!(bytes.len(), length);
    let instruction = iced_x86::Decoder::new(64, &bytes, 0).decode();
    assert_eq!(instruction.mnemonic(), code.mnemonic(), "{code:?} {bytes:02x?}");
    Some(Encoded { instruction, bytes, address })
}

/// Whether the operand is in memory.
fn put_operand(
    instruction: &mut Instruction,
    operand: u32,
    kind: Operand,
    address: Option<Address>,
    values: &mut Values,
) -> Option<bool> {
    let memory_possible =
        matches!(kind, Operand::r8_or_mem | Operand::r16_or_mem | Operand::r32_or_mem | Operand::r64_or_mem);
    match address {
        Some(address) if memory_possible || kind == Operand::mem => {
            put_memory(instruction, operand, address, values);
            return Some(true);
        }
        None if kind == Operand::mem => return None,
        _ => {}
    }
    if let Some(register) = register(kind, values) {
        instruction.set_op_kind(operand, OpKind::Register);
        instruction.set_op_register(operand, register);
    } else {
        put_immediate(instruction, operand, kind, values);
    }
    Some(false)
}

fn put_memory(instruction: &mut Instruction, operand: u32, address: Address, values: &mut Values) {
    let memory = match address {
        Address::Narrow => MemoryOperand::with_base_displ(Register::EBX, DISPLACEMENT),
        _ => MemoryOperand::with_base_index_scale_displ_size(
            Register::RBX,
            Register::RSI,
            values.one_of(&[1, 2, 4, 8]),
            DISPLACEMENT,
            1,
        ),
    };
    instruction.set_op_kind(operand, OpKind::Memory);
    instruction.set_memory_base(memory.base);
    instruction.set_memory_index(memory.index);
    instruction.set_memory_index_scale(memory.scale);
    instruction.set_memory_displacement64(memory.displacement.cast_unsigned());
    instruction.set_memory_displ_size(1);
    if address == Address::Gs {
        instruction.set_segment_prefix(Register::GS);
    }
}

fn register(kind: Operand, values: &mut Values) -> Option<Register> {
    let number = u32::try_from(values.below(16)).unwrap();
    Some(match kind {
        // AL CL DL BL, AH CH DH BH, SPL BPL SIL DIL, R8L ...
        Operand::r8_or_mem | Operand::r8_reg | Operand::r8_opcode => {
            Register::AL + u32::try_from(values.below(20)).unwrap()
        }
        Operand::r16_or_mem | Operand::r16_reg | Operand::r16_rm | Operand::r16_opcode => {
            Register::AX + number
        }
        Operand::r32_or_mem
        | Operand::r32_reg
        | Operand::r32_rm
        | Operand::r32_opcode
        | Operand::r32_vvvv => Register::EAX + number,
        Operand::r64_or_mem
        | Operand::r64_reg
        | Operand::r64_rm
        | Operand::r64_opcode
        | Operand::r64_vvvv => Register::RAX + number,
        Operand::cl => Register::CL,
        Operand::al => Register::AL,
        Operand::ax => Register::AX,
        Operand::eax => Register::EAX,
        Operand::rax => Register::RAX,
        _ => return None,
    })
}

fn put_immediate(instruction: &mut Instruction, operand: u32, kind: Operand, values: &mut Values) {
    let op_kind = match kind {
        Operand::imm8_const_1 | Operand::imm8 => OpKind::Immediate8,
        Operand::imm8sex16 => OpKind::Immediate8to16,
        Operand::imm8sex32 => OpKind::Immediate8to32,
        Operand::imm8sex64 => OpKind::Immediate8to64,
        Operand::imm16 => OpKind::Immediate16,
        Operand::imm32 => OpKind::Immediate32,
        Operand::imm32sex64 => OpKind::Immediate32to64,
        _ => panic!("an operand kind without values: {kind:?}"),
    };
    instruction.set_op_kind(operand, op_kind);
    let value = match kind {
        Operand::imm8_const_1 => 1,
        Operand::imm8 => values.count(),
        _ => values.operand(),
    };
    match op_kind {
        OpKind::Immediate8 => instruction.set_immediate8(value as u8),
        OpKind::Immediate8to16 => instruction.set_immediate8to16(i16::from(value as i8)),
        OpKind::Immediate8to32 => instruction.set_immediate8to32(i32::from(value as i8)),
        OpKind::Immediate8to64 => instruction.set_immediate8to64(i64::from(value as i8)),
        OpKind::Immediate16 => instruction.set_immediate16(value as u16),
        OpKind::Immediate32 => instruction.set_immediate32(value as u32),
        _ => instruction.set_immediate32to64(i64::from(value as i32)),
    }
}
