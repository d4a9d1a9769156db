//! System-management mode (SDM Vol. 3C, chapter 34): the state that an SMI saves and RSM restores, as bytes.
//!
//! The [`Image`] is the upper 1 KByte of the save area, in the layout for processors with Intel 64 architecture (table
//! 34-3). Where that is reserved the image holds what the manual keeps inside the processor: descriptors of segments,
//! limits of tables, CPL and what was blocked.
//!
//! # Choices
//!
//! - Not modelled: the restart of I/O instructions and the I/O state of the image, the dual-monitor treatment, and SMRAM
//!   that only system-management mode sees: what lies at SMBASE is RAM for everybody.
//! - What RSM refuses, for which the manual has the shutdown state, is the table of [`Refusal`].

use super::{Activity, Interruptibility};
use crate::control::{Cr0, Cr4, Efer};
use crate::flags::Rflags;
use crate::segment::{AccessRights, DescriptorTable, Segment, SegmentRegister};
use crate::state::{Slot, State};

/// Where the image begins, as an offset from SMBASE.
pub const IMAGE: u64 = 0x8000 + FIRST as u64;
/// The bytes of the image.
pub const IMAGE_BYTES: usize = 0x400;
/// Where the handler begins, as an offset from SMBASE.
const ENTRY: u64 = 0x8000;
/// SMBASE after reset.
pub const SMBASE_RESET: u32 = 0x3_0000;
/// SMBASE may be relocated, I/O instructions are not restarted; the layout of Intel 64.
const REVISION: u32 = 0x0002_0064;

/// The saved state.
pub type Image = [u8; IMAGE_BYTES];

/// The offset of the image from SMBASE + 8000H, by which the manual counts; all constants below are such offsets.
const FIRST: usize = 0x7c00;

/// The general-purpose registers.
const GENERAL: [(usize, Slot); 16] = [
    (0x7f94, Slot::Rdi),
    (0x7f8c, Slot::Rsi),
    (0x7f84, Slot::Rbp),
    (0x7f7c, Slot::Rsp),
    (0x7f74, Slot::Rbx),
    (0x7f6c, Slot::Rdx),
    (0x7f64, Slot::Rcx),
    (0x7f5c, Slot::Rax),
    (0x7f54, Slot::R8),
    (0x7f4c, Slot::R9),
    (0x7f44, Slot::R10),
    (0x7f3c, Slot::R11),
    (0x7f34, Slot::R12),
    (0x7f2c, Slot::R13),
    (0x7f24, Slot::R14),
    (0x7f1c, Slot::R15),
];

/// The selectors of ES, CS, SS, DS, FS, GS, LDTR and TR.
const SELECTORS: [usize; 8] = [0x7fa8, 0x7fac, 0x7fb0, 0x7fb4, 0x7fb8, 0x7fbc, 0x7fc0, 0x7fc4];
/// The lower and upper halves of the bases of GDTR and IDTR; LDTR's base also stands with its descriptor.
const GDT_BASE: (usize, usize) = (0x7e8c, 0x7dd0);
const IDT_BASE: (usize, usize) = (0x7e94, 0x7dd8);
const LDT_BASE: (usize, usize) = (0x7e9c, 0x7dd4);

const IA32_CR0: usize = 0x7ff8;
const IA32_CR3: usize = 0x7ff0;
const RFLAGS: usize = 0x7fe8;
const EFER: usize = 0x7fe0;
const RIP: usize = 0x7fd8;
const DR6: usize = 0x7fd0;
const DR7: usize = 0x7fc8;
const AUTO_HALT: usize = 0x7f02;
const SMM_REVISION: usize = 0x7efc;
const SMBASE: usize = 0x7ef8;
const IA32_CR4: usize = 0x7e40;

/// In the reserved part: base, limit and rights of the eight segments, 16 bytes each.
const DESCRIPTORS: usize = 0x7c00;
const GDT_LIMIT: usize = 0x7c80;
const IDT_LIMIT: usize = 0x7c84;
const CPL: usize = 0x7c88;
const BLOCKED: usize = 0x7c8c;

/// Why RSM finds no state to return to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Refusal {
    /// CR0 has PG without PE, NW without CD, or bits above 31.
    Cr0(u64),
    /// CR4 has reserved bits.
    Cr4(u64),
    /// IA32_EFER has reserved bits, or LMA is not what LME and CR0.PG make it.
    Efer(u64),
    /// IA-32e mode without CR4.PAE.
    NoPaeInIa32e,
}

struct Writer(Image);

impl Writer {
    fn put<const N: usize>(&mut self, offset: usize, bytes: [u8; N]) {
        self.0[offset - FIRST..offset - FIRST + N].copy_from_slice(&bytes);
    }

    fn halves(&mut self, (low, high): (usize, usize), value: u64) {
        let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
        self.put(low, [a, b, c, d]);
        self.put(high, [e, f, g, h]);
    }
}

struct Reader<'a>(&'a Image);

impl Reader<'_> {
    fn bytes<const N: usize>(&self, offset: usize) -> [u8; N] {
        core::array::from_fn(|index| self.0[offset - FIRST + index])
    }

    fn u16(&self, offset: usize) -> u16 {
        u16::from_le_bytes(self.bytes(offset))
    }

    fn u32(&self, offset: usize) -> u32 {
        u32::from_le_bytes(self.bytes(offset))
    }

    fn u64(&self, offset: usize) -> u64 {
        u64::from_le_bytes(self.bytes(offset))
    }

    fn halves(&self, (low, high): (usize, usize)) -> u64 {
        u64::from(self.u32(high)) << 32 | u64::from(self.u32(low))
    }

    fn segment(&self, number: usize) -> Segment {
        let at = DESCRIPTORS + 16 * number;
        let rights = AccessRights::from_bits_retain(self.u32(at + 12));
        Segment { selector: self.u16(SELECTORS[number]), base: self.u64(at), limit: self.u32(at + 8), rights }
    }
}

/// ES, CS, SS, DS, FS, GS, LDTR and TR.
fn segments(state: &State) -> [Segment; 8] {
    let [es, cs, ss, ds, fs, gs] = SegmentRegister::ALL.map(|register| state.segment(register));
    [es, cs, ss, ds, fs, gs, state.system.ldtr, state.system.tr]
}

/// What an SMI saves of the state (34.4.1).
#[must_use]
pub fn image(state: &State) -> Image {
    let mut out = Writer([0; IMAGE_BYTES]);
    let system = &state.system;
    for (offset, slot) in GENERAL {
        out.put(offset, state.slot(slot).to_le_bytes());
    }
    for (number, segment) in segments(state).into_iter().enumerate() {
        out.put(SELECTORS[number], u32::from(segment.selector).to_le_bytes());
        out.put(DESCRIPTORS + 16 * number, segment.base.to_le_bytes());
        out.put(DESCRIPTORS + 16 * number + 8, segment.limit.to_le_bytes());
        out.put(DESCRIPTORS + 16 * number + 12, segment.rights.bits().to_le_bytes());
    }
    for (offset, value) in [
        (IA32_CR0, system.cr0.bits()),
        (IA32_CR3, system.cr3),
        (RFLAGS, state.flags.get()),
        (EFER, system.efer.bits()),
        (RIP, state.rip()),
        (DR6, system.dr6),
    ] {
        out.put(offset, value.to_le_bytes());
    }
    for (halves, base) in
        [(GDT_BASE, system.gdtr.base), (IDT_BASE, system.idtr.base), (LDT_BASE, system.ldtr.base)]
    {
        out.halves(halves, base);
    }
    let low = |value: u64| (value & 0xffff_ffff) as u32;
    for (offset, value) in [
        (DR7, low(system.dr7)),
        (IA32_CR4, low(system.cr4.bits())),
        (SMBASE, system.smbase),
        (SMM_REVISION, REVISION),
        (GDT_LIMIT, system.gdtr.limit.into()),
        (IDT_LIMIT, system.idtr.limit.into()),
        (CPL, system.cpl.into()),
        (BLOCKED, system.interruptibility.bits()),
    ] {
        out.put(offset, value.to_le_bytes());
    }
    out.put(AUTO_HALT, u16::from(system.activity == Activity::Halted).to_le_bytes());
    out.0
}

/// The state in which the handler begins (34.5.1): flat segments without paging at SMBASE, with SMIs and NMIs blocked.
pub fn enter(state: &mut State) {
    let base = u64::from(state.system.smbase);
    for register in SegmentRegister::ALL {
        state.set_segment(register, Segment { limit: u32::MAX, ..Segment::real(0) });
    }
    let [low, high, ..] = (state.system.smbase >> 4).to_le_bytes();
    let code =
        Segment { selector: u16::from_le_bytes([low, high]), base, limit: u32::MAX, ..Segment::real(0) };
    state.set_segment(SegmentRegister::Cs, code);
    state.flags.set(Rflags::RESERVED_1.bits());
    state.set_rip(ENTRY);
    let system = &mut state.system;
    system.cr0 -= Cr0::PE | Cr0::EM | Cr0::TS | Cr0::PG;
    system.cr4 = Cr4::empty();
    system.efer = Efer::empty();
    system.cpl = 0;
    system.dr7 = super::debug::DR7_RESET;
    system.interruptibility |= Interruptibility::SMI | Interruptibility::NMI;
    system.activity = Activity::Active;
}

/// RSM (34.7): the state of an image, or why there is none; then nothing has changed.
///
/// # Errors
///
/// [`Refusal`]: the processor enters the shutdown state.
pub fn restore(state: &mut State, image: &Image) -> Result<(), Refusal> {
    let image = Reader(image);
    let mut new = state.clone();
    controls(&mut new, &image)?;
    for (offset, slot) in GENERAL {
        new.set_slot(slot, image.u64(offset));
    }
    for register in SegmentRegister::ALL {
        new.set_segment(register, image.segment(register as usize));
    }
    new.flags.set(image.u64(RFLAGS) & Rflags::all().bits() | Rflags::RESERVED_1.bits());
    new.set_rip(image.u64(RIP));
    let system = &mut new.system;
    let table = |halves, limit| {
        let [low, high, ..] = image.u32(limit).to_le_bytes();
        DescriptorTable { base: image.halves(halves), limit: u16::from_le_bytes([low, high]) }
    };
    (system.gdtr, system.idtr) = (table(GDT_BASE, GDT_LIMIT), table(IDT_BASE, IDT_LIMIT));
    (system.ldtr, system.tr) = (image.segment(6), image.segment(7));
    system.cr3 = image.u64(IA32_CR3);
    system.dr6 = super::debug::dr6(image.u64(DR6));
    system.dr7 = super::debug::dr7(image.u32(DR7).into());
    system.smbase = image.u32(SMBASE);
    system.cpl = image.0[CPL - FIRST] & 3;
    system.interruptibility =
        Interruptibility::from_bits_truncate(image.u32(BLOCKED)) - Interruptibility::SMI;
    system.activity = if image.u16(AUTO_HALT) & 1 != 0 { Activity::Halted } else { Activity::Active };
    *state = new;
    Ok(())
}

/// The control registers and IA32_EFER of an image.
fn controls(state: &mut State, image: &Reader<'_>) -> Result<(), Refusal> {
    let (cr0, cr4, efer) = (image.u64(IA32_CR0), u64::from(image.u32(IA32_CR4)), image.u64(EFER));
    let features = &state.system.features;
    let bits = Cr0::from_bits_retain(cr0);
    let is_inconsistent = bits.contains(Cr0::PG) && !bits.contains(Cr0::PE)
        || bits.contains(Cr0::NW) && !bits.contains(Cr0::CD);
    if is_inconsistent || cr0 >> 32 != 0 {
        return Err(Refusal::Cr0(cr0));
    }
    if cr4 & !features.cr4.bits() != 0 {
        return Err(Refusal::Cr4(cr4));
    }
    let mode = Efer::from_bits_retain(efer);
    let is_long = mode.contains(Efer::LME) && bits.contains(Cr0::PG);
    if efer & !(features.efer | Efer::LMA).bits() != 0 || mode.contains(Efer::LMA) != is_long {
        return Err(Refusal::Efer(efer));
    }
    if is_long && !Cr4::from_bits_retain(cr4).contains(Cr4::PAE) {
        return Err(Refusal::NoPaeInIa32e);
    }
    let system = &mut state.system;
    (system.cr0, system.cr4, system.efer) = (bits | Cr0::ET, Cr4::from_bits_retain(cr4), mode);
    Ok(())
}
