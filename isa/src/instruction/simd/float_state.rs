//! State management (SDM Vol. 1, 5.5.2, 10.5 and 11.6.2): LDMXCSR STMXCSR FXSAVE FXSAVE64 FXRSTOR FXRSTOR64.
//!
//! # Choices
//!
//! - FXSAVE always stores FOP, FIP and FDP, and FXRSTOR always restores them, as the manual describes. AMD
//!   processors do so only while an x87 exception is pending. The processors that update FDP only for x87 exceptions
//!   (CPUID.07H:EBX[6]) are not modelled. FCS and FDS are stored as 0 (CPUID.07H:EBX[13]) and not restored.
//! - Bytes 416 to 511 of the area, which the manual leaves to software or reserves, are not touched.
//! - EFER.FFXSR is taken to be 0.

use crate::address::{AccessKind, LinearAddress};
use crate::cpu::{Cpu, Stop, Stopped};
use crate::decode::{Form, Kind};
use crate::instruction::x87::{control_word, summarised};
use crate::mode::CodeSize;
use crate::operand::{Memory, Source};
use crate::record::{Handler, Record};
use crate::registers::X87;
use crate::state::State;
use crate::width::Scalar;
use iced_x86::Mnemonic;

/// The writable bits of MXCSR, as FXSAVE stores them in MXCSR_MASK (SDM Vol. 1, 11.6.6).
const MXCSR_MASK: u32 = 0xffff;

/// Bytes of the FXSAVE area.
const OPERAND: usize = 512;

/// Bytes of it that are stored; the others are for software.
pub(crate) const AREA: usize = 416;

/// Where the last 16 bytes of the operand are; they are accessed although nothing is in them.
const LAST: u64 = 496;

/// The handler for a form of this family.
pub(super) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    if !matches!(form.kinds[0], Kind::Flat | Kind::Memory) {
        return None;
    }
    Some(match form.mnemonic() {
        Mnemonic::Ldmxcsr => load_mxcsr,
        Mnemonic::Stmxcsr => store_mxcsr,
        Mnemonic::Fxsave => save::<C, Legacy>,
        Mnemonic::Fxsave64 => save::<C, Promoted>,
        Mnemonic::Fxrstor => restore::<C, Legacy>,
        Mnemonic::Fxrstor64 => restore::<C, Promoted>,
        _ => return None,
    })
}

/// A value for MXCSR, unless it sets a reserved bit.
pub(crate) fn without_reserved_bits(mxcsr: u32) -> Result<u32, Stopped> {
    if mxcsr & !MXCSR_MASK == 0 { Ok(mxcsr) } else { Err(Stop::GENERAL_PROTECTION.into()) }
}

fn load_mxcsr<C: Cpu>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let mxcsr = without_reserved_bits(Memory::load(cpu, record)?)?;
    set_mxcsr(cpu.state_mut(), mxcsr);
    Ok(())
}

/// Flags that have gathered elsewhere belong to the old value.
pub(crate) fn set_mxcsr(state: &mut State, mxcsr: u32) {
    state.collect_float_flags();
    state.mxcsr = mxcsr;
}

fn store_mxcsr<C: Cpu>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    cpu.state_mut().collect_float_flags();
    let mxcsr = cpu.state().mxcsr;
    let at = record.linear_address(cpu.state(), 4, AccessKind::Write)?;
    cpu.write(at, mxcsr)
}

/// How the FXSAVE area holds the x87 instruction and data pointers (SDM Vol. 1, table 10-2; Vol. 2A, FXSAVE).
pub(crate) trait Pointers {
    /// As 64 bits of the area.
    fn pack(pointer: u64) -> u64;
    /// From 64 bits of the area.
    fn unpack(bits: u64) -> u64;
}

/// Without REX.W: 32 bits of offset, 16 of selector. Selectors are 0.
pub(crate) struct Legacy;
/// With REX.W: 64 bits.
pub(crate) struct Promoted;
impl Pointers for Legacy {
    fn pack(pointer: u64) -> u64 {
        pointer & 0xffff_ffff
    }
    fn unpack(bits: u64) -> u64 {
        bits & 0xffff_ffff
    }
}
impl Pointers for Promoted {
    fn pack(pointer: u64) -> u64 {
        pointer
    }
    fn unpack(bits: u64) -> u64 {
        bits
    }
}

/// The address of the area.
fn area<C: Cpu>(cpu: &C, record: &Record<C>, kind: AccessKind) -> Result<LinearAddress, Stopped> {
    let at = record.linear_address(cpu.state(), OPERAND, kind)?;
    if at.0.is_multiple_of(16) { Ok(at) } else { Err(Stop::GENERAL_PROTECTION.into()) }
}

/// XMM8 to XMM15 are saved and restored in 64-bit mode only (SDM Vol. 1, 10.5.1).
fn xmm_registers(state: &State) -> usize {
    if state.code_size() == CodeSize::Bits64 { 16 } else { 8 }
}

/// The first and the last bytes of the operand are tried before any is written: the area is on two pages at most, so a
/// page that cannot be written is found before anything changes.
fn save<C: Cpu, P: Pointers>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let at = area(cpu, record, AccessKind::Write)?;
    cpu.state_mut().collect_float_flags();
    let image = image::<P>(cpu.state());
    cpu.modify::<u128>(at, |_, old| old)?;
    cpu.modify::<u128>(at.add(LAST), |_, old| old)?;
    let stored = 160 + 16 * xmm_registers(cpu.state());
    for (number, chunk) in image[..stored].chunks_exact(16).enumerate().rev() {
        cpu.write(at.add(16 * number as u64), u128::from_le_slice(chunk))?;
    }
    Ok(())
}

pub(crate) fn image<P: Pointers>(state: &State) -> [u8; AREA] {
    let x87 = &state.x87;
    let mut image = [0; AREA];
    image[..2].copy_from_slice(&x87.control.to_le_bytes());
    image[2..4].copy_from_slice(&x87.status.to_le_bytes());
    image[4] = x87.tag;
    image[6..8].copy_from_slice(&x87.opcode.to_le_bytes());
    image[8..16].copy_from_slice(&P::pack(x87.instruction_pointer).to_le_bytes());
    image[16..24].copy_from_slice(&P::pack(x87.data_pointer).to_le_bytes());
    image[24..28].copy_from_slice(&state.mxcsr.to_le_bytes());
    image[28..32].copy_from_slice(&MXCSR_MASK.to_le_bytes());
    let xmm = &state.xmm[..xmm_registers(state)];
    for (place, register) in image[32..].chunks_exact_mut(16).zip(x87.st.iter().chain(xmm)) {
        place.copy_from_slice(&register.to_le_bytes());
    }
    image
}

fn restore<C: Cpu, P: Pointers>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let at = area(cpu, record, AccessKind::Read)?;
    cpu.read::<u128>(at.add(LAST))?;
    let mut image = [0; AREA];
    for (number, chunk) in image.chunks_exact_mut(16).enumerate() {
        cpu.read::<u128>(at.add(16 * number as u64))?.to_le_slice(chunk);
    }
    let mxcsr = without_reserved_bits(u32::from_le_slice(&image[24..28]))?;
    let state = cpu.state_mut();
    set_mxcsr(state, mxcsr);
    state.x87 = x87::<P>(&image);
    let count = xmm_registers(state);
    for (register, chunk) in state.xmm[..count].iter_mut().zip(image[160..].chunks_exact(16)) {
        *register = u128::from_le_slice(chunk);
    }
    Ok(())
}

/// The x87 part of an area. Bits 127:80 of the registers are reserved and become 0.
pub(crate) fn x87<P: Pointers>(image: &[u8; AREA]) -> X87 {
    let mut st = [0; 8];
    for (register, chunk) in st.iter_mut().zip(image[32..160].chunks_exact(16)) {
        *register = u128::from_le_slice(chunk) & (u128::MAX >> 48);
    }
    let control = control_word(u16::from_le_slice(&image[..2]));
    X87 {
        control,
        status: summarised(u16::from_le_slice(&image[2..4]), control),
        tag: image[4],
        opcode: u16::from_le_slice(&image[6..8]) & 0x7ff,
        instruction_pointer: P::unpack(u64::from_le_slice(&image[8..16])),
        data_pointer: P::unpack(u64::from_le_slice(&image[16..24])),
        st,
    }
}
