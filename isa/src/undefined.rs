//! What the manual leaves undefined after an instruction.
//!
//! A comparison with another processor leaves these bits out. iced-x86 carries the manual's list of flags per
//! instruction; this module adds what depends on the operands: a shift by 0 leaves all flags alone, a shift by 1
//! defines OF, and some results have no defined value.

use crate::flags::Rflags;
use crate::registers::{Gpr, Registers};
use iced_x86::{Instruction, Mnemonic, OpKind, RflagsBits};

/// What is undefined after an instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Undefined {
    /// Status flags without a defined value.
    pub flags: Rflags,
    /// Whether the destination register has no defined value.
    pub destination: Destination,
}

/// Whether a result is defined.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Destination {
    /// It is.
    Defined,
    /// It is not, so it may not be compared.
    Undefined,
}

/// What is undefined after `instruction`, whatever its operands are: all that can be undefined is listed.
///
/// ```
/// use iced_x86::{Decoder, DecoderOptions};
/// use isa::flags::Rflags;
///
/// let shl_eax_1 = Decoder::new(64, &[0xc1, 0xe0, 1], DecoderOptions::NONE).decode();
/// assert_eq!(isa::undefined::after(&shl_eax_1).flags, Rflags::AF);
/// ```
#[must_use]
pub fn after(instruction: &Instruction) -> Undefined {
    with_operands(instruction, None)
}

/// What is undefined after `instruction`, executed with these registers. It is never more than [`after`] says, and
/// less where a count or a source is in a register.
///
/// ```
/// use iced_x86::{Decoder, DecoderOptions};
/// use isa::flags::Rflags;
/// use isa::registers::Registers;
///
/// let shl_eax_cl = Decoder::new(64, &[0xd3, 0xe0], DecoderOptions::NONE).decode();
/// let mut registers = Registers::default();
/// assert_eq!(isa::undefined::after_with(&shl_eax_cl, &registers).flags, Rflags::empty());
/// registers.gpr[1] = 2;
/// assert_eq!(isa::undefined::after_with(&shl_eax_cl, &registers).flags, Rflags::AF | Rflags::OF);
/// ```
#[must_use]
pub fn after_with(instruction: &Instruction, before: &Registers) -> Undefined {
    with_operands(instruction, Some(before))
}

fn with_operands(instruction: &Instruction, before: Option<&Registers>) -> Undefined {
    let listed =
        Undefined { flags: flags(instruction.rflags_undefined()), destination: Destination::Defined };
    match instruction.mnemonic() {
        Mnemonic::Shl | Mnemonic::Sal | Mnemonic::Shr => {
            shift(Count::of(instruction, 1, before), Rflags::AF, Rflags::CF)
        }
        Mnemonic::Sar => shift(Count::of(instruction, 1, before), Rflags::AF, Rflags::empty()),
        Mnemonic::Rol | Mnemonic::Ror | Mnemonic::Rcl | Mnemonic::Rcr => {
            shift(Count::of(instruction, 1, before), Rflags::empty(), Rflags::empty())
        }
        Mnemonic::Shld | Mnemonic::Shrd => double_shift(Count::of(instruction, 2, before)),
        Mnemonic::Bsf | Mnemonic::Bsr => Undefined { destination: scan(instruction, before), ..listed },
        Mnemonic::Bswap if instruction.op_register(0).size() == 2 => {
            Undefined { destination: Destination::Undefined, ..listed }
        }
        // Approximations of which the manual fixes the error alone.
        Mnemonic::Rcpps | Mnemonic::Rcpss | Mnemonic::Rsqrtps | Mnemonic::Rsqrtss => {
            Undefined { destination: Destination::Undefined, ..listed }
        }
        _ => listed,
    }
}

/// What is known of the masked count of a shift.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Count {
    Zero,
    One,
    /// More than 1, within the operand.
    Several,
    /// At least the operand size; for SHLD and SHRD only more than it matters.
    Width,
    /// More than the operand size, which only 8- and 16-bit operands can meet.
    BeyondWidth,
    /// In a register, for an operand that no count exceeds.
    UnknownWithinWidth,
    /// In a register, for an 8- or 16-bit operand.
    Unknown,
}

impl Count {
    fn of(instruction: &Instruction, operand: u32, before: Option<&Registers>) -> Self {
        let width = 8 * operand_bytes(instruction);
        let count = match (instruction.op_kind(operand), before) {
            (OpKind::Register, None) if width < 32 => return Self::Unknown,
            (OpKind::Register, None) => return Self::UnknownWithinWidth,
            (OpKind::Register, Some(before)) => before.gpr[Gpr::Rcx as usize],
            _ => instruction.immediate(operand),
        };
        match count & if width == 64 { 0x3f } else { 0x1f } {
            0 => Self::Zero,
            1 => Self::One,
            count if count < width => Self::Several,
            count if count == width => Self::Width,
            _ => Self::BeyondWidth,
        }
    }
}

fn operand_bytes(instruction: &Instruction) -> u64 {
    let bytes = match instruction.op_kind(0) {
        OpKind::Register => instruction.op_register(0).size(),
        _ => instruction.memory_size().size(),
    };
    bytes as u64
}

/// OF is defined for a count of 1 only (SDM Vol. 2, SAL/SAR/SHL/SHR and RCL/RCR/ROL/ROR).
fn shift(count: Count, always: Rflags, from_width: Rflags) -> Undefined {
    let flags = match count {
        Count::Zero => Rflags::empty(),
        Count::One => always,
        Count::Several | Count::UnknownWithinWidth => always | Rflags::OF,
        Count::Width | Count::BeyondWidth | Count::Unknown => always | Rflags::OF | from_width,
    };
    Undefined { flags, destination: Destination::Defined }
}

/// A count above the operand size leaves everything undefined (SDM Vol. 2B, SHLD and SHRD).
fn double_shift(count: Count) -> Undefined {
    match count {
        Count::BeyondWidth | Count::Unknown => {
            Undefined { flags: Rflags::STATUS, destination: Destination::Undefined }
        }
        _ => shift(count, Rflags::AF, Rflags::empty()),
    }
}

/// A source of 0 leaves the destination undefined.
fn scan(instruction: &Instruction, before: Option<&Registers>) -> Destination {
    let (OpKind::Register, Some(before)) = (instruction.op_kind(1), before) else {
        return Destination::Undefined;
    };
    let source = instruction.op_register(1);
    let value = before.gpr[source.full_register().number() & 15];
    let unused = 64 - 8 * source.size();
    if value << unused == 0 { Destination::Undefined } else { Destination::Defined }
}

fn flags(bits: u32) -> Rflags {
    let rows = [
        (RflagsBits::OF, Rflags::OF),
        (RflagsBits::SF, Rflags::SF),
        (RflagsBits::ZF, Rflags::ZF),
        (RflagsBits::AF, Rflags::AF),
        (RflagsBits::CF, Rflags::CF),
        (RflagsBits::PF, Rflags::PF),
    ];
    rows.into_iter().filter(|&(bit, _)| bits & bit != 0).map(|(_, flag)| flag).collect()
}
