//! What the meaning of code bytes depends on: the mode.

use crate::address::LinearAddress;
use crate::control::{Cr0, Cr4, Efer};
use crate::cpu::{Stop, Stopped};
use crate::event::{Exception, Vector};
use crate::flags::Rflags;
use crate::segment::{AccessRights, SegmentRegister};
use crate::state::State;
use bitflags::bitflags;

/// The size of code, from CS.L and CS.D.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CodeSize {
    /// Addresses and operands have 16 bits unless a prefix says otherwise.
    Bits16,
    /// They have 32 bits.
    Bits32,
    /// 64-bit mode.
    Bits64,
}

impl CodeSize {
    /// The number of bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            Self::Bits16 => 16,
            Self::Bits32 => 32,
            Self::Bits64 => 64,
        }
    }

    /// Whether segments have bases and limits.
    #[inline(always)]
    #[must_use]
    pub const fn is_segmented(self) -> bool {
        !matches!(self, Self::Bits64)
    }
}

bitflags! {
    /// Control bits that decide whether an instruction of the floating-point units executes (SDM Vol. 3A, 2.5 and
    /// table 12-1).
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct FloatControls: u8 {
        /// CR0.MP.
        const MP = 1 << 0;
        /// CR0.EM.
        const EM = 1 << 1;
        /// CR0.TS.
        const TS = 1 << 2;
        /// CR4.OSFXSR.
        const OSFXSR = 1 << 3;
    }
}

/// The modes that instructions tell apart (SDM Vol. 3A, 2.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OperatingMode {
    /// Real-address mode.
    RealAddress,
    /// Virtual-8086 mode.
    Virtual8086,
    /// Protected mode, or IA-32e mode with both of its own.
    Protected,
}

/// Whether misaligned references raise #AC (SDM Vol. 3A, 7.15): CR0.AM and EFLAGS.AC are 1 and CPL is 3.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AlignmentCheck {
    /// They do not.
    Off,
    /// They do.
    On,
}

/// What the decoding of code depends on besides its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CodeMode {
    /// The size of code.
    pub size: CodeSize,
    /// Which floating-point instructions execute.
    pub float: FloatControls,
    /// Which instructions exist beside.
    pub operating: OperatingMode,
    /// Whether references are checked for alignment.
    pub alignment: AlignmentCheck,
}

impl CodeMode {
    /// 64-bit mode with SSE.
    pub const LONG: Self = Self {
        size: CodeSize::Bits64,
        float: FloatControls::OSFXSR.union(FloatControls::MP),
        operating: OperatingMode::Protected,
        alignment: AlignmentCheck::Off,
    };
}

impl CodeMode {
    /// Whether a reference is more than its address: it has a segment, or must be aligned.
    #[must_use]
    pub fn checks_references(self) -> bool {
        self.size.is_segmented() || self.alignment == AlignmentCheck::On
    }
}

/// How code is reached: its mode and its segment.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CodeContext {
    /// The mode.
    pub mode: CodeMode,
    /// The base of CS, 0 in 64-bit mode.
    pub base: u64,
    /// The last offset in CS; in 64-bit mode there is none.
    pub limit: u64,
}

impl CodeContext {
    /// The linear address of an offset in CS.
    #[inline]
    #[must_use]
    pub const fn linear(&self, rip: u64) -> LinearAddress {
        match self.mode.size {
            CodeSize::Bits64 => LinearAddress(rip),
            CodeSize::Bits16 | CodeSize::Bits32 => LinearAddress(self.base.wrapping_add(rip) & 0xffff_ffff),
        }
    }
}

impl State {
    /// Whether IA-32e mode is active.
    #[must_use]
    pub fn is_ia32e(&self) -> bool {
        self.system.efer.contains(Efer::LMA)
    }

    /// The bits of linear addresses that are translated: what is canonical now (SDM Vol. 3A, 3.3.7.1).
    #[must_use]
    pub fn current_linear_address_width(&self) -> u8 {
        if self.system.cr4.contains(Cr4::LA57) { 57 } else { 48 }
    }

    /// Whether the processor is in virtual-8086 mode.
    #[must_use]
    pub fn is_virtual_8086(&self) -> bool {
        self.flags.rest() & Rflags::VM.bits() != 0
    }

    /// Whether the processor is in real-address mode.
    #[must_use]
    pub fn is_real_address(&self) -> bool {
        !self.system.cr0.contains(Cr0::PE)
    }

    /// The mode of the processor.
    #[must_use]
    pub fn operating_mode(&self) -> OperatingMode {
        if self.is_real_address() {
            OperatingMode::RealAddress
        } else if self.is_virtual_8086() {
            OperatingMode::Virtual8086
        } else {
            OperatingMode::Protected
        }
    }

    /// Whether misaligned references raise #AC.
    #[must_use]
    pub fn alignment_check(&self) -> AlignmentCheck {
        let asked = self.flags.rest() & Rflags::AC.bits() != 0;
        if asked && self.system.cpl == 3 && self.system.cr0.contains(Cr0::AM) {
            AlignmentCheck::On
        } else {
            AlignmentCheck::Off
        }
    }

    /// Whether a reference of `bytes` bytes is aligned as far as it must be (SDM Vol. 3A, table 7-7). Of 16 bytes nothing is
    /// asked here: most instructions raise #GP(0) for them, and of the others the manual leaves it open.
    ///
    /// # Errors
    ///
    /// #AC(0).
    #[inline]
    pub fn check_alignment(&self, at: LinearAddress, bytes: usize) -> Result<(), Stopped> {
        let unit = match bytes {
            1 | 2 | 4 | 8 => bytes as u64,
            10 => 8,
            _ => 1,
        };
        if at.0 & (unit - 1) == 0 || self.alignment_check() == AlignmentCheck::Off {
            return Ok(());
        }
        Err(Stop::Exception(Exception::with_code(Vector::AlignmentCheck, 0)).into())
    }

    /// The size of the current code.
    #[must_use]
    pub fn code_size(&self) -> CodeSize {
        let rights = self.rights(SegmentRegister::Cs);
        if self.is_ia32e() && rights.contains(AccessRights::LONG) {
            CodeSize::Bits64
        } else if rights.contains(AccessRights::DEFAULT_BIG) {
            CodeSize::Bits32
        } else {
            CodeSize::Bits16
        }
    }

    /// How the current code is reached and decoded.
    #[must_use]
    pub fn code_context(&self) -> CodeContext {
        let size = self.code_size();
        let mode = CodeMode {
            size,
            float: self.float_controls(),
            operating: self.operating_mode(),
            alignment: self.alignment_check(),
        };
        if size == CodeSize::Bits64 {
            return CodeContext { mode, base: 0, limit: u64::MAX };
        }
        let cs = self.segment(SegmentRegister::Cs);
        CodeContext { mode, base: cs.base, limit: cs.limit.into() }
    }

    fn float_controls(&self) -> FloatControls {
        let (cr0, cr4) = (self.system.cr0, self.system.cr4);
        let mut controls = FloatControls::empty();
        controls.set(FloatControls::MP, cr0.contains(Cr0::MP));
        controls.set(FloatControls::EM, cr0.contains(Cr0::EM));
        controls.set(FloatControls::TS, cr0.contains(Cr0::TS));
        controls.set(FloatControls::OSFXSR, cr4.contains(Cr4::OSFXSR));
        controls
    }
}
