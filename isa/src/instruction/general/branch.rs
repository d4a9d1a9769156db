//! Near branches (SDM Vol. 1, 7.3.8): the target is truncated to the operand size and must be in the code segment.

use super::super::for_condition;
use super::stack::push_value;
use crate::cpu::{Cpu, Stop, Stopped};
use crate::decode::{Form, Kind, Size};
use crate::flags::{self, Condition};
use crate::instruction::control::canonical;
use crate::mode::CodeSize;
use crate::operand::{Memory, Register, Source};
use crate::record::{Handler, Record};
use crate::segment::SegmentRegister;
use crate::stack::Stack;
use crate::state::{Slot, State};
use crate::width::Width;
use iced_x86::{Code, ConditionCode, Mnemonic, OpKind};

/// The handler for a form of this family.
pub(crate) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    match form.mnemonic() {
        Mnemonic::Jmp => jmp(form),
        Mnemonic::Call => call(form),
        Mnemonic::Ret => ret(form),
        _ if form.instruction.is_jcc_short_or_near() => jcc(form),
        _ => loops(form),
    }
}

/// The offset behind the instruction.
pub(super) fn successor<C: Cpu>(state: &State, record: &Record<C>) -> u64 {
    let next = record.next_rip(state);
    if state.code_size() == CodeSize::Bits64 { next } else { next & 0xffff_ffff }
}

/// A target that can be gone to.
fn checked(state: &State, target: u64) -> Result<u64, Stopped> {
    if state.code_size() == CodeSize::Bits64 {
        return canonical(target);
    }
    if target > state.segment(SegmentRegister::Cs).limit.into() {
        return Err(Stop::GENERAL_PROTECTION.into());
    }
    Ok(target)
}

/// The target of a direct branch in an operand size.
fn direct<C: Cpu, W: Width>(cpu: &C, record: &Record<C>) -> Result<u64, Stopped> {
    let state = cpu.state();
    checked(state, W::truncate(record.target(state)).zero_extend())
}

fn target_size(form: &Form<'_>) -> Option<Size> {
    match form.instruction.op0_kind() {
        OpKind::NearBranch16 => Some(Size::B16),
        OpKind::NearBranch32 => Some(Size::B32),
        OpKind::NearBranch64 => Some(Size::B64),
        _ => None,
    }
}

fn jcc<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    let condition = form.instruction.condition_code();
    match target_size(form)? {
        Size::B16 => for_condition!(condition, jump_if::<C, u16>()),
        Size::B32 => for_condition!(condition, jump_if::<C, u32>()),
        _ => None,
    }
}

fn jump_if<C: Cpu, W: Width, T: Condition>() -> Option<Handler<C>> {
    Some(|cpu, record| {
        let taken = T::holds(&cpu.state().flags);
        branch::<C, W>(cpu, record, taken)
    })
}

fn branch<C: Cpu, W: Width>(cpu: &mut C, record: &Record<C>, taken: bool) -> Result<(), Stopped> {
    let rip = if taken { direct::<C, W>(cpu, record)? } else { successor(cpu.state(), record) };
    cpu.state_mut().set_rip(rip);
    Ok(())
}

/// Calls `$select::<C, .., W>` for the operand size of a near branch.
macro_rules! for_near {
    ($form:expr, $direct:ident, $indirect:ident::<$c:ty>) => {
        match ($form.instruction.code(), target_size($form)) {
            (_, Some(Size::B16)) => Some($direct::<$c, u16>),
            (_, Some(Size::B32)) => Some($direct::<$c, u32>),
            (_, Some(_)) => None,
            (Code::Jmp_rm16 | Code::Call_rm16, _) => $indirect::<$c, u16>($form.kinds[0]),
            (Code::Jmp_rm32 | Code::Call_rm32, _) => $indirect::<$c, u32>($form.kinds[0]),
            (Code::Jmp_rm64 | Code::Call_rm64, _) => $indirect::<$c, u64>($form.kinds[0]),
            _ => None,
        }
    };
}

fn jmp<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    for_near!(form, jump_direct, jump_indirect::<C>)
}

fn jump_direct<C: Cpu, W: Width>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    branch::<C, W>(cpu, record, true)
}

fn jump_indirect<C: Cpu, W: Width>(kind: Kind) -> Option<Handler<C>> {
    Some(if kind == Kind::Register { jump_to::<C, W, Register> } else { jump_to::<C, W, Memory> })
}

fn jump_to<C: Cpu, W: Width, S: Source>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let target = S::load::<C, W>(cpu, record)?.zero_extend();
    let target = checked(cpu.state(), target)?;
    cpu.state_mut().set_rip(target);
    Ok(())
}

fn call<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    if let Some(Size::B64) = target_size(form) {
        return Some(call_direct::<C, u64>);
    }
    for_near!(form, call_direct, call_indirect::<C>)
}

fn call_direct<C: Cpu, W: Width>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let target = direct::<C, W>(cpu, record)?;
    push_return::<C, W>(cpu, record, target)
}

fn call_indirect<C: Cpu, W: Width>(kind: Kind) -> Option<Handler<C>> {
    Some(if kind == Kind::Register { call_to::<C, W, Register> } else { call_to::<C, W, Memory> })
}

fn call_to<C: Cpu, W: Width, S: Source>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let target = S::load::<C, W>(cpu, record)?.zero_extend();
    let target = checked(cpu.state(), target)?;
    push_return::<C, W>(cpu, record, target)
}

fn push_return<C: Cpu, W: Width>(cpu: &mut C, record: &Record<C>, target: u64) -> Result<(), Stopped> {
    let back = successor(cpu.state(), record);
    push_value(cpu, W::truncate(back))?;
    cpu.state_mut().set_rip(target);
    Ok(())
}

fn ret<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    Some(match form.instruction.code() {
        Code::Retnw | Code::Retnw_imm16 => return_near::<C, u16>,
        Code::Retnd | Code::Retnd_imm16 => return_near::<C, u32>,
        Code::Retnq | Code::Retnq_imm16 => return_near::<C, u64>,
        _ => return None,
    })
}

fn return_near<C: Cpu, W: Width>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let mut stack = Stack::of(cpu.state());
    let target = stack.pop::<C, W>(cpu)?.zero_extend();
    let target = checked(cpu.state(), target)?;
    stack.release(record.immediate);
    let state = cpu.state_mut();
    stack.commit(state);
    state.set_rip(target);
    Ok(())
}

/// What beside the count ends LOOP, LOOPE and LOOPNE.
trait Ends {
    fn goes_on(state: &State) -> bool;
}
struct Never;
struct NotEqual;
struct Equal;
impl Ends for Never {
    fn goes_on(_: &State) -> bool {
        true
    }
}
impl Ends for NotEqual {
    fn goes_on(state: &State) -> bool {
        state.flags.zf()
    }
}
impl Ends for Equal {
    fn goes_on(state: &State) -> bool {
        !state.flags.zf()
    }
}

/// The address size says which of CX and ECX counts, the operand size how far the target reaches.
fn loops<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    Some(match form.instruction.code() {
        Code::Loop_rel8_16_CX => count_down::<C, u16, u16, Never>,
        Code::Loop_rel8_32_CX => count_down::<C, u32, u16, Never>,
        Code::Loop_rel8_16_ECX => count_down::<C, u16, u32, Never>,
        Code::Loop_rel8_32_ECX => count_down::<C, u32, u32, Never>,
        Code::Loope_rel8_16_CX => count_down::<C, u16, u16, NotEqual>,
        Code::Loope_rel8_32_CX => count_down::<C, u32, u16, NotEqual>,
        Code::Loope_rel8_16_ECX => count_down::<C, u16, u32, NotEqual>,
        Code::Loope_rel8_32_ECX => count_down::<C, u32, u32, NotEqual>,
        Code::Loopne_rel8_16_CX => count_down::<C, u16, u16, Equal>,
        Code::Loopne_rel8_32_CX => count_down::<C, u32, u16, Equal>,
        Code::Loopne_rel8_16_ECX => count_down::<C, u16, u32, Equal>,
        Code::Loopne_rel8_32_ECX => count_down::<C, u32, u32, Equal>,
        Code::Jcxz_rel8_16 => jump_if_zero::<C, u16, u16>,
        Code::Jcxz_rel8_32 => jump_if_zero::<C, u32, u16>,
        Code::Jecxz_rel8_16 => jump_if_zero::<C, u16, u32>,
        Code::Jecxz_rel8_32 => jump_if_zero::<C, u32, u32>,
        _ => return None,
    })
}

/// A target that is refused leaves the count as it was.
fn count_down<C: Cpu, W: Width, N: Width, E: Ends>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let (count, _) = cpu.state().get::<N>(Slot::Rcx).sub_with_borrow(N::ONE, false);
    let again = count != N::ZERO && E::goes_on(cpu.state());
    branch::<C, W>(cpu, record, again)?;
    cpu.state_mut().put(Slot::Rcx, count);
    Ok(())
}

fn jump_if_zero<C: Cpu, W: Width, N: Width>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let zero = cpu.state().get::<N>(Slot::Rcx) == N::ZERO;
    branch::<C, W>(cpu, record, zero)
}
