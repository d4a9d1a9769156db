//! Divergences: the smallest case that still shows one, and its text.

use super::agreement::Sides;
use super::defined::{self, Trimmed};
use super::draft::Case;
use super::shared::BASE;
use iced_x86::{Formatter, Instruction, IntelFormatter, OpKind};
use isa::registers::Gpr;
use std::fmt::Write;

/// Whether an operand is in memory.
pub(crate) fn names_memory(instruction: &Instruction) -> bool {
    instruction.op_kinds().any(|kind| kind >= OpKind::MemorySegSI)
}

/// Leaves out instructions and values as long as the sides still disagree; nothing if they agree now.
pub(crate) fn shrink(sides: &mut Sides, case: &Case) -> Option<(Trimmed, Vec<String>)> {
    let mut smallest = sides.disagreement(case)?;
    let mut number = smallest.0.case.drafts.len();
    while number > 0 {
        number -= 1;
        let mut candidate = smallest.0.case.clone();
        candidate.remove(number);
        if let Some(smaller) = sides.disagreement(&candidate) {
            smallest = smaller;
            number = number.min(smallest.0.case.drafts.len());
        }
    }
    for simplify in simplifications() {
        let mut candidate = smallest.0.case.clone();
        simplify(&mut candidate);
        if let Some(smaller) = sides.disagreement(&candidate) {
            smallest = smaller;
        }
    }
    Some(smallest)
}

type Simplification = Box<dyn Fn(&mut Case)>;

fn simplifications() -> Vec<Simplification> {
    let mut all: Vec<Simplification> = vec![
        Box::new(|case| case.contents.clear()),
        Box::new(|case| case.registers.rflags = 0x202),
        Box::new(|case| case.registers.mxcsr = 0x1f80),
        Box::new(|case| case.registers.mxcsr &= !0x3f),
        Box::new(|case| case.start = case.mode.base()),
    ];
    for number in 0..16 {
        all.push(Box::new(move |case| case.registers.gpr[number] = 0));
        all.push(Box::new(move |case| case.registers.xmm[number] = 0));
    }
    all
}

/// A divergence to read and to repeat.
pub(crate) fn text(trimmed: &Trimmed, differences: &[String], pristine: &[u8], seed: u64) -> String {
    let mut text = format!("in the batch of seed {seed:#x}:\n");
    let program = &trimmed.program;
    let mut formatter = IntelFormatter::new();
    for instruction in &program.instructions {
        let at = usize::try_from(instruction.ip() - program.start).unwrap_or(0);
        let bytes: String =
            program.bytes[at..at + instruction.len()].iter().map(|byte| format!("{byte:02x}")).collect();
        let mut line = String::new();
        formatter.format(instruction, &mut line);
        let _ = writeln!(text, "  {:#x}  {bytes:<24} {line}    ({:?})", instruction.ip(), instruction.code());
    }
    inputs(&mut text, trimmed, pristine);
    let _ = writeln!(text, "  undefined: {:x?}", trimmed.undefined);
    for difference in differences.iter().take(12) {
        let _ = writeln!(text, "  {difference}");
    }
    text
}

fn inputs(text: &mut String, trimmed: &Trimmed, pristine: &[u8]) {
    let registers = &trimmed.program.registers;
    for gpr in Gpr::ALL.into_iter().filter(|&gpr| registers.gpr[gpr as usize] != 0) {
        let _ = write!(text, "  {}={:#x}", gpr.name(), registers.gpr[gpr as usize]);
    }
    let _ = writeln!(text, "  rflags={:#x} mxcsr={:#x}", registers.rflags, registers.mxcsr);
    let _ = writeln!(text, "  fs={:#x} gs={:#x}", registers.fs_base, registers.gs_base);
    for (number, value) in registers.xmm.iter().enumerate().filter(|(_, value)| **value != 0) {
        let _ = writeln!(text, "  xmm{number}={value:#034x}");
    }
    for instruction in &trimmed.program.instructions {
        if let Some((address, bytes)) = defined::memory_operand(instruction, registers) {
            let bytes = bytes.clamp(1, 32);
            if defined::is_data(trimmed.program.mode, address, bytes) {
                let from = usize::try_from(address - trimmed.program.mode.base()).unwrap_or(0);
                let content = &pristine[from..from + usize::try_from(bytes).unwrap_or(0)];
                let _ = writeln!(text, "  [{address:#x}]={content:02x?} before patches");
            } else {
                let _ = writeln!(text, "  [{address:#x}] is not data");
            }
        }
    }
    for patch in &trimmed.program.patches {
        let _ = writeln!(
            text,
            "  [{:#x}]={:#x} ({} bytes)",
            BASE + u64::from(patch.offset),
            patch.value,
            patch.bytes
        );
    }
}
