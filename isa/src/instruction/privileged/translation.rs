//! INVLPG INVPCID, and the cache instructions INVD WBINVD WBNOINVD (SDM Vol. 2).

use super::{done, guard};
use crate::address::{AccessKind, LinearAddress};
use crate::control::Cr4;
use crate::cpu::{Cpu, Stop, Stopped, TranslationChange};
use crate::decode::Form;
use crate::mode::CodeSize;
use crate::record::{Handler, Record};
use crate::state::State;
use crate::system::guard::Guarded;
use crate::system::{Intercepted, is_canonical};
use iced_x86::Mnemonic;

/// The handler for a form of this family.
pub(super) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    Some(match form.mnemonic() {
        Mnemonic::Invlpg => invlpg,
        Mnemonic::Invpcid => invpcid,
        Mnemonic::Invd => |cpu, _| cache(cpu, Guarded::Invd, &Intercepted::Invd),
        Mnemonic::Wbinvd | Mnemonic::Wbnoinvd => |cpu, _| cache(cpu, Guarded::Wbinvd, &Intercepted::Wbinvd),
        _ => return None,
    })
}

/// The address is not accessed: no limit and no rights are looked at. One that is not canonical does nothing.
fn invlpg<C: Cpu>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    guard(cpu, Guarded::Invlpg)?;
    let at = unchecked(cpu.state(), record);
    cpu.intercept(&Intercepted::Invlpg(at))?;
    if cpu.state().is_canonical(at.0) {
        cpu.change_translation(&TranslationChange::Page(at))?;
    }
    done(cpu, record)
}

/// The linear address of a memory operand that is not accessed.
fn unchecked<C: Cpu>(state: &State, record: &Record<C>) -> LinearAddress {
    let offset = record.in_address_size(record.effective_address(state));
    let linear = state.slot(record.segment).wrapping_add(offset);
    let short = state.code_size() != CodeSize::Bits64;
    LinearAddress(if short { linear & 0xffff_ffff } else { linear })
}

/// The type is in the register. Types 0 and 1 look at the PCID, type 0 at the address as well.
fn invpcid<C: Cpu>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    guard(cpu, Guarded::Invpcid)?;
    let gpr = super::gpr_of(record.destination);
    let descriptor = unchecked(cpu.state(), record);
    cpu.intercept(&Intercepted::Invpcid { gpr, descriptor })?;
    let kind = invpcid_type(cpu.state(), record)?;
    let at = record.linear_address(cpu.state(), 16, AccessKind::Read)?;
    let bits: u128 = cpu.read(at)?;
    let [low, high] = [bits, bits >> 64].map(low_half);
    check_descriptor(cpu.state(), kind, low, high)?;
    let [first, second, ..] = low.to_le_bytes();
    let pcid = u16::from_le_bytes([first, second]);
    cpu.change_translation(&TranslationChange::Pcid { kind, pcid, address: LinearAddress(high) })?;
    done(cpu, record)
}

#[allow(clippy::cast_possible_truncation, reason = "the low bits are what is asked for")]
pub(super) const fn low_half(bits: u128) -> u64 {
    bits as u64
}

/// Outside 64-bit mode the register has 32 bits.
fn invpcid_type<C: Cpu>(state: &State, record: &Record<C>) -> Result<u8, Stopped> {
    let register = match state.code_size() {
        CodeSize::Bits64 => state.slot(record.destination),
        CodeSize::Bits16 | CodeSize::Bits32 => state.get::<u32>(record.destination).into(),
    };
    u8::try_from(register).ok().filter(|&kind| kind <= 3).ok_or_else(|| Stop::GENERAL_PROTECTION.into())
}

fn check_descriptor(state: &State, kind: u8, low: u64, address: u64) -> Result<(), Stopped> {
    let reserved = low >> 12 != 0;
    let pcid_without_pcids = kind <= 1 && low != 0 && !state.system.cr4.contains(Cr4::PCIDE);
    let address = kind == 0 && !is_canonical(address, state.current_linear_address_width());
    if reserved || pcid_without_pcids || address { Err(Stop::GENERAL_PROTECTION.into()) } else { Ok(()) }
}

/// Caches are coherent and hold nothing that memory does not: nothing is written back, and nothing is lost.
fn cache<C: Cpu>(cpu: &mut C, guarded: Guarded, intercepted: &Intercepted) -> Result<(), Stopped> {
    guard(cpu, guarded)?;
    cpu.intercept(intercepted)?;
    Ok(())
}
