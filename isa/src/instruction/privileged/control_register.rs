//! MOV to and from control registers, LMSW SMSW CLTS (SDM Vol. 2).

use super::{done, gpr_of, guard, is_register, undefined};
use crate::control::Cr0;
use crate::cpu::{Cpu, Stop, Stopped};
use crate::decode::{Form, Size};
use crate::operand::{Destination, Memory};
use crate::record::{Handler, Record};
use crate::system::Intercepted;
use crate::system::control_register::{Refusal, refuse_if, write_cr0, write_cr3, write_cr4, write_cr8};
use crate::system::guard::Guarded;
use crate::width::Width;
use iced_x86::{Code, Mnemonic};

/// The handler for a form of this family.
pub(super) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    let register = |operand| form.instruction.op_register(operand).number();
    match form.instruction.code() {
        Code::Mov_r32_cr => return load::<C, u32>(register(1)),
        Code::Mov_r64_cr => return load::<C, u64>(register(1)),
        Code::Mov_cr_r32 => return store::<C, u32>(register(0)),
        Code::Mov_cr_r64 => return store::<C, u64>(register(0)),
        _ => {}
    }
    match form.mnemonic() {
        Mnemonic::Clts => Some(clts),
        Mnemonic::Lmsw if is_register(form) => Some(lmsw_register),
        Mnemonic::Lmsw => Some(lmsw_memory),
        Mnemonic::Smsw => smsw(form),
        _ => None,
    }
}

fn load<C: Cpu, W: Width>(register: usize) -> Option<Handler<C>> {
    Some(match register {
        0 => mov_from::<C, W, 0>,
        2 => mov_from::<C, W, 2>,
        3 => mov_from::<C, W, 3>,
        4 => mov_from::<C, W, 4>,
        8 => mov_from::<C, W, 8>,
        _ => undefined,
    })
}

fn store<C: Cpu, W: Width>(register: usize) -> Option<Handler<C>> {
    Some(match register {
        0 => mov_to::<C, W, 0>,
        2 => mov_to::<C, W, 2>,
        3 => mov_to::<C, W, 3>,
        4 => mov_to::<C, W, 4>,
        8 => mov_to::<C, W, 8>,
        _ => undefined,
    })
}

fn mov_from<C: Cpu, W: Width, const CR: u8>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    guard(cpu, Guarded::MovControl)?;
    if matches!(CR, 3 | 8) {
        cpu.intercept(&Intercepted::MovFromCr { register: CR, gpr: gpr_of(record.destination) })?;
    }
    let system = &cpu.state().system;
    let value = match CR {
        0 => system.visible_cr0(),
        2 => system.cr2,
        3 => system.cr3,
        4 => system.visible_cr4(),
        _ => cpu.task_priority().into(),
    };
    cpu.state_mut().put(record.destination, W::truncate(value));
    Ok(())
}

fn mov_to<C: Cpu, W: Width, const CR: u8>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    guard(cpu, Guarded::MovControl)?;
    let value = cpu.state().get::<W>(record.source).zero_extend();
    if CR == 2 {
        cpu.state_mut().system.cr2 = value;
        return Ok(());
    }
    cpu.intercept(&Intercepted::MovToCr { register: CR, gpr: gpr_of(record.source), value })?;
    match CR {
        0 => write_cr0(cpu, cpu.state().system.written_cr0(value))?,
        3 => write_cr3(cpu, value)?,
        4 => write_cr4(cpu, cpu.state().system.written_cr4(value))?,
        _ => write_cr8(cpu, value)?,
    }
    done(cpu, record)
}

fn clts<C: Cpu>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    guard(cpu, Guarded::Clts)?;
    cpu.intercept(&Intercepted::Clts)?;
    let system = &mut cpu.state_mut().system;
    if system.view.cr0_mask & Cr0::TS.bits() == 0 {
        refuse_if(system.view.cr0_ones & Cr0::TS.bits() != 0, Refusal::Fixed(Cr0::TS.bits()))?;
        system.cr0.remove(Cr0::TS);
    }
    done(cpu, record)
}

fn lmsw_register<C: Cpu>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    guard(cpu, Guarded::Lmsw)?;
    let source = cpu.state().get(record.destination);
    lmsw(cpu, record, &Intercepted::Lmsw { source, memory: None })
}

fn lmsw_memory<C: Cpu>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    guard(cpu, Guarded::Lmsw)?;
    let at = record.linear_address(cpu.state(), 2, crate::address::AccessKind::Read)?;
    let source = cpu.read(at)?;
    lmsw(cpu, record, &Intercepted::Lmsw { source, memory: Some(at) })
}

/// LMSW loads PE, MP, EM and TS; it cannot clear PE.
fn lmsw<C: Cpu>(cpu: &mut C, record: &Record<C>, intercepted: &Intercepted) -> Result<(), Stopped> {
    cpu.intercept(intercepted)?;
    let Intercepted::Lmsw { source, .. } = *intercepted else { return Err(Stop::INVALID_OPCODE.into()) };
    let kept = cpu.state().system.cr0 - (Cr0::MP | Cr0::EM | Cr0::TS);
    let value = kept.bits() | u64::from(source & 0xf);
    write_cr0(cpu, cpu.state().system.written_cr0(value))?;
    done(cpu, record)
}

/// Memory receives 16 bits, a register as many as it has.
fn smsw<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    if !is_register(form) {
        return Some(|cpu, record| {
            guard(cpu, Guarded::Smsw)?;
            let value = u16::truncate(cpu.state().system.visible_cr0());
            Memory::store(cpu, record, value)
        });
    }
    match form.size_of(0)? {
        Size::B16 => Some(smsw_register::<C, u16>),
        Size::B32 => Some(smsw_register::<C, u32>),
        _ => Some(smsw_register::<C, u64>),
    }
}

fn smsw_register<C: Cpu, W: Width>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    guard(cpu, Guarded::Smsw)?;
    let value = W::truncate(cpu.state().system.visible_cr0());
    cpu.state_mut().put(record.destination, value);
    Ok(())
}
