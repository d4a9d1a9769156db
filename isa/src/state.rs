//! The register state in the form that handlers compute with.

use crate::flags::Flags;
use crate::float::Collection;
use crate::registers::{Gpr, Registers, X87};
use crate::segment::{AccessRights, Segment, SegmentRegister};
use crate::system::{Hidden, System};
use crate::width::Width;

/// A slot of the register file that an operand or an address may name.
///
/// Beside the sixteen general-purpose registers there are slots that make address computation free of
/// branches: the instruction pointer, a constant zero for an absent base or index, and the segment bases.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs, reason = "the names are the manual's")]
pub enum Slot {
    Rax,
    Rcx,
    Rdx,
    Rbx,
    Rsp,
    Rbp,
    Rsi,
    Rdi,
    R8,
    R9,
    R10,
    R11,
    R12,
    R13,
    R14,
    R15,
    /// The offset in CS at which the current block starts; the RIP that addresses and branches add to.
    Rip,
    /// Always 0.
    Zero,
    FsBase,
    GsBase,
    EsBase,
    CsBase,
    SsBase,
    DsBase,
}

impl Slot {
    const COUNT: usize = 24;
    /// The general-purpose registers, by encoding.
    pub const GENERAL: [Self; 16] = {
        let mut general = [Self::Zero; 16];
        let mut number = 0;
        while number < 16 {
            general[number] = Self::ALL[number];
            number += 1;
        }
        general
    };
    /// The general-purpose slots and the others, by number.
    pub(crate) const ALL: [Self; Self::COUNT] = [
        Self::Rax,
        Self::Rcx,
        Self::Rdx,
        Self::Rbx,
        Self::Rsp,
        Self::Rbp,
        Self::Rsi,
        Self::Rdi,
        Self::R8,
        Self::R9,
        Self::R10,
        Self::R11,
        Self::R12,
        Self::R13,
        Self::R14,
        Self::R15,
        Self::Rip,
        Self::Zero,
        Self::FsBase,
        Self::GsBase,
        Self::EsBase,
        Self::CsBase,
        Self::SsBase,
        Self::DsBase,
    ];
}

impl From<Gpr> for Slot {
    fn from(gpr: Gpr) -> Self {
        Self::ALL[gpr as usize]
    }
}

/// Which byte of a register an 8-bit operand is: AL..R15B, or AH, CH, DH, BH.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Byte {
    /// Bits 7:0.
    Low,
    /// Bits 15:8.
    High,
}

/// All registers of a processor.
#[derive(Clone, Debug)]
pub struct State {
    slots: [u64; Slot::COUNT],
    /// RFLAGS.
    pub flags: Flags,
    /// XMM0 to XMM15.
    pub xmm: [u128; 16],
    /// SSE control and status. While the engine runs, exception flags may still be in the host's register: see
    /// [`crate::float`].
    pub mxcsr: u32,
    pub(crate) float_flags: Collection,
    /// x87 and MMX state.
    pub x87: X87,
    /// What a user-level program does not see.
    pub system: System,
    /// Instructions that the engine may still run before it returns; negative when someone took the rest away while a
    /// block ran.
    pub remaining: i64,
}

impl Default for State {
    fn default() -> Self {
        Self::from(&Registers::default())
    }
}

impl State {
    /// The 64-bit content of a slot.
    #[inline(always)]
    #[must_use]
    pub fn slot(&self, slot: Slot) -> u64 {
        self.slots[slot as usize]
    }

    /// Replaces the 64-bit content of a slot other than [`Slot::Zero`].
    #[inline(always)]
    pub fn set_slot(&mut self, slot: Slot, value: u64) {
        debug_assert!(slot != Slot::Zero, "the zero slot is a constant");
        self.slots[slot as usize] = value;
    }

    /// The low bits of a register.
    #[inline(always)]
    #[must_use]
    pub fn get<W: Width>(&self, slot: Slot) -> W {
        W::truncate(self.slot(slot))
    }

    /// Writes a result of width `W` into a register, with the rule of that width for the other bits.
    #[inline(always)]
    pub fn put<W: Width>(&mut self, slot: Slot, value: W) {
        let merged = value.merge(self.slot(slot));
        self.set_slot(slot, merged);
    }

    /// The instruction pointer.
    #[inline(always)]
    #[must_use]
    pub fn rip(&self) -> u64 {
        self.slot(Slot::Rip)
    }

    /// Moves the instruction pointer.
    #[inline(always)]
    pub fn set_rip(&mut self, rip: u64) {
        self.set_slot(Slot::Rip, rip);
    }

    /// A segment register with its hidden part.
    #[must_use]
    pub fn segment(&self, register: SegmentRegister) -> Segment {
        let Hidden { selector, limit, rights } = self.system.segments[register as usize];
        Segment { selector, base: self.slot(register.base()), limit, rights }
    }

    /// Replaces a segment register and its hidden part.
    pub fn set_segment(&mut self, register: SegmentRegister, segment: Segment) {
        let Segment { selector, base, limit, rights } = segment;
        self.set_slot(register.base(), base);
        self.system.segments[register as usize] = Hidden { selector, limit, rights };
    }

    /// The visible part of a segment register.
    #[must_use]
    pub fn selector(&self, register: SegmentRegister) -> u16 {
        self.system.segments[register as usize].selector
    }

    /// The rights of a segment.
    #[must_use]
    pub fn rights(&self, register: SegmentRegister) -> AccessRights {
        self.system.segments[register as usize].rights
    }

    /// The architectural registers as plain data.
    #[must_use]
    pub fn registers(&self) -> Registers {
        let mut gpr = [0; 16];
        gpr.copy_from_slice(&self.slots[..16]);
        Registers {
            gpr,
            rip: self.rip(),
            rflags: self.flags.get(),
            fs_base: self.slot(Slot::FsBase),
            gs_base: self.slot(Slot::GsBase),
            mxcsr: self.mxcsr,
            xmm: self.xmm,
            x87: self.x87,
        }
    }
}

impl PartialEq<Registers> for State {
    /// Whether the architectural registers have these values, without building them.
    fn eq(&self, registers: &Registers) -> bool {
        let Registers { gpr, rip, rflags, fs_base, gs_base, mxcsr, xmm, x87 } = registers;
        self.slots[..16] == *gpr
            && self.rip() == *rip
            && self.flags.get() == *rflags
            && self.slot(Slot::FsBase) == *fs_base
            && self.slot(Slot::GsBase) == *gs_base
            && self.mxcsr == *mxcsr
            && self.xmm == *xmm
            && self.x87 == *x87
    }
}

impl From<&Registers> for State {
    fn from(registers: &Registers) -> Self {
        let mut slots = [0; Slot::COUNT];
        slots[..16].copy_from_slice(&registers.gpr);
        slots[Slot::Rip as usize] = registers.rip;
        slots[Slot::FsBase as usize] = registers.fs_base;
        slots[Slot::GsBase as usize] = registers.gs_base;
        Self {
            slots,
            flags: Flags::new(registers.rflags),
            xmm: registers.xmm,
            mxcsr: registers.mxcsr,
            float_flags: Collection::EachOperation,
            x87: registers.x87,
            system: System::default(),
            remaining: 0,
        }
    }
}
