//! Which status flags are overwritten before anyone can look at them.

use crate::decode::{self, FlagsNeeded};
use iced_x86::{ConditionCode, Instruction, Mnemonic, OpKind, RflagsBits};

/// Whether the flags of the first of these instructions of a block are needed.
///
/// They are not if later instructions of the block overwrite all of them, and until then nothing reads one of them
/// and nothing can stop, so that no fault, interrupt or observer sees them.
#[must_use]
pub(crate) fn of(instructions: &[Instruction]) -> FlagsNeeded {
    let Some((first, rest)) = instructions.split_first() else { return FlagsNeeded::Yes };
    let mut pending = possibly_written(first);
    for later in rest {
        if later.rflags_read() & pending != 0 || !cannot_stop(later) || !decode::is_modelled(later) {
            return FlagsNeeded::Yes;
        }
        pending &= !certainly_written(later);
        if pending == 0 {
            return FlagsNeeded::No;
        }
    }
    FlagsNeeded::Yes
}

/// Instructions on registers that always complete if they are modelled.
fn cannot_stop(instruction: &Instruction) -> bool {
    let register_only =
        instruction.op_kinds().all(|kind| matches!(kind, OpKind::Register) || is_immediate(kind));
    match instruction.mnemonic() {
        Mnemonic::Lea
        | Mnemonic::Nop
        | Mnemonic::Endbr64
        | Mnemonic::Clc
        | Mnemonic::Stc
        | Mnemonic::Cmc
        | Mnemonic::Cld
        | Mnemonic::Std
        | Mnemonic::Lahf
        | Mnemonic::Sahf => true,
        Mnemonic::Xchg | Mnemonic::Xadd | Mnemonic::Cmpxchg => register_only && is_general(instruction),
        // SETcc and CMOVcc; the jumps have other operands.
        _ if instruction.condition_code() != ConditionCode::None => register_only && is_general(instruction),
        Mnemonic::Add
        | Mnemonic::Adc
        | Mnemonic::Sub
        | Mnemonic::Sbb
        | Mnemonic::And
        | Mnemonic::Or
        | Mnemonic::Xor
        | Mnemonic::Cmp
        | Mnemonic::Test
        | Mnemonic::Inc
        | Mnemonic::Dec
        | Mnemonic::Neg
        | Mnemonic::Not
        | Mnemonic::Mov
        | Mnemonic::Movzx
        | Mnemonic::Movsx
        | Mnemonic::Movsxd
        | Mnemonic::Shl
        | Mnemonic::Sal
        | Mnemonic::Shr
        | Mnemonic::Sar
        | Mnemonic::Rol
        | Mnemonic::Ror
        | Mnemonic::Rcl
        | Mnemonic::Rcr
        | Mnemonic::Shld
        | Mnemonic::Shrd
        | Mnemonic::Rorx
        | Mnemonic::Sarx
        | Mnemonic::Shlx
        | Mnemonic::Shrx
        | Mnemonic::Mul
        | Mnemonic::Imul
        | Mnemonic::Mulx
        | Mnemonic::Adcx
        | Mnemonic::Adox
        | Mnemonic::Cbw
        | Mnemonic::Cwde
        | Mnemonic::Cdqe
        | Mnemonic::Cwd
        | Mnemonic::Cdq
        | Mnemonic::Cqo
        | Mnemonic::Bt
        | Mnemonic::Bts
        | Mnemonic::Btr
        | Mnemonic::Btc
        | Mnemonic::Bsf
        | Mnemonic::Bsr
        | Mnemonic::Popcnt
        | Mnemonic::Lzcnt
        | Mnemonic::Tzcnt
        | Mnemonic::Andn
        | Mnemonic::Bextr
        | Mnemonic::Blsi
        | Mnemonic::Blsmsk
        | Mnemonic::Blsr
        | Mnemonic::Bzhi
        | Mnemonic::Pdep
        | Mnemonic::Pext
        | Mnemonic::Crc32
        | Mnemonic::Bswap => register_only && is_general(instruction),
        _ => false,
    }
}

fn is_immediate(kind: OpKind) -> bool {
    matches!(
        kind,
        OpKind::Immediate8
            | OpKind::Immediate16
            | OpKind::Immediate32
            | OpKind::Immediate64
            | OpKind::Immediate8to16
            | OpKind::Immediate8to32
            | OpKind::Immediate8to64
            | OpKind::Immediate32to64
    )
}

fn is_general(instruction: &Instruction) -> bool {
    (0..instruction.op_count())
        .filter(|&operand| instruction.op_kind(operand) == OpKind::Register)
        .all(|operand| instruction.op_register(operand).is_gpr())
}

/// The flags that the handler of an instruction may write.
fn possibly_written(instruction: &Instruction) -> u32 {
    match instruction.mnemonic() {
        // The manual's list is empty for a count that comes round to 0.
        Mnemonic::Rcl | Mnemonic::Rcr => RflagsBits::CF | RflagsBits::OF,
        _ => instruction.rflags_modified(),
    }
}

/// The flags that the handler of an instruction writes whatever its operands are. A shift by 0 writes none, and some
/// handlers leave flags alone that the manual calls undefined.
fn certainly_written(instruction: &Instruction) -> u32 {
    match instruction.mnemonic() {
        Mnemonic::Shl | Mnemonic::Sal | Mnemonic::Shr | Mnemonic::Sar | Mnemonic::Rol | Mnemonic::Ror => {
            if counts(instruction, 1) {
                instruction.rflags_modified()
            } else {
                0
            }
        }
        Mnemonic::Shld | Mnemonic::Shrd => {
            if counts(instruction, 2) {
                instruction.rflags_modified()
            } else {
                0
            }
        }
        // A count that comes round to 0 keeps CF.
        Mnemonic::Rcl | Mnemonic::Rcr => {
            if counts(instruction, 1) {
                instruction.rflags_modified() | RflagsBits::OF
            } else {
                0
            }
        }
        Mnemonic::Mul | Mnemonic::Imul => RflagsBits::CF | RflagsBits::OF,
        Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc => RflagsBits::CF,
        Mnemonic::Lzcnt | Mnemonic::Tzcnt => instruction.rflags_modified() & !RflagsBits::OF,
        _ => instruction.rflags_modified(),
    }
}

/// Whether a shift has a count that is known not to be 0.
fn counts(instruction: &Instruction, operand: u32) -> bool {
    let mask = if instruction.op_register(0).is_gpr64() { 0x3f } else { 0x1f };
    is_immediate(instruction.op_kind(operand)) && instruction.immediate(operand) & mask != 0
}
