//! FLD FST FSTP FILD FIST FISTP FISTTP FXCH FCMOVcc and the constants (SDM Vol. 1, 5.2.1 and 5.2.5).

use super::operand::{
    Double, DoubleExtended, Format, Integer16, Integer32, Integer64, Single, Stored, Truncated,
};
use super::stack::{Verdict, execute, number, wait};
use crate::cpu::{Cpu, Stopped};
use crate::decode::Form;
use crate::flags::{self, Condition};
use crate::float::extended::{Extended, INVALID, Outcome, Rounding};
use crate::record::{Handler, Record};
use iced_x86::Code;

/// The handler for a form of this family.
pub(super) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    loads(form).or_else(|| stores(form)).or_else(|| constants(form)).or_else(|| moves(form))
}

fn loads<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    Some(match form.instruction.code() {
        Code::Fld_m32fp => load::<C, Single>,
        Code::Fld_m64fp => load::<C, Double>,
        Code::Fld_m80fp => load::<C, DoubleExtended>,
        Code::Fild_m16int => load::<C, Integer16>,
        Code::Fild_m32int => load::<C, Integer32>,
        Code::Fild_m64int => load::<C, Integer64>,
        Code::Fld_sti => load_register,
        _ => return None,
    })
}

fn load<C: Cpu, F: Format>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    wait(cpu)?;
    let Outcome { value, exceptions, .. } = F::load(cpu, record)?;
    let value = if exceptions & INVALID == 0 { value } else { value.quieted() };
    push(cpu, record, &Outcome { value, exceptions, rounded_up: false });
    Ok(())
}

/// Pushes a number; where the register is not empty, the indefinite.
fn push<C: Cpu>(cpu: &mut C, record: &Record<C>, outcome: &Outcome) {
    execute(cpu, record, |x87| {
        if !x87.is_empty(7) {
            if x87.overflow() == Verdict::Completes {
                x87.push(Extended::INDEFINITE);
            }
        } else if x87.judge_load(outcome) == Verdict::Completes {
            x87.push(outcome.value);
        }
    });
}

fn load_register<C: Cpu>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    wait(cpu)?;
    let from = number(record.destination);
    if cpu.state().x87.is_empty(from) {
        execute(cpu, record, |x87| {
            if x87.underflow() == Verdict::Completes {
                x87.push(Extended::INDEFINITE);
            }
        });
        return Ok(());
    }
    let outcome = Outcome::exact(cpu.state().x87.get(from));
    push(cpu, record, &outcome);
    Ok(())
}

/// Whether an instruction pops.
pub(super) trait Pops {
    const COUNT: usize;
}
pub(super) struct Keep;
pub(super) struct Pop;
pub(super) struct PopTwo;
impl Pops for Keep {
    const COUNT: usize = 0;
}
impl Pops for Pop {
    const COUNT: usize = 1;
}
impl Pops for PopTwo {
    const COUNT: usize = 2;
}

fn stores<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    Some(match form.instruction.code() {
        Code::Fst_m32fp => store::<C, Single, Keep>,
        Code::Fst_m64fp => store::<C, Double, Keep>,
        Code::Fstp_m32fp => store::<C, Single, Pop>,
        Code::Fstp_m64fp => store::<C, Double, Pop>,
        Code::Fstp_m80fp => store::<C, DoubleExtended, Pop>,
        Code::Fist_m16int => store::<C, Integer16, Keep>,
        Code::Fist_m32int => store::<C, Integer32, Keep>,
        Code::Fistp_m16int => store::<C, Integer16, Pop>,
        Code::Fistp_m32int => store::<C, Integer32, Pop>,
        Code::Fistp_m64int => store::<C, Integer64, Pop>,
        Code::Fisttp_m16int => store::<C, Truncated<Integer16>, Pop>,
        Code::Fisttp_m32int => store::<C, Truncated<Integer32>, Pop>,
        Code::Fisttp_m64int => store::<C, Truncated<Integer64>, Pop>,
        Code::Fst_sti => store_register::<C, Keep>,
        Code::Fstp_sti | Code::Fstp_sti_DFD0 | Code::Fstp_sti_DFD8 => store_register::<C, Pop>,
        _ => return None,
    })
}

/// The unit changes only after the store; memory refuses also what is not stored.
fn store<C: Cpu, F: Stored, P: Pops>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    wait(cpu)?;
    let mut after = cpu.state().x87;
    let control = after.rounding();
    let (bits, verdict) = if after.is_empty(0) {
        (F::convert(Extended::INDEFINITE, control).value, after.underflow())
    } else {
        let outcome = F::convert(after.get(0), control);
        (outcome.value, after.judge_store(&outcome))
    };
    if verdict == Verdict::Completes {
        F::store(cpu, record, bits)?;
        (0..P::COUNT).for_each(|_| after.pop());
    } else {
        F::probe(cpu, record)?;
    }
    execute(cpu, record, |x87| *x87 = after);
    Ok(())
}

fn store_register<C: Cpu, P: Pops>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    wait(cpu)?;
    let to = number(record.destination);
    execute(cpu, record, |x87| {
        let (value, verdict) = if x87.is_empty(0) {
            (Extended::INDEFINITE, x87.underflow())
        } else {
            (x87.get(0), x87.raise(0, false))
        };
        if verdict == Verdict::Completes {
            x87.set(to, value);
            (0..P::COUNT).for_each(|_| x87.pop());
        }
    });
    Ok(())
}

fn constants<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    Some(match form.instruction.code() {
        Code::Fld1 => |cpu, record| constant(cpu, record, 0x3fff, 0x8000_0000_0000_0000, &[]),
        Code::Fldz => |cpu, record| constant(cpu, record, 0, 0, &[]),
        Code::Fldl2t => |cpu, record| constant(cpu, record, 0x4000, 0xd49a_784b_cd1b_8afe, &[Rounding::Up]),
        Code::Fldl2e => |cpu, record| constant(cpu, record, 0x3fff, 0xb8aa_3b29_5c17_f0bb, &AWAY),
        Code::Fldpi => |cpu, record| constant(cpu, record, 0x4000, 0xc90f_daa2_2168_c234, &AWAY),
        Code::Fldlg2 => |cpu, record| constant(cpu, record, 0x3ffd, 0x9a20_9a84_fbcf_f798, &AWAY),
        Code::Fldln2 => |cpu, record| constant(cpu, record, 0x3ffe, 0xb172_17f7_d1cf_79ab, &AWAY),
        _ => return None,
    })
}

/// The directions in which a constant is rounded up whose next bit is 1.
const AWAY: [Rounding; 2] = [Rounding::Nearest, Rounding::Up];

/// Pushes a constant that is given truncated.
fn constant<C: Cpu>(
    cpu: &mut C,
    record: &Record<C>,
    exponent: u16,
    significand: u64,
    rounded_up_in: &[Rounding],
) -> Result<(), Stopped> {
    wait(cpu)?;
    let up = rounded_up_in.contains(&cpu.state().x87.rounding().rounding);
    let value = Extended { negative: false, exponent, significand: significand + u64::from(up) };
    push(cpu, record, &Outcome::exact(value));
    Ok(())
}

fn moves<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    Some(match form.instruction.code() {
        Code::Fxch_st0_sti | Code::Fxch_st0_sti_DDC8 | Code::Fxch_st0_sti_DFC8 => exchange,
        Code::Fcmovb_st0_sti => move_if::<C, flags::B>,
        Code::Fcmove_st0_sti => move_if::<C, flags::E>,
        Code::Fcmovbe_st0_sti => move_if::<C, flags::Be>,
        Code::Fcmovu_st0_sti => move_if::<C, flags::P>,
        Code::Fcmovnb_st0_sti => move_if::<C, flags::Ae>,
        Code::Fcmovne_st0_sti => move_if::<C, flags::Ne>,
        Code::Fcmovnbe_st0_sti => move_if::<C, flags::A>,
        Code::Fcmovnu_st0_sti => move_if::<C, flags::Np>,
        _ => return None,
    })
}

/// Empty registers count as the indefinite.
fn exchange<C: Cpu>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    wait(cpu)?;
    let other = number(record.source);
    execute(cpu, record, |x87| {
        let empty = [0, other].map(|register| x87.is_empty(register));
        let [first, second] = [0, other].map(|register| match x87.is_empty(register) {
            true => Extended::INDEFINITE,
            false => x87.get(register),
        });
        let verdict = if empty == [false; 2] { x87.raise(0, false) } else { x87.underflow() };
        if verdict == Verdict::Completes {
            x87.set(0, second);
            x87.set(other, first);
        }
    });
    Ok(())
}

/// The stack is checked whatever the condition says.
fn move_if<C: Cpu, T: Condition>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    wait(cpu)?;
    let from = number(record.source);
    let holds = T::holds(&cpu.state().flags);
    execute(cpu, record, |x87| {
        if x87.is_empty(0) || x87.is_empty(from) {
            if x87.underflow() == Verdict::Completes {
                x87.set(0, Extended::INDEFINITE);
            }
        } else if holds {
            x87.set(0, x87.get(from));
        }
    });
    Ok(())
}
