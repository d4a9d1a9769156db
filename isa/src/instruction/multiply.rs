//! Multiplication and division (SDM Vol. 1, 5.1.2 and 5.1.13): MUL IMUL DIV IDIV MULX ADCX ADOX, and the sign
//! extensions that go before a division, CBW CWDE CDQE CWD CDQ CQO.

use super::{for_size, for_vex_size, for_wide_size};
use crate::cpu::{Cpu, Stop, Stopped};
use crate::decode::{Form, Kind};
use crate::event::Vector;
use crate::flags::Flags;
use crate::operand::{Flat, Immediate, Memory, Register, Source, SourceRegister, ThirdRegister};
use crate::record::{Handler, Record};
use crate::state::{Slot, State};
use crate::width::Width;
use iced_x86::Mnemonic;

/// The handler for a form of this family.
pub(crate) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    match form.mnemonic() {
        Mnemonic::Mul => accumulator::<C, Unsigned, Product>(form),
        Mnemonic::Imul if form.kinds[1] == Kind::None => accumulator::<C, Signed, Product>(form),
        Mnemonic::Imul => imul(form),
        Mnemonic::Div => accumulator::<C, Unsigned, Quotient>(form),
        Mnemonic::Idiv => accumulator::<C, Signed, Quotient>(form),
        Mnemonic::Mulx => for_vex_size!(form.size_of(0)?, mulx_kind::<C>(form.kinds[2])),
        Mnemonic::Adcx => add_in_chain::<C, CarryChain>(form),
        Mnemonic::Adox => add_in_chain::<C, OverflowChain>(form),
        Mnemonic::Cbw => Some(extend_accumulator::<C, u8, u16>),
        Mnemonic::Cwde => Some(extend_accumulator::<C, u16, u32>),
        Mnemonic::Cdqe => Some(extend_accumulator::<C, u32, u64>),
        Mnemonic::Cwd => Some(spread_sign::<C, u16>),
        Mnemonic::Cdq => Some(spread_sign::<C, u32>),
        Mnemonic::Cqo => Some(spread_sign::<C, u64>),
        _ => None,
    }
}

/// Whether numbers have a sign.
trait Sign {
    /// The product of twice the width: high and low half.
    fn multiply<W: Width>(a: W, b: W) -> (W, W);
    /// Whether the high half of a product carries something that the low half does not say.
    fn is_wide<W: Width>(high: W, low: W) -> bool;
    /// Quotient and remainder of `high:low` by `divisor`, truncated toward zero; none if the divisor is 0 or the
    /// quotient does not fit.
    fn divide<W: Width>(high: W, low: W, divisor: W) -> Option<(W, W)>;
}

struct Unsigned;
struct Signed;

impl Sign for Unsigned {
    #[inline(always)]
    fn multiply<W: Width>(a: W, b: W) -> (W, W) {
        let product = a.to_u128() * b.to_u128();
        (W::from_u128(product >> W::BITS), W::from_u128(product))
    }

    #[inline(always)]
    fn is_wide<W: Width>(high: W, _: W) -> bool {
        high != W::ZERO
    }

    #[inline(always)]
    fn divide<W: Width>(high: W, low: W, divisor: W) -> Option<(W, W)> {
        if high >= divisor {
            return None;
        }
        if W::BITS == 64 && high != W::ZERO {
            let (dividend, divisor) = (high.to_u128() << 64 | low.to_u128(), divisor.to_u128());
            return Some((W::from_u128(dividend / divisor), W::from_u128(dividend % divisor)));
        }
        let above = if W::BITS == 64 { 0 } else { high.zero_extend() << (W::BITS % 64) };
        let (dividend, divisor) = (above | low.zero_extend(), divisor.zero_extend());
        Some((W::truncate(dividend / divisor), W::truncate(dividend % divisor)))
    }
}

impl Sign for Signed {
    #[inline(always)]
    fn multiply<W: Width>(a: W, b: W) -> (W, W) {
        let product = (signed(a) * signed(b)).cast_unsigned();
        (W::from_u128(product >> W::BITS), W::from_u128(product))
    }

    #[inline(always)]
    fn is_wide<W: Width>(high: W, low: W) -> bool {
        high != sign_of(low)
    }

    #[inline(always)]
    fn divide<W: Width>(high: W, low: W, divisor: W) -> Option<(W, W)> {
        if W::BITS == 64 && high != sign_of(low) {
            return divide_wide(high, low, divisor);
        }
        let above = if W::BITS == 64 { 0 } else { high.sign_extend() << (W::BITS % 64) };
        let dividend = (above | low.zero_extend()).cast_signed();
        let divisor = divisor.sign_extend().cast_signed();
        let (quotient, remainder) = (dividend.checked_div(divisor)?, dividend.checked_rem(divisor)?);
        let result = W::truncate(quotient.cast_unsigned());
        let fits = result.sign_extend() == quotient.cast_unsigned();
        fits.then(|| (result, W::truncate(remainder.cast_unsigned())))
    }
}

/// Division of a signed number that needs all 128 bits.
fn divide_wide<W: Width>(high: W, low: W, divisor: W) -> Option<(W, W)> {
    let dividend = (high.to_u128() << W::BITS | low.to_u128()).cast_signed();
    let divisor = signed(divisor);
    let (quotient, remainder) = (dividend.checked_div(divisor)?, dividend.checked_rem(divisor)?);
    let result = W::from_u128(quotient.cast_unsigned());
    (signed(result) == quotient).then(|| (result, W::from_u128(remainder.cast_unsigned())))
}

#[inline(always)]
fn signed<W: Width>(value: W) -> i128 {
    i128::from(value.sign_extend().cast_signed())
}

/// All ones for a negative number, else 0.
#[inline(always)]
fn sign_of<W: Width>(value: W) -> W {
    value.arithmetic_shift_right(W::BITS - 1)
}

/// The pair of registers that holds a double-width number: AH:AL for bytes, else rDX:rAX.
#[inline(always)]
fn pair<W: Width>(state: &State) -> (W, W) {
    if W::BITS == 8 {
        let ax: u16 = state.get(Slot::Rax);
        (W::truncate(u64::from(ax >> 8)), W::truncate(u64::from(ax)))
    } else {
        (state.get(Slot::Rdx), state.get(Slot::Rax))
    }
}

#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "two bytes make 16 bits")]
fn set_pair<W: Width>(state: &mut State, high: W, low: W) {
    if W::BITS == 8 {
        state.put(Slot::Rax, (high.zero_extend() << 8 | low.zero_extend()) as u16);
    } else {
        state.put(Slot::Rax, low);
        state.put(Slot::Rdx, high);
    }
}

/// What one-operand forms do with the accumulator.
trait Accumulate {
    fn apply<S: Sign, W: Width>(state: &mut State, operand: W) -> Result<(), Stopped>;
}

struct Product;
impl Accumulate for Product {
    #[inline(always)]
    fn apply<S: Sign, W: Width>(state: &mut State, operand: W) -> Result<(), Stopped> {
        let (high, low) = S::multiply(pair::<W>(state).1, operand);
        set_pair(state, high, low);
        set_product(&mut state.flags, S::is_wide(high, low));
        Ok(())
    }
}

struct Quotient;
impl Accumulate for Quotient {
    #[inline(always)]
    fn apply<S: Sign, W: Width>(state: &mut State, operand: W) -> Result<(), Stopped> {
        let (high, low) = pair::<W>(state);
        let Some((quotient, remainder)) = S::divide(high, low, operand) else {
            return Err(Stop::exception(Vector::DivideError).into());
        };
        set_pair(state, remainder, quotient);
        // All flags are undefined: CF and OF stay, AF = 1, and SF, ZF and PF are 0, as on AMD processors.
        state.flags.set_result(1u8);
        state.flags.set_adjust(0x10u8);
        Ok(())
    }
}

/// CF and OF after a multiplication; the others, which the manual leaves undefined, stay.
#[inline(always)]
fn set_product(flags: &mut Flags, wide: bool) {
    flags.set_cf(wide);
    flags.set_of(wide);
}

fn accumulator<C: Cpu, S: Sign, A: Accumulate>(form: &Form<'_>) -> Option<Handler<C>> {
    for_size!(form.size_of(0)?, accumulator_kind::<C, S, A>(form.kinds[0]))
}

fn accumulator_kind<C: Cpu, S: Sign, A: Accumulate, W: Width>(kind: Kind) -> Option<Handler<C>> {
    Some(match kind {
        Kind::Register => accumulate::<C, S, A, W, Register>,
        Kind::Flat | Kind::Memory => accumulate::<C, S, A, W, Memory>,
        _ => return None,
    })
}

fn accumulate<C: Cpu, S: Sign, A: Accumulate, W: Width, O: Source>(
    cpu: &mut C,
    record: &Record<C>,
) -> Result<(), Stopped> {
    let operand = O::load::<C, W>(cpu, record)?;
    A::apply::<S, W>(cpu.state_mut(), operand)
}

fn imul<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    for_wide_size!(form.size_of(0)?, imul_kinds::<C>(form.kinds))
}

fn imul_kinds<C: Cpu, W: Width>(kinds: [Kind; 4]) -> Option<Handler<C>> {
    Some(match (kinds[1], kinds[2]) {
        (Kind::Register, Kind::None) => multiply::<C, W, Register, SourceRegister>,
        (Kind::Flat, Kind::None) => multiply::<C, W, Register, Flat>,
        (Kind::Memory, Kind::None) => multiply::<C, W, Register, Memory>,
        (Kind::Register, Kind::Immediate) => multiply::<C, W, SourceRegister, Immediate>,
        (Kind::Flat, Kind::Immediate) => multiply::<C, W, Flat, Immediate>,
        (Kind::Memory, Kind::Immediate) => multiply::<C, W, Memory, Immediate>,
        _ => return None,
    })
}

fn multiply<C: Cpu, W: Width, A: Source, B: Source>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let a = A::load::<C, W>(cpu, record)?;
    let b = B::load::<C, W>(cpu, record)?;
    let (high, low) = Signed::multiply(a, b);
    let state = cpu.state_mut();
    state.put(record.destination, low);
    set_product(&mut state.flags, Signed::is_wide(high, low));
    Ok(())
}

fn mulx_kind<C: Cpu, W: Width>(kind: Kind) -> Option<Handler<C>> {
    Some(match kind {
        Kind::Register => mulx::<C, W, ThirdRegister>,
        Kind::Flat | Kind::Memory => mulx::<C, W, Memory>,
        _ => return None,
    })
}

/// When both destinations are the same register it receives the high half.
fn mulx<C: Cpu, W: Width, S: Source>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let operand = S::load::<C, W>(cpu, record)?;
    let state = cpu.state_mut();
    let (high, low) = Unsigned::multiply(state.get(Slot::Rdx), operand);
    state.put(record.source, low);
    state.put(record.destination, high);
    Ok(())
}

/// The flag through which a long addition carries.
trait Chain {
    fn get(flags: &Flags) -> bool;
    fn set(flags: &mut Flags, carry: bool);
}

/// ADCX.
struct CarryChain;
impl Chain for CarryChain {
    #[inline(always)]
    fn get(flags: &Flags) -> bool {
        flags.cf()
    }
    #[inline(always)]
    fn set(flags: &mut Flags, carry: bool) {
        flags.set_cf(carry);
    }
}

/// ADOX.
struct OverflowChain;
impl Chain for OverflowChain {
    #[inline(always)]
    fn get(flags: &Flags) -> bool {
        flags.of()
    }
    #[inline(always)]
    fn set(flags: &mut Flags, carry: bool) {
        flags.set_of(carry);
    }
}

fn add_in_chain<C: Cpu, T: Chain>(form: &Form<'_>) -> Option<Handler<C>> {
    for_vex_size!(form.size_of(0)?, chain_kind::<C, T>(form.kinds[1]))
}

fn chain_kind<C: Cpu, T: Chain, W: Width>(kind: Kind) -> Option<Handler<C>> {
    Some(match kind {
        Kind::Register => chain::<C, T, W, SourceRegister>,
        Kind::Flat | Kind::Memory => chain::<C, T, W, Memory>,
        _ => return None,
    })
}

fn chain<C: Cpu, T: Chain, W: Width, S: Source>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let b = S::load::<C, W>(cpu, record)?;
    let state = cpu.state_mut();
    let a = state.get::<W>(record.destination);
    let (sum, carry) = a.add_with_carry(b, T::get(&state.flags));
    state.put(record.destination, sum);
    T::set(&mut state.flags, carry);
    Ok(())
}

#[allow(clippy::unnecessary_wraps, reason = "a handler")]
fn extend_accumulator<C: Cpu, N: Width, W: Width>(cpu: &mut C, _: &Record<C>) -> Result<(), Stopped> {
    let state = cpu.state_mut();
    let value = state.get::<N>(Slot::Rax).sign_extend();
    state.put(Slot::Rax, W::truncate(value));
    Ok(())
}

#[allow(clippy::unnecessary_wraps, reason = "a handler")]
fn spread_sign<C: Cpu, W: Width>(cpu: &mut C, _: &Record<C>) -> Result<(), Stopped> {
    let state = cpu.state_mut();
    let sign = sign_of(state.get::<W>(Slot::Rax));
    state.put(Slot::Rdx, sign);
    Ok(())
}
