//! What this process and the one that executes natively share.
//!
//! The area is the memory that instructions see; it is mapped a second time, at the addresses of
//! [`FlatMachine`], in the child. Its first pages hold code and cannot be written there.

use core::sync::atomic::AtomicU32;
use isa::flat::FlatMachine;
use isa::registers::{Registers, X87};

/// Where the area begins for instructions.
pub(crate) const BASE: u64 = FlatMachine::BASE;
/// Bytes of the area.
pub(crate) const SIZE: usize = 0x1_0000;
/// Bytes at its beginning that hold code.
pub(crate) const CODE_SIZE: usize = 0x2000;
/// The first address of data.
pub(crate) const DATA: u64 = BASE + CODE_SIZE as u64;
/// Most cases of one round trip.
pub(crate) const BATCH: usize = 256;
/// Most lines of one round trip.
pub(crate) const LINES: usize = 8192;
/// Bytes of a line.
pub(crate) const LINE: usize = 64;
/// Bytes of the image of x87 and SSE state: the part of FXSAVE that has a meaning.
pub(crate) const IMAGE: usize = 416;
/// HLT fills the pages of code and ends every sequence: at user level it is #GP(0).
pub(crate) const HLT: u8 = 0xf4;

const _: () = assert!(SIZE as u64 == FlatMachine::SIZE);

/// A value that stands in memory before a case.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Patch {
    pub(crate) offset: u32,
    pub(crate) bytes: u32,
    pub(crate) value: u64,
}

/// What a case starts from.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Input {
    pub(crate) gpr: [u64; 16],
    pub(crate) rip: u64,
    pub(crate) rflags: u64,
    pub(crate) fs_base: u64,
    pub(crate) gs_base: u64,
    pub(crate) image: [u8; IMAGE],
    pub(crate) code_offset: u32,
    pub(crate) code_bytes: u32,
    /// Selectors of CS, of SS, and of DS and ES.
    pub(crate) selectors: [u16; 3],
    pub(crate) code: [u8; 160],
    pub(crate) patches: [Patch; 16],
}

/// What it leaves.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Output {
    pub(crate) gpr: [u64; 16],
    pub(crate) rip: u64,
    pub(crate) rflags: u64,
    pub(crate) fs_base: u64,
    pub(crate) gs_base: u64,
    pub(crate) vector: u64,
    pub(crate) error_code: u64,
    pub(crate) address: u64,
    pub(crate) image: [u8; IMAGE],
    pub(crate) first_line: u32,
    pub(crate) lines: u32,
}

/// A line of the area whose content is not the one before all cases.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) offset: u32,
    pub(crate) bytes: [u8; LINE],
}

/// All of it.
#[repr(C)]
pub(crate) struct Shared {
    pub(crate) area: [u8; SIZE],
    /// What every case finds in the area before its patches.
    pub(crate) pristine: [u8; SIZE],
    /// Cases of this round trip.
    pub(crate) count: AtomicU32,
    /// Cases done so far; the one in progress when the child ends early.
    pub(crate) done: AtomicU32,
    pub(crate) inputs: [Input; BATCH],
    pub(crate) outputs: [Output; BATCH],
    pub(crate) lines: [Line; LINES],
}

/// The registers as FXSAVE has them (SDM Vol. 1, table 10-2).
pub(crate) fn image(registers: &Registers) -> [u8; IMAGE] {
    let mut image = [0; IMAGE];
    image[0..2].copy_from_slice(&registers.x87.control.to_le_bytes());
    image[2..4].copy_from_slice(&registers.x87.status.to_le_bytes());
    image[4] = registers.x87.tag;
    image[24..28].copy_from_slice(&registers.mxcsr.to_le_bytes());
    for (bytes, value) in image[32..].chunks_exact_mut(16).zip(registers.x87.st.iter().chain(&registers.xmm))
    {
        bytes.copy_from_slice(&value.to_le_bytes());
    }
    image
}

/// Reads the image back. The last x87 instruction and operand are left out: processors differ in when they store
/// them.
pub(crate) fn from_image(image: &[u8; IMAGE], registers: &mut Registers) {
    let half = |at: usize| u16::from_le_bytes([image[at], image[at + 1]]);
    let mut vectors = image[32..]
        .chunks_exact(16)
        .map(|bytes| bytes.iter().rev().fold(0_u128, |value, &byte| value << 8 | u128::from(byte)));
    let st = core::array::from_fn(|_| vectors.next().unwrap_or(0) & ((1 << 80) - 1));
    registers.x87 = X87 { control: half(0), status: half(2), tag: image[4], st, ..X87::default() };
    registers.mxcsr = u32::from(half(24)) | u32::from(half(26)) << 16;
    registers.xmm = core::array::from_fn(|_| vectors.next().unwrap_or(0));
}
