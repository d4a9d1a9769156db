//! What a sequence leaves, on either side.

use super::shared::{BASE, CODE_SIZE, DATA, LINE, Line, SIZE};
use iced_x86::{Instruction, Mnemonic};
use isa::registers::Registers;

/// Why a sequence ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// At its end.
    Completed,
    /// With an exception or trap; the address is that of a page fault.
    Exception { vector: u8, error_code: u64, address: u64 },
    /// In a way that the processor does not know.
    Other(String),
}

/// What a sequence leaves.
#[derive(Clone)]
pub(crate) struct Outcome {
    pub(crate) end: End,
    pub(crate) registers: Registers,
    /// Lines of data that are not pristine, by address.
    pub(crate) lines: Vec<Line>,
}

impl Outcome {
    /// The outcome of a sequence that took the process with it.
    pub(crate) fn lost(reason: String) -> Self {
        Self { end: End::Other(reason), registers: Registers::default(), lines: Vec::new() }
    }

    /// The byte at a data address.
    pub(crate) fn byte(&self, address: u64, pristine: &[u8]) -> u8 {
        let offset = usize::try_from(address - BASE).unwrap_or(0);
        let line = self.lines.iter().find(|line| line.offset as usize == offset / LINE * LINE);
        line.map_or(pristine[offset], |line| line.bytes[offset % LINE])
    }
}

/// Lists the lines of data that are not pristine and makes all of the memory pristine.
pub(crate) fn take_lines(memory: &mut [u8], pristine: &[u8]) -> Vec<Line> {
    let mut lines = Vec::new();
    memory[..CODE_SIZE].copy_from_slice(&pristine[..CODE_SIZE]);
    for page in (CODE_SIZE..SIZE).step_by(4096) {
        if memory[page..page + 4096] == pristine[page..page + 4096] {
            continue;
        }
        for offset in (page..page + 4096).step_by(LINE) {
            let (found, before) = (&mut memory[offset..offset + LINE], &pristine[offset..offset + LINE]);
            if found != before {
                let mut bytes = [0; LINE];
                bytes.copy_from_slice(found);
                lines.push(Line { offset: u32::try_from(offset).unwrap_or(0), bytes });
                found.copy_from_slice(before);
            }
        }
    }
    lines
}

/// How an end is compared.
///
/// - Of faults in one class any may come first (SDM Vol. 3A, table 7-2): #SS(0) of the place of an operand, or #GP(0)
///   because it is also misaligned; #AC(0) or either of these, or #PF.
/// - Linux says of kernel addresses that they are present.
/// - Of an FXSAVE area on two pages any byte may be the one that is missing.
/// - HLT is refused at user level, which the flat machine does not know.
pub(crate) fn same_end(at: Option<&Instruction>, processor: &End, engine: &End) -> bool {
    let (
        End::Exception { vector, error_code, address },
        End::Exception { vector: found, error_code: found_code, address: found_address },
    ) = (processor, engine)
    else {
        return processor == engine;
    };
    let restores_area = at
        .is_some_and(|instruction| matches!(instruction.mnemonic(), Mnemonic::Fxrstor | Mnemonic::Fxrstor64));
    let distance = address.abs_diff(*found_address);
    let same_address = distance == 0 || (restores_area && distance < 512);
    match (vector, found) {
        (12, 13) | (13, 12) => *error_code == 0 && *found_code == 0,
        (12..=14, 17) | (17, 12..=14) => true,
        (14, 14) if *found_address >> 47 != 0 => same_address && error_code & !1 == *found_code,
        (14, 14) => same_address && error_code == found_code,
        _ => processor == engine,
    }
}

/// Whether a sequence stored into its own pages of code, which the flat machine allows.
pub(crate) fn wrote_code(end: &End) -> bool {
    matches!(*end, End::Exception { vector: 14, error_code, address }
        if error_code & 1 != 0 && (BASE..DATA).contains(&address))
}
