//! In which mode sequences run, and how they see the area.

use super::shared::{BASE, CODE_SIZE, SIZE};
use isa::mode::{CodeMode, CodeSize};
use isa::segment::{AccessRights, Segment, SegmentRegister};
use isa::state::State;

/// A mode in which Linux lets a process run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Mode {
    /// 64-bit mode.
    #[default]
    Bits64,
    /// Compatibility mode with 32-bit segments that begin at 0.
    Bits32,
    /// Compatibility mode with 16-bit segments of the local descriptor table that cover the area.
    Bits16,
}

/// The selectors of a mode: of CS, of SS, and of DS and ES.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Selectors {
    pub(crate) code: u16,
    pub(crate) stack: u16,
    pub(crate) data: u16,
}

impl Mode {
    /// What instructions are decoded for.
    pub(crate) fn code(self) -> CodeMode {
        let size = match self {
            Self::Bits64 => CodeSize::Bits64,
            Self::Bits32 => CodeSize::Bits32,
            Self::Bits16 => CodeSize::Bits16,
        };
        CodeMode { size, ..CodeMode::LONG }
    }

    /// Bits of an address.
    pub(crate) fn bits(self) -> u32 {
        self.code().size.bits()
    }

    /// The bits of an address.
    pub(crate) fn mask(self) -> u64 {
        u64::MAX >> (64 - self.bits())
    }

    /// The offset of the area in the segments.
    pub(crate) fn base(self) -> u64 {
        if self == Self::Bits16 { 0 } else { BASE }
    }

    /// The offset of the data.
    pub(crate) fn data(self) -> u64 {
        self.base() + CODE_SIZE as u64
    }

    /// The offset after the area.
    pub(crate) fn end(self) -> u64 {
        self.base() + SIZE as u64
    }

    /// The selectors: Linux's own, and the first two of the local descriptor table.
    pub(crate) fn selectors(self) -> Selectors {
        match self {
            Self::Bits64 => Selectors { code: 0x33, stack: 0x2b, data: 0 },
            Self::Bits32 => Selectors { code: 0x23, stack: 0x2b, data: 0x2b },
            Self::Bits16 => Selectors { code: 0x07, stack: 0x0f, data: 0x0f },
        }
    }

    /// Gives a processor that is in 64-bit mode the segments of this one.
    pub(crate) fn enter(self, state: &mut State) {
        let (base, limit, code, data) = match self {
            Self::Bits64 => return,
            Self::Bits32 => (0, u32::MAX, 0xc0fb, 0xc0f3),
            Self::Bits16 => (BASE, 0xffff, 0xfb, 0xf3),
        };
        let selectors = self.selectors();
        let segment = |selector, rights| Segment {
            selector,
            base,
            limit,
            rights: AccessRights::from_bits_retain(rights),
        };
        state.set_segment(SegmentRegister::Cs, segment(selectors.code, code));
        state.set_segment(SegmentRegister::Ss, segment(selectors.stack, data));
        for register in [SegmentRegister::Ds, SegmentRegister::Es] {
            state.set_segment(register, segment(selectors.data, data));
        }
    }
}
