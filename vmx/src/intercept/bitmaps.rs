//! The I/O and MSR bitmaps (SDM 27.6.4, 27.6.9).

use crate::controls::PrimaryProcessorControls as Primary;
use crate::field::Encoding;
use crate::physical;
use crate::vmcs::Vmcs;
use isa::system::Io;
use mmu::Ram;

/// Which way an MSR is accessed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Read,
    Write,
}

/// MSRs that have a bit: from 0, and from C0000000H.
const LOW: std::ops::Range<u32> = 0..0x2000;
const HIGH: std::ops::Range<u32> = 0xc000_0000..0xc000_2000;

fn bit(ram: &Ram, bitmap: u64, number: u32) -> bool {
    physical::read::<u8>(ram, bitmap + u64::from(number / 8)) >> (number % 8) & 1 != 0
}

/// An access that wraps from FFFFH to 0 exits whenever bitmaps are used.
pub(super) fn intercepts_io(vmcs: &Vmcs, ram: &Ram, io: &Io) -> bool {
    let primary = vmcs.primary_processor();
    if !primary.contains(Primary::USE_I_O_BITMAPS) {
        return primary.contains(Primary::UNCONDITIONAL_I_O_EXITING);
    }
    (0..u32::from(io.bytes)).map(|byte| u32::from(io.port) + byte).any(|port| match port {
        0..0x8000 => bit(ram, vmcs.read(Encoding::IO_BITMAP_A), port),
        0x8000..0x1_0000 => bit(ram, vmcs.read(Encoding::IO_BITMAP_B), port - 0x8000),
        _ => true,
    })
}

/// The page holds four bitmaps of 1 KByte: reads of low and high MSRs, then writes.
pub(super) fn intercepts_msr(vmcs: &Vmcs, ram: &Ram, index: u32, direction: Direction) -> bool {
    if !vmcs.primary_processor().contains(Primary::USE_MSR_BITMAPS) {
        return true;
    }
    let page = vmcs.read(Encoding::MSR_BITMAP) + if direction == Direction::Write { 0x800 } else { 0 };
    if LOW.contains(&index) {
        bit(ram, page, index)
    } else if HIGH.contains(&index) {
        bit(ram, page + 0x400, index - HIGH.start)
    } else {
        true
    }
}
