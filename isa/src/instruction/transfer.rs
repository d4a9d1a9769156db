//! Data transfer (SDM Vol. 1, 5.1.1): MOV MOVZX MOVSX MOVSXD LEA CMOVcc SETcc PUSH POP.

use super::{for_condition, for_size};
use crate::address::{AccessKind, LinearAddress};
use crate::cpu::{Cpu, Stopped};
use crate::decode::{Form, Kind, Size};
use crate::flags::{self, Condition};
use crate::operand::{Destination, Flat, Immediate, Memory, Register, Source, SourceRegister};
use crate::record::{Handler, Record};
use crate::state::Slot;
use crate::width::{Scalar, Width};
use iced_x86::{Code, ConditionCode, Mnemonic};

/// The handler for a form of this family.
pub(crate) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    match form.mnemonic() {
        Mnemonic::Mov => mov(form),
        Mnemonic::Movzx => extension::<C, ZeroExtend>(form),
        Mnemonic::Movsx | Mnemonic::Movsxd => extension::<C, SignExtend>(form),
        Mnemonic::Lea => lea(form),
        Mnemonic::Push => push(form),
        Mnemonic::Pop => pop(form),
        _ => conditional(form),
    }
}

fn mov<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    let size = form.size_of(0)?;
    match form.instruction.code() {
        Code::Mov_AL_moffs8 | Code::Mov_AX_moffs16 | Code::Mov_EAX_moffs32 | Code::Mov_RAX_moffs64 => {
            for_size!(size, load_absolute::<C>())
        }
        Code::Mov_moffs8_AL | Code::Mov_moffs16_AX | Code::Mov_moffs32_EAX | Code::Mov_moffs64_RAX => {
            for_size!(size, store_absolute::<C>())
        }
        _ => for_size!(size, mov_kinds::<C>(form.kinds)),
    }
}

fn mov_kinds<C: Cpu, W: Width>(kinds: [Kind; 4]) -> Option<Handler<C>> {
    Some(match (kinds[0], kinds[1]) {
        (Kind::Register, Kind::Register) => copy::<C, W, Register, SourceRegister>,
        (Kind::Register, Kind::Immediate) => copy::<C, W, Register, Immediate>,
        (Kind::Register, Kind::Flat) => copy::<C, W, Register, Flat>,
        (Kind::Register, Kind::Memory) => copy::<C, W, Register, Memory>,
        (Kind::Flat, Kind::Register) => copy::<C, W, Flat, SourceRegister>,
        (Kind::Flat, Kind::Immediate) => copy::<C, W, Flat, Immediate>,
        (Kind::Memory, Kind::Register) => copy::<C, W, Memory, SourceRegister>,
        (Kind::Memory, Kind::Immediate) => copy::<C, W, Memory, Immediate>,
        _ => return None,
    })
}

fn copy<C: Cpu, W: Width, D: Destination, S: Source>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let value = S::load::<C, W>(cpu, record)?;
    D::store::<C, W>(cpu, record, value)
}

/// The 64-bit address of MOVABS: its displacement is in the immediate where it does not fit in 32 bits.
fn absolute_address<C: Cpu, W: Width>(
    cpu: &C,
    record: &Record<C>,
    kind: AccessKind,
) -> Result<LinearAddress, Stopped> {
    let offset = record.effective_address(cpu.state()).wrapping_add(record.immediate);
    record.address_at(cpu.state(), offset, W::BYTES, kind)
}

fn load_absolute<C: Cpu, W: Width>() -> Option<Handler<C>> {
    Some(|cpu, record| {
        let at = absolute_address::<C, W>(cpu, record, AccessKind::Read)?;
        let value: W = cpu.read(at)?;
        cpu.state_mut().put(Slot::Rax, value);
        Ok(())
    })
}

fn store_absolute<C: Cpu, W: Width>() -> Option<Handler<C>> {
    Some(|cpu, record| {
        let value: W = cpu.state().get(Slot::Rax);
        let at = absolute_address::<C, W>(cpu, record, AccessKind::Write)?;
        cpu.write(at, value)
    })
}

/// How a narrow value becomes a wide one.
trait Extend {
    fn extend<W: Width>(value: W) -> u64;
}
struct ZeroExtend;
struct SignExtend;
impl Extend for ZeroExtend {
    #[inline(always)]
    fn extend<W: Width>(value: W) -> u64 {
        value.zero_extend()
    }
}
impl Extend for SignExtend {
    #[inline(always)]
    fn extend<W: Width>(value: W) -> u64 {
        value.sign_extend()
    }
}

fn extension<C: Cpu, E: Extend>(form: &Form<'_>) -> Option<Handler<C>> {
    let (to, from) = (form.size_of(0)?, form.size_of(1)?);
    for_size!(to, extension_from::<C, E>(from, form.kinds[1]))
}

fn extension_from<C: Cpu, E: Extend, D: Width>(from: Size, kind: Kind) -> Option<Handler<C>> {
    match from {
        Size::B8 => extension_kind::<C, E, D, u8>(kind),
        Size::B16 => extension_kind::<C, E, D, u16>(kind),
        Size::B32 => extension_kind::<C, E, D, u32>(kind),
        Size::B64 => None,
    }
}

fn extension_kind<C: Cpu, E: Extend, D: Width, S: Width>(kind: Kind) -> Option<Handler<C>> {
    Some(match kind {
        Kind::Register => extend::<C, E, D, S, SourceRegister>,
        Kind::Flat => extend::<C, E, D, S, Flat>,
        Kind::Memory => extend::<C, E, D, S, Memory>,
        _ => return None,
    })
}

fn extend<C: Cpu, E: Extend, D: Width, S: Width, O: Source>(
    cpu: &mut C,
    record: &Record<C>,
) -> Result<(), Stopped> {
    let value = O::load::<C, S>(cpu, record)?;
    cpu.state_mut().put(record.destination, D::truncate(E::extend(value)));
    Ok(())
}

fn lea<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    for_size!(form.size_of(0)?, lea_size::<C>(form.kinds[1]))
}

fn lea_size<C: Cpu, W: Width>(kind: Kind) -> Option<Handler<C>> {
    let flat: Handler<C> = |cpu, record| {
        let address = record.effective_address(cpu.state());
        cpu.state_mut().put(record.destination, W::truncate(address));
        Ok(())
    };
    let any: Handler<C> = |cpu, record| {
        let address = record.effective_address(cpu.state());
        let address = record.in_address_size(address);
        cpu.state_mut().put(record.destination, W::truncate(address));
        Ok(())
    };
    Some(if kind == Kind::Flat { flat } else { any })
}

/// The stack operand size in 64-bit mode is 64 bits, or 16 with the operand-size prefix.
fn stack_size(form: &Form<'_>) -> Option<Size> {
    Size::from_bytes(form.instruction.stack_pointer_increment().unsigned_abs() as usize)
}

fn push<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    match stack_size(form)? {
        Size::B16 => push_kind::<C, u16>(form.kinds[0]),
        Size::B64 => push_kind::<C, u64>(form.kinds[0]),
        _ => None,
    }
}

fn push_kind<C: Cpu, W: Width>(kind: Kind) -> Option<Handler<C>> {
    Some(match kind {
        Kind::Register => push_operand::<C, W, Register>,
        Kind::Immediate => push_operand::<C, W, Immediate>,
        Kind::Flat => push_operand::<C, W, Flat>,
        Kind::Memory => push_operand::<C, W, Memory>,
        _ => return None,
    })
}

fn push_operand<C: Cpu, W: Width, S: Source>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let value = S::load::<C, W>(cpu, record)?;
    push_value(cpu, value)
}

/// Stores a value below the stack pointer and moves the stack pointer there.
#[inline(always)]
pub(crate) fn push_value<C: Cpu, S: Scalar>(cpu: &mut C, value: S) -> Result<(), Stopped> {
    let top = cpu.state().slot(Slot::Rsp).wrapping_sub(S::BYTES as u64);
    cpu.write(LinearAddress(top), value)?;
    cpu.state_mut().set_slot(Slot::Rsp, top);
    Ok(())
}

fn pop<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    match stack_size(form)? {
        Size::B16 => pop_kind::<C, u16>(form.kinds[0]),
        Size::B64 => pop_kind::<C, u64>(form.kinds[0]),
        _ => None,
    }
}

fn pop_kind<C: Cpu, W: Width>(kind: Kind) -> Option<Handler<C>> {
    match kind {
        Kind::Register => Some(|cpu, record| {
            let (value, above) = peek::<C, W>(cpu)?;
            cpu.state_mut().set_slot(Slot::Rsp, above);
            Register::store::<C, W>(cpu, record, value)
        }),
        Kind::Flat | Kind::Memory => Some(pop_memory::<C, W>),
        _ => None,
    }
}

/// The value at the top of the stack, and the stack pointer without it.
#[inline(always)]
pub(crate) fn peek<C: Cpu, S: Scalar>(cpu: &mut C) -> Result<(S, u64), Stopped> {
    let top = cpu.state().slot(Slot::Rsp);
    let value = cpu.read(LinearAddress(top))?;
    Ok((value, top.wrapping_add(S::BYTES as u64)))
}

/// An address that names RSP sees it already incremented (SDM Vol. 2B, POP); a fault puts it back.
fn pop_memory<C: Cpu, W: Width>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let before = cpu.state().slot(Slot::Rsp);
    let (value, above) = peek::<C, W>(cpu)?;
    cpu.state_mut().set_slot(Slot::Rsp, above);
    let stored = Memory::store::<C, W>(cpu, record, value);
    if stored.is_err() {
        cpu.state_mut().set_slot(Slot::Rsp, before);
    }
    stored
}

/// The codes of SETcc, and those of CMOVcc, follow each other in iced-x86.
fn conditional<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    let condition = form.instruction.condition_code();
    let code = form.instruction.code();
    if (Code::Seto_rm8..=Code::Setg_rm8).contains(&code) {
        for_condition!(condition, setcc::<C>(form.kinds[0]))
    } else if (Code::Cmovo_r16_rm16..=Code::Cmovg_r64_rm64).contains(&code) {
        for_condition!(condition, cmov::<C>(form))
    } else {
        None
    }
}

fn setcc<C: Cpu, T: Condition>(kind: Kind) -> Option<Handler<C>> {
    Some(match kind {
        Kind::Register => set_operand::<C, T, Register>,
        Kind::Flat | Kind::Memory => set_operand::<C, T, Memory>,
        _ => return None,
    })
}

fn set_operand<C: Cpu, T: Condition, D: Destination>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let value = u8::from(T::holds(&cpu.state().flags));
    D::store::<C, u8>(cpu, record, value)
}

fn cmov<C: Cpu, T: Condition>(form: &Form<'_>) -> Option<Handler<C>> {
    match form.size_of(0)? {
        Size::B16 => cmov_kind::<C, T, u16>(form.kinds[1]),
        Size::B32 => cmov_kind::<C, T, u32>(form.kinds[1]),
        Size::B64 => cmov_kind::<C, T, u64>(form.kinds[1]),
        Size::B8 => None,
    }
}

fn cmov_kind<C: Cpu, T: Condition, W: Width>(kind: Kind) -> Option<Handler<C>> {
    Some(match kind {
        Kind::Register => move_if::<C, T, W, SourceRegister>,
        Kind::Flat | Kind::Memory => move_if::<C, T, W, Memory>,
        _ => return None,
    })
}

/// The source is read, and can fault, and a 32-bit destination is zero-extended, whatever the condition says.
fn move_if<C: Cpu, T: Condition, W: Width, S: Source>(
    cpu: &mut C,
    record: &Record<C>,
) -> Result<(), Stopped> {
    let value = S::load::<C, W>(cpu, record)?;
    let state = cpu.state_mut();
    let old = state.get::<W>(record.destination);
    let new = if T::holds(&state.flags) { value } else { old };
    state.put(record.destination, new);
    Ok(())
}
