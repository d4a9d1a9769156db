//! Bits (SDM Vol. 1, 5.1.6 and 5.1.13): BT BTS BTR BTC, BSF BSR, POPCNT LZCNT TZCNT, and the BMI1 and BMI2 instructions
//! ANDN BEXTR BLSI BLSMSK BLSR BZHI PDEP PEXT.

use super::{for_vex_size, for_wide_size};
use crate::address::{AccessKind, LinearAddress};
use crate::cpu::{Cpu, Stopped};
use crate::decode::{Form, Kind};
use crate::flags::{Flags, Rflags};
use crate::operand::{Destination, Immediate, Memory, Register, Source, SourceRegister, ThirdRegister};
use crate::record::{Handler, Record};
use crate::state::State;
use crate::width::Width;
use iced_x86::Mnemonic;

/// The handler for a form of this family.
pub(crate) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    match form.mnemonic() {
        Mnemonic::Bt => for_wide_size!(form.size_of(0)?, bit_test_kinds::<C>(form.kinds)),
        Mnemonic::Bts => bit_change::<C, Set>(form),
        Mnemonic::Btr => bit_change::<C, Reset>(form),
        Mnemonic::Btc => bit_change::<C, Complement>(form),
        Mnemonic::Bsf => scan::<C, Forward>(form),
        Mnemonic::Bsr => scan::<C, Reverse>(form),
        Mnemonic::Popcnt => unary::<C, PopulationCount>(form),
        Mnemonic::Lzcnt => unary::<C, LeadingZeros>(form),
        Mnemonic::Tzcnt => unary::<C, TrailingZeros>(form),
        Mnemonic::Blsi => unary::<C, LowestBit>(form),
        Mnemonic::Blsmsk => unary::<C, MaskToLowestBit>(form),
        Mnemonic::Blsr => unary::<C, ResetLowestBit>(form),
        Mnemonic::Andn => binary::<C, AndNot>(form),
        Mnemonic::Bextr => binary::<C, Extract>(form),
        Mnemonic::Bzhi => binary::<C, ZeroHigh>(form),
        Mnemonic::Pdep => binary::<C, Deposit>(form),
        Mnemonic::Pext => binary::<C, Gather>(form),
        _ => None,
    }
}

// Bit test.

/// What happens to the tested bit.
trait BitChange {
    /// The operand afterwards; `mask` has the tested bit set.
    fn apply<W: Width>(operand: W, mask: W) -> W;
}

macro_rules! bit_changes {
    ($($name:ident($operand:ident, $mask:ident) => $body:expr;)*) => {$(
        struct $name;
        impl BitChange for $name {
            #[inline(always)]
            fn apply<W: Width>($operand: W, $mask: W) -> W {
                $body
            }
        }
    )*};
}
bit_changes! {
    Set(operand, mask) => operand | mask;
    Reset(operand, mask) => operand & !mask;
    Complement(operand, mask) => operand ^ mask;
}

/// A mask with the bit at `offset`, taken modulo the width.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "less than the width")]
fn bit_mask<W: Width>(offset: W) -> W {
    W::ONE << (offset.zero_extend() % u64::from(W::BITS)) as u32
}

/// The address of the operand that holds a bit of a bit string in memory. The offset has a sign and the width of the
/// operand (SDM Vol. 2A, 3.1.1.9).
#[inline(always)]
fn bit_string_address<C: Cpu, W: Width>(
    cpu: &C,
    record: &Record<C>,
    offset: W,
    kind: AccessKind,
) -> Result<LinearAddress, Stopped> {
    let operands = offset.sign_extend().cast_signed() >> W::BITS.trailing_zeros();
    let distance = operands.cast_unsigned().wrapping_mul(W::BYTES as u64);
    let state = cpu.state();
    let effective = record.effective_address(state).wrapping_add(distance);
    record.address_at(state, effective, W::BYTES, kind)
}

fn bit_test_kinds<C: Cpu, W: Width>(kinds: [Kind; 4]) -> Option<Handler<C>> {
    Some(match (kinds[0], kinds[1]) {
        (Kind::Register, Kind::Register) => bit_test::<C, W, Register, SourceRegister>,
        (Kind::Register, Kind::Immediate) => bit_test::<C, W, Register, Immediate>,
        (Kind::Flat | Kind::Memory, Kind::Immediate) => bit_test::<C, W, Memory, Immediate>,
        (Kind::Flat | Kind::Memory, Kind::Register) => |cpu, record| {
            let offset = SourceRegister::load::<C, W>(cpu, record)?;
            let at = bit_string_address(cpu, record, offset, AccessKind::Read)?;
            let operand: W = cpu.read(at)?;
            cpu.state_mut().flags.set_cf(operand & bit_mask(offset) != W::ZERO);
            Ok(())
        },
        _ => return None,
    })
}

fn bit_test<C: Cpu, W: Width, D: Source, S: Source>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let offset = S::load::<C, W>(cpu, record)?;
    let operand = D::load::<C, W>(cpu, record)?;
    cpu.state_mut().flags.set_cf(operand & bit_mask(offset) != W::ZERO);
    Ok(())
}

fn bit_change<C: Cpu, B: BitChange>(form: &Form<'_>) -> Option<Handler<C>> {
    for_wide_size!(form.size_of(0)?, bit_change_kinds::<C, B>(form.kinds))
}

fn bit_change_kinds<C: Cpu, B: BitChange, W: Width>(kinds: [Kind; 4]) -> Option<Handler<C>> {
    Some(match (kinds[0], kinds[1]) {
        (Kind::Register, Kind::Register) => change_bit::<C, B, W, Register, SourceRegister>,
        (Kind::Register, Kind::Immediate) => change_bit::<C, B, W, Register, Immediate>,
        (Kind::Flat | Kind::Memory, Kind::Immediate) => change_bit::<C, B, W, Memory, Immediate>,
        (Kind::Flat | Kind::Memory, Kind::Register) => |cpu, record| {
            let offset = SourceRegister::load::<C, W>(cpu, record)?;
            let at = bit_string_address(cpu, record, offset, AccessKind::Write)?;
            cpu.modify(at, |state, operand| changed::<B, W>(state, operand, offset))
        },
        _ => return None,
    })
}

fn change_bit<C: Cpu, B: BitChange, W: Width, D: Destination, S: Source>(
    cpu: &mut C,
    record: &Record<C>,
) -> Result<(), Stopped> {
    let offset = S::load::<C, W>(cpu, record)?;
    D::modify::<C, W>(cpu, record, |state, operand| changed::<B, W>(state, operand, offset))
}

#[inline(always)]
fn changed<B: BitChange, W: Width>(state: &mut State, operand: W, offset: W) -> W {
    let mask = bit_mask(offset);
    state.flags.set_cf(operand & mask != W::ZERO);
    B::apply(operand, mask)
}

// One operand in, one out.

/// A function of one operand.
trait Unary {
    /// The result; sets the flags.
    fn apply<W: Width>(flags: &mut Flags, a: W) -> W;
}

/// A function of two operands.
trait Binary {
    /// The result; sets the flags.
    fn apply<W: Width>(flags: &mut Flags, a: W, b: W) -> W;
}

macro_rules! functions {
    ($($trait:ident $(#[$meta:meta])* $name:ident($($operand:ident),*) $flags:ident => $body:expr;)*) => {$(
        $(#[$meta])*
        struct $name;
        impl $trait for $name {
            #[inline(always)]
            fn apply<W: Width>($flags: &mut Flags, $($operand: W),*) -> W {
                $body
            }
        }
    )*};
}
functions! {
    Unary PopulationCount(a) flags => {
        let count = a.zero_extend().count_ones();
        flags.set_status(if count == 0 { Rflags::ZF } else { Rflags::empty() });
        W::truncate(u64::from(count))
    };
    Unary LeadingZeros(a) flags => counted(flags, a, W::BITS - bit_length(a));
    Unary TrailingZeros(a) flags => counted(flags, a, a.zero_extend().trailing_zeros().min(W::BITS));
    Unary LowestBit(a) flags => {
        let result = a & negated(a);
        selected(flags, result, a != W::ZERO)
    };
    Unary MaskToLowestBit(a) flags => {
        let result = a ^ decremented(a);
        selected(flags, result, a == W::ZERO)
    };
    Unary ResetLowestBit(a) flags => {
        let result = a & decremented(a);
        selected(flags, result, a == W::ZERO)
    };
    Binary AndNot(a, b) flags => selected(flags, !a & b, false);
    Binary
    /// The start is in bits 7:0 of the second operand, the length in bits 15:8.
    Extract(a, b) flags => {
        let (start, length) = (low_byte(b), low_byte(b >> 8));
        let from_start = a.zero_extend().checked_shr(start).unwrap_or(0);
        selected(flags, W::truncate(low_bits(from_start, length)), false)
    };
    Binary ZeroHigh(a, b) flags => {
        let count = low_byte(b);
        selected(flags, W::truncate(low_bits(a.zero_extend(), count)), count >= W::BITS)
    };
    Binary
    /// PDEP.
    Deposit(a, mask) _flags => {
        let (mut from, mut mask, mut result) = (a.zero_extend(), mask.zero_extend(), 0);
        while mask != 0 {
            let lowest = mask & mask.wrapping_neg();
            result |= lowest & (from & 1).wrapping_neg();
            mask ^= lowest;
            from >>= 1;
        }
        W::truncate(result)
    };
    Binary
    /// PEXT.
    Gather(a, mask) _flags => {
        let (mut mask, mut result, mut to) = (mask.zero_extend(), 0, 0);
        while mask != 0 {
            let lowest = mask & mask.wrapping_neg();
            result |= u64::from(a.zero_extend() & lowest != 0) << to;
            mask ^= lowest;
            to += 1;
        }
        W::truncate(result)
    };
}

/// The position of the highest bit plus 1; 0 for 0.
#[inline(always)]
fn bit_length<W: Width>(a: W) -> u32 {
    64 - a.zero_extend().leading_zeros()
}

#[inline(always)]
fn negated<W: Width>(a: W) -> W {
    W::ZERO.sub_with_borrow(a, false).0
}

#[inline(always)]
fn decremented<W: Width>(a: W) -> W {
    a.sub_with_borrow(W::ONE, false).0
}

#[inline(always)]
fn low_byte<W: Width>(a: W) -> u32 {
    a.zero_extend() as u32 & 0xff
}

/// The lowest `count` bits of `value`.
#[inline(always)]
fn low_bits(value: u64, count: u32) -> u64 {
    value & 1u64.checked_shl(count).unwrap_or(0).wrapping_sub(1)
}

/// CF and ZF after LZCNT and TZCNT. The manual leaves the others undefined: OF stays and the rest is 0, as on AMD
/// processors.
#[inline(always)]
fn counted<W: Width>(flags: &mut Flags, source: W, count: u32) -> W {
    flags.set_result(1u8);
    flags.set_adjust(0u8);
    flags.set_zf(count == 0);
    flags.set_cf(source == W::ZERO);
    W::truncate(u64::from(count))
}

/// The flags of BMI1 and BZHI: ZF and SF by the result, OF = 0, AF and PF undefined.
#[inline(always)]
fn selected<W: Width>(flags: &mut Flags, result: W, carry: bool) -> W {
    flags.set_logic(result);
    flags.set_cf(carry);
    result
}

fn unary<C: Cpu, O: Unary>(form: &Form<'_>) -> Option<Handler<C>> {
    for_wide_size!(form.size_of(0)?, unary_kind::<C, O>(form.kinds[1]))
}

fn unary_kind<C: Cpu, O: Unary, W: Width>(kind: Kind) -> Option<Handler<C>> {
    Some(match kind {
        Kind::Register => assign::<C, O, W, SourceRegister>,
        Kind::Flat | Kind::Memory => assign::<C, O, W, Memory>,
        _ => return None,
    })
}

fn assign<C: Cpu, O: Unary, W: Width, S: Source>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let a = S::load::<C, W>(cpu, record)?;
    let state = cpu.state_mut();
    let result = O::apply(&mut state.flags, a);
    state.put(record.destination, result);
    Ok(())
}

/// From which end a bit is looked for.
trait Scan {
    /// The position of the first bit that is set; `a` is not 0.
    fn position<W: Width>(a: W) -> u32;
}

/// BSF.
struct Forward;
impl Scan for Forward {
    #[inline(always)]
    fn position<W: Width>(a: W) -> u32 {
        a.zero_extend().trailing_zeros()
    }
}

/// BSR.
struct Reverse;
impl Scan for Reverse {
    #[inline(always)]
    fn position<W: Width>(a: W) -> u32 {
        bit_length(a) - 1
    }
}

fn scan<C: Cpu, O: Scan>(form: &Form<'_>) -> Option<Handler<C>> {
    for_wide_size!(form.size_of(0)?, scan_kind::<C, O>(form.kinds[1]))
}

fn scan_kind<C: Cpu, O: Scan, W: Width>(kind: Kind) -> Option<Handler<C>> {
    Some(match kind {
        Kind::Register => find::<C, O, W, SourceRegister>,
        Kind::Flat | Kind::Memory => find::<C, O, W, Memory>,
        _ => return None,
    })
}

/// A source of 0 leaves all 64 bits of the destination. Only ZF is defined; of the others PF follows the result, and
/// the rest is 0, as on AMD processors.
fn find<C: Cpu, O: Scan, W: Width, S: Source>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let a = S::load::<C, W>(cpu, record)?;
    let state = cpu.state_mut();
    if a == W::ZERO {
        state.flags.set_logic(a);
    } else {
        let position = W::truncate(u64::from(O::position(a)));
        state.put(record.destination, position);
        state.flags.set_logic(position);
        state.flags.set_zf(false);
    }
    Ok(())
}

/// ANDN, PDEP and PEXT have their last operand in memory, BEXTR and BZHI the one before.
fn binary<C: Cpu, O: Binary>(form: &Form<'_>) -> Option<Handler<C>> {
    for_vex_size!(form.size_of(0)?, binary_kinds::<C, O>(form.kinds))
}

fn binary_kinds<C: Cpu, O: Binary, W: Width>(kinds: [Kind; 4]) -> Option<Handler<C>> {
    Some(match (kinds[1], kinds[2]) {
        (Kind::Register, Kind::Register) => combine::<C, O, W, SourceRegister, ThirdRegister>,
        (Kind::Register, Kind::Flat | Kind::Memory) => combine::<C, O, W, SourceRegister, Memory>,
        (Kind::Flat | Kind::Memory, Kind::Register) => combine::<C, O, W, Memory, SourceRegister>,
        _ => return None,
    })
}

fn combine<C: Cpu, O: Binary, W: Width, A: Source, B: Source>(
    cpu: &mut C,
    record: &Record<C>,
) -> Result<(), Stopped> {
    let a = A::load::<C, W>(cpu, record)?;
    let b = B::load::<C, W>(cpu, record)?;
    let state = cpu.state_mut();
    let result = O::apply(&mut state.flags, a, b);
    state.put(record.destination, result);
    Ok(())
}
