//! Shifts and rotations (SDM Vol. 1, 5.1.5 and 5.1.13): SHL SHR SAR ROL ROR RCL RCR, SHLD SHRD, and RORX SARX SHLX
//! SHRX, which leave the flags alone.
//!
//! A count is taken modulo 32, or modulo 64 with 64-bit operands, and a count of 0 changes nothing but the upper
//! half of a 32-bit destination register, which it zeroes.

use super::{for_size, for_vex_size, for_wide_size};
use crate::cpu::{Cpu, Stopped};
use crate::decode::{FlagsNeeded, Form, Kind};
use crate::flags::{Dead, FlagUse, Flags, Live};
use crate::operand::{Destination, Immediate, Memory, Register, Source, SourceRegister, ThirdRegister};
use crate::record::{Handler, Record};
use crate::width::Width;
use iced_x86::Mnemonic;

/// The handler for a form of this family.
pub(crate) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    match form.mnemonic() {
        Mnemonic::Shl | Mnemonic::Sal => shift::<C, ShiftLeft>(form),
        Mnemonic::Shr => shift::<C, ShiftRight>(form),
        Mnemonic::Sar => shift::<C, ShiftArithmeticRight>(form),
        Mnemonic::Rol => shift::<C, RotateLeft>(form),
        Mnemonic::Ror => shift::<C, RotateRight>(form),
        Mnemonic::Rcl => shift::<C, RotateCarryLeft>(form),
        Mnemonic::Rcr => shift::<C, RotateCarryRight>(form),
        Mnemonic::Shld => double::<C, DoubleLeft>(form),
        Mnemonic::Shrd => double::<C, DoubleRight>(form),
        Mnemonic::Shlx => flagless::<C, ShiftLeft>(form),
        Mnemonic::Shrx => flagless::<C, ShiftRight>(form),
        Mnemonic::Sarx => flagless::<C, ShiftArithmeticRight>(form),
        Mnemonic::Rorx => flagless::<C, RotateRight>(form),
        _ => None,
    }
}

/// The bits of a count that are looked at.
#[inline(always)]
fn masked<W: Width>(count: u8) -> u32 {
    u32::from(count) & if W::BITS == 64 { 0x3f } else { 0x1f }
}

/// A shift or rotation by a masked count that is not 0.
trait Shift {
    /// The result; flags are set when they are live. OF, which the manual defines for a count of 1 only, follows the
    /// same rule for the other counts.
    fn apply<W: Width, F: FlagUse>(flags: &mut Flags, a: W, count: u32) -> W;
}

/// A shift of an operand that is filled from another one, by a masked count that is not 0.
trait DoubleShift {
    /// The result; flags are set when they are live.
    fn apply<W: Width, F: FlagUse>(flags: &mut Flags, a: W, filling: W, count: u32) -> W;
}

/// The bit of `value` at `position`.
#[inline(always)]
fn bit(value: u64, position: u32) -> bool {
    value >> position & 1 != 0
}

/// Sets all six flags after a shift; AF, which the manual leaves undefined, is 1 as on AMD processors.
#[inline(always)]
fn set_shifted<W: Width>(flags: &mut Flags, result: W, carry: bool, overflow: bool) {
    flags.set_result(result);
    flags.set_adjust(0x10u8);
    flags.set_cf(carry);
    flags.set_of(overflow);
}

/// Sets CF and OF, which is all that a rotation sets.
#[inline(always)]
fn set_rotated(flags: &mut Flags, carry: bool, overflow: bool) {
    flags.set_cf(carry);
    flags.set_of(overflow);
}

/// Whether the two highest bits differ.
#[inline(always)]
fn top_bits_differ<W: Width>(value: W) -> bool {
    (value ^ value << 1).is_negative()
}

struct ShiftLeft;
impl Shift for ShiftLeft {
    #[inline(always)]
    fn apply<W: Width, F: FlagUse>(flags: &mut Flags, a: W, count: u32) -> W {
        let result = W::truncate(a.zero_extend() << count);
        if F::LIVE {
            let carry = count <= W::BITS && bit(a.zero_extend(), W::BITS - count);
            set_shifted(flags, result, carry, carry ^ result.is_negative());
        }
        result
    }
}

struct ShiftRight;
impl Shift for ShiftRight {
    #[inline(always)]
    fn apply<W: Width, F: FlagUse>(flags: &mut Flags, a: W, count: u32) -> W {
        let result = W::truncate(a.zero_extend() >> count);
        if F::LIVE {
            set_shifted(flags, result, bit(a.zero_extend(), count - 1), top_bits_differ(result));
        }
        result
    }
}

struct ShiftArithmeticRight;
impl Shift for ShiftArithmeticRight {
    #[inline(always)]
    fn apply<W: Width, F: FlagUse>(flags: &mut Flags, a: W, count: u32) -> W {
        let wide = a.sign_extend();
        let result = W::truncate(wide.arithmetic_shift_right(count));
        if F::LIVE {
            set_shifted(flags, result, bit(wide, count - 1), false);
        }
        result
    }
}

struct RotateLeft;
impl Shift for RotateLeft {
    #[inline(always)]
    fn apply<W: Width, F: FlagUse>(flags: &mut Flags, a: W, count: u32) -> W {
        let result = rotate_left(a, count % W::BITS);
        if F::LIVE {
            let carry = bit(result.zero_extend(), 0);
            set_rotated(flags, carry, carry ^ result.is_negative());
        }
        result
    }
}

struct RotateRight;
impl Shift for RotateRight {
    #[inline(always)]
    fn apply<W: Width, F: FlagUse>(flags: &mut Flags, a: W, count: u32) -> W {
        let result = rotate_left(a, (W::BITS - count % W::BITS) % W::BITS);
        if F::LIVE {
            set_rotated(flags, result.is_negative(), top_bits_differ(result));
        }
        result
    }
}

/// Rotates by less than the width.
#[inline(always)]
fn rotate_left<W: Width>(a: W, count: u32) -> W {
    a << count | a >> ((W::BITS - count) % W::BITS)
}

/// CF and the operand rotate together, so that 8- and 16-bit operands come round after 9 and 17 steps.
struct RotateCarryLeft;
impl Shift for RotateCarryLeft {
    #[inline(always)]
    fn apply<W: Width, F: FlagUse>(flags: &mut Flags, a: W, count: u32) -> W {
        let (result, carry) = match count % (W::BITS + 1) {
            0 => (a, flags.cf()),
            count => rotate_carry_left(a, flags.cf(), count),
        };
        if F::LIVE {
            set_rotated(flags, carry, carry ^ result.is_negative());
        }
        result
    }
}

/// See [`RotateCarryLeft`]: going right is going left the rest of the way round.
struct RotateCarryRight;
impl Shift for RotateCarryRight {
    #[inline(always)]
    fn apply<W: Width, F: FlagUse>(flags: &mut Flags, a: W, count: u32) -> W {
        let (result, carry) = match count % (W::BITS + 1) {
            0 => (a, flags.cf()),
            count => rotate_carry_left(a, flags.cf(), W::BITS + 1 - count),
        };
        if F::LIVE {
            set_rotated(flags, carry, top_bits_differ(result));
        }
        result
    }
}

/// Rotates `carry:a` by 1 up to the width.
#[inline(always)]
fn rotate_carry_left<W: Width>(a: W, carry: bool, count: u32) -> (W, bool) {
    let (wide, rest) = (a.zero_extend(), W::BITS - count);
    let left = wide << (count - 1) << 1;
    let right = wide >> 1 >> rest;
    (W::truncate(left | u64::from(carry) << (count - 1) | right), bit(wide, rest))
}

/// SHLD: the filling comes in from the right.
struct DoubleLeft;
impl DoubleShift for DoubleLeft {
    #[inline(always)]
    fn apply<W: Width, F: FlagUse>(flags: &mut Flags, a: W, filling: W, count: u32) -> W {
        let result = if W::BITS == 16 {
            W::truncate((a.zero_extend() << 32 | twice(filling)) >> (32 - count))
        } else {
            a << count | filling >> (W::BITS - count)
        };
        if F::LIVE {
            let carry = count <= W::BITS && bit(a.zero_extend(), W::BITS - count);
            let overflow = count <= W::BITS && carry ^ result.is_negative();
            set_shifted(flags, result, carry, overflow);
        }
        result
    }
}

/// SHRD: the filling comes in from the left.
struct DoubleRight;
impl DoubleShift for DoubleRight {
    #[inline(always)]
    fn apply<W: Width, F: FlagUse>(flags: &mut Flags, a: W, filling: W, count: u32) -> W {
        let result = if W::BITS == 16 {
            W::truncate((twice(filling) << 16 | a.zero_extend()) >> count)
        } else {
            a >> count | filling << (W::BITS - count)
        };
        if F::LIVE {
            set_shifted(flags, result, bit(a.zero_extend(), count - 1), top_bits_differ(result));
        }
        result
    }
}

/// What a 16-bit double shift moves in. The manual leaves result and flags undefined when the count is above 16; AMD
/// processors then go on with the filling from its start.
#[inline(always)]
fn twice<W: Width>(filling: W) -> u64 {
    filling.zero_extend() << 16 | filling.zero_extend()
}

fn shift<C: Cpu, O: Shift>(form: &Form<'_>) -> Option<Handler<C>> {
    let size = form.size_of(0)?;
    match form.flags {
        FlagsNeeded::Yes => for_size!(size, shift_kinds::<C, O, Live>(form.kinds)),
        FlagsNeeded::No => for_size!(size, shift_kinds::<C, O, Dead>(form.kinds)),
    }
}

fn shift_kinds<C: Cpu, O: Shift, F: FlagUse, W: Width>(kinds: [Kind; 4]) -> Option<Handler<C>> {
    Some(match (kinds[0], kinds[1]) {
        (Kind::Register, Kind::Immediate) => in_place::<C, O, F, W, Register, Immediate>,
        (Kind::Register, Kind::Register) => in_place::<C, O, F, W, Register, SourceRegister>,
        (Kind::Flat | Kind::Memory, Kind::Immediate) => in_place::<C, O, Live, W, Memory, Immediate>,
        (Kind::Flat | Kind::Memory, Kind::Register) => in_place::<C, O, Live, W, Memory, SourceRegister>,
        _ => return None,
    })
}

fn in_place<C: Cpu, O: Shift, F: FlagUse, W: Width, D: Destination, N: Source>(
    cpu: &mut C,
    record: &Record<C>,
) -> Result<(), Stopped> {
    let count = masked::<W>(N::load(cpu, record)?);
    D::modify::<C, W>(
        cpu,
        record,
        |state, a| {
            if count == 0 { a } else { O::apply::<W, F>(&mut state.flags, a, count) }
        },
    )
}

fn double<C: Cpu, O: DoubleShift>(form: &Form<'_>) -> Option<Handler<C>> {
    let size = form.size_of(0)?;
    match form.flags {
        FlagsNeeded::Yes => for_wide_size!(size, double_kinds::<C, O, Live>(form.kinds)),
        FlagsNeeded::No => for_wide_size!(size, double_kinds::<C, O, Dead>(form.kinds)),
    }
}

fn double_kinds<C: Cpu, O: DoubleShift, F: FlagUse, W: Width>(kinds: [Kind; 4]) -> Option<Handler<C>> {
    Some(match (kinds[0], kinds[2]) {
        (Kind::Register, Kind::Immediate) => filled::<C, O, F, W, Register, Immediate>,
        (Kind::Register, Kind::Register) => filled::<C, O, F, W, Register, ThirdRegister>,
        (Kind::Flat | Kind::Memory, Kind::Immediate) => filled::<C, O, Live, W, Memory, Immediate>,
        (Kind::Flat | Kind::Memory, Kind::Register) => filled::<C, O, Live, W, Memory, ThirdRegister>,
        _ => return None,
    })
}

fn filled<C: Cpu, O: DoubleShift, F: FlagUse, W: Width, D: Destination, N: Source>(
    cpu: &mut C,
    record: &Record<C>,
) -> Result<(), Stopped> {
    let count = masked::<W>(N::load(cpu, record)?);
    let filling = SourceRegister::load::<C, W>(cpu, record)?;
    D::modify::<C, W>(cpu, record, |state, a| {
        if count == 0 { a } else { O::apply::<W, F>(&mut state.flags, a, filling, count) }
    })
}

fn flagless<C: Cpu, O: Shift>(form: &Form<'_>) -> Option<Handler<C>> {
    for_vex_size!(form.size_of(0)?, flagless_kinds::<C, O>(form.kinds))
}

fn flagless_kinds<C: Cpu, O: Shift, W: Width>(kinds: [Kind; 4]) -> Option<Handler<C>> {
    Some(match (kinds[1], kinds[2]) {
        (Kind::Register, Kind::Register) => assign::<C, O, W, SourceRegister, ThirdRegister>,
        (Kind::Flat | Kind::Memory, Kind::Register) => assign::<C, O, W, Memory, SourceRegister>,
        (Kind::Register, Kind::Immediate) => assign::<C, O, W, SourceRegister, Immediate>,
        (Kind::Flat | Kind::Memory, Kind::Immediate) => assign::<C, O, W, Memory, Immediate>,
        _ => return None,
    })
}

fn assign<C: Cpu, O: Shift, W: Width, A: Source, N: Source>(
    cpu: &mut C,
    record: &Record<C>,
) -> Result<(), Stopped> {
    let a = A::load::<C, W>(cpu, record)?;
    let count = masked::<W>(N::load(cpu, record)?);
    let state = cpu.state_mut();
    let result = if count == 0 { a } else { O::apply::<W, Dead>(&mut state.flags, a, count) };
    state.put(record.destination, result);
    Ok(())
}
