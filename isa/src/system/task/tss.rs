//! Task-state segments of 16 and 32 bits (SDM Vol. 3A, figures 9-2 and 9-10).

use super::super::descriptor::{OperandSize, table_address};
use super::super::selector::Selector;
use super::Return;
use crate::address::LinearAddress;
use crate::cpu::{Cpu, Privilege, Stopped};
use crate::state::{Slot, State};

/// The last byte that a task-state segment must have.
pub(super) const fn last_byte(size: OperandSize) -> u64 {
    match size {
        OperandSize::Word => 0x2b,
        _ => 0x67,
    }
}

/// Where the saved part begins: EIP, EFLAGS, eight general-purpose registers, the segment registers, LDTR.
const fn saved(size: OperandSize) -> u64 {
    match size {
        OperandSize::Word => 0x0e,
        _ => 0x20,
    }
}

/// Segment registers in the image.
const fn segments(size: OperandSize) -> usize {
    match size {
        OperandSize::Word => 4,
        _ => 6,
    }
}

const CR3: u64 = 0x1c;
const TRAP: u64 = 0x64;
/// EIP, EFLAGS and the general-purpose registers.
const BEFORE_SEGMENTS: u64 = 10;

/// What a task-state segment loads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Image {
    /// CR3; a 16-bit one has none.
    pub(super) cr3: Option<u64>,
    pub(super) rip: u64,
    pub(super) flags: u64,
    /// EAX, ECX, EDX, EBX, ESP, EBP, ESI and EDI.
    pub(super) registers: [u64; 8],
    /// ES, CS, SS, DS, FS and GS; a 16-bit one has null for the last two.
    pub(super) segments: [Selector; 6],
    pub(super) ldtr: Selector,
    trap: u16,
}

impl Image {
    /// Reads it; the limit has been checked.
    pub(super) fn read<C: Cpu>(cpu: &mut C, size: OperandSize, base: u64) -> Result<Self, Stopped> {
        let at = |state: &State, index| field(state, size, base, index);
        let mut words = [0; 17];
        let count = usize::try_from(BEFORE_SEGMENTS).unwrap_or(0) + segments(size) + 1;
        for (index, word) in (0..).zip(&mut words[..count]) {
            let place = at(cpu.state(), index);
            *word = read_field(cpu, size, place)?;
        }
        let mut selectors = [Selector(0); 6];
        for (selector, &word) in selectors.iter_mut().zip(&words[10..10 + segments(size)]) {
            *selector = selector_in(word);
        }
        let (cr3, trap) = if size == OperandSize::Word { (None, 0) } else { extras(cpu, base)? };
        let mut registers = [0; 8];
        registers.copy_from_slice(&words[2..10]);
        let ldtr = selector_in(words[count - 1]);
        Ok(Self { cr3, rip: words[0], flags: words[1], registers, segments: selectors, ldtr, trap })
    }

    /// Whether the task asks for #DB when it is switched to.
    pub(super) const fn traps(&self) -> bool {
        self.trap & 1 != 0
    }
}

fn extras<C: Cpu>(cpu: &mut C, base: u64) -> Result<(Option<u64>, u16), Stopped> {
    let at = table_address(cpu.state(), base, CR3);
    let cr3: u32 = cpu.read_as(Privilege::Implicit, at)?;
    let at = table_address(cpu.state(), base, TRAP);
    Ok((Some(cr3.into()), cpu.read_as(Privilege::Implicit, at)?))
}

#[allow(clippy::cast_possible_truncation, reason = "a selector has 16 bits")]
const fn selector_in(word: u64) -> Selector {
    Selector(word as u16)
}

/// Where the field of a number in the saved part is.
fn field(state: &State, size: OperandSize, base: u64, index: u64) -> LinearAddress {
    table_address(state, base, saved(size) + index * size.bytes())
}

fn read_field<C: Cpu>(cpu: &mut C, size: OperandSize, at: LinearAddress) -> Result<u64, Stopped> {
    Ok(match size {
        OperandSize::Word => cpu.read_as::<u16>(Privilege::Implicit, at)?.into(),
        _ => cpu.read_as::<u32>(Privilege::Implicit, at)?.into(),
    })
}

#[allow(clippy::cast_possible_truncation, reason = "the size says how much is written")]
fn write_field<C: Cpu>(cpu: &mut C, size: OperandSize, at: LinearAddress, value: u64) -> Result<(), Stopped> {
    match size {
        OperandSize::Word => cpu.write_as(Privilege::Implicit, at, value as u16),
        _ => cpu.write_as(Privilege::Implicit, at, value as u32),
    }
}

/// Saves the current task: all but CR3, LDTR and the stacks of its inner levels, which it never changes.
pub(super) fn save<C: Cpu>(cpu: &mut C, size: OperandSize, base: u64, back: Return) -> Result<(), Stopped> {
    let values = [back.rip, back.flags];
    for (index, value) in (0..).zip(values) {
        let at = field(cpu.state(), size, base, index);
        write_field(cpu, size, at, value)?;
    }
    for (index, &slot) in (2..BEFORE_SEGMENTS).zip(&Slot::ALL) {
        let (at, value) = (field(cpu.state(), size, base, index), cpu.state().slot(slot));
        write_field(cpu, size, at, value)?;
    }
    for (index, register) in (BEFORE_SEGMENTS..).zip(super::SEGMENTS).take(segments(size)) {
        let (at, value) = (field(cpu.state(), size, base, index), cpu.state().selector(register));
        cpu.write_as(Privilege::Implicit, at, value)?;
    }
    Ok(())
}
