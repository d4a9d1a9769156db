//! Differences between the two sides.

use super::defined::{Undefined, Unspecified};
use super::draft::Program;
use super::mode::Mode;
use super::outcome::{self, End, Outcome};
use super::shared::{BASE, LINE};
use iced_x86::{Code, Instruction, Mnemonic};
use isa::flags::Rflags;
use isa::registers::{Gpr, Registers};
use std::collections::BTreeSet;

/// Why a difference is none of the engine's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Excuse {
    /// The flat machine allows stores into code.
    WroteCode,
    /// Bit 17 of MXCSR exists on AMD processors (misaligned SSE) and is reserved on Intel's.
    MisalignedSseBit,
    /// MASKMOVDQU with a mask of 0 may fault or not (SDM Vol. 2B, MASKMOVDQU).
    EmptyMask,
    /// MOVSXD to 16 bits reads 32 bits of memory on AMD processors and 16 on Intel's.
    WideRead,
    /// An indirect call checks its target before it pushes (SDM Vol. 2A, CALL); AMD processors push first.
    PushBeforeTarget,
    /// POPA, FLDENV and FRSTOR that fault in the middle may have loaded registers; they can be started again either way.
    PartOfLoad,
    /// Of the 512 bytes of an FXSAVE area AMD processors want those in the segment that have a meaning, and the smaller
    /// areas may go round the end of 64 KiB.
    EndOfArea,
    /// Operands of more than 8 bytes may raise #AC where they are not aligned (SDM Vol. 3A, 7.15).
    WideAlignment,
}

/// Whether the outcomes need not agree.
pub(crate) fn excuse(program: &Program, processor: &Outcome, engine: &Outcome) -> Option<Excuse> {
    if outcome::wrote_code(&processor.end) {
        return Some(Excuse::WroteCode);
    }
    // The instruction at which one side only faulted; the other may have faulted at a later one.
    let only = |one: &Outcome, other: &Outcome, which| {
        let faulted = matches!(one.end, End::Exception { vector, .. } if vector == which);
        let differs = one.end != other.end || one.registers.rip != other.registers.rip;
        let number = program.number_at(one.registers.rip).filter(|_| faulted && differs)?;
        Some(program.instructions[number])
    };
    if let Some(instruction) = only(engine, processor, 13) {
        let loads_mxcsr =
            matches!(instruction.mnemonic(), Mnemonic::Ldmxcsr | Mnemonic::Fxrstor | Mnemonic::Fxrstor64);
        if loads_mxcsr && processor.registers.mxcsr >> 17 & 1 == 1 {
            return Some(Excuse::MisalignedSseBit);
        }
        let pushes = instruction.is_call_near_indirect() && processor.registers.rip == engine.registers.rip;
        if pushes {
            return Some(Excuse::PushBeforeTarget);
        }
    }
    let at = program.number_at(processor.registers.rip).map(|number| program.instructions[number].mnemonic());
    let stopped = processor.end != End::Completed && processor.end == engine.end;
    if stopped && matches!(at, Some(Mnemonic::Popa | Mnemonic::Popad | Mnemonic::Fldenv | Mnemonic::Frstor)) {
        return Some(Excuse::PartOfLoad);
    }
    if only(processor, engine, 17).is_some_and(|instruction| is_wide(&instruction)) {
        return Some(Excuse::WideAlignment);
    }
    let is_restore = |instruction: Instruction| {
        use Mnemonic as M;
        matches!(instruction.mnemonic(), M::Fxrstor | M::Frstor | M::Fldenv | M::Fnsave | M::Fnstenv)
    };
    if program.mode == Mode::Bits16
        && [12, 13].into_iter().filter_map(|v| only(engine, processor, v)).any(is_restore)
    {
        return Some(Excuse::EndOfArea);
    }
    let instruction = only(processor, engine, 14)?;
    let mask = processor.registers.xmm[instruction.op2_register().number() & 15];
    match instruction.code() {
        Code::Maskmovdqu_rDI_xmm_xmm if mask & SIGNS == 0 => Some(Excuse::EmptyMask),
        Code::Movsxd_r16_rm16 => Some(Excuse::WideRead),
        _ => None,
    }
}

/// Whether the memory operand has more than 8 bytes, or MOVSXD reads more of it than the manual says.
fn is_wide(instruction: &Instruction) -> bool {
    let area = matches!(instruction.mnemonic(), Mnemonic::Fxrstor | Mnemonic::Fxrstor64);
    area || instruction.memory_size().size() > 8
        || matches!(instruction.code(), Code::Movsxd_r16_rm16 | Code::Maskmovdqu_rDI_xmm_xmm)
}

/// Bit 7 of each byte.
const SIGNS: u128 = 0x8080_8080_8080_8080_8080_8080_8080_8080;

/// Everything in which the engine differs from the processor, one line each.
pub(crate) fn differences(
    program: &Program,
    undefined: &Undefined,
    processor: &Outcome,
    engine: &Outcome,
    pristine: &[u8],
) -> Vec<String> {
    let mut found = Vec::new();
    let at = program.number_at(processor.registers.rip).map(|number| &program.instructions[number]);
    if !outcome::same_end(at, &processor.end, &engine.end) {
        found.push(format!("end: processor {:x?}, engine {:x?}", processor.end, engine.end));
    }
    let mut registers = processor.registers;
    if program.mode == Mode::Bits16 {
        // IRET to a 16-bit stack leaves bits 63:32 of what the kernel had in RSP.
        registers.gpr[Gpr::Rsp as usize] &= 0xffff_ffff;
    }
    compare_registers(undefined, &registers, &engine.registers, &mut found);
    compare_memory(undefined, processor, engine, pristine, &mut found);
    found
}

fn compare_registers(
    undefined: &Undefined,
    processor: &Registers,
    engine: &Registers,
    found: &mut Vec<String>,
) {
    let mut check = |name: &str, expected: u128, actual: u128| {
        if expected != actual {
            found.push(format!("{name}: processor {expected:#x}, engine {actual:#x}"));
        }
    };
    for gpr in Gpr::ALL {
        let number = gpr as usize;
        if undefined.destination != Some(Unspecified::Gpr(number)) {
            check(gpr.name(), processor.gpr[number].into(), engine.gpr[number].into());
        }
    }
    check("rip", processor.rip.into(), engine.rip.into());
    // A fault stores RF as 1 in the image of RFLAGS.
    let ignored = undefined.flags | Rflags::RF.bits();
    check("rflags", (processor.rflags & !ignored).into(), (engine.rflags & !ignored).into());
    check("fs base", processor.fs_base.into(), engine.fs_base.into());
    check("gs base", processor.gs_base.into(), engine.gs_base.into());
    check("mxcsr", processor.mxcsr.into(), engine.mxcsr.into());
    for number in 0..16 {
        check(&format!("xmm{number}"), processor.xmm[number], engine.xmm[number]);
    }
    check("x87 control", processor.x87.control.into(), engine.x87.control.into());
    let status = |registers: &Registers| u128::from(registers.x87.status & !undefined.conditions);
    check("x87 status", status(processor), status(engine));
    check("x87 tag", processor.x87.tag.into(), engine.x87.tag.into());
    for number in 0..8 {
        check(&format!("st{number}"), processor.x87.st[number], engine.x87.st[number]);
    }
}

fn compare_memory(
    undefined: &Undefined,
    processor: &Outcome,
    engine: &Outcome,
    pristine: &[u8],
    found: &mut Vec<String>,
) {
    if processor.lines == engine.lines {
        return;
    }
    let ignored = match undefined.destination {
        Some(Unspecified::Memory { address, bytes }) => address..address + bytes,
        _ => 0..0,
    };
    let lines: BTreeSet<u64> =
        processor.lines.iter().chain(&engine.lines).map(|line| BASE + u64::from(line.offset)).collect();
    let addresses = lines.into_iter().flat_map(|line| line..line + LINE as u64);
    for address in addresses.filter(|address| !ignored.contains(address)) {
        let (expected, actual) = (processor.byte(address, pristine), engine.byte(address, pristine));
        if expected != actual {
            found.push(format!("[{address:#x}]: processor {expected:#04x}, engine {actual:#04x}"));
        }
    }
}
