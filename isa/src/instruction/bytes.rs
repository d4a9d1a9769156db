//! Bytes (SDM Vol. 1, 5.1.1, 5.1.13 and 5.1.15): the byte swaps BSWAP and MOVBE, and the checksum CRC32.

use super::{for_size, for_wide_size};
use crate::cpu::{Cpu, Stopped};
use crate::decode::{Form, Kind};
use crate::operand::{Destination, Memory, Register, Source, SourceRegister};
use crate::record::{Handler, Record};
use crate::width::Width;
use iced_x86::Mnemonic;

/// The handler for a form of this family.
pub(crate) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    match form.mnemonic() {
        Mnemonic::Bswap => for_wide_size!(form.size_of(0)?, bswap::<C>()),
        Mnemonic::Movbe => for_wide_size!(form.size_of(0)?, movbe_kind::<C>(form.kinds[0])),
        Mnemonic::Crc32 => for_size!(form.size_of(1)?, crc32_kind::<C>(form.kinds[1])),
        _ => None,
    }
}

// CRC32.

/// The polynomial 11EDC6F41H with its bits reversed, as CRC32 works on bits from the lowest up.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// `TABLES[n][b]` is the remainder of byte `b` followed by `n` bytes of 0.
static TABLES: [[u32; 256]; 8] = crc_tables();

const fn crc_tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut remainder = byte as u32;
        let mut zeros = 0;
        while zeros < 8 {
            remainder = shift_byte(remainder);
            tables[zeros][byte] = remainder;
            zeros += 1;
        }
        byte += 1;
    }
    tables
}

const fn shift_byte(mut remainder: u32) -> u32 {
    let mut bit = 0;
    while bit < 8 {
        remainder = remainder >> 1 ^ POLYNOMIAL & (remainder & 1).wrapping_neg();
        bit += 1;
    }
    remainder
}

/// The remainder after the bytes of `data`, lowest first.
#[inline(always)]
fn crc32<W: Width>(remainder: u32, data: W) -> u32 {
    let mixed = data.zero_extend() ^ u64::from(remainder);
    let mut result = if W::BYTES < 4 { remainder >> (W::BITS % 32) } else { 0 };
    for byte in 0..W::BYTES {
        result ^= TABLES[W::BYTES - 1 - byte][(mixed >> (8 * byte) & 0xff) as usize];
    }
    result
}

fn crc32_kind<C: Cpu, W: Width>(kind: Kind) -> Option<Handler<C>> {
    Some(match kind {
        Kind::Register => accumulate_crc32::<C, W, SourceRegister>,
        Kind::Flat | Kind::Memory => accumulate_crc32::<C, W, Memory>,
        _ => return None,
    })
}

/// The upper half of the destination is ignored and becomes 0.
fn accumulate_crc32<C: Cpu, W: Width, S: Source>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let data = S::load::<C, W>(cpu, record)?;
    let state = cpu.state_mut();
    let remainder = crc32(state.get::<u32>(record.destination), data);
    state.put(record.destination, remainder);
    Ok(())
}

// Byte order.

#[inline(always)]
fn bytes_swapped<W: Width>(value: W) -> W {
    W::truncate(value.zero_extend().swap_bytes() >> (64 - W::BITS))
}

/// The manual leaves the result of the 16-bit form undefined; processors give 0.
fn bswap<C: Cpu, W: Width>() -> Option<Handler<C>> {
    Some(|cpu, record| {
        Register::modify::<C, W>(
            cpu,
            record,
            |_, value| {
                if W::BITS == 16 { W::ZERO } else { bytes_swapped(value) }
            },
        )
    })
}

fn movbe_kind<C: Cpu, W: Width>(kind: Kind) -> Option<Handler<C>> {
    Some(match kind {
        Kind::Register => |cpu, record| {
            let value = Memory::load::<C, W>(cpu, record)?;
            Register::store(cpu, record, bytes_swapped(value))
        },
        Kind::Flat | Kind::Memory => |cpu, record| {
            let value = SourceRegister::load::<C, W>(cpu, record)?;
            Memory::store(cpu, record, bytes_swapped(value))
        },
        _ => return None,
    })
}
