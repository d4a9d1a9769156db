//! Control transfer (SDM Vol. 1, 5.1.7): JMP Jcc CALL RET INT n SYSCALL HLT UD, and comparison and jump as one.

use super::for_condition;
use super::transfer::{peek, push_value};
use crate::cpu::{Cpu, Stop, Stopped};
use crate::decode::{Form, Kind, Size};
use crate::event::EventKind;
use crate::flags::{self, Condition};
use crate::operand::{Flat, Memory, Register, Source};
use crate::record::{Handler, Record};
use crate::state::Slot;
use iced_x86::{ConditionCode, Mnemonic};

/// The longest instruction in bytes.
const LONGEST: u8 = 15;

/// The handler for a form of this family.
pub(crate) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    match form.mnemonic() {
        Mnemonic::Jmp => jmp(form),
        Mnemonic::Call => call(form),
        Mnemonic::Ret => ret(form),
        Mnemonic::Syscall => Some(|_, _| Err(Stop::SystemCall.into())),
        Mnemonic::Hlt => Some(|_, _| Err(Stop::Halt.into())),
        Mnemonic::Int => Some(int),
        Mnemonic::Int1 => Some(|_, _| Err(Stop::DEBUG_TRAP.into())),
        Mnemonic::Int3 => Some(|_, _| Err(Stop::BREAKPOINT.into())),
        Mnemonic::Ud0 | Mnemonic::Ud1 | Mnemonic::Ud2 => Some(|_, _| Err(Stop::INVALID_OPCODE.into())),
        Mnemonic::INVALID => Some(invalid),
        _ if form.instruction.is_jcc_short_or_near() => {
            for_condition!(form.instruction.condition_code(), jcc::<C>())
        }
        _ => None,
    }
}

#[allow(clippy::cast_possible_truncation, reason = "a vector has 8 bits")]
fn int<C: Cpu>(_: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let (vector, kind) = (record.immediate as u8, EventKind::SoftwareInterrupt);
    Err(Stop::SoftwareInterrupt { vector, kind }.into())
}

/// An encoding without meaning, LOCK where it is not allowed (SDM Vol. 2A, LOCK), or too many bytes (SDM Vol. 3A, 7.15,
/// #GP). iced-x86 does not tell the last one from the others when they have exactly 15 bytes.
fn invalid<C: Cpu>(_: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    Err(if record.length < LONGEST { Stop::INVALID_OPCODE } else { Stop::GENERAL_PROTECTION }.into())
}

fn jcc<C: Cpu, T: Condition>() -> Option<Handler<C>> {
    Some(|cpu, record| jump_if::<C, T>(cpu, record, record.immediate))
}

/// Goes to `target`, relative to the block, or to the next instruction.
#[inline(always)]
pub(crate) fn jump_if<C: Cpu, T: Condition>(
    cpu: &mut C,
    record: &Record<C>,
    target: u64,
) -> Result<(), Stopped> {
    let state = cpu.state_mut();
    let taken = state.rip().wrapping_add(target);
    let not_taken = record.next_rip(state);
    let rip = if T::holds(&state.flags) { taken } else { not_taken };
    state.set_rip(rip);
    Ok(())
}

/// Near branches have 64-bit operands in 64-bit mode; the operand-size prefix is ignored by Intel processors.
fn jmp<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    Some(match form.kinds[0] {
        Kind::Target => |cpu, record| {
            let state = cpu.state_mut();
            state.set_rip(record.target(state));
            Ok(())
        },
        Kind::Register if form.size_of(0) == Some(Size::B64) => jump_to::<C, Register>,
        Kind::Flat if is_near(form) => jump_to::<C, Flat>,
        Kind::Memory if is_near(form) => jump_to::<C, Memory>,
        _ => return None,
    })
}

fn is_near(form: &Form<'_>) -> bool {
    form.instruction.is_jmp_near_indirect() || form.instruction.is_call_near_indirect()
}

fn jump_to<C: Cpu, S: Source>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let target = canonical(S::load::<C, u64>(cpu, record)?)?;
    cpu.state_mut().set_rip(target);
    Ok(())
}

/// A near branch to a non-canonical address is refused before anything changes (SDM Vol. 2, JMP, CALL, RET). With
/// 5-level paging more is canonical; what is refused here is refused there as well.
#[inline(always)]
pub(crate) fn canonical(target: u64) -> Result<u64, Stopped> {
    let upper = target.cast_signed() >> 56;
    if upper == 0 || upper == -1 { Ok(target) } else { Err(Stop::GENERAL_PROTECTION.into()) }
}

fn call<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    Some(match form.kinds[0] {
        Kind::Target => |cpu, record| {
            let (target, back) = (record.target(cpu.state()), record.next_rip(cpu.state()));
            push_value(cpu, back)?;
            cpu.state_mut().set_rip(target);
            Ok(())
        },
        Kind::Register if form.size_of(0) == Some(Size::B64) => call_to::<C, Register>,
        Kind::Flat if is_near(form) => call_to::<C, Flat>,
        Kind::Memory if is_near(form) => call_to::<C, Memory>,
        _ => return None,
    })
}

fn call_to<C: Cpu, S: Source>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let target = canonical(S::load::<C, u64>(cpu, record)?)?;
    let back = record.next_rip(cpu.state());
    push_value(cpu, back)?;
    cpu.state_mut().set_rip(target);
    Ok(())
}

fn ret<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    if form.instruction.stack_pointer_increment() < 8 {
        return None;
    }
    Some(|cpu, record| {
        let (target, above) = peek::<C, u64>(cpu)?;
        let target = canonical(target)?;
        let state = cpu.state_mut();
        state.set_slot(Slot::Rsp, above.wrapping_add(record.immediate));
        state.set_rip(target);
        Ok(())
    })
}
