//! SSE to SSE4.2, AES-NI and PCLMULQDQ on XMM registers (SDM Vol. 1, 5.5 to 5.12), and MMX.
//!
//! Nearly every instruction computes a new value of its destination register from the old value, a source operand
//! and perhaps an immediate: an [`Operation`]. Memory operands of 16 bytes must be aligned unless the instruction is
//! one of the few that say otherwise (SDM Vol. 2A, 2.4, types 1, 2 and 4): [`Aligned`] and [`Unaligned`].

use crate::address::{AccessKind, LinearAddress};
use crate::cpu::{Cpu, Stop, Stopped};
use crate::decode::{Form, Kind};
use crate::operand::{Flat, Memory};
use crate::record::{Handler, Record};
use crate::state::{Slot, State};
use crate::width::Scalar;
use core::marker::PhantomData;

mod aes;
mod carryless;
mod comparison;
mod element;
mod float_arithmetic;
mod float_compare;
mod float_convert;
pub(crate) mod float_state;
#[cfg(target_arch = "x86_64")]
mod host;
mod integer;
pub(crate) mod lanes;
mod mmx;
mod shift;
mod shuffle;
mod transfer;

/// The handler for a form of these families.
pub(crate) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    #[cfg(target_arch = "x86_64")]
    if let Some(handler) = host::select(form) {
        return Some(handler);
    }
    transfer::select(form)
        .or_else(|| integer::select(form))
        .or_else(|| shift::select(form))
        .or_else(|| shuffle::select(form))
        .or_else(|| element::select(form))
        .or_else(|| comparison::select(form))
        .or_else(|| aes::select(form))
        .or_else(|| carryless::select(form))
        .or_else(|| float_arithmetic::select(form))
        .or_else(|| float_compare::select(form))
        .or_else(|| float_convert::select(form))
        .or_else(|| float_state::select(form))
        .or_else(|| mmx::select(form))
}

/// The content of the XMM register that a slot stands for.
#[inline(always)]
pub(crate) fn xmm(state: &State, slot: Slot) -> u128 {
    state.xmm[slot as usize & 15]
}

/// Replaces the content of the XMM register that a slot stands for.
#[inline(always)]
pub(crate) fn set_xmm(state: &mut State, slot: Slot, value: u128) {
    state.xmm[slot as usize & 15] = value;
}

/// The low byte of the immediate.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "imm8 has 8 bits")]
pub(crate) fn immediate8<C>(record: &Record<C>) -> u8 {
    record.immediate as u8
}

/// A source operand: the low bytes of an XMM register, or memory.
pub(crate) trait VectorSource {
    /// Reads it.
    ///
    /// # Errors
    /// #GP(0) for misaligned memory, and what the memory refuses.
    fn load<C: Cpu, S: Scalar>(cpu: &mut C, record: &Record<C>) -> Result<S, Stopped>;
}

/// A destination in memory.
pub(crate) trait VectorDestination {
    /// Writes it.
    ///
    /// # Errors
    /// #GP(0) for misaligned memory, and what the memory refuses; nothing has been written.
    fn store<C: Cpu, S: Scalar>(cpu: &mut C, record: &Record<C>, value: S) -> Result<(), Stopped>;
}

/// How the address of a memory operand is computed.
pub(crate) trait Address {
    /// The linear address of an access.
    ///
    /// # Errors
    /// What the segment refuses.
    fn linear<C: Cpu>(
        state: &State,
        record: &Record<C>,
        bytes: usize,
        kind: AccessKind,
    ) -> Result<LinearAddress, Stopped>;
}

impl Address for Flat {
    #[inline(always)]
    fn linear<C: Cpu>(
        state: &State,
        record: &Record<C>,
        _: usize,
        _: AccessKind,
    ) -> Result<LinearAddress, Stopped> {
        Ok(record.flat_address(state))
    }
}

impl Address for Memory {
    #[inline(always)]
    fn linear<C: Cpu>(
        state: &State,
        record: &Record<C>,
        bytes: usize,
        kind: AccessKind,
    ) -> Result<LinearAddress, Stopped> {
        record.linear_address(state, bytes, kind)
    }
}

/// The XMM register in [`Record::source`].
pub(crate) struct Xmm;

impl VectorSource for Xmm {
    #[inline(always)]
    fn load<C: Cpu, S: Scalar>(cpu: &mut C, record: &Record<C>) -> Result<S, Stopped> {
        Ok(S::from_u128(xmm(cpu.state(), record.source)))
    }
}

/// The general-purpose register in [`Record::source`].
pub(crate) struct General;

impl VectorSource for General {
    #[inline(always)]
    fn load<C: Cpu, S: Scalar>(cpu: &mut C, record: &Record<C>) -> Result<S, Stopped> {
        Ok(S::from_u128(u128::from(cpu.state().slot(record.source))))
    }
}

/// The immediate as a source operand.
pub(crate) struct Count;

impl VectorSource for Count {
    #[inline(always)]
    fn load<C: Cpu, S: Scalar>(_: &mut C, record: &Record<C>) -> Result<S, Stopped> {
        Ok(S::from_u128(immediate8(record).into()))
    }
}

/// Memory that must be aligned if it has 16 bytes.
pub(crate) struct Aligned<A>(PhantomData<A>);

/// Memory at any address.
pub(crate) struct Unaligned<A>(PhantomData<A>);

/// The address of an operand of `S`, or #GP(0) if it has 16 bytes and is not aligned.
#[inline(always)]
fn aligned<C: Cpu, A: Address, S: Scalar>(
    cpu: &C,
    record: &Record<C>,
    kind: AccessKind,
) -> Result<LinearAddress, Stopped> {
    let at = A::linear(cpu.state(), record, S::BYTES, kind)?;
    if S::BYTES == 16 && at.0 % 16 != 0 { Err(misaligned()) } else { Ok(at) }
}

#[cold]
fn misaligned() -> Stopped {
    Stop::GENERAL_PROTECTION.into()
}

impl<A: Address> VectorSource for Aligned<A> {
    #[inline(always)]
    fn load<C: Cpu, S: Scalar>(cpu: &mut C, record: &Record<C>) -> Result<S, Stopped> {
        let at = aligned::<C, A, S>(cpu, record, AccessKind::Read)?;
        cpu.read(at)
    }
}

impl<A: Address> VectorDestination for Aligned<A> {
    #[inline(always)]
    fn store<C: Cpu, S: Scalar>(cpu: &mut C, record: &Record<C>, value: S) -> Result<(), Stopped> {
        let at = aligned::<C, A, S>(cpu, record, AccessKind::Write)?;
        cpu.write(at, value)
    }
}

impl<A: Address> VectorSource for Unaligned<A> {
    #[inline(always)]
    fn load<C: Cpu, S: Scalar>(cpu: &mut C, record: &Record<C>) -> Result<S, Stopped> {
        let at = A::linear(cpu.state(), record, S::BYTES, AccessKind::Read)?;
        cpu.read(at)
    }
}

impl<A: Address> VectorDestination for Unaligned<A> {
    #[inline(always)]
    fn store<C: Cpu, S: Scalar>(cpu: &mut C, record: &Record<C>, value: S) -> Result<(), Stopped> {
        let at = A::linear(cpu.state(), record, S::BYTES, AccessKind::Write)?;
        cpu.write(at, value)
    }
}

/// What an instruction computes for its destination register.
pub(crate) trait Operation {
    /// What it reads of its source operand: `u128` for a whole register, less for a part.
    type Source: Scalar;

    /// The new content of the destination register.
    fn apply(destination: u128, source: Self::Source, immediate: u8) -> u128;
}

/// Replaces the destination register by the result of an operation.
pub(crate) fn update<C: Cpu, O: Operation, S: VectorSource>(
    cpu: &mut C,
    record: &Record<C>,
) -> Result<(), Stopped> {
    let source = S::load::<C, O::Source>(cpu, record)?;
    let state = cpu.state_mut();
    let result = O::apply(xmm(state, record.destination), source, immediate8(record));
    set_xmm(state, record.destination, result);
    Ok(())
}

/// The handler of an operation whose second operand is an XMM register or memory.
pub(crate) fn packed<C: Cpu, O: Operation>(form: &Form<'_>) -> Option<Handler<C>> {
    Some(match (form.kinds[0], form.kinds[1]) {
        (Kind::Xmm, Kind::Xmm) => update::<C, O, Xmm>,
        (Kind::Xmm, Kind::Flat | Kind::Memory) => update::<C, O, Aligned<Memory>>,
        _ => return None,
    })
}

/// As [`packed`], for frequent instructions: memory without segment base has a handler of its own.
pub(crate) fn frequent<C: Cpu, O: Operation>(form: &Form<'_>) -> Option<Handler<C>> {
    match (form.kinds[0], form.kinds[1]) {
        (Kind::Xmm, Kind::Flat) => Some(update::<C, O, Aligned<Flat>>),
        _ => packed::<C, O>(form),
    }
}

/// As [`packed`], for shifts: the second operand may be an immediate.
pub(crate) fn shift<C: Cpu, O: Operation>(form: &Form<'_>) -> Option<Handler<C>> {
    match (form.kinds[0], form.kinds[1]) {
        (Kind::Xmm, Kind::Immediate) => Some(update::<C, O, Count>),
        _ => packed::<C, O>(form),
    }
}

/// Names the operations of a family as iced-x86 names their mnemonics, each with how its handler is chosen
/// ([`packed`], [`frequent`] or [`shift`]), and derives `select` for the family.
macro_rules! operations {
    ($($(#[$meta:meta])* $choose:ident $name:ident($destination:pat, $source:ident: $type:ty, $immediate:pat)
        => $body:expr;)*) => {
        $(
            $(#[$meta])*
            pub(super) struct $name;
            impl $crate::instruction::simd::Operation for $name {
                type Source = $type;
                #[inline(always)]
                fn apply($destination: u128, $source: $type, $immediate: u8) -> u128 {
                    $body
                }
            }
        )*

        /// The handler for a form of this family.
        pub(super) fn select<C: $crate::cpu::Cpu>(
            form: &$crate::decode::Form<'_>,
        ) -> Option<$crate::record::Handler<C>> {
            match form.mnemonic() {
                $(iced_x86::Mnemonic::$name => $crate::instruction::simd::$choose::<C, $name>(form),)*
                _ => None,
            }
        }
    };
}
pub(crate) use operations;
