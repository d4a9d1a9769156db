//! A comparison and the conditional jump after it as one record.
//!
//! Compilers put the two side by side, and the jump is where most blocks end. The flags are still set, because the
//! code after the jump may read them.

use crate::cpu::{Cpu, Stopped};
use crate::decode::{FlagsNeeded, Form, Kind, Size};
use crate::flags::{self, Condition, Live};
use crate::instruction::arithmetic::{Add, And, Binary, Dec, Inc, Sub, Unary};
use crate::instruction::control::jump_if;
use crate::instruction::for_condition;
use crate::operand::{Destination, Flat, Register, Source, SourceRegister};
use crate::record::{Handler, Record};
use crate::width::Width;
use iced_x86::{ConditionCode, Instruction, Mnemonic};

/// Joins the last two records of a block where they are a pair that has a common handler.
pub(crate) fn fuse<C: Cpu>(instructions: &[Instruction], records: &mut Vec<Record<C>>) {
    let [.., first, jump] = instructions else { return };
    if !jump.is_jcc_short_or_near() {
        return;
    }
    let form = Form::new(first, FlagsNeeded::Yes);
    let Some(handler) = for_condition!(jump.condition_code(), pair::<C>(&form)) else { return };
    let [.., comparison, branch] = records.as_mut_slice() else { return };
    if let Some(immediate) = pack(comparison.immediate, branch.immediate) {
        comparison.length += branch.length;
        comparison.immediate = immediate;
        comparison.handler = handler;
        records.pop();
    }
}

/// The operand in the low and the target in the high half of the immediate, if both fit.
fn pack(operand: u64, target: u64) -> Option<u64> {
    let operand = i32::try_from(operand.cast_signed()).ok()?;
    let target = i32::try_from(target.cast_signed()).ok()?;
    Some(u64::from(operand.cast_unsigned()) | u64::from(target.cast_unsigned()) << 32)
}

/// The immediate operand of a packed record.
struct Packed;

impl Source for Packed {
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "the low half is the operand")]
    fn load<C: Cpu, W: Width>(_: &mut C, record: &Record<C>) -> Result<W, Stopped> {
        let operand = (record.immediate as u32).cast_signed();
        Ok(W::truncate(i64::from(operand).cast_unsigned()))
    }
}

fn pair<C: Cpu, T: Condition>(form: &Form<'_>) -> Option<Handler<C>> {
    match form.mnemonic() {
        Mnemonic::Cmp => comparison::<C, Sub, T>(form),
        Mnemonic::Test => comparison::<C, And, T>(form),
        Mnemonic::Add => operation::<C, Add, T>(form),
        Mnemonic::Sub => operation::<C, Sub, T>(form),
        Mnemonic::And => operation::<C, And, T>(form),
        Mnemonic::Inc => counting::<C, Inc, T>(form),
        Mnemonic::Dec => counting::<C, Dec, T>(form),
        _ => None,
    }
}

fn comparison<C: Cpu, O: Binary, T: Condition>(form: &Form<'_>) -> Option<Handler<C>> {
    match form.size_of(0)? {
        Size::B8 => comparison_kinds::<C, O, T, u8>(form.kinds),
        Size::B16 => None,
        Size::B32 => comparison_kinds::<C, O, T, u32>(form.kinds),
        Size::B64 => comparison_kinds::<C, O, T, u64>(form.kinds),
    }
}

fn comparison_kinds<C: Cpu, O: Binary, T: Condition, W: Width>(kinds: [Kind; 4]) -> Option<Handler<C>> {
    Some(match (kinds[0], kinds[1]) {
        (Kind::Register, Kind::Register) => compare_and_jump::<C, O, T, W, Register, SourceRegister>,
        (Kind::Register, Kind::Immediate) => compare_and_jump::<C, O, T, W, Register, Packed>,
        (Kind::Register, Kind::Flat) => compare_and_jump::<C, O, T, W, Register, Flat>,
        (Kind::Flat, Kind::Register) => compare_and_jump::<C, O, T, W, Flat, SourceRegister>,
        (Kind::Flat, Kind::Immediate) => compare_and_jump::<C, O, T, W, Flat, Packed>,
        _ => return None,
    })
}

fn compare_and_jump<C: Cpu, O: Binary, T: Condition, W: Width, A: Source, B: Source>(
    cpu: &mut C,
    record: &Record<C>,
) -> Result<(), Stopped> {
    let a = A::load::<C, W>(cpu, record)?;
    let b = B::load::<C, W>(cpu, record)?;
    O::apply::<W, Live>(&mut cpu.state_mut().flags, a, b);
    jump::<C, T>(cpu, record)
}

#[inline(always)]
fn jump<C: Cpu, T: Condition>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let target = (record.immediate.cast_signed() >> 32).cast_unsigned();
    jump_if::<C, T>(cpu, record, target)
}

fn operation<C: Cpu, O: Binary, T: Condition>(form: &Form<'_>) -> Option<Handler<C>> {
    match form.size_of(0)? {
        Size::B32 => operation_kinds::<C, O, T, u32>(form.kinds),
        Size::B64 => operation_kinds::<C, O, T, u64>(form.kinds),
        Size::B8 | Size::B16 => None,
    }
}

fn operation_kinds<C: Cpu, O: Binary, T: Condition, W: Width>(kinds: [Kind; 4]) -> Option<Handler<C>> {
    Some(match (kinds[0], kinds[1]) {
        (Kind::Register, Kind::Register) => update_and_jump::<C, O, T, W, SourceRegister>,
        (Kind::Register, Kind::Immediate) => update_and_jump::<C, O, T, W, Packed>,
        _ => return None,
    })
}

fn update_and_jump<C: Cpu, O: Binary, T: Condition, W: Width, B: Source>(
    cpu: &mut C,
    record: &Record<C>,
) -> Result<(), Stopped> {
    let b = B::load::<C, W>(cpu, record)?;
    Register::modify::<C, W>(cpu, record, |state, a| O::apply::<W, Live>(&mut state.flags, a, b))?;
    jump::<C, T>(cpu, record)
}

fn counting<C: Cpu, O: Unary, T: Condition>(form: &Form<'_>) -> Option<Handler<C>> {
    match (form.size_of(0)?, form.kinds[0]) {
        (Size::B32, Kind::Register) => Some(count_and_jump::<C, O, T, u32>),
        (Size::B64, Kind::Register) => Some(count_and_jump::<C, O, T, u64>),
        _ => None,
    }
}

fn count_and_jump<C: Cpu, O: Unary, T: Condition, W: Width>(
    cpu: &mut C,
    record: &Record<C>,
) -> Result<(), Stopped> {
    Register::modify::<C, W>(cpu, record, |state, a| O::apply::<W, Live>(&mut state.flags, a))?;
    jump::<C, T>(cpu, record)
}
