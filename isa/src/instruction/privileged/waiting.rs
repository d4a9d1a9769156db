//! HLT MONITOR MWAIT PAUSE (SDM Vol. 2; Vol. 3A, 10.10).

use super::guard;
use crate::address::{AccessKind, LinearAddress};
use crate::cpu::{Cpu, Stop, Stopped};
use crate::decode::Form;
use crate::mode::CodeSize;
use crate::record::{Handler, Record};
use crate::segment::SegmentRegister;
use crate::state::Slot;
use crate::system::Intercepted;
use crate::system::guard::Guarded;
use crate::width::Width;
use iced_x86::{Code, Mnemonic, Register};

/// The handler for a form of this family.
pub(super) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    Some(match form.mnemonic() {
        Mnemonic::Hlt => hlt,
        Mnemonic::Pause => pause,
        Mnemonic::Monitor => return monitor_of(form),
        Mnemonic::Mwait => mwait,
        _ => return None,
    })
}

fn pause<C: Cpu>(cpu: &mut C, _: &Record<C>) -> Result<(), Stopped> {
    cpu.intercept(&Intercepted::Pause)?;
    cpu.pause();
    Ok(())
}

/// RIP stays at the instruction: the machine moves it when it halts the processor.
fn hlt<C: Cpu>(cpu: &mut C, _: &Record<C>) -> Result<(), Stopped> {
    guard(cpu, Guarded::Hlt)?;
    cpu.intercept(&Intercepted::Hlt)?;
    Err(Stop::Halt.into())
}

/// MONITOR with the address size and the segment of this form; DS unless a prefix says otherwise.
fn monitor_of<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    match form.instruction.code() {
        Code::Monitorw => monitor_in::<C, u16>(form.instruction.segment_prefix()),
        Code::Monitord => monitor_in::<C, u32>(form.instruction.segment_prefix()),
        _ => monitor_in::<C, u64>(form.instruction.segment_prefix()),
    }
}

fn monitor_in<C: Cpu, A: Width>(prefix: Register) -> Option<Handler<C>> {
    Some(match prefix {
        Register::ES => monitor::<C, A, 0>,
        Register::CS => monitor::<C, A, 1>,
        Register::SS => monitor::<C, A, 2>,
        Register::FS => monitor::<C, A, 4>,
        Register::GS => monitor::<C, A, 5>,
        _ => monitor::<C, A, 3>,
    })
}

/// ECX must be 0: there are no extensions. The address is checked as a read of one byte.
fn monitor<C: Cpu, A: Width, const SEGMENT: usize>(cpu: &mut C, _: &Record<C>) -> Result<(), Stopped> {
    guard(cpu, Guarded::Monitor)?;
    cpu.intercept(&Intercepted::Monitor)?;
    if cpu.state().get::<u32>(Slot::Rcx) != 0 {
        return Err(Stop::GENERAL_PROTECTION.into());
    }
    let state = cpu.state();
    let offset = state.get::<A>(Slot::Rax).zero_extend();
    let base = SegmentRegister::ALL[SEGMENT].base();
    let at = match state.code_size() {
        CodeSize::Bits64 if SEGMENT < 4 => LinearAddress(offset),
        CodeSize::Bits64 => LinearAddress(state.slot(base).wrapping_add(offset)),
        _ => state.linear_in_segment(base, offset, 1, AccessKind::Read)?,
    };
    cpu.read::<u8>(at)?;
    cpu.monitor(at)
}

/// Bit 0 of ECX, interrupts as break events while they are masked, is the one extension.
fn mwait<C: Cpu>(cpu: &mut C, _: &Record<C>) -> Result<(), Stopped> {
    guard(cpu, Guarded::Mwait)?;
    cpu.intercept(&Intercepted::Mwait)?;
    if cpu.state().get::<u32>(Slot::Rcx) & !1 != 0 {
        return Err(Stop::GENERAL_PROTECTION.into());
    }
    Err(Stop::Wait.into())
}
