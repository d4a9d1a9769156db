//! What instructions do, one file a family.
//!
//! A family has a `select` that maps a [`Form`] to the handler for its operands, and the meaning of each of its
//! instructions as a small type. Operand access, sizes and flags are generic; an instruction is its meaning and
//! nothing else.

use crate::cpu::{Cpu, Level};
use crate::decode::Form;
use crate::record::Handler;

pub(crate) mod arithmetic;
mod bits;
mod bytes;
pub(crate) mod control;
mod exchange;
mod gate;
mod general;
mod miscellaneous;
mod multiply;
mod privileged;
mod segment;
mod shift;
pub(crate) mod simd;
mod string;
mod system;
mod transfer;
mod x87;

/// The handler for a form, or none if the engine does not model it.
#[must_use]
pub fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    match C::LEVEL {
        Level::User => user(form),
        Level::System => privileged::select(form).or_else(|| system::select(form)).or_else(|| user(form)),
    }
}

/// What programs at every privilege level use.
fn user<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    gate::select(form)
        .or_else(|| general::select(form))
        .or_else(|| arithmetic::select(form))
        .or_else(|| transfer::select(form))
        .or_else(|| control::select(form))
        .or_else(|| exchange::select(form))
        .or_else(|| string::select(form))
        .or_else(|| miscellaneous::select(form))
        .or_else(|| segment::select(form))
        .or_else(|| simd::select(form))
        .or_else(|| x87::select(form))
        .or_else(|| shift::select(form))
        .or_else(|| multiply::select(form))
        .or_else(|| bits::select(form))
        .or_else(|| bytes::select(form))
}

/// Calls `$select::<C, .., W>` for the operand size in `$size`.
macro_rules! for_size {
    ($size:expr, $select:ident::<$($parameter:ty),*>($($argument:expr),*)) => {
        match $size {
            $crate::decode::Size::B8 => $select::<$($parameter,)* u8>($($argument),*),
            $crate::decode::Size::B16 => $select::<$($parameter,)* u16>($($argument),*),
            $crate::decode::Size::B32 => $select::<$($parameter,)* u32>($($argument),*),
            $crate::decode::Size::B64 => $select::<$($parameter,)* u64>($($argument),*),
        }
    };
}
pub(crate) use for_size;

/// Calls `$select::<C, .., W>` for the operand size in `$size`, for instructions without an 8-bit form.
macro_rules! for_wide_size {
    ($size:expr, $select:ident::<$($parameter:ty),*>($($argument:expr),*)) => {
        match $size {
            $crate::decode::Size::B8 => None,
            $crate::decode::Size::B16 => $select::<$($parameter,)* u16>($($argument),*),
            $crate::decode::Size::B32 => $select::<$($parameter,)* u32>($($argument),*),
            $crate::decode::Size::B64 => $select::<$($parameter,)* u64>($($argument),*),
        }
    };
}
pub(crate) use for_wide_size;

/// Calls `$select::<C, .., W>` for the operand size in `$size`, for instructions of 32 and 64 bits.
macro_rules! for_vex_size {
    ($size:expr, $select:ident::<$($parameter:ty),*>($($argument:expr),*)) => {
        match $size {
            $crate::decode::Size::B8 | $crate::decode::Size::B16 => None,
            $crate::decode::Size::B32 => $select::<$($parameter,)* u32>($($argument),*),
            $crate::decode::Size::B64 => $select::<$($parameter,)* u64>($($argument),*),
        }
    };
}
pub(crate) use for_vex_size;

/// Calls `$select::<C, .., Condition>` for the condition of a Jcc, SETcc or CMOVcc.
macro_rules! for_condition {
    ($code:expr, $select:ident::<$($parameter:ty),*>($($argument:expr),*)) => {
        match $code {
            ConditionCode::o => $select::<$($parameter,)* flags::O>($($argument),*),
            ConditionCode::no => $select::<$($parameter,)* flags::No>($($argument),*),
            ConditionCode::b => $select::<$($parameter,)* flags::B>($($argument),*),
            ConditionCode::ae => $select::<$($parameter,)* flags::Ae>($($argument),*),
            ConditionCode::e => $select::<$($parameter,)* flags::E>($($argument),*),
            ConditionCode::ne => $select::<$($parameter,)* flags::Ne>($($argument),*),
            ConditionCode::be => $select::<$($parameter,)* flags::Be>($($argument),*),
            ConditionCode::a => $select::<$($parameter,)* flags::A>($($argument),*),
            ConditionCode::s => $select::<$($parameter,)* flags::S>($($argument),*),
            ConditionCode::ns => $select::<$($parameter,)* flags::Ns>($($argument),*),
            ConditionCode::p => $select::<$($parameter,)* flags::P>($($argument),*),
            ConditionCode::np => $select::<$($parameter,)* flags::Np>($($argument),*),
            ConditionCode::l => $select::<$($parameter,)* flags::L>($($argument),*),
            ConditionCode::ge => $select::<$($parameter,)* flags::Ge>($($argument),*),
            ConditionCode::le => $select::<$($parameter,)* flags::Le>($($argument),*),
            ConditionCode::g => $select::<$($parameter,)* flags::G>($($argument),*),
            _ => None,
        }
    };
}
pub(crate) use for_condition;
