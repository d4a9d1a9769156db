//! XSAVE XSAVEOPT XSAVEC XRSTOR XGETBV XSETBV (SDM Vol. 1, chapter 13), for the components x87, SSE and PKRU.
//!
//! XSAVEOPT leaves out what is in its initial configuration; whether something was modified since the last XRSTOR is not
//! followed. Outside 64-bit mode XMM8 to XMM15 are neither saved nor restored.

mod area;

use super::{done, guard, pair, put_pair};
use crate::address::{AccessKind, LinearAddress};
use crate::cpu::{Cpu, Stop, Stopped};
use crate::decode::Form;
use crate::instruction::simd::float_state::{Legacy, Pointers, Promoted};
use crate::record::{Handler, Record};
use crate::state::{Slot, State};
use crate::system::guard::Guarded;
use crate::system::{Intercepted, Offers};
use area::{Area, Header, PKRU, SSE, X87};
use iced_x86::Mnemonic;

/// The handler for a form of this family.
pub(super) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    Some(match form.mnemonic() {
        Mnemonic::Xsave => save::<C, Xsave, Legacy>,
        Mnemonic::Xsave64 => save::<C, Xsave, Promoted>,
        Mnemonic::Xsaveopt => save::<C, Xsaveopt, Legacy>,
        Mnemonic::Xsaveopt64 => save::<C, Xsaveopt, Promoted>,
        Mnemonic::Xsavec => save::<C, Xsavec, Legacy>,
        Mnemonic::Xsavec64 => save::<C, Xsavec, Promoted>,
        Mnemonic::Xrstor => xrstor::<C, Legacy>,
        Mnemonic::Xrstor64 => xrstor::<C, Promoted>,
        Mnemonic::Xgetbv => xgetbv,
        Mnemonic::Xsetbv => xsetbv,
        _ => return None,
    })
}

/// XSAVE or a variant of it.
trait Variant {
    const GUARDED: Guarded;
    /// Whether components in their initial configuration are left out.
    const LEAVES_OUT: bool;
    /// Whether components follow one another without gaps.
    const COMPACTED: bool;
}
struct Xsave;
struct Xsaveopt;
struct Xsavec;
impl Variant for Xsave {
    const GUARDED: Guarded = Guarded::Xsave;
    const LEAVES_OUT: bool = false;
    const COMPACTED: bool = false;
}
impl Variant for Xsaveopt {
    const GUARDED: Guarded = Guarded::Xsaveopt;
    const LEAVES_OUT: bool = true;
    const COMPACTED: bool = false;
}
impl Variant for Xsavec {
    const GUARDED: Guarded = Guarded::Xsavec;
    const LEAVES_OUT: bool = true;
    const COMPACTED: bool = true;
}

/// RFBM: the components that are asked for and enabled.
fn requested(state: &State) -> u64 {
    pair(state) & state.system.xcr0
}

/// The area, which must be aligned to 64 bytes.
fn area_at<C: Cpu>(
    cpu: &C,
    record: &Record<C>,
    kind: AccessKind,
    bytes: usize,
) -> Result<LinearAddress, Stopped> {
    let at = record.linear_address(cpu.state(), bytes, kind)?;
    if at.0.is_multiple_of(64) { Ok(at) } else { Err(Stop::GENERAL_PROTECTION.into()) }
}

/// The first and the last bytes are tried before any is written: the area is on two pages at most.
fn save<C: Cpu, V: Variant, P: Pointers>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    guard(cpu, V::GUARDED)?;
    let components = requested(cpu.state());
    let layout = if V::COMPACTED { area::compacted(components) } else { area::STANDARD };
    let end = layout.end(components);
    let at = area_at(cpu, record, AccessKind::Write, end)?;
    cpu.state_mut().collect_float_flags();
    cpu.modify::<u64>(at, |_, old| old)?;
    cpu.modify::<u64>(at.add(end as u64 - 8), |_, old| old)?;
    let in_use = area::in_use(cpu.state());
    let header = at.add(area::HEADER);
    if V::COMPACTED {
        cpu.write(header, in_use & components)?;
        cpu.write(header.add(8), components | area::COMPACTED)?;
    } else {
        let old: u64 = cpu.read(header)?;
        cpu.write(header, old & !components | in_use & components)?;
    }
    let written = if V::LEAVES_OUT { components & in_use } else { components };
    let mxcsr = if V::COMPACTED { written } else { components };
    for (offset, value) in Area::<P>::of(cpu.state()).words(&layout, written, mxcsr) {
        cpu.write(at.add(offset), value)?;
    }
    Ok(())
}

fn xrstor<C: Cpu, P: Pointers>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    guard(cpu, Guarded::Xsave)?;
    let components = requested(cpu.state());
    let at = area_at(cpu, record, AccessKind::Read, area::EXTENDED)?;
    let mut words = [0; 8];
    for (word, offset) in words.iter_mut().zip((area::HEADER..).step_by(8)) {
        *word = cpu.read(at.add(offset))?;
    }
    let compaction = cpu.state().system.features.offers.contains(Offers::XSAVEC);
    let header = Header::check(words, cpu.state().system.xcr0, compaction)?;
    let end = header.layout.end(components & header.present);
    area_at(cpu, record, AccessKind::Read, end)?;
    let mut image = [0; area::LARGEST];
    for offset in (0..end).step_by(8).filter(|&offset| header.layout.needs(offset as u64)) {
        let word: u64 = cpu.read(at.add(offset as u64))?;
        image[offset..offset + 8].copy_from_slice(&word.to_le_bytes());
    }
    area::restore::<P>(cpu.state_mut(), &image, components, &header)?;
    if components & PKRU == 0 { Ok(()) } else { done(cpu, record) }
}

/// XCR0, and with ECX = 1 those of its components that are in use.
fn xgetbv<C: Cpu>(cpu: &mut C, _: &Record<C>) -> Result<(), Stopped> {
    guard(cpu, Guarded::Xgetbv)?;
    let state = cpu.state_mut();
    let xcr0 = state.system.xcr0;
    let value = match state.get::<u32>(Slot::Rcx) {
        0 => xcr0,
        1 if state.system.features.offers.contains(Offers::XGETBV_IN_USE) => {
            state.collect_float_flags();
            xcr0 & area::in_use(state)
        }
        _ => return Err(Stop::GENERAL_PROTECTION.into()),
    };
    put_pair(state, value);
    Ok(())
}

/// x87 state is always enabled.
fn xsetbv<C: Cpu>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    guard(cpu, Guarded::Xsetbv)?;
    let (index, value) = (cpu.state().get(Slot::Rcx), pair(cpu.state()));
    cpu.intercept(&Intercepted::Xsetbv { index, value })?;
    let system = &mut cpu.state_mut().system;
    if index != 0 || value & !(system.features.xcr0 & (X87 | SSE | PKRU)) != 0 || value & X87 == 0 {
        return Err(Stop::GENERAL_PROTECTION.into());
    }
    system.xcr0 = value;
    done(cpu, record)
}
