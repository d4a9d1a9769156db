//! Moves (SDM Vol. 1, 5.5.1.1, 5.6.1.1, 5.6.3, 5.6.4, 5.7.2, 5.7.5 and 5.10.3).

use super::lanes::{Lane, from_lanes, spread_signs};
use super::{
    Address, Aligned, General, Operation, Unaligned, VectorDestination, VectorSource, Xmm, frequent, packed,
    update, xmm,
};
use crate::address::AccessKind;
use crate::cpu::{Cpu, Stopped};
use crate::decode::{Form, Kind};
use crate::operand::{Flat, Memory};
use crate::record::{Handler, Record};
use crate::state::Slot;
use crate::width::{Scalar, Width};
use core::marker::PhantomData;
use iced_x86::Mnemonic;

/// The handler for a form of this family.
pub(super) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    match form.mnemonic() {
        Mnemonic::Movdqa | Mnemonic::Movaps | Mnemonic::Movapd => {
            whole::<C, Aligned<Flat>, Aligned<Memory>>(form.kinds)
        }
        Mnemonic::Movdqu | Mnemonic::Movups | Mnemonic::Movupd | Mnemonic::Lddqu => {
            whole::<C, Unaligned<Flat>, Unaligned<Memory>>(form.kinds)
        }
        Mnemonic::Movntdq | Mnemonic::Movntps | Mnemonic::Movntpd | Mnemonic::Movntdqa => {
            whole::<C, Aligned<Flat>, Aligned<Memory>>(form.kinds)
        }
        Mnemonic::Movd => integer::<C, u32>(form.kinds),
        Mnemonic::Movq => integer::<C, u64>(form.kinds),
        Mnemonic::Movss => scalar::<C, u32>(form.kinds),
        Mnemonic::Movsd => scalar::<C, u64>(form.kinds),
        Mnemonic::Movlps | Mnemonic::Movlpd => half::<C, Low>(form.kinds),
        Mnemonic::Movhps | Mnemonic::Movhpd => half::<C, High>(form.kinds),
        Mnemonic::Movhlps => packed::<C, Movhlps>(form),
        Mnemonic::Movlhps => packed::<C, Movlhps>(form),
        Mnemonic::Movddup => frequent::<C, Movddup>(form),
        Mnemonic::Movsldup => packed::<C, Movsldup>(form),
        Mnemonic::Movshdup => packed::<C, Movshdup>(form),
        Mnemonic::Maskmovdqu => Some(store_selected_bytes::<C>),
        _ => None,
    }
}

/// The source, zero-extended to the register.
struct Copy<S>(PhantomData<S>);

impl<S: Scalar> Operation for Copy<S> {
    type Source = S;
    #[inline(always)]
    fn apply(_: u128, source: S, _: u8) -> u128 {
        source.to_u128()
    }
}

/// The source in the low bytes; the others stay.
struct Merge<S>(PhantomData<S>);

impl<S: Scalar> Operation for Merge<S> {
    type Source = S;
    #[inline(always)]
    fn apply(destination: u128, source: S, _: u8) -> u128 {
        let bits = 8 * S::BYTES;
        destination >> bits << bits | source.to_u128()
    }
}

/// Stores the low bytes of the register in [`Record::source`].
fn store<C: Cpu, S: Scalar, D: VectorDestination>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let value = S::from_u128(xmm(cpu.state(), record.source));
    D::store::<C, S>(cpu, record, value)
}

/// Moves of 16 bytes; `F` and `M` are the memory operands for either kind of address.
fn whole<C: Cpu, F, M>(kinds: [Kind; 4]) -> Option<Handler<C>>
where
    F: VectorSource + VectorDestination,
    M: VectorSource + VectorDestination,
{
    Some(match (kinds[0], kinds[1]) {
        (Kind::Xmm, Kind::Xmm) => update::<C, Copy<u128>, Xmm>,
        (Kind::Xmm, Kind::Flat) => update::<C, Copy<u128>, F>,
        (Kind::Xmm, Kind::Memory) => update::<C, Copy<u128>, M>,
        (Kind::Flat, Kind::Xmm) => store::<C, u128, F>,
        (Kind::Memory, Kind::Xmm) => store::<C, u128, M>,
        _ => return None,
    })
}

/// MOVD and MOVQ: the register is always zero-extended. General-purpose registers are written as 64 bits.
fn integer<C: Cpu, S: Width>(kinds: [Kind; 4]) -> Option<Handler<C>> {
    Some(match (kinds[0], kinds[1]) {
        (Kind::Xmm, Kind::Xmm) => update::<C, Copy<S>, Xmm>,
        (Kind::Xmm, Kind::Register) => update::<C, Copy<S>, General>,
        (Kind::Register, Kind::Xmm) => |cpu, record| {
            let value: S = Xmm::load(cpu, record)?;
            cpu.state_mut().put(record.destination, value);
            Ok(())
        },
        _ => return load_or_store::<C, S>(kinds),
    })
}

/// MOVSS and MOVSD: between registers the upper bytes stay, a load zeroes them.
fn scalar<C: Cpu, S: Scalar>(kinds: [Kind; 4]) -> Option<Handler<C>> {
    match (kinds[0], kinds[1]) {
        (Kind::Xmm, Kind::Xmm) => Some(update::<C, Merge<S>, Xmm>),
        _ => load_or_store::<C, S>(kinds),
    }
}

fn load_or_store<C: Cpu, S: Scalar>(kinds: [Kind; 4]) -> Option<Handler<C>> {
    Some(match (kinds[0], kinds[1]) {
        (Kind::Xmm, Kind::Flat) => update::<C, Copy<S>, Unaligned<Flat>>,
        (Kind::Xmm, Kind::Memory) => update::<C, Copy<S>, Unaligned<Memory>>,
        (Kind::Flat, Kind::Xmm) => store::<C, S, Unaligned<Flat>>,
        (Kind::Memory, Kind::Xmm) => store::<C, S, Unaligned<Memory>>,
        _ => return None,
    })
}

/// A half of a register.
trait Half {
    /// Bits below it.
    const SHIFT: u32;
}
struct Low;
struct High;
impl Half for Low {
    const SHIFT: u32 = 0;
}
impl Half for High {
    const SHIFT: u32 = 64;
}

/// One half of the register replaced.
struct MergeHalf<H>(PhantomData<H>);

impl<H: Half> Operation for MergeHalf<H> {
    type Source = u64;
    #[inline(always)]
    fn apply(destination: u128, source: u64, _: u8) -> u128 {
        let other = u128::from(u64::MAX) << (64 - H::SHIFT);
        destination & other | u128::from(source) << H::SHIFT
    }
}

/// MOVLPx and MOVHPx.
fn half<C: Cpu, H: Half>(kinds: [Kind; 4]) -> Option<Handler<C>> {
    Some(match (kinds[0], kinds[1]) {
        (Kind::Xmm, Kind::Flat) => update::<C, MergeHalf<H>, Unaligned<Flat>>,
        (Kind::Xmm, Kind::Memory) => update::<C, MergeHalf<H>, Unaligned<Memory>>,
        (Kind::Flat, Kind::Xmm) => store_half::<C, H, Flat>,
        (Kind::Memory, Kind::Xmm) => store_half::<C, H, Memory>,
        _ => return None,
    })
}

fn store_half<C: Cpu, H: Half, A: Address>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let value = u64::from_u128(xmm(cpu.state(), record.source) >> H::SHIFT);
    let at = A::linear(cpu.state(), record, 8, AccessKind::Write)?;
    cpu.write(at, value)
}

macro_rules! rearrangements {
    ($($name:ident($destination:pat, $source:ident: $type:ty) => $body:expr;)*) => {$(
        struct $name;
        impl Operation for $name {
            type Source = $type;
            #[inline(always)]
            fn apply($destination: u128, $source: $type, _: u8) -> u128 {
                $body
            }
        }
    )*};
}
rearrangements! {
    Movhlps(a, b: u128) => MergeHalf::<Low>::apply(a, u64::from_u128(b >> 64), 0);
    Movlhps(a, b: u128) => MergeHalf::<High>::apply(a, u64::from_u128(b), 0);
    Movddup(_, b: u64) => u128::from(b) << 64 | u128::from(b);
    Movsldup(_, b: u128) => { let b = u32::split(b); from_lanes(|i| b[i & 2]) };
    Movshdup(_, b: u128) => { let b = u32::split(b); from_lanes(|i| b[i | 1]) };
}

/// MASKMOVDQU. With a mask that selects nothing the memory is not touched, and no fault of it is found, which the
/// manual leaves open; otherwise all 16 bytes must be writable.
fn store_selected_bytes<C: Cpu>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let state = cpu.state();
    let (value, mask) = (xmm(state, record.source), xmm(state, record.third));
    let selected = spread_signs::<i8>(mask);
    if selected == 0 {
        return Ok(());
    }
    let at = record.address_at(cpu.state(), cpu.state().slot(Slot::Rdi), 16, AccessKind::Write)?;
    cpu.modify(at, |_, old: u128| old & !selected | value & selected)
}
