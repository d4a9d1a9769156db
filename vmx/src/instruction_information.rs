//! The VM-exit instruction-information field, and the displacement that some exits give as their qualification
//! (SDM 30.2.1, 30.2.5, tables 30-8 to 30-15).

use iced_x86::{Instruction, Mnemonic, OpKind, Register};

/// The operands of an instruction as the field tells them; 0 for an instruction that has no such table.
#[must_use]
pub fn of(instruction: &Instruction) -> u32 {
    use Mnemonic as M;
    match instruction.mnemonic() {
        // The segment register is undefined for INS; it is 0 here.
        M::Insb | M::Insw | M::Insd => address_size(instruction),
        M::Outsb | M::Outsw | M::Outsd => address_size(instruction) | segment(instruction),
        M::Invept | M::Invpcid | M::Invvpid => memory(instruction) | second_register(instruction, 0),
        M::Sgdt => memory(instruction) | operand_size(instruction),
        M::Sidt => memory(instruction) | operand_size(instruction) | 1 << 28,
        M::Lgdt => memory(instruction) | operand_size(instruction) | 2 << 28,
        M::Lidt => memory(instruction) | operand_size(instruction) | 3 << 28,
        M::Sldt => either(instruction, 0),
        M::Str => either(instruction, 0) | 1 << 28,
        M::Lldt => either(instruction, 0) | 2 << 28,
        M::Ltr => either(instruction, 0) | 3 << 28,
        M::Vmclear | M::Vmptrld | M::Vmptrst | M::Vmxon => memory(instruction),
        M::Vmread => either(instruction, 0) | second_register(instruction, 1),
        M::Vmwrite => either(instruction, 1) | second_register(instruction, 0),
        _ => 0,
    }
}

/// The displacement of the operand in memory, sign-extended; relative to RIP the address itself.
#[must_use]
pub fn displacement(instruction: &Instruction) -> u64 {
    if instruction.op_kinds().any(|kind| kind == OpKind::Memory) {
        instruction.memory_displacement64()
    } else {
        0
    }
}

/// What the tables have in common for an operand in memory.
fn memory(instruction: &Instruction) -> u32 {
    let scale = instruction.memory_index_scale().trailing_zeros();
    let scale = if instruction.memory_index() == Register::None { 0 } else { scale };
    let base = match instruction.memory_base() {
        Register::RIP | Register::EIP => Register::None,
        base => base,
    };
    scale
        | address_size(instruction)
        | segment(instruction)
        | register_or_invalid(instruction.memory_index(), 18)
        | register_or_invalid(base, 23)
}

/// A register at `position`, or the bit above its four that says that there is none.
fn register_or_invalid(register: Register, position: u32) -> u32 {
    match register {
        Register::None => 1 << (position + 4),
        register => number(register) << position,
    }
}

fn number(register: Register) -> u32 {
    register.number() as u32 & 15
}

/// An operand that is in memory or, with bit 10 set, the register in bits 6:3.
fn either(instruction: &Instruction, operand: u32) -> u32 {
    match instruction.op_kind(operand) {
        OpKind::Register => 1 << 10 | number(instruction.op_register(operand)) << 3,
        _ => memory(instruction),
    }
}

fn second_register(instruction: &Instruction, operand: u32) -> u32 {
    number(instruction.op_register(operand)) << 28
}

/// Bits 9:7: 0 for 16 bits, 1 for 32, 2 for 64.
fn address_size(instruction: &Instruction) -> u32 {
    let bytes = [instruction.memory_base(), instruction.memory_index()]
        .into_iter()
        .find(|register| *register != Register::None)
        .map_or_else(|| size_without_register(instruction), Register::size);
    (match bytes {
        2 => 0,
        4 => 1,
        _ => 2,
    }) << 7
}

/// The address size of a string instruction, and of a bare displacement.
fn size_without_register(instruction: &Instruction) -> usize {
    for kind in instruction.op_kinds() {
        match kind {
            OpKind::MemoryESDI | OpKind::MemorySegSI => return 2,
            OpKind::MemoryESEDI | OpKind::MemorySegESI => return 4,
            OpKind::MemoryESRDI | OpKind::MemorySegRSI => return 8,
            _ => {}
        }
    }
    match instruction.memory_displ_size() {
        2 => 2,
        8 => 8,
        _ if instruction.code_size() == iced_x86::CodeSize::Code64 => 8,
        _ => 4,
    }
}

/// Bits 17:15.
fn segment(instruction: &Instruction) -> u32 {
    (match instruction.memory_segment() {
        Register::ES => 0,
        Register::CS => 1,
        Register::SS => 2,
        Register::FS => 4,
        Register::GS => 5,
        _ => 3,
    }) << 15
}

/// Bit 11: 1 for 32 bits and more.
fn operand_size(instruction: &Instruction) -> u32 {
    use iced_x86::Code;
    let is_short = matches!(
        instruction.code(),
        Code::Sgdt_m1632_16 | Code::Sidt_m1632_16 | Code::Lgdt_m1632_16 | Code::Lidt_m1632_16
    );
    u32::from(!is_short) << 11
}

#[cfg(test)]
mod tests {
    use super::*;
    use iced_x86::{Decoder, DecoderOptions};

    fn decode(bits: u32, bytes: &[u8]) -> Instruction {
        Decoder::with_ip(bits, bytes, 0x1000, DecoderOptions::NONE).decode()
    }

    #[test]
    fn operands_are_told_as_the_tables_have_them() {
        // vmread rax, rbx: register form, register 1 is RAX, register 2 RBX.
        assert_eq!(of(&decode(64, &[0x0f, 0x78, 0xd8])), 3 << 28 | 1 << 10);
        // vmwrite r9, [rcx+r10*4+0x10]
        let vmwrite = decode(64, &[0x46, 0x0f, 0x79, 0x4c, 0x91, 0x10]);
        assert_eq!(of(&vmwrite), 9 << 28 | 1 << 23 | 10 << 18 | 3 << 15 | 2 << 7 | 2);
        assert_eq!(displacement(&vmwrite), 0x10);
        // vmptrld [rip+0x20], 7 bytes long: no base, no index, and the address itself.
        let vmptrld = decode(64, &[0x0f, 0xc7, 0x35, 0x20, 0, 0, 0]);
        assert_eq!(of(&vmptrld), 1 << 27 | 1 << 22 | 3 << 15 | 2 << 7);
        assert_eq!(displacement(&vmptrld), 0x1027);
        // lgdt fs:[eax-1] in 32-bit code
        let lgdt = decode(32, &[0x64, 0x0f, 0x01, 0x50, 0xff]);
        assert_eq!(of(&lgdt), 2 << 28 | 1 << 22 | 4 << 15 | 1 << 11 | 1 << 7);
        // str cx; outsb from gs:esi in 64-bit code; insw in 16-bit code
        assert_eq!(of(&decode(64, &[0x66, 0x0f, 0x00, 0xc9])), 1 << 28 | 1 << 10 | 1 << 3);
        assert_eq!(of(&decode(64, &[0x65, 0x67, 0x6e])), 5 << 15 | 1 << 7);
        assert_eq!(of(&decode(16, &[0x6d])), 0);
    }
}
