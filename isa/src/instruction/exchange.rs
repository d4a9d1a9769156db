//! Exchanges (SDM Vol. 1, 5.1.1): XCHG XADD CMPXCHG CMPXCHG8B CMPXCHG16B, with and without LOCK.
//!
//! One processor executes at a time, so every instruction is atomic and LOCK changes nothing.

use super::for_size;
use crate::address::AccessKind;
use crate::cpu::{Cpu, Stop, Stopped};
use crate::decode::{Form, Kind};
use crate::operand::{Destination, Flat, Memory, Register, Source, SourceRegister};
use crate::record::{Handler, Record};
use crate::state::{Slot, State};
use crate::width::{Scalar, Width};
use iced_x86::Mnemonic;

/// The handler for a form of this family.
pub(crate) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    match form.mnemonic() {
        Mnemonic::Xchg => for_size!(form.size_of(0)?, xchg::<C>(form.kinds)),
        Mnemonic::Xadd => for_size!(form.size_of(0)?, xadd::<C>(form.kinds[0])),
        Mnemonic::Cmpxchg => for_size!(form.size_of(0)?, cmpxchg::<C>(form.kinds[0])),
        Mnemonic::Cmpxchg8b => Some(compare_and_exchange_pair::<C, Pair32>),
        Mnemonic::Cmpxchg16b => Some(compare_and_exchange_pair::<C, Pair64>),
        _ => None,
    }
}

/// The register may be either operand; an exchange has no order.
fn xchg<C: Cpu, W: Width>(kinds: [Kind; 4]) -> Option<Handler<C>> {
    Some(match (kinds[0], kinds[1]) {
        (Kind::Register, Kind::Register) => exchange::<C, W, Register>,
        (Kind::Flat, Kind::Register) => exchange::<C, W, Flat>,
        (Kind::Memory, Kind::Register) => exchange::<C, W, Memory>,
        _ => return None,
    })
}

fn exchange<C: Cpu, W: Width, D: Destination>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let new = SourceRegister::load::<C, W>(cpu, record)?;
    let mut old = W::ZERO;
    D::modify::<C, W>(cpu, record, |_, value| {
        old = value;
        new
    })?;
    SourceRegister::put(cpu.state_mut(), record, old);
    Ok(())
}

fn xadd<C: Cpu, W: Width>(kind: Kind) -> Option<Handler<C>> {
    Some(match kind {
        Kind::Register => exchange_and_add::<C, W, Register>,
        Kind::Flat | Kind::Memory => exchange_and_add::<C, W, Memory>,
        _ => return None,
    })
}

/// The source receives the old destination before the destination receives the sum, so that XADD of a register with
/// itself doubles it.
fn exchange_and_add<C: Cpu, W: Width, D: Destination>(
    cpu: &mut C,
    record: &Record<C>,
) -> Result<(), Stopped> {
    let b = SourceRegister::load::<C, W>(cpu, record)?;
    D::modify::<C, W>(cpu, record, |state, a| {
        let (sum, carry) = a.add_with_carry(b, false);
        state.flags.set_add(a, b, sum, carry);
        SourceRegister::put(state, record, a);
        sum
    })
}

fn cmpxchg<C: Cpu, W: Width>(kind: Kind) -> Option<Handler<C>> {
    Some(match kind {
        Kind::Register => compare_and_exchange_register::<C, W>,
        Kind::Flat | Kind::Memory => compare_and_exchange::<C, W, Memory>,
        _ => return None,
    })
}

/// The destination is written in any case, with its old value if it differs (SDM Vol. 2A, CMPXCHG), so the page must be
/// writable.
fn compare_and_exchange<C: Cpu, W: Width, D: Destination>(
    cpu: &mut C,
    record: &Record<C>,
) -> Result<(), Stopped> {
    let new = SourceRegister::load::<C, W>(cpu, record)?;
    D::modify::<C, W>(cpu, record, |state, old| {
        if compare_accumulator(state, old) {
            return new;
        }
        state.put(Slot::Rax, old);
        old
    })
}

/// Of the two registers only the one that is written changes: a 32-bit destination keeps its upper half when the
/// comparison fails.
fn compare_and_exchange_register<C: Cpu, W: Width>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let new = SourceRegister::load::<C, W>(cpu, record)?;
    let old = Register::load::<C, W>(cpu, record)?;
    if compare_accumulator(cpu.state_mut(), old) {
        return Register::store(cpu, record, new);
    }
    cpu.state_mut().put(Slot::Rax, old);
    Ok(())
}

fn compare_accumulator<W: Width>(state: &mut State, with: W) -> bool {
    let accumulator = state.get::<W>(Slot::Rax);
    let (difference, borrow) = accumulator.sub_with_borrow(with, false);
    state.flags.set_sub(accumulator, with, difference, borrow);
    accumulator == with
}

/// Two registers as one memory operand.
trait Pair {
    /// Its size.
    type Whole: crate::width::Scalar;
    /// The alignment that is checked.
    const ALIGNMENT: u64;
    fn get(state: &State, high: Slot, low: Slot) -> Self::Whole;
    fn put(state: &mut State, high: Slot, low: Slot, value: Self::Whole);
}

struct Pair32;
impl Pair for Pair32 {
    type Whole = u64;
    const ALIGNMENT: u64 = 1;
    fn get(state: &State, high: Slot, low: Slot) -> u64 {
        u64::from(state.get::<u32>(high)) << 32 | u64::from(state.get::<u32>(low))
    }
    fn put(state: &mut State, high: Slot, low: Slot, value: u64) {
        state.put(high, u32::truncate(value >> 32));
        state.put(low, u32::truncate(value));
    }
}

struct Pair64;
impl Pair for Pair64 {
    type Whole = u128;
    const ALIGNMENT: u64 = 16;
    fn get(state: &State, high: Slot, low: Slot) -> u128 {
        u128::from(state.slot(high)) << 64 | u128::from(state.slot(low))
    }
    #[allow(clippy::cast_possible_truncation, reason = "the halves of a pair")]
    fn put(state: &mut State, high: Slot, low: Slot, value: u128) {
        state.set_slot(high, (value >> 64) as u64);
        state.set_slot(low, value as u64);
    }
}

fn compare_and_exchange_pair<C: Cpu, P: Pair>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let at = record.linear_address(cpu.state(), <P::Whole as Scalar>::BYTES, AccessKind::Write)?;
    if !at.0.is_multiple_of(P::ALIGNMENT) {
        return Err(Stop::GENERAL_PROTECTION.into());
    }
    cpu.modify(at, |state, old: P::Whole| {
        let equal = old == P::get(state, Slot::Rdx, Slot::Rax);
        state.flags.set_zf(equal);
        if equal {
            return P::get(state, Slot::Rcx, Slot::Rbx);
        }
        P::put(state, Slot::Rdx, Slot::Rax, old);
        old
    })
}
