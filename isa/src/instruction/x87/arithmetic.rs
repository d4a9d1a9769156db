//! FADD FSUB FSUBR FMUL FDIV FDIVR with their popping and integer forms, FSQRT FRNDINT FABS FCHS (SDM Vol. 1, 5.2.2).

use super::operand::{Double, Format, Integer16, Integer32, Single};
use super::stack::{Verdict, execute, number, wait};
use super::transfer::{Keep, Pop, Pops};
use crate::cpu::{Cpu, Stopped};
use crate::decode::{Form, Kind};
use crate::float::extended::{self, Control, DENORMAL, Extended, INVALID, Outcome};
use crate::record::{Handler, Record};
use crate::registers::X87;
use iced_x86::{MemorySize, Mnemonic};

/// An operation on the destination and the source.
trait Operation {
    fn apply(destination: Extended, source: Extended, control: Control) -> Outcome;
}

macro_rules! operations {
    ($($name:ident: $apply:expr;)*) => {$(
        struct $name;
        impl Operation for $name {
            fn apply(destination: Extended, source: Extended, control: Control) -> Outcome {
                let apply: fn(Extended, Extended, Control) -> Outcome = $apply;
                apply(destination, source, control)
            }
        }
    )*};
}
operations! {
    Add: extended::add;
    Subtract: extended::subtract;
    SubtractReversed: |a, b, control| extended::subtract(b, a, control);
    Multiply: extended::multiply;
    Divide: extended::divide;
    DivideReversed: |a, b, control| extended::divide(b, a, control);
}

/// The handler for a form of this family.
pub(super) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    Some(match form.mnemonic() {
        Mnemonic::Fadd | Mnemonic::Fiadd => binary::<C, Add, Keep>(form)?,
        Mnemonic::Faddp => binary::<C, Add, Pop>(form)?,
        Mnemonic::Fsub | Mnemonic::Fisub => binary::<C, Subtract, Keep>(form)?,
        Mnemonic::Fsubp => binary::<C, Subtract, Pop>(form)?,
        Mnemonic::Fsubr | Mnemonic::Fisubr => binary::<C, SubtractReversed, Keep>(form)?,
        Mnemonic::Fsubrp => binary::<C, SubtractReversed, Pop>(form)?,
        Mnemonic::Fmul | Mnemonic::Fimul => binary::<C, Multiply, Keep>(form)?,
        Mnemonic::Fmulp => binary::<C, Multiply, Pop>(form)?,
        Mnemonic::Fdiv | Mnemonic::Fidiv => binary::<C, Divide, Keep>(form)?,
        Mnemonic::Fdivp => binary::<C, Divide, Pop>(form)?,
        Mnemonic::Fdivr | Mnemonic::Fidivr => binary::<C, DivideReversed, Keep>(form)?,
        Mnemonic::Fdivrp => binary::<C, DivideReversed, Pop>(form)?,
        Mnemonic::Fsqrt => |cpu, record| unary(cpu, record, extended::square_root),
        Mnemonic::Frndint => |cpu, record| unary(cpu, record, extended::round_to_integer),
        Mnemonic::Fabs => {
            |cpu, record| unary(cpu, record, |a, _| Outcome::exact(Extended { negative: false, ..a }))
        }
        Mnemonic::Fchs => {
            |cpu, record| unary(cpu, record, |a, _| Outcome::exact(Extended { negative: !a.negative, ..a }))
        }
        _ => return None,
    })
}

fn unary<C: Cpu>(
    cpu: &mut C,
    record: &Record<C>,
    apply: fn(Extended, Control) -> Outcome,
) -> Result<(), Stopped> {
    wait(cpu)?;
    execute(cpu, record, |x87| {
        if x87.is_empty(0) {
            if x87.underflow() == Verdict::Completes {
                x87.set(0, Extended::INDEFINITE);
            }
            return;
        }
        let outcome = apply(x87.get(0), x87.rounding());
        if x87.judge(&outcome) == Verdict::Completes {
            x87.set(0, outcome.value);
        }
    });
    Ok(())
}

fn binary<C: Cpu, O: Operation, P: Pops>(form: &Form<'_>) -> Option<Handler<C>> {
    if form.kinds[0] == Kind::OtherRegister {
        return Some(registers::<C, O, P>);
    }
    Some(match form.instruction.memory_size() {
        MemorySize::Float32 => memory::<C, O, Single>,
        MemorySize::Float64 => memory::<C, O, Double>,
        MemorySize::Int16 => memory::<C, O, Integer16>,
        MemorySize::Int32 => memory::<C, O, Integer32>,
        _ => return None,
    })
}

fn registers<C: Cpu, O: Operation, P: Pops>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    wait(cpu)?;
    let (to, from) = (number(record.destination), number(record.source));
    execute(cpu, record, |x87| {
        let source = if x87.is_empty(from) { None } else { Some(Outcome::exact(x87.get(from))) };
        if compute::<O>(x87, to, source) == Verdict::Completes {
            (0..P::COUNT).for_each(|_| x87.pop());
        }
    });
    Ok(())
}

fn memory<C: Cpu, O: Operation, F: Format>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    wait(cpu)?;
    let source = F::load(cpu, record)?;
    execute(cpu, record, |x87| compute::<O>(x87, 0, Some(source)));
    Ok(())
}

/// The source, if there is one, comes with the exceptions of its conversion.
fn compute<O: Operation>(x87: &mut X87, to: usize, source: Option<Outcome>) -> Verdict {
    let source = match source {
        Some(source) if !x87.is_empty(to) => source,
        _ => {
            let verdict = x87.underflow();
            if verdict == Verdict::Completes {
                x87.set(to, Extended::INDEFINITE);
            }
            return verdict;
        }
    };
    let mut outcome = O::apply(x87.get(to), source.value, x87.rounding());
    outcome.exceptions |= source.exceptions;
    if outcome.exceptions & INVALID != 0 || x87.get(to).is_nan() {
        outcome.exceptions &= !DENORMAL;
    }
    let verdict = x87.judge(&outcome);
    if verdict == Verdict::Completes {
        x87.set(to, outcome.value);
    }
    verdict
}
