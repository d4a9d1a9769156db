//! The other instructions that 64-bit mode does not have: BOUND, ARPL, INTO and SALC.

use super::branch::successor;
use crate::address::AccessKind;
use crate::cpu::{Cpu, Stop, Stopped};
use crate::decode::{Form, Kind};
use crate::event::Vector;
use crate::mode::OperatingMode;
use crate::operand::{Destination, Memory, Register, Source, SourceRegister};
use crate::record::{Handler, Record};
use crate::state::Slot;
use crate::width::Width;
use iced_x86::{Code, Mnemonic};

/// The handler for a form of this family.
pub(crate) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    Some(match (form.mnemonic(), form.instruction.code()) {
        (_, Code::Bound_r16_m1616) => bound::<C, u16>,
        (_, Code::Bound_r32_m3232) => bound::<C, u32>,
        (Mnemonic::Into, _) => into,
        (Mnemonic::Salc, _) => salc,
        (Mnemonic::Arpl, _) if form.mode.operating != OperatingMode::Protected => {
            |_, _| Err(Stop::INVALID_OPCODE.into())
        }
        (Mnemonic::Arpl, _) if form.kinds[0] == Kind::Register => adjust_privilege::<C, Register>,
        (Mnemonic::Arpl, _) => adjust_privilege::<C, Memory>,
        _ => return None,
    })
}

/// BOUND (SDM Vol. 2A): the bounds are signed, the lower one first, and both are allowed.
fn bound<C: Cpu, W: Width>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let lower: W = Memory::load(cpu, record)?;
    let state = cpu.state();
    let offset = record.effective_address(state).wrapping_add(W::BYTES as u64);
    let at = record.address_at(state, offset, W::BYTES, AccessKind::Read)?;
    let upper: W = cpu.read(at)?;
    let index = cpu.state().get::<W>(record.destination);
    let signed = |value: W| value.sign_extend().cast_signed();
    if signed(index) < signed(lower) || signed(index) > signed(upper) {
        return Err(Stop::exception(Vector::BoundRange).into());
    }
    Ok(())
}

/// INTO is a trap, as INT3 is.
fn into<C: Cpu>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    if cpu.state().flags.of() {
        return Err(Stop::OVERFLOW.into());
    }
    let next = successor(cpu.state(), record);
    cpu.state_mut().set_rip(next);
    Ok(())
}

/// SALC: AL becomes CF in all bits.
fn salc<C: Cpu>(cpu: &mut C, _: &Record<C>) -> Result<(), Stopped> {
    let state = cpu.state_mut();
    let all: u8 = if state.flags.cf() { 0xff } else { 0 };
    state.put(Slot::Rax, all);
    Ok(())
}

/// ARPL (SDM Vol. 2A): raises the RPL of the destination to that of the source; ZF says whether it was raised. Memory is
/// written only then.
fn adjust_privilege<C: Cpu, D: Destination>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let rpl = SourceRegister::load::<C, u16>(cpu, record)? & 3;
    let selector: u16 = D::load(cpu, record)?;
    let raised = selector & 3 < rpl;
    if raised {
        D::store(cpu, record, selector & !3 | rpl)?;
    }
    cpu.state_mut().flags.set_zf(raised);
    Ok(())
}
