//! Single elements and masks: PINSRx PEXTRx INSERTPS EXTRACTPS, the masks of sign bits MOVMSKPS MOVMSKPD PMOVMSKB,
//! and the blends that such signs in XMM0 control (SDM Vol. 1, 5.5.1.1, 5.5.4, 5.6.1.1, 5.10.4 and 5.10.7).

use super::lanes::{Lane, SignedLane, from_lanes, spread_signs};
use super::{
    Aligned, General, Operation, Unaligned, VectorDestination, VectorSource, Xmm, immediate8, set_xmm,
    update, xmm,
};
use crate::cpu::{Cpu, Stopped};
use crate::decode::{Form, Kind};
use crate::operand::{Flat, Memory};
use crate::record::{Handler, Record};
use crate::width::{Scalar, Width};
use core::marker::PhantomData;
use iced_x86::Mnemonic;

/// The handler for a form of this family.
pub(super) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    match form.mnemonic() {
        Mnemonic::Pinsrb => insertion::<C, u8>(form.kinds),
        Mnemonic::Pinsrw => insertion::<C, u16>(form.kinds),
        Mnemonic::Pinsrd => insertion::<C, u32>(form.kinds),
        Mnemonic::Pinsrq => insertion::<C, u64>(form.kinds),
        Mnemonic::Insertps => match form.kinds[1] {
            Kind::Xmm => Some(update::<C, InsertpsRegister, Xmm>),
            _ => Some(update::<C, InsertpsMemory, Unaligned<Memory>>),
        },
        Mnemonic::Pextrb => extraction::<C, u8>(form.kinds),
        Mnemonic::Pextrw => extraction::<C, u16>(form.kinds),
        Mnemonic::Pextrd | Mnemonic::Extractps => extraction::<C, u32>(form.kinds),
        Mnemonic::Pextrq => extraction::<C, u64>(form.kinds),
        Mnemonic::Pmovmskb => signs::<C, i8>(form.kinds),
        Mnemonic::Movmskps => signs::<C, i32>(form.kinds),
        Mnemonic::Movmskpd => signs::<C, i64>(form.kinds),
        Mnemonic::Pblendvb => variable_blend::<C, i8>(form.kinds),
        Mnemonic::Blendvps => variable_blend::<C, i32>(form.kinds),
        Mnemonic::Blendvpd => variable_blend::<C, i64>(form.kinds),
        _ => None,
    }
}

/// How far to shift for the element of type `S` that an immediate names.
#[inline(always)]
fn shift<S: Scalar>(immediate: u8) -> usize {
    let element = usize::from(immediate) % (16 / S::BYTES);
    8 * S::BYTES * element
}

/// The element that the immediate names replaced by the source.
struct Insert<S>(PhantomData<S>);

impl<S: Width> Operation for Insert<S> {
    type Source = S;
    #[inline(always)]
    fn apply(destination: u128, source: S, immediate: u8) -> u128 {
        let shift = shift::<S>(immediate);
        let kept = destination & !((!S::ZERO).to_u128() << shift);
        kept | source.to_u128() << shift
    }
}

fn insertion<C: Cpu, S: Width>(kinds: [Kind; 4]) -> Option<Handler<C>> {
    Some(match (kinds[0], kinds[1]) {
        (Kind::Xmm, Kind::Register) => update::<C, Insert<S>, General>,
        (Kind::Xmm, Kind::Flat | Kind::Memory) => update::<C, Insert<S>, Unaligned<Memory>>,
        _ => return None,
    })
}

/// INSERTPS from a register: bits 7:6 of the immediate choose the element.
struct InsertpsRegister;
/// INSERTPS from memory, which is the element.
struct InsertpsMemory;

impl Operation for InsertpsRegister {
    type Source = u128;
    #[inline(always)]
    fn apply(destination: u128, source: u128, immediate: u8) -> u128 {
        let element = u32::split(source)[usize::from(immediate >> 6)];
        InsertpsMemory::apply(destination, element, immediate)
    }
}

impl Operation for InsertpsMemory {
    type Source = u32;
    #[inline(always)]
    fn apply(destination: u128, source: u32, immediate: u8) -> u128 {
        let lanes = u32::split(destination);
        let replaced = usize::from(immediate >> 4 & 3);
        let zeroed = |i: usize| immediate >> i & 1 != 0;
        from_lanes(|i| match i {
            _ if zeroed(i) => 0,
            _ if i == replaced => source,
            _ => lanes[i],
        })
    }
}

#[inline(always)]
fn element<C: Cpu, S: Width>(cpu: &C, record: &Record<C>) -> S {
    S::from_u128(xmm(cpu.state(), record.source) >> shift::<S>(immediate8(record)))
}

/// A register destination is zero-extended to 64 bits, whatever its operand size.
fn extraction<C: Cpu, S: Width>(kinds: [Kind; 4]) -> Option<Handler<C>> {
    Some(match (kinds[0], kinds[1]) {
        (Kind::Register, Kind::Xmm) => |cpu, record| {
            let value: S = element(cpu, record);
            cpu.state_mut().set_slot(record.destination, value.zero_extend());
            Ok(())
        },
        (Kind::Flat | Kind::Memory, Kind::Xmm) => |cpu, record| {
            let value: S = element(cpu, record);
            Unaligned::<Memory>::store(cpu, record, value)
        },
        _ => return None,
    })
}

fn signs<C: Cpu, L: SignedLane>(kinds: [Kind; 4]) -> Option<Handler<C>> {
    ((kinds[0], kinds[1]) == (Kind::Register, Kind::Xmm)).then_some(collect_signs::<C, L>)
}

fn collect_signs<C: Cpu, L: SignedLane>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let signs = L::signs(Xmm::load(cpu, record)?);
    cpu.state_mut().set_slot(record.destination, signs);
    Ok(())
}

fn variable_blend<C: Cpu, L: SignedLane>(kinds: [Kind; 4]) -> Option<Handler<C>> {
    Some(match (kinds[0], kinds[1]) {
        (Kind::Xmm, Kind::Xmm) => blend_by_xmm0::<C, L, Xmm>,
        (Kind::Xmm, Kind::Flat) => blend_by_xmm0::<C, L, Aligned<Flat>>,
        (Kind::Xmm, Kind::Memory) => blend_by_xmm0::<C, L, Aligned<Memory>>,
        _ => return None,
    })
}

/// Takes the lanes of the source for which the sign bit in XMM0 is set.
fn blend_by_xmm0<C: Cpu, L: SignedLane, S: VectorSource>(
    cpu: &mut C,
    record: &Record<C>,
) -> Result<(), Stopped> {
    let source: u128 = S::load(cpu, record)?;
    let state = cpu.state_mut();
    let taken = spread_signs::<L>(state.xmm[0]);
    let result = xmm(state, record.destination) & !taken | source & taken;
    set_xmm(state, record.destination, result);
    Ok(())
}
