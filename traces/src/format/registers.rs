//! Registers as bytes, and the set of registers that a step changed.

use super::bytes::Cursor;
use crate::error::Malformed;
use bitflags::bitflags;
use isa::registers::{Registers, X87};

bitflags! {
    /// Registers other than the general-purpose and XMM registers.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Groups: u8 {
        /// RFLAGS.
        const RFLAGS = 1 << 0;
        /// The base of FS.
        const FS_BASE = 1 << 1;
        /// The base of GS.
        const GS_BASE = 1 << 2;
        /// MXCSR.
        const MXCSR = 1 << 3;
        /// The x87 state.
        const X87 = 1 << 4;
    }
}

/// A set of registers; RIP is never in it because every step writes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Written {
    /// Bit i is general-purpose register i by its encoding.
    pub gpr: u16,
    /// Bit i is XMMi.
    pub xmm: u16,
    /// The others.
    pub groups: Groups,
}

impl Written {
    /// The registers whose values differ.
    #[must_use]
    pub fn between(before: &Registers, after: &Registers) -> Self {
        let mut groups = Groups::empty();
        groups.set(Groups::RFLAGS, before.rflags != after.rflags);
        groups.set(Groups::FS_BASE, before.fs_base != after.fs_base);
        groups.set(Groups::GS_BASE, before.gs_base != after.gs_base);
        groups.set(Groups::MXCSR, before.mxcsr != after.mxcsr);
        groups.set(Groups::X87, before.x87 != after.x87);
        let differ = |mask: u16, i: usize, is: bool| mask | (u16::from(is) << i);
        Self {
            gpr: (0..16).fold(0, |mask, i| differ(mask, i, before.gpr[i] != after.gpr[i])),
            xmm: (0..16).fold(0, |mask, i| differ(mask, i, before.xmm[i] != after.xmm[i])),
            groups,
        }
    }

    /// The registers that are in either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self { gpr: self.gpr | other.gpr, xmm: self.xmm | other.xmm, groups: self.groups.union(other.groups) }
    }

    pub(crate) fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.gpr.to_le_bytes());
        out.extend_from_slice(&self.xmm.to_le_bytes());
        out.push(self.groups.bits());
    }

    pub(crate) fn get(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        let gpr = u16::from_le_bytes(cursor.array()?);
        let xmm = u16::from_le_bytes(cursor.array()?);
        let bits = cursor.byte()?;
        let groups = Groups::from_bits(bits).ok_or_else(|| cursor.expected("a known set of registers"))?;
        Ok(Self { gpr, xmm, groups })
    }
}

/// The numbers of the bits that are set in `mask`, lowest first.
#[inline]
pub(crate) fn bits(mut mask: u16) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        (mask != 0).then(|| {
            let bit = mask.trailing_zeros() as usize;
            mask &= mask - 1;
            bit
        })
    })
}

pub(crate) fn put_registers(out: &mut Vec<u8>, registers: &Registers) {
    out.extend_from_slice(&registers.rip.to_le_bytes());
    put_changes(out, ALL, registers);
}

pub(crate) fn get_registers(cursor: &mut Cursor<'_>) -> Result<Registers, Malformed> {
    let mut registers = Registers { rip: u64::from_le_bytes(cursor.array()?), ..Registers::default() };
    get_changes(cursor, ALL, &mut registers)?;
    Ok(registers)
}

const ALL: Written = Written { gpr: u16::MAX, xmm: u16::MAX, groups: Groups::all() };

/// Appends the values of the registers in `written`.
pub(crate) fn put_changes(out: &mut Vec<u8>, written: Written, registers: &Registers) {
    for i in bits(written.gpr) {
        out.extend_from_slice(&registers.gpr[i].to_le_bytes());
    }
    if written.groups.contains(Groups::RFLAGS) {
        out.extend_from_slice(&registers.rflags.to_le_bytes());
    }
    put_rare(out, written.groups, registers);
    for i in bits(written.xmm) {
        out.extend_from_slice(&registers.xmm[i].to_le_bytes());
    }
}

/// Reads what [`put_changes`] wrote.
pub(crate) fn get_changes(
    cursor: &mut Cursor<'_>,
    written: Written,
    registers: &mut Registers,
) -> Result<(), Malformed> {
    for i in bits(written.gpr) {
        registers.gpr[i] = u64::from_le_bytes(cursor.array()?);
    }
    if written.groups.contains(Groups::RFLAGS) {
        registers.rflags = u64::from_le_bytes(cursor.array()?);
    }
    get_rare(cursor, written.groups, registers)?;
    for i in bits(written.xmm) {
        registers.xmm[i] = u128::from_le_bytes(cursor.array()?);
    }
    Ok(())
}

/// Appends the registers of `groups` that few instructions write: all but RFLAGS.
pub(crate) fn put_rare(out: &mut Vec<u8>, groups: Groups, registers: &Registers) {
    if groups.contains(Groups::FS_BASE) {
        out.extend_from_slice(&registers.fs_base.to_le_bytes());
    }
    if groups.contains(Groups::GS_BASE) {
        out.extend_from_slice(&registers.gs_base.to_le_bytes());
    }
    if groups.contains(Groups::MXCSR) {
        out.extend_from_slice(&registers.mxcsr.to_le_bytes());
    }
    if groups.contains(Groups::X87) {
        put_x87(out, &registers.x87);
    }
}

/// Reads what [`put_rare`] wrote.
pub(crate) fn get_rare(
    cursor: &mut Cursor<'_>,
    groups: Groups,
    registers: &mut Registers,
) -> Result<(), Malformed> {
    if groups.contains(Groups::FS_BASE) {
        registers.fs_base = u64::from_le_bytes(cursor.array()?);
    }
    if groups.contains(Groups::GS_BASE) {
        registers.gs_base = u64::from_le_bytes(cursor.array()?);
    }
    if groups.contains(Groups::MXCSR) {
        registers.mxcsr = u32::from_le_bytes(cursor.array()?);
    }
    if groups.contains(Groups::X87) {
        registers.x87 = get_x87(cursor)?;
    }
    Ok(())
}

fn put_x87(out: &mut Vec<u8>, x87: &X87) {
    out.extend_from_slice(&x87.control.to_le_bytes());
    out.extend_from_slice(&x87.status.to_le_bytes());
    out.push(x87.tag);
    out.extend_from_slice(&x87.opcode.to_le_bytes());
    out.extend_from_slice(&x87.instruction_pointer.to_le_bytes());
    out.extend_from_slice(&x87.data_pointer.to_le_bytes());
    for st in &x87.st {
        out.extend_from_slice(&st.to_le_bytes()[..10]);
    }
}

fn get_x87(cursor: &mut Cursor<'_>) -> Result<X87, Malformed> {
    let mut x87 = X87 {
        control: u16::from_le_bytes(cursor.array()?),
        status: u16::from_le_bytes(cursor.array()?),
        tag: cursor.byte()?,
        opcode: u16::from_le_bytes(cursor.array()?),
        instruction_pointer: u64::from_le_bytes(cursor.array()?),
        data_pointer: u64::from_le_bytes(cursor.array()?),
        st: [0; 8],
    };
    for st in &mut x87.st {
        let mut bytes = [0; 16];
        bytes[..10].copy_from_slice(&cursor.array::<10>()?);
        *st = u128::from_le_bytes(bytes);
    }
    Ok(x87)
}
