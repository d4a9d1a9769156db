//! What the manual leaves undefined after an instruction.
//!
//! A comparison with another processor leaves these bits out. iced-x86 carries the manual's list of flags per
//! instruction; this module adds what depends on the operands: a shift by 0 leaves all flags alone, and results that
//! the manual leaves undefined.

use crate::flags::Rflags;
use iced_x86::{Instruction, Mnemonic, RflagsBits};

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

/// What is undefined after `instruction`. The result may depend on operand values; all that can be undefined is listed.
#[must_use]
pub fn after(instruction: &Instruction) -> Undefined {
    let destination = match instruction.mnemonic() {
        // With a source of 0; with a 16-bit operand; with a count beyond a 16-bit operand.
        Mnemonic::Bsf | Mnemonic::Bsr => Destination::Undefined,
        Mnemonic::Bswap if instruction.op_register(0).size() == 2 => Destination::Undefined,
        Mnemonic::Shld | Mnemonic::Shrd if instruction.memory_size().size() == 2 => Destination::Undefined,
        // Approximations: the manual fixes the error alone (see `float::portable::approximate`).
        Mnemonic::Rcpps | Mnemonic::Rcpss | Mnemonic::Rsqrtps | Mnemonic::Rsqrtss => Destination::Undefined,
        _ => Destination::Defined,
    };
    Undefined { flags: flags(instruction.rflags_undefined()), destination }
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
