//! Which results of a sequence are defined.
//!
//! The sequence is followed an instruction at a time in the engine. It is cut before an instruction that reads a flag
//! without defined value, and after one whose destination has none, so that what is undefined never spreads.

use super::draft::{Case, Program};
use super::mode::Mode;
use super::model::Model;
use super::shared::BASE;
use iced_x86::{Instruction, Mnemonic, OpKind, Register, RflagsBits};
use isa::cpu::Cpu;
use isa::flags::Rflags;
use isa::flat::FlatMachine;
use isa::registers::{Gpr, Registers};
use isa::undefined::{self, Destination};

/// More instructions than a sequence executes without repeating itself.
const LONGEST_PATH: usize = 64;

/// A result that has no defined value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unspecified {
    Gpr(usize),
    Memory { address: u64, bytes: u64 },
}

/// What of a sequence may not be compared.
#[derive(Clone, Debug, Default)]
pub(crate) struct Undefined {
    pub(crate) flags: u64,
    pub(crate) destination: Option<Unspecified>,
    /// Bits of the x87 status word.
    pub(crate) conditions: u16,
}

/// A case with what is undefined after it, and the codes that were executed.
pub(crate) struct Trimmed {
    pub(crate) case: Case,
    pub(crate) program: Program,
    pub(crate) undefined: Undefined,
    pub(crate) executed: Vec<Instruction>,
}

enum Path {
    Defined(Undefined, Vec<Instruction>),
    /// Defined only without the instructions from this one on.
    Cut(usize),
    /// It does not end.
    Endless,
}

/// Cuts a case so that everything it reads is defined; nothing if nothing is left.
pub(crate) fn trim(mut case: Case, stepper: &mut Model<FlatMachine>, pristine: &[u8]) -> Option<Trimmed> {
    while !case.drafts.is_empty() {
        let program = case.lay_out()?;
        if program.instructions.len() != case.drafts.len() {
            return None;
        }
        stepper.prepare(&program);
        let path = follow(&program, stepper);
        super::outcome::take_lines(stepper.machine.memory_mut(), pristine);
        match path {
            Path::Defined(undefined, executed) => {
                return Some(Trimmed { case, program, undefined, executed });
            }
            Path::Cut(length) => case.truncate(length),
            Path::Endless => return None,
        }
    }
    None
}

fn follow(program: &Program, stepper: &mut Model<FlatMachine>) -> Path {
    let mut undefined = Undefined::default();
    let mut executed = Vec::new();
    let mut last = 0;
    while stepper.machine.state().rip() != program.end() {
        let before = stepper.machine.state().registers();
        // A branch to anything but an instruction is left out.
        let Some(number) = program.number_at(before.rip) else { return Path::Cut(last) };
        let instruction = &program.instructions[number];
        if status(instruction.rflags_read()) & undefined.flags != 0 {
            return Path::Cut(number);
        }
        if undefined.conditions != 0 && reads_conditions(instruction) {
            return Path::Cut(number);
        }
        if executed.len() == LONGEST_PATH {
            return Path::Endless;
        }
        executed.push(*instruction);
        if stepper.step(1).stop.is_some() {
            return Path::Defined(undefined, executed);
        }
        let after = stepper.machine.state().registers();
        undefined.flags = undefined_flags(instruction, &before, undefined.flags);
        undefined.conditions |= undefined_conditions(instruction, &after);
        if is_pending(&after) && writes_flags_from_x87(instruction) {
            undefined.flags |= Rflags::STATUS.bits();
        }
        undefined.destination = undefined_destination(program, instruction, &before, &after);
        let spreads =
            undefined.destination.is_some() || Rflags::from_bits_retain(after.rflags).intersects(TRAPS);
        if spreads && after.rip != program.end() {
            return Path::Cut(number + 1);
        }
        last = number;
    }
    Path::Defined(undefined, executed)
}

/// Flags with which other exceptions than the engine's would be seen.
const TRAPS: Rflags = Rflags::TF;

fn status(bits: u32) -> u64 {
    let rows = [
        (RflagsBits::OF, Rflags::OF),
        (RflagsBits::SF, Rflags::SF),
        (RflagsBits::ZF, Rflags::ZF),
        (RflagsBits::AF, Rflags::AF),
        (RflagsBits::CF, Rflags::CF),
        (RflagsBits::PF, Rflags::PF),
    ];
    rows.into_iter().filter(|&(bit, _)| bits & bit != 0).map(|(_, flag)| flag.bits()).sum()
}

/// What is undefined after an instruction that began with the registers `before`.
fn undefined_flags(instruction: &Instruction, before: &Registers, already: u64) -> u64 {
    if does_nothing(instruction, before) {
        return already;
    }
    let new = undefined::after_with(instruction, before).flags.bits();
    already & !status(instruction.rflags_modified()) | new
}

/// A shift by 0 and a string instruction without iterations leave the flags alone.
fn does_nothing(instruction: &Instruction, before: &Registers) -> bool {
    let rcx = before.gpr[Gpr::Rcx as usize];
    if instruction.is_string_instruction() {
        let mask = instruction.op_kinds().fold(u64::MAX, |mask, kind| match kind {
            OpKind::MemoryESEDI | OpKind::MemorySegESI | OpKind::MemorySegEDI => 0xffff_ffff,
            OpKind::MemoryESDI | OpKind::MemorySegSI | OpKind::MemorySegDI => 0xffff,
            _ => mask,
        });
        let repeated = instruction.has_rep_prefix() || instruction.has_repne_prefix();
        return repeated && rcx & mask == 0;
    }
    shift_count(instruction, rcx) == Some(0)
}

fn undefined_destination(
    program: &Program,
    instruction: &Instruction,
    before: &Registers,
    after: &Registers,
) -> Option<Unspecified> {
    if matches!(instruction.mnemonic(), Mnemonic::Fnstenv | Mnemonic::Fnsave) {
        // Where the last instruction was: processors differ in when they store it, and in its selectors.
        let (address, _) = memory_operand(instruction, before)?;
        let word = if instruction.memory_size().size() < 100 && instruction.memory_size().size() != 28 {
            2
        } else {
            4
        };
        let address = address - program.mode.base() + BASE + 3 * word;
        return Some(Unspecified::Memory { address, bytes: 4 * word });
    }
    if undefined::after_with(instruction, before).destination == Destination::Defined {
        return None;
    }
    let scans = matches!(instruction.mnemonic(), Mnemonic::Bsf | Mnemonic::Bsr);
    if scans && after.rflags & Rflags::ZF.bits() == 0 {
        return None;
    }
    Some(match instruction.op0_kind() {
        OpKind::Register => Unspecified::Gpr(instruction.op0_register().full_register().number()),
        _ => {
            let (address, bytes) = memory_operand(instruction, before)?;
            Unspecified::Memory { address: address - program.mode.base() + BASE, bytes }
        }
    })
}

/// C0 to C3.
const CONDITIONS: u16 = 0x4700;
/// C1.
const C1: u16 = 0x200;

fn is_pending(registers: &Registers) -> bool {
    registers.x87.status & 0x80 != 0
}

/// Bits of the x87 status word that the manual leaves undefined or that processors set in different ways: all after a
/// comparison with an exception that is not masked, and C1 after instructions that compute nothing.
fn undefined_conditions(instruction: &Instruction, after: &Registers) -> u16 {
    use Mnemonic as M;
    match instruction.mnemonic() {
        _ if is_pending(after) => CONDITIONS,
        M::Ffree | M::Ffreep | M::Fnop | M::Fcmovb | M::Fcmove | M::Fcmovbe | M::Fcmovu => C1,
        M::Fcmovnb | M::Fcmovne | M::Fcmovnbe | M::Fcmovnu => C1,
        M::Fincstp | M::Fdecstp | M::Fabs | M::Fchs | M::Fxch => C1,
        _ if writes_flags_from_x87(instruction) => C1,
        _ => 0,
    }
}

fn writes_flags_from_x87(instruction: &Instruction) -> bool {
    matches!(
        instruction.mnemonic(),
        Mnemonic::Fcomi | Mnemonic::Fcomip | Mnemonic::Fucomi | Mnemonic::Fucomip
    )
}

fn reads_conditions(instruction: &Instruction) -> bool {
    matches!(instruction.mnemonic(), Mnemonic::Fnstsw | Mnemonic::Fnstenv | Mnemonic::Fnsave)
}

/// The count of a shift or rotation as it is masked.
fn shift_count(instruction: &Instruction, rcx: u64) -> Option<u64> {
    use Mnemonic as M;
    let shifts = matches!(instruction.mnemonic(), M::Shl | M::Sal | M::Shr | M::Sar | M::Shld | M::Shrd);
    let rotates = matches!(instruction.mnemonic(), M::Rol | M::Ror | M::Rcl | M::Rcr);
    if !shifts && !rotates {
        return None;
    }
    let last = instruction.op_count() - 1;
    let count = match instruction.op_kind(last) {
        OpKind::Register => rcx,
        _ => instruction.immediate(last),
    };
    let bytes = match instruction.op0_kind() {
        OpKind::Register => instruction.op0_register().size(),
        _ => instruction.memory_size().size(),
    };
    Some(count & if bytes == 8 { 63 } else { 31 })
}

/// Address and size of an explicit memory operand.
pub(crate) fn memory_operand(instruction: &Instruction, registers: &Registers) -> Option<(u64, u64)> {
    let operand = (0..instruction.op_count()).find(|&operand| {
        !matches!(instruction.op_kind(operand), OpKind::Register)
            && instruction.op_kind(operand) >= OpKind::MemorySegSI
    })?;
    if instruction.mnemonic() == Mnemonic::Lea {
        return None;
    }
    let address = instruction.virtual_address(operand, 0, |register, _, _| {
        Some(match register {
            Register::FS => registers.fs_base,
            Register::GS => registers.gs_base,
            _ if register.is_segment_register() => 0,
            _ if register.is_gpr() => {
                let full = registers.gpr[register.full_register().number()];
                match register.size() {
                    1 => full & 0xff,
                    2 => full & 0xffff,
                    4 => full & 0xffff_ffff,
                    _ => full,
                }
            }
            _ => return None,
        })
    })?;
    Some((address, instruction.memory_size().size() as u64))
}

/// Whether all bytes of an operand are data.
pub(crate) fn is_data(mode: Mode, address: u64, bytes: u64) -> bool {
    (mode.data()..mode.end()).contains(&address) && mode.end() - address >= bytes
}
