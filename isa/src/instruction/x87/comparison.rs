//! FCOM FUCOM FICOM FCOMI FUCOMI with their popping forms, FTST FXAM (SDM Vol. 1, 5.2.3 and 8.3.6).

use super::operand::{Double, Format, Integer16, Integer32, Single};
use super::stack::{C0, C1, C2, C3, Verdict, execute, number, wait};
use super::transfer::{Keep, Pop, PopTwo, Pops};
use crate::cpu::{Cpu, Stopped};
use crate::decode::{Form, Kind};
use crate::flags::Rflags;
use crate::float::extended::{self, Class, DENORMAL, Extended, INVALID, Outcome};
use crate::record::{Handler, Record};
use crate::registers::X87;
use core::cmp::Ordering;
use iced_x86::{MemorySize, Mnemonic};

/// Which NaNs are an invalid operand.
trait Nans {
    const QUIET_IS_INVALID: bool;
}
struct Ordered;
struct Unordered;
impl Nans for Ordered {
    const QUIET_IS_INVALID: bool = true;
}
impl Nans for Unordered {
    const QUIET_IS_INVALID: bool = false;
}

/// The handler for a form of this family.
pub(super) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    Some(match form.mnemonic() {
        Mnemonic::Fcom | Mnemonic::Ficom => compare::<C, Keep>(form)?,
        Mnemonic::Fcomp | Mnemonic::Ficomp => compare::<C, Pop>(form)?,
        Mnemonic::Fcompp => |cpu, record| with_register::<C, Ordered, PopTwo>(cpu, record, 1),
        Mnemonic::Fucom => registers::<C, Unordered, Keep>,
        Mnemonic::Fucomp => registers::<C, Unordered, Pop>,
        Mnemonic::Fucompp => |cpu, record| with_register::<C, Unordered, PopTwo>(cpu, record, 1),
        Mnemonic::Fcomi => to_flags::<C, Ordered, Keep>,
        Mnemonic::Fcomip => to_flags::<C, Ordered, Pop>,
        Mnemonic::Fucomi => to_flags::<C, Unordered, Keep>,
        Mnemonic::Fucomip => to_flags::<C, Unordered, Pop>,
        Mnemonic::Ftst => test,
        Mnemonic::Fxam => examine,
        _ => return None,
    })
}

fn compare<C: Cpu, P: Pops>(form: &Form<'_>) -> Option<Handler<C>> {
    if form.kinds[0] == Kind::OtherRegister {
        return Some(registers::<C, Ordered, P>);
    }
    Some(match form.instruction.memory_size() {
        MemorySize::Float32 => memory::<C, Single, P>,
        MemorySize::Float64 => memory::<C, Double, P>,
        MemorySize::Int16 => memory::<C, Integer16, P>,
        MemorySize::Int32 => memory::<C, Integer32, P>,
        _ => return None,
    })
}

/// How ST(0) compares, with the exceptions; empty registers are unordered.
fn judge<N: Nans>(x87: &mut X87, source: Option<Outcome>) -> (Option<Ordering>, Verdict) {
    let source = match source {
        Some(source) if !x87.is_empty(0) => source,
        _ => return (None, x87.underflow()),
    };
    let (a, b) = (x87.get(0), source.value);
    let classes = [a.class(), b.class()];
    let has = |class| classes.contains(&class);
    let invalid = has(Class::SignalingNan)
        || has(Class::Unsupported)
        || source.exceptions & INVALID != 0
        || N::QUIET_IS_INVALID && has(Class::QuietNan);
    let denormal = (has(Class::Denormal) || source.exceptions & DENORMAL != 0) && !a.is_nan() && !b.is_nan();
    let exceptions = match (invalid, denormal) {
        (true, _) => INVALID,
        (false, true) => DENORMAL,
        _ => 0,
    };
    (extended::compare(a, b), x87.raise(exceptions, false))
}

fn set_conditions(x87: &mut X87, order: Option<Ordering>) {
    let conditions = match order {
        None => C0 | C2 | C3,
        Some(Ordering::Less) => C0,
        Some(Ordering::Equal) => C3,
        Some(Ordering::Greater) => 0,
    };
    x87.status = x87.status & !(C0 | C1 | C2 | C3) | conditions;
}

fn conclude<N: Nans, P: Pops>(x87: &mut X87, source: Option<Outcome>) {
    let (order, verdict) = judge::<N>(x87, source);
    if verdict == Verdict::Completes {
        set_conditions(x87, order);
        (0..P::COUNT).for_each(|_| x87.pop());
    }
}

fn memory<C: Cpu, F: Format, P: Pops>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    wait(cpu)?;
    let source = F::load(cpu, record)?;
    execute(cpu, record, |x87| conclude::<Ordered, P>(x87, Some(source)));
    Ok(())
}

fn registers<C: Cpu, N: Nans, P: Pops>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    with_register::<C, N, P>(cpu, record, number(record.source))
}

fn content(x87: &X87, register: usize) -> Option<Outcome> {
    if x87.is_empty(register) { None } else { Some(Outcome::exact(x87.get(register))) }
}

fn with_register<C: Cpu, N: Nans, P: Pops>(
    cpu: &mut C,
    record: &Record<C>,
    register: usize,
) -> Result<(), Stopped> {
    wait(cpu)?;
    execute(cpu, record, |x87| conclude::<N, P>(x87, content(x87, register)));
    Ok(())
}

/// FCOMI and its like: ZF, PF and CF; OF, SF and AF become 0.
fn to_flags<C: Cpu, N: Nans, P: Pops>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    wait(cpu)?;
    let register = number(record.source);
    let (order, verdict) = execute(cpu, record, |x87| {
        let (order, verdict) = judge::<N>(x87, content(x87, register));
        if verdict == Verdict::Completes {
            (0..P::COUNT).for_each(|_| x87.pop());
        }
        (order, verdict)
    });
    if verdict == Verdict::Completes {
        cpu.state_mut().flags.set_status(match order {
            None => Rflags::ZF | Rflags::PF | Rflags::CF,
            Some(Ordering::Less) => Rflags::CF,
            Some(Ordering::Equal) => Rflags::ZF,
            Some(Ordering::Greater) => Rflags::empty(),
        });
    }
    Ok(())
}

fn test<C: Cpu>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    wait(cpu)?;
    execute(cpu, record, |x87| conclude::<Ordered, Keep>(x87, Some(Outcome::exact(Extended::ZERO))));
    Ok(())
}

/// FXAM (SDM Vol. 2A): the class of ST(0) in C3, C2 and C0, its sign in C1, also when it is empty.
fn examine<C: Cpu>(cpu: &mut C, _: &Record<C>) -> Result<(), Stopped> {
    wait(cpu)?;
    let x87 = &mut cpu.state_mut().x87;
    let value = x87.get(0);
    let class = match value.class() {
        _ if x87.is_empty(0) => C3 | C0,
        Class::Unsupported => 0,
        Class::QuietNan | Class::SignalingNan => C0,
        Class::Normal => C2,
        Class::Infinity => C2 | C0,
        Class::Zero => C3,
        Class::Denormal => C3 | C2,
    };
    let sign = if value.negative { C1 } else { 0 };
    x87.status = x87.status & !(C0 | C1 | C2 | C3) | class | sign;
    Ok(())
}
