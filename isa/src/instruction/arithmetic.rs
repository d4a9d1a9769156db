//! Binary arithmetic and logic (SDM Vol. 1, 5.1.2 and 5.1.4): ADD ADC SUB SBB CMP AND OR XOR TEST, and the unary
//! INC DEC NEG NOT.

use super::for_size;
use crate::cpu::{Cpu, Stopped};
use crate::decode::{FlagsNeeded, Form, Kind};
use crate::flags::{Dead, FlagUse, Flags, Live};
use crate::operand::{Destination, Flat, Immediate, Memory, Register, Source, SourceRegister};
use crate::record::{Handler, Record};
use crate::width::Width;
use iced_x86::Mnemonic;

/// The handler for a form of this family.
pub(crate) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    match form.mnemonic() {
        Mnemonic::Add => binary::<C, Add>(form),
        Mnemonic::Adc => binary::<C, Adc>(form),
        Mnemonic::Sub => binary::<C, Sub>(form),
        Mnemonic::Sbb => binary::<C, Sbb>(form),
        Mnemonic::And => binary::<C, And>(form),
        Mnemonic::Or => binary::<C, Or>(form),
        Mnemonic::Xor => binary::<C, Xor>(form),
        Mnemonic::Cmp => comparison::<C, Sub>(form),
        Mnemonic::Test => comparison::<C, And>(form),
        Mnemonic::Inc => unary::<C, Inc>(form),
        Mnemonic::Dec => unary::<C, Dec>(form),
        Mnemonic::Neg => unary::<C, Neg>(form),
        Mnemonic::Not => unary::<C, Complement>(form),
        _ => None,
    }
}

/// An operation on two operands.
pub(crate) trait Binary {
    /// The result; flags are set when they are live.
    fn apply<W: Width, F: FlagUse>(flags: &mut Flags, a: W, b: W) -> W;
}

/// An operation on one operand.
pub(crate) trait Unary {
    /// The result; flags are set when they are live.
    fn apply<W: Width, F: FlagUse>(flags: &mut Flags, a: W) -> W;
}

macro_rules! operations {
    ($($trait:ident $(#[$meta:meta])* $name:ident($($operand:ident),*) $flags:ident => $body:expr;)*) => {$(
        $(#[$meta])*
        pub(crate) struct $name;
        impl $trait for $name {
            #[inline(always)]
            fn apply<W: Width, F: FlagUse>($flags: &mut Flags, $($operand: W),*) -> W {
                $body
            }
        }
    )*};
}
operations! {
    Binary Add(a, b) flags => {
        let (sum, carry) = a.add_with_carry(b, false);
        if F::LIVE { flags.set_add(a, b, sum, carry); }
        sum
    };
    Binary Adc(a, b) flags => {
        let (sum, carry) = a.add_with_carry(b, flags.cf());
        if F::LIVE { flags.set_add(a, b, sum, carry); }
        sum
    };
    Binary Sub(a, b) flags => {
        let (difference, borrow) = a.sub_with_borrow(b, false);
        if F::LIVE { flags.set_sub(a, b, difference, borrow); }
        difference
    };
    Binary Sbb(a, b) flags => {
        let (difference, borrow) = a.sub_with_borrow(b, flags.cf());
        if F::LIVE { flags.set_sub(a, b, difference, borrow); }
        difference
    };
    Binary And(a, b) flags => {
        let result = a & b;
        if F::LIVE { flags.set_logic(result); }
        result
    };
    Binary Or(a, b) flags => {
        let result = a | b;
        if F::LIVE { flags.set_logic(result); }
        result
    };
    Binary Xor(a, b) flags => {
        let result = a ^ b;
        if F::LIVE { flags.set_logic(result); }
        result
    };
    Unary
    /// CF is not affected.
    Inc(a) flags => {
        let (sum, _) = a.add_with_carry(W::ONE, false);
        let carry = flags.cf();
        if F::LIVE { flags.set_add(a, W::ONE, sum, carry); }
        sum
    };
    Unary
    /// CF is not affected.
    Dec(a) flags => {
        let (difference, _) = a.sub_with_borrow(W::ONE, false);
        let carry = flags.cf();
        if F::LIVE { flags.set_sub(a, W::ONE, difference, carry); }
        difference
    };
    Unary Neg(a) flags => {
        let (difference, borrow) = W::ZERO.sub_with_borrow(a, false);
        if F::LIVE { flags.set_sub(W::ZERO, a, difference, borrow); }
        difference
    };
    Unary
    /// NOT leaves all flags.
    Complement(a) _flags => !a;
}

fn binary<C: Cpu, O: Binary>(form: &Form<'_>) -> Option<Handler<C>> {
    let size = form.size_of(0)?;
    match form.flags {
        FlagsNeeded::Yes => for_size!(size, binary_kinds::<C, O, Live>(form.kinds)),
        FlagsNeeded::No => for_size!(size, binary_kinds::<C, O, Dead>(form.kinds)),
    }
}

fn binary_kinds<C: Cpu, O: Binary, F: FlagUse, W: Width>(kinds: [Kind; 4]) -> Option<Handler<C>> {
    Some(match (kinds[0], kinds[1]) {
        (Kind::Register, Kind::Register) => update::<C, O, F, W, Register, SourceRegister>,
        (Kind::Register, Kind::Immediate) => update::<C, O, F, W, Register, Immediate>,
        (Kind::Register, Kind::Flat) => update::<C, O, F, W, Register, Flat>,
        (Kind::Register, Kind::Memory) => update::<C, O, F, W, Register, Memory>,
        (Kind::Flat, Kind::Register) => update::<C, O, F, W, Flat, SourceRegister>,
        (Kind::Flat, Kind::Immediate) => update::<C, O, F, W, Flat, Immediate>,
        (Kind::Memory, Kind::Register) => update::<C, O, F, W, Memory, SourceRegister>,
        (Kind::Memory, Kind::Immediate) => update::<C, O, F, W, Memory, Immediate>,
        _ => return None,
    })
}

fn update<C: Cpu, O: Binary, F: FlagUse, W: Width, D: Destination, S: Source>(
    cpu: &mut C,
    record: &Record<C>,
) -> Result<(), Stopped> {
    let b = S::load::<C, W>(cpu, record)?;
    D::modify::<C, W>(cpu, record, |state, a| O::apply::<W, F>(&mut state.flags, a, b))
}

fn comparison<C: Cpu, O: Binary>(form: &Form<'_>) -> Option<Handler<C>> {
    for_size!(form.size_of(0)?, comparison_kinds::<C, O>(form.kinds))
}

fn comparison_kinds<C: Cpu, O: Binary, W: Width>(kinds: [Kind; 4]) -> Option<Handler<C>> {
    Some(match (kinds[0], kinds[1]) {
        (Kind::Register, Kind::Register) => compare::<C, O, W, Register, SourceRegister>,
        (Kind::Register, Kind::Immediate) => compare::<C, O, W, Register, Immediate>,
        (Kind::Register, Kind::Flat) => compare::<C, O, W, Register, Flat>,
        (Kind::Register, Kind::Memory) => compare::<C, O, W, Register, Memory>,
        (Kind::Flat, Kind::Register) => compare::<C, O, W, Flat, SourceRegister>,
        (Kind::Flat, Kind::Immediate) => compare::<C, O, W, Flat, Immediate>,
        (Kind::Memory, Kind::Register) => compare::<C, O, W, Memory, SourceRegister>,
        (Kind::Memory, Kind::Immediate) => compare::<C, O, W, Memory, Immediate>,
        _ => return None,
    })
}

/// Sets the flags of an operation and drops its result.
pub(crate) fn compare<C: Cpu, O: Binary, W: Width, A: Source, B: Source>(
    cpu: &mut C,
    record: &Record<C>,
) -> Result<(), Stopped> {
    let a = A::load::<C, W>(cpu, record)?;
    let b = B::load::<C, W>(cpu, record)?;
    O::apply::<W, Live>(&mut cpu.state_mut().flags, a, b);
    Ok(())
}

fn unary<C: Cpu, O: Unary>(form: &Form<'_>) -> Option<Handler<C>> {
    let size = form.size_of(0)?;
    match form.flags {
        FlagsNeeded::Yes => for_size!(size, unary_kinds::<C, O, Live>(form.kinds)),
        FlagsNeeded::No => for_size!(size, unary_kinds::<C, O, Dead>(form.kinds)),
    }
}

fn unary_kinds<C: Cpu, O: Unary, F: FlagUse, W: Width>(kinds: [Kind; 4]) -> Option<Handler<C>> {
    Some(match kinds[0] {
        Kind::Register => in_place::<C, O, F, W, Register>,
        Kind::Flat => in_place::<C, O, F, W, Flat>,
        Kind::Memory => in_place::<C, O, F, W, Memory>,
        _ => return None,
    })
}

fn in_place<C: Cpu, O: Unary, F: FlagUse, W: Width, D: Destination>(
    cpu: &mut C,
    record: &Record<C>,
) -> Result<(), Stopped> {
    D::modify::<C, W>(cpu, record, |state, a| O::apply::<W, F>(&mut state.flags, a))
}
