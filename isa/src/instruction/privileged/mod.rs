//! System instructions (SDM Vol. 1, 5.20): control and debug registers, MSRs, I/O, table registers, system calls.
//!
//! Each first asks [`Guarded`] whether it may execute here, tells [`Cpu::intercept`] what it is about to do, and then
//! does it. What the machine must look at before the next instruction ends with [`Stop::Done`].

mod base;
mod control_register;
mod debug_register;
mod flags;
mod hypercall;
mod io;
mod model_specific;
mod system_call;
mod table_register;
mod translation;
mod vmx;
mod waiting;
mod xsave;

use crate::cpu::{Cpu, Stop, Stopped};
use crate::decode::{Form, Kind};
use crate::mode::CodeSize;
use crate::record::{Handler, Record};
use crate::registers::Gpr;
use crate::state::{Slot, State};
use crate::system::Interruptibility;
use crate::system::guard::Guarded;
use crate::width::Width;
use iced_x86::Mnemonic;

/// The handler for a form of this family.
pub(crate) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    control_register::select(form)
        .or_else(|| model_specific::select(form))
        .or_else(|| io::select(form))
        .or_else(|| flags::select(form))
        .or_else(|| table_register::select(form))
        .or_else(|| system_call::select(form))
        .or_else(|| translation::select(form))
        .or_else(|| waiting::select(form))
        .or_else(|| debug_register::select(form))
        .or_else(|| base::select(form))
        .or_else(|| xsave::select(form))
        .or_else(|| vmx::select(form))
        .or_else(|| hypercall::select(form))
        .or_else(|| (form.mnemonic() == Mnemonic::Rsm).then_some(rsm))
}

/// RSM: #UD outside system-management mode (SDM Vol. 2B).
fn rsm<C: Cpu>(cpu: &mut C, _: &Record<C>) -> Result<(), Stopped> {
    if !cpu.state().system.interruptibility.contains(Interruptibility::SMI) {
        return Err(Stop::INVALID_OPCODE.into());
    }
    cpu.resume()?;
    Err(Stop::Done.into())
}

/// A register that does not exist.
fn undefined<C: Cpu>(_: &mut C, _: &Record<C>) -> Result<(), Stopped> {
    Err(Stop::INVALID_OPCODE.into())
}

fn guard<C: Cpu>(cpu: &C, instruction: Guarded) -> Result<(), Stopped> {
    instruction.check(cpu.state())
}

/// The instruction is complete, and the machine is to look at what it changed.
fn done<C: Cpu>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let rip = following(cpu.state(), record);
    cpu.state_mut().set_rip(rip);
    Err(Stop::Done.into())
}

/// The offset of the next instruction.
fn following<C: Cpu>(state: &State, record: &Record<C>) -> u64 {
    let next = record.next_rip(state);
    if state.code_size() == CodeSize::Bits64 { next } else { next & 0xffff_ffff }
}

/// The general-purpose register of a slot.
fn gpr_of(slot: Slot) -> Gpr {
    Gpr::ALL[slot as usize & 15]
}

/// EDX:EAX.
fn pair(state: &State) -> u64 {
    u64::from(state.get::<u32>(Slot::Rdx)) << 32 | u64::from(state.get::<u32>(Slot::Rax))
}

fn put_pair(state: &mut State, value: u64) {
    state.put(Slot::Rax, u32::truncate(value));
    state.put(Slot::Rdx, u32::truncate(value >> 32));
}

fn is_memory(form: &Form<'_>) -> bool {
    form.kinds[0].is_memory() || form.kinds[1].is_memory()
}

fn is_register(form: &Form<'_>) -> bool {
    form.kinds[0] == Kind::Register
}
