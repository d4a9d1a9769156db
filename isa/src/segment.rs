//! Segment registers: the visible selector and the hidden part (SDM Vol. 3A, 3.4.3).

use crate::address::{AccessKind, LinearAddress};
use crate::cpu::{Stop, Stopped};
use crate::event::{Exception, Vector};
use crate::state::{Slot, State};
use bitflags::bitflags;

/// A segment register, by its encoding (SDM Vol. 2A, table B-8).
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs, reason = "the names are the manual's")]
pub enum SegmentRegister {
    Es,
    Cs,
    Ss,
    Ds,
    Fs,
    Gs,
}

impl SegmentRegister {
    /// All six, in encoding order.
    pub const ALL: [Self; 6] = [Self::Es, Self::Cs, Self::Ss, Self::Ds, Self::Fs, Self::Gs];

    /// The slot of its base.
    #[inline(always)]
    #[must_use]
    pub const fn base(self) -> Slot {
        match self {
            Self::Es => Slot::EsBase,
            Self::Cs => Slot::CsBase,
            Self::Ss => Slot::SsBase,
            Self::Ds => Slot::DsBase,
            Self::Fs => Slot::FsBase,
            Self::Gs => Slot::GsBase,
        }
    }

    /// The register whose base is in this slot.
    #[must_use]
    pub const fn of_base(slot: Slot) -> Option<Self> {
        Some(match slot {
            Slot::EsBase => Self::Es,
            Slot::CsBase => Self::Cs,
            Slot::SsBase => Self::Ss,
            Slot::DsBase => Self::Ds,
            Slot::FsBase => Self::Fs,
            Slot::GsBase => Self::Gs,
            _ => return None,
        })
    }
}

bitflags! {
    /// The access rights of a segment, in the format of the VMCS (SDM Vol. 3C, table 27-2): bits 15:8 and 23:20 of the
    /// upper half of a descriptor, shifted right by 8.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct AccessRights: u32 {
        /// Of a code or data segment: it has been accessed.
        const ACCESSED = 1 << 0;
        /// Of a data segment: it may be written.
        const WRITABLE = 1 << 1;
        /// Of a code segment: it may be read.
        const READABLE = 1 << 1;
        /// Of a data segment: it expands down.
        const EXPAND_DOWN = 1 << 2;
        /// Of a code segment: it is conforming.
        const CONFORMING = 1 << 2;
        /// Of a code or data segment: it is code.
        const CODE = 1 << 3;
        /// S: it is a code or data segment.
        const CODE_OR_DATA = 1 << 4;
        /// The descriptor privilege level.
        const DPL = 3 << 5;
        /// P: present.
        const PRESENT = 1 << 7;
        /// AVL: for software.
        const AVAILABLE = 1 << 12;
        /// L: 64-bit code.
        const LONG = 1 << 13;
        /// D/B: 32-bit code, stack pointer or upper bound.
        const DEFAULT_BIG = 1 << 14;
        /// G: the limit is in pages.
        const GRANULARITY = 1 << 15;
        /// No segment: a null selector was loaded.
        const UNUSABLE = 1 << 16;
    }
}

impl AccessRights {
    /// The type, bits 3:0.
    #[must_use]
    pub const fn segment_type(self) -> u8 {
        (self.bits() & 0xf) as u8
    }

    /// The descriptor privilege level.
    #[must_use]
    pub const fn dpl(self) -> u8 {
        (self.bits() >> 5 & 3) as u8
    }
}

/// A segment register with its hidden part.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Segment {
    /// The visible part.
    pub selector: u16,
    /// The address of its first byte.
    pub base: u64,
    /// The last offset in bytes, granularity applied; of one that expands down the last one that is not part of it.
    pub limit: u32,
    /// The rights.
    pub rights: AccessRights,
}

impl Segment {
    /// What loading a null selector leaves.
    pub const UNUSABLE: Self = Self { selector: 0, base: 0, limit: 0, rights: AccessRights::UNUSABLE };

    /// A segment as real-address mode and virtual-8086 mode have them, for reading and writing (SDM Vol. 3A, 22.1.1).
    #[must_use]
    pub fn real(selector: u16) -> Self {
        let rights = AccessRights::from_bits_retain(0x93);
        Self { selector, base: u64::from(selector) << 4, limit: 0xffff, rights }
    }

    /// A present segment that covers 4 GiB from 0: of type 3 (data) or 11 (code) with `rights` beside.
    #[must_use]
    pub fn flat(selector: u16, rights: AccessRights) -> Self {
        let rights = rights | AccessRights::GRANULARITY | AccessRights::from_bits_retain(0x93);
        Self { selector, base: 0, limit: u32::MAX, rights }
    }
}

/// GDTR or IDTR.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct DescriptorTable {
    /// The address of the first byte.
    pub base: u64,
    /// The last offset.
    pub limit: u16,
}

impl Segment {
    /// Whether an access of `bytes` bytes, at least one, at `offset` is inside the limit (SDM Vol. 3A, 6.3).
    #[must_use]
    pub fn covers(&self, offset: u64, bytes: usize) -> bool {
        let Some(last) = offset.checked_add(bytes as u64 - 1) else { return false };
        if self.expands_down() {
            let upper = if self.rights.contains(AccessRights::DEFAULT_BIG) { 0xffff_ffff } else { 0xffff };
            offset > u64::from(self.limit) && last <= upper
        } else {
            last <= u64::from(self.limit)
        }
    }

    fn expands_down(&self) -> bool {
        !self.rights.contains(AccessRights::CODE) && self.rights.contains(AccessRights::EXPAND_DOWN)
    }

    /// Whether the type allows a data access (SDM Vol. 3A, 6.4).
    #[must_use]
    pub fn allows(&self, kind: AccessKind) -> bool {
        let code = self.rights.contains(AccessRights::CODE);
        match kind {
            _ if self.rights.contains(AccessRights::UNUSABLE) => false,
            AccessKind::Read => !code || self.rights.contains(AccessRights::READABLE),
            AccessKind::Write => !code && self.rights.contains(AccessRights::WRITABLE),
            AccessKind::Execute => code,
        }
    }

    /// The linear address of an access outside 64-bit mode, if type and limit allow it.
    #[must_use]
    pub fn linear(&self, offset: u64, bytes: usize, kind: AccessKind) -> Option<LinearAddress> {
        let allowed = self.allows(kind) && self.covers(offset, bytes);
        allowed.then(|| LinearAddress(self.base.wrapping_add(offset) & 0xffff_ffff))
    }
}

impl State {
    /// The linear address of an access through a segment register outside 64-bit mode, given by the slot of its base.
    ///
    /// # Errors
    ///
    /// #SS(0) when the stack segment refuses it, else #GP(0).
    pub fn linear_in_segment(
        &self,
        base: Slot,
        offset: u64,
        bytes: usize,
        kind: AccessKind,
    ) -> Result<LinearAddress, Stopped> {
        let register = SegmentRegister::of_base(base).unwrap_or(SegmentRegister::Ds);
        if let Some(at) = self.segment(register).linear(offset, bytes, kind) {
            return Ok(at);
        }
        let vector =
            if register == SegmentRegister::Ss { Vector::StackFault } else { Vector::GeneralProtection };
        Err(Stop::Exception(Exception::with_code(vector, 0)).into())
    }
}
