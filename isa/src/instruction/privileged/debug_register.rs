//! MOV to and from debug registers (SDM Vol. 2B; Vol. 3B, 19.2).
//!
//! First comes #UD, then privilege, then the interception, then general detect, then the value.

use super::{done, gpr_of, guard, undefined};
use crate::control::Cr4;
use crate::cpu::{Cpu, Stop, Stopped};
use crate::decode::Form;
use crate::event::Exception;
use crate::record::{Handler, Record};
use crate::state::State;
use crate::system::Intercepted;
use crate::system::debug::{self, Dr6, GENERAL_DETECT};
use crate::system::guard::Guarded;
use crate::width::Width;
use iced_x86::Code;

/// The handler for a form of this family.
pub(super) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    let register = |operand| form.instruction.op_register(operand).number();
    match form.instruction.code() {
        Code::Mov_r32_dr => load::<C, u32>(register(1)),
        Code::Mov_r64_dr => load::<C, u64>(register(1)),
        Code::Mov_dr_r32 => store::<C, u32>(register(0)),
        Code::Mov_dr_r64 => store::<C, u64>(register(0)),
        _ => None,
    }
}

macro_rules! for_debug_register {
    ($register:expr, $handler:ident::<$($parameter:ty),*>) => {
        Some(match $register {
            0 => $handler::<$($parameter,)* 0>,
            1 => $handler::<$($parameter,)* 1>,
            2 => $handler::<$($parameter,)* 2>,
            3 => $handler::<$($parameter,)* 3>,
            4 => $handler::<$($parameter,)* 4>,
            5 => $handler::<$($parameter,)* 5>,
            6 => $handler::<$($parameter,)* 6>,
            7 => $handler::<$($parameter,)* 7>,
            _ => undefined,
        })
    };
}

fn load<C: Cpu, W: Width>(register: usize) -> Option<Handler<C>> {
    for_debug_register!(register, mov_from::<C, W>)
}

fn store<C: Cpu, W: Width>(register: usize) -> Option<Handler<C>> {
    for_debug_register!(register, mov_to::<C, W>)
}

/// DR4 and DR5 are DR6 and DR7 while CR4.DE is 0.
fn check<C: Cpu>(cpu: &C, register: u8) -> Result<(), Stopped> {
    if matches!(register, 4 | 5) && cpu.state().system.cr4.contains(Cr4::DE) {
        return Err(Stop::INVALID_OPCODE.into());
    }
    guard(cpu, Guarded::MovDebug)
}

fn general_detect(state: &State) -> Result<(), Stopped> {
    if state.system.dr7 & GENERAL_DETECT == 0 {
        return Ok(());
    }
    Err(Stop::Exception(Exception::debug(Dr6::BD)).into())
}

fn mov_from<C: Cpu, W: Width, const DR: u8>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    cpu.intercept(&Intercepted::MovFromDr { register: DR, gpr: gpr_of(record.destination) })?;
    check(cpu, DR)?;
    general_detect(cpu.state())?;
    let system = &cpu.state().system;
    let value = match DR {
        4 | 6 => system.dr6,
        5 | 7 => system.dr7,
        _ => system.debug_addresses[usize::from(DR & 3)],
    };
    cpu.state_mut().put(record.destination, W::truncate(value));
    Ok(())
}

/// Bits 63:32 of DR6 and DR7 must be 0.
fn mov_to<C: Cpu, W: Width, const DR: u8>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    cpu.intercept(&Intercepted::MovToDr { register: DR, gpr: gpr_of(record.source) })?;
    check(cpu, DR)?;
    general_detect(cpu.state())?;
    let value = cpu.state().get::<W>(record.source).zero_extend();
    if DR >= 4 && value >> 32 != 0 {
        return Err(Stop::GENERAL_PROTECTION.into());
    }
    let system = &mut cpu.state_mut().system;
    match DR {
        4 | 6 => system.dr6 = debug::dr6(value),
        5 | 7 => system.dr7 = debug::dr7(value),
        _ => system.debug_addresses[usize::from(DR & 3)] = value,
    }
    done(cpu, record)
}
