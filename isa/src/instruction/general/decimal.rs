//! Decimal adjustment: AAA AAS AAM AAD DAA DAS (SDM Vol. 1, 5.1.3). None of them exists in 64-bit mode.
//!
//! Flags that the manual leaves undefined keep their values.

use crate::cpu::{Cpu, Stop, Stopped};
use crate::decode::Form;
use crate::event::Vector;
use crate::flags::Rflags;
use crate::record::{Handler, Record};
use crate::state::{Slot, State};
use iced_x86::Mnemonic;

/// The handler for a form of this family.
pub(crate) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    Some(match form.mnemonic() {
        Mnemonic::Aaa => |cpu, _| adjust(cpu, |ax| ax.wrapping_add(0x106)),
        Mnemonic::Aas => |cpu, _| adjust(cpu, |ax| ax.wrapping_sub(0x106)),
        Mnemonic::Daa => |cpu, _| adjust_packed(cpu.state_mut(), u8::overflowing_add, ClearsCarry::Yes),
        Mnemonic::Das => |cpu, _| adjust_packed(cpu.state_mut(), u8::overflowing_sub, ClearsCarry::No),
        Mnemonic::Aam => divide,
        Mnemonic::Aad => multiply,
        _ => return None,
    })
}

/// Whether the low digit must be adjusted.
fn is_beyond_nine(state: &State) -> bool {
    state.get::<u8>(Slot::Rax) & 0xf > 9 || state.flags.af()
}

/// AAA and AAS: unpacked digits in AL, a carry into AH.
fn adjust<C: Cpu>(cpu: &mut C, carry: impl FnOnce(u16) -> u16) -> Result<(), Stopped> {
    let state = cpu.state_mut();
    let carries = is_beyond_nine(state);
    let ax: u16 = state.get(Slot::Rax);
    let ax = if carries { carry(ax) } else { ax };
    state.put(Slot::Rax, ax & 0xff0f);
    let mut status = state.flags.status();
    status.set(Rflags::AF | Rflags::CF, carries);
    state.flags.set_status(status);
    Ok(())
}

/// What becomes of CF when the high digit needs no adjustment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ClearsCarry {
    Yes,
    No,
}

/// DAA and DAS: two digits in AL.
fn adjust_packed(
    state: &mut State,
    apply: fn(u8, u8) -> (u8, bool),
    otherwise: ClearsCarry,
) -> Result<(), Stopped> {
    let (old, old_carry) = (state.get::<u8>(Slot::Rax), state.flags.cf());
    let low = is_beyond_nine(state);
    let (mut al, mut carry) = (old, false);
    if low {
        let (adjusted, carried) = apply(al, 6);
        al = adjusted;
        carry = old_carry || carried;
    }
    if old > 0x99 || old_carry {
        al = apply(al, 0x60).0;
        carry = true;
    } else if otherwise == ClearsCarry::Yes {
        carry = false;
    }
    state.put(Slot::Rax, al);
    state.flags.set_result(al);
    let mut status = state.flags.status();
    status.set(Rflags::AF, low);
    status.set(Rflags::CF, carry);
    state.flags.set_status(status);
    Ok(())
}

/// AAM: the digits of AL in AH and AL, in the base of the immediate.
#[allow(clippy::cast_possible_truncation, reason = "the base has 8 bits")]
fn divide<C: Cpu>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let state = cpu.state_mut();
    let base = record.immediate as u8;
    let al: u8 = state.get(Slot::Rax);
    let (Some(high), Some(low)) = (al.checked_div(base), al.checked_rem(base)) else {
        return Err(Stop::exception(Vector::DivideError).into());
    };
    state.put(Slot::Rax, u16::from_le_bytes([low, high]));
    state.flags.set_result(low);
    Ok(())
}

/// AAD: the value of the digits in AH and AL.
#[allow(clippy::cast_possible_truncation, reason = "the base has 8 bits")]
fn multiply<C: Cpu>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let state = cpu.state_mut();
    let [low, high] = state.get::<u16>(Slot::Rax).to_le_bytes();
    let value = low.wrapping_add(high.wrapping_mul(record.immediate as u8));
    state.put(Slot::Rax, u16::from(value));
    state.flags.set_result(value);
    Ok(())
}
