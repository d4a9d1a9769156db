//! Instructions on MMX registers, which are the lower 64 bits of the physical x87 registers (SDM Vol. 1, chapter 9 and 5.4,
//! 5.5.3, 5.6.3, 5.8).
//!
//! The packed integer instructions have the meanings that they have on XMM registers: the two operands are arranged in
//! 128 bits so that the result is in the lower half.
//!
//! Not modelled: the conversions between MMX registers and floating-point numbers.

use super::lanes::SignedLane;
use super::{Operation, Unaligned, VectorDestination, VectorSource, immediate8, set_xmm, xmm};
use super::{integer, shift, shuffle};
use crate::address::AccessKind;
use crate::cpu::{Cpu, Stopped};
use crate::decode::{Form, Kind};
use crate::instruction::x87::wait;
use crate::operand::Memory;
use crate::record::{Handler, Record};
use crate::registers::X87;
use crate::state::Slot;
use crate::width::{Scalar, Width};
use iced_x86::Mnemonic;

/// The handler for a form of this family.
pub(super) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    if !form.kinds.contains(&Kind::Mmx) {
        return None;
    }
    match form.mnemonic() {
        Mnemonic::Movd => transfer::<C, u32>(form.kinds),
        Mnemonic::Movq | Mnemonic::Movntq => transfer::<C, u64>(form.kinds),
        Mnemonic::Movq2dq => Some(to_xmm),
        Mnemonic::Movdq2q => Some(from_xmm),
        Mnemonic::Maskmovq => Some(store_selected_bytes),
        Mnemonic::Pinsrw => Some(insert),
        Mnemonic::Pextrw => Some(extract),
        Mnemonic::Pmovmskb => Some(collect_signs),
        _ => computation(form),
    }
}

/// How two operands of 64 bits are arranged in those of an operation on 128 bits.
trait Arrangement {
    /// What is read of an operand in memory.
    type Read: Width;
    fn arrange(destination: u64, source: u64) -> (u128, u128);
}

/// Lane by lane.
struct Lanes;
/// All lanes of the destination below those of the source.
struct Joined;
/// The lower halves.
struct Lower;
/// The upper halves, as upper halves of 128 bits.
struct Upper;
/// The source names lanes of the destination, of which there are 8.
struct Named;
/// One number of 128 bits, the source below.
struct Concatenated;

macro_rules! arrangements {
    ($($name:ident reads $read:ty, ($a:ident, $b:ident) => $body:expr;)*) => {$(
        impl Arrangement for $name {
            type Read = $read;
            fn arrange($a: u64, $b: u64) -> (u128, u128) {
                let ($a, $b) = (u128::from($a), u128::from($b));
                $body
            }
        }
    )*};
}
arrangements! {
    Lanes reads u64, (a, b) => (a, b);
    Joined reads u64, (a, b) => (b << 64 | a, b << 64 | a);
    Lower reads u32, (a, b) => (a, b);
    Upper reads u64, (a, b) => (a >> 32 << 64, b >> 32 << 64);
    Named reads u64, (a, b) => (a, b & 0x8787_8787_8787_8787);
    Concatenated reads u64, (a, b) => (0, a << 64 | b);
}

/// Derives the choice of a handler from the mnemonics of each arrangement, and the operations of other names.
macro_rules! computations {
    ($($arrangement:ident: $($mnemonic:ident = $module:ident::$name:ident)*;)*) => {
        fn computation<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
            let by_count = form.kinds[1] == Kind::Immediate;
            Some(match form.mnemonic() {
                $($(
                    Mnemonic::$mnemonic if by_count => update_by_count::<C, $module::$name>,
                    Mnemonic::$mnemonic => update::<C, $module::$name, $arrangement>,
                )*)*
                _ => return None,
            })
        }
    };
}
computations! {
    Lanes:
        Pand = integer::Pand Pandn = integer::Pandn Por = integer::Por Pxor = integer::Pxor
        Paddb = integer::Paddb Paddw = integer::Paddw Paddd = integer::Paddd Paddq = integer::Paddq
        Paddsb = integer::Paddsb Paddsw = integer::Paddsw Paddusb = integer::Paddusb Paddusw = integer::Paddusw
        Psubb = integer::Psubb Psubw = integer::Psubw Psubd = integer::Psubd Psubq = integer::Psubq
        Psubsb = integer::Psubsb Psubsw = integer::Psubsw Psubusb = integer::Psubusb Psubusw = integer::Psubusw
        Pmullw = integer::Pmullw Pmulhw = integer::Pmulhw Pmulhuw = integer::Pmulhuw
        Pmulhrsw = integer::Pmulhrsw Pmuludq = integer::Pmuludq
        Pmaddwd = integer::Pmaddwd Pmaddubsw = integer::Pmaddubsw
        Pavgb = integer::Pavgb Pavgw = integer::Pavgw Psadbw = integer::Psadbw
        Pminub = integer::Pminub Pminsw = integer::Pminsw Pmaxub = integer::Pmaxub Pmaxsw = integer::Pmaxsw
        Pcmpeqb = integer::Pcmpeqb Pcmpeqw = integer::Pcmpeqw Pcmpeqd = integer::Pcmpeqd
        Pcmpgtb = integer::Pcmpgtb Pcmpgtw = integer::Pcmpgtw Pcmpgtd = integer::Pcmpgtd
        Pabsb = integer::Pabsb Pabsw = integer::Pabsw Pabsd = integer::Pabsd
        Psignb = integer::Psignb Psignw = integer::Psignw Psignd = integer::Psignd
        Psllw = shift::Psllw Pslld = shift::Pslld Psllq = shift::Psllq
        Psrlw = shift::Psrlw Psrld = shift::Psrld Psrlq = shift::Psrlq
        Psraw = shift::Psraw Psrad = shift::Psrad
        Pshufw = shuffle::Pshuflw;
    Joined:
        Packsswb = shuffle::Packsswb Packssdw = shuffle::Packssdw Packuswb = shuffle::Packuswb
        Phaddw = integer::Phaddw Phaddd = integer::Phaddd Phaddsw = integer::Phaddsw
        Phsubw = integer::Phsubw Phsubd = integer::Phsubd Phsubsw = integer::Phsubsw;
    Lower:
        Punpcklbw = shuffle::Punpcklbw Punpcklwd = shuffle::Punpcklwd Punpckldq = shuffle::Punpckldq;
    Upper:
        Punpckhbw = shuffle::Punpckhbw Punpckhwd = shuffle::Punpckhwd Punpckhdq = shuffle::Punpckhdq;
    Named:
        Pshufb = shuffle::Pshufb;
    Concatenated:
        Palignr = shift::Palignr;
}

/// The MMX register that a slot stands for, once the registers are in use as such.
fn mm(x87: &X87, slot: Slot) -> u64 {
    u64::from_u128(x87.st[slot as usize & 7])
}

/// Bits 79:64 become 1 (SDM Vol. 1, 9.6.2).
fn set_mm(x87: &mut X87, slot: Slot, value: u64) {
    x87.st[slot as usize & 7] = 0xffff << 64 | u128::from(value);
}

/// The operand in memory, if there is one. A pending exception of the x87 unit comes first.
fn memory<C: Cpu, S: Width>(cpu: &mut C, record: &Record<C>) -> Result<Option<u64>, Stopped> {
    wait(cpu)?;
    if !record.modifiers.has_memory_operand() {
        return Ok(None);
    }
    let value: S = Unaligned::<Memory>::load(cpu, record)?;
    Ok(Some(value.zero_extend()))
}

fn update<C: Cpu, O: Operation, A: Arrangement>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let memory = memory::<C, A::Read>(cpu, record)?;
    let x87 = cpu.state_mut().x87.as_mmx();
    let source = memory.unwrap_or_else(|| mm(x87, record.source));
    let (a, b) = A::arrange(mm(x87, record.destination), source);
    let result = O::apply(a, O::Source::from_u128(b), immediate8(record));
    set_mm(x87, record.destination, u64::from_u128(result));
    Ok(())
}

/// A shift by an immediate.
fn update_by_count<C: Cpu, O: Operation>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    wait(cpu)?;
    let x87 = cpu.state_mut().x87.as_mmx();
    let count = O::Source::from_u128(immediate8(record).into());
    let result = O::apply(mm(x87, record.destination).into(), count, 0);
    set_mm(x87, record.destination, u64::from_u128(result));
    Ok(())
}

/// MOVD, MOVQ and MOVNTQ.
fn transfer<C: Cpu, S: Width>(kinds: [Kind; 4]) -> Option<Handler<C>> {
    Some(match (kinds[0], kinds[1]) {
        (Kind::Mmx, Kind::Register) => |cpu, record| {
            wait(cpu)?;
            let state = cpu.state_mut();
            let value = state.get::<S>(record.source).zero_extend();
            set_mm(state.x87.as_mmx(), record.destination, value);
            Ok(())
        },
        (Kind::Mmx, _) => |cpu, record| {
            let memory = memory::<C, S>(cpu, record)?;
            let x87 = cpu.state_mut().x87.as_mmx();
            let value = memory.unwrap_or_else(|| mm(x87, record.source));
            set_mm(x87, record.destination, value);
            Ok(())
        },
        (Kind::Register, Kind::Mmx) => |cpu, record| {
            wait(cpu)?;
            let state = cpu.state_mut();
            let value = mm(state.x87.as_mmx(), record.source);
            state.put(record.destination, S::truncate(value));
            Ok(())
        },
        (Kind::Flat | Kind::Memory, Kind::Mmx) => |cpu, record| {
            wait(cpu)?;
            let mut x87 = cpu.state().x87;
            let value = mm(x87.as_mmx(), record.source);
            Unaligned::<Memory>::store(cpu, record, S::truncate(value))?;
            cpu.state_mut().x87.as_mmx();
            Ok(())
        },
        _ => return None,
    })
}

fn to_xmm<C: Cpu>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    wait(cpu)?;
    let state = cpu.state_mut();
    let value = mm(state.x87.as_mmx(), record.source);
    set_xmm(state, record.destination, value.into());
    Ok(())
}

fn from_xmm<C: Cpu>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    wait(cpu)?;
    let state = cpu.state_mut();
    let value = u64::from_u128(xmm(state, record.source));
    set_mm(state.x87.as_mmx(), record.destination, value);
    Ok(())
}

/// MASKMOVQ. With a mask that selects nothing the memory is not touched, which the manual leaves open.
fn store_selected_bytes<C: Cpu>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    wait(cpu)?;
    let mut x87 = cpu.state().x87;
    let (value, mask) = (mm(x87.as_mmx(), record.source), mm(x87.as_mmx(), record.third));
    let selected = (mask >> 7 & 0x0101_0101_0101_0101).wrapping_mul(0xff);
    if selected != 0 {
        let at = record.address_at(cpu.state(), cpu.state().slot(Slot::Rdi), 8, AccessKind::Write)?;
        cpu.modify(at, |_, old: u64| old & !selected | value & selected)?;
    }
    cpu.state_mut().x87.as_mmx();
    Ok(())
}

/// How far to shift for the word that the immediate of PINSRW or PEXTRW names.
fn word<C>(record: &Record<C>) -> u32 {
    16 * u32::from(immediate8(record) & 3)
}

fn insert<C: Cpu>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let memory = memory::<C, u16>(cpu, record)?;
    let state = cpu.state_mut();
    let new = memory.unwrap_or_else(|| state.slot(record.source) & 0xffff) << word(record);
    let x87 = state.x87.as_mmx();
    let kept = mm(x87, record.destination) & !(0xffff << word(record));
    set_mm(x87, record.destination, kept | new);
    Ok(())
}

fn extract<C: Cpu>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    wait(cpu)?;
    let state = cpu.state_mut();
    let value = mm(state.x87.as_mmx(), record.source) >> word(record) & 0xffff;
    state.set_slot(record.destination, value);
    Ok(())
}

fn collect_signs<C: Cpu>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    wait(cpu)?;
    let state = cpu.state_mut();
    let signs = i8::signs(mm(state.x87.as_mmx(), record.source).into());
    state.set_slot(record.destination, signs);
    Ok(())
}
