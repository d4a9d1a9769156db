//! RDFSBASE RDGSBASE WRFSBASE WRGSBASE, RDPKRU WRPKRU (SDM Vol. 2).

use super::{done, guard, put_pair};
use crate::cpu::{Cpu, Stop, Stopped};
use crate::decode::{Form, Size};
use crate::record::{Handler, Record};
use crate::state::{Slot, State};
use crate::system::guard::Guarded;
use crate::width::Width;
use iced_x86::Mnemonic;

/// The handler for a form of this family.
pub(super) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    match form.mnemonic() {
        Mnemonic::Rdfsbase => read::<C, Fs>(form),
        Mnemonic::Rdgsbase => read::<C, Gs>(form),
        Mnemonic::Wrfsbase => write::<C, Fs>(form),
        Mnemonic::Wrgsbase => write::<C, Gs>(form),
        Mnemonic::Rdpkru => Some(rdpkru),
        Mnemonic::Wrpkru => Some(wrpkru),
        _ => None,
    }
}

/// FS or GS.
trait Base {
    const SLOT: Slot;
}
struct Fs;
struct Gs;
impl Base for Fs {
    const SLOT: Slot = Slot::FsBase;
}
impl Base for Gs {
    const SLOT: Slot = Slot::GsBase;
}

fn read<C: Cpu, B: Base>(form: &Form<'_>) -> Option<Handler<C>> {
    match form.size_of(0)? {
        Size::B32 => Some(load::<C, B, u32>),
        _ => Some(load::<C, B, u64>),
    }
}

fn write<C: Cpu, B: Base>(form: &Form<'_>) -> Option<Handler<C>> {
    match form.size_of(0)? {
        Size::B32 => Some(store::<C, B, u32>),
        _ => Some(store::<C, B, u64>),
    }
}

fn load<C: Cpu, B: Base, W: Width>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    guard(cpu, Guarded::Rdfsbase)?;
    let base: W = cpu.state().get(B::SLOT);
    cpu.state_mut().put(record.destination, base);
    Ok(())
}

fn store<C: Cpu, B: Base, W: Width>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    guard(cpu, Guarded::Rdfsbase)?;
    let state = cpu.state_mut();
    let base = state.get::<W>(record.destination).zero_extend();
    if !state.system.features.is_canonical(base) {
        return Err(Stop::GENERAL_PROTECTION.into());
    }
    state.set_slot(B::SLOT, base);
    Ok(())
}

fn is_zero(state: &State, slot: Slot) -> Result<(), Stopped> {
    if state.get::<u32>(slot) == 0 { Ok(()) } else { Err(Stop::GENERAL_PROTECTION.into()) }
}

/// ECX must be 0.
fn rdpkru<C: Cpu>(cpu: &mut C, _: &Record<C>) -> Result<(), Stopped> {
    guard(cpu, Guarded::Rdpkru)?;
    is_zero(cpu.state(), Slot::Rcx)?;
    let state = cpu.state_mut();
    put_pair(state, state.system.pkru.into());
    Ok(())
}

/// ECX and EDX must be 0.
fn wrpkru<C: Cpu>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    guard(cpu, Guarded::Rdpkru)?;
    is_zero(cpu.state(), Slot::Rcx)?;
    is_zero(cpu.state(), Slot::Rdx)?;
    let state = cpu.state_mut();
    state.system.pkru = state.get(Slot::Rax);
    done(cpu, record)
}
