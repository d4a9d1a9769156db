//! IN OUT INS OUTS (SDM Vol. 2; Vol. 1, chapter 20).
//!
//! Permission comes first, then the interception, then the faults of memory, and only then the port is accessed. Every
//! one ends with [`Stop::Done`](crate::cpu::Stop::Done): a device may have raised an interrupt.

use super::done;
use crate::address::{AccessKind, LinearAddress};
use crate::cpu::{Cpu, Stopped};
use crate::decode::{Form, Kind, Size};
use crate::instruction::string::{
    address_register, between_iterations, destination, set_address_register, source, step,
};
use crate::record::{Handler, Record};
use crate::segment::SegmentRegister;
use crate::state::{Slot, State};
use crate::system::debug;
use crate::system::io::permit;
use crate::system::{Intercepted, Io, IoDirection, PortOperand, Repetition, StringIo};
use crate::width::Width;
use iced_x86::Mnemonic;

/// Iterations of a repeated instruction before the machine may look at interrupts.
const ITERATIONS: u64 = 1024;

/// The handler for a form of this family.
pub(super) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    match form.mnemonic() {
        Mnemonic::In => match (form.kinds[1], form.size_of(0)?) {
            (Kind::Immediate, size) => input::<C, Fixed>(size),
            (_, size) => input::<C, Dx>(size),
        },
        Mnemonic::Out => match (form.kinds[0], form.size_of(1)?) {
            (Kind::Immediate, size) => output::<C, Fixed>(size),
            (_, size) => output::<C, Dx>(size),
        },
        Mnemonic::Insb => string::<C, Ins, u8>(form),
        Mnemonic::Insw => string::<C, Ins, u16>(form),
        Mnemonic::Insd => string::<C, Ins, u32>(form),
        Mnemonic::Outsb => string::<C, Outs, u8>(form),
        Mnemonic::Outsw => string::<C, Outs, u16>(form),
        Mnemonic::Outsd => string::<C, Outs, u32>(form),
        _ => None,
    }
}

/// How the port is named.
trait Port {
    const OPERAND: PortOperand;
    fn number<C>(state: &State, record: &Record<C>) -> u16;
}
struct Dx;
struct Fixed;
impl Port for Dx {
    const OPERAND: PortOperand = PortOperand::Dx;
    fn number<C>(state: &State, _: &Record<C>) -> u16 {
        state.get(Slot::Rdx)
    }
}
impl Port for Fixed {
    const OPERAND: PortOperand = PortOperand::Immediate;
    fn number<C>(_: &State, record: &Record<C>) -> u16 {
        u16::truncate(record.immediate & 0xff)
    }
}

fn input<C: Cpu, P: Port>(size: Size) -> Option<Handler<C>> {
    match size {
        Size::B8 => Some(read::<C, P, u8>),
        Size::B16 => Some(read::<C, P, u16>),
        _ => Some(read::<C, P, u32>),
    }
}

fn output<C: Cpu, P: Port>(size: Size) -> Option<Handler<C>> {
    match size {
        Size::B8 => Some(write::<C, P, u8>),
        Size::B16 => Some(write::<C, P, u16>),
        _ => Some(write::<C, P, u32>),
    }
}

#[allow(clippy::cast_possible_truncation, reason = "1, 2 or 4")]
const fn bytes<W: Width>() -> u8 {
    W::BYTES as u8
}

fn read<C: Cpu, P: Port, W: Width>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let port = P::number(cpu.state(), record);
    permit(cpu, port, bytes::<W>())?;
    let direction = IoDirection::In;
    let io = Io { direction, port, bytes: bytes::<W>(), operand: P::OPERAND, string: None };
    cpu.intercept(&Intercepted::Io(io))?;
    let value = W::truncate(cpu.port_read(port, bytes::<W>())?.into());
    cpu.state_mut().put(Slot::Rax, value);
    done(cpu, record)
}

fn write<C: Cpu, P: Port, W: Width>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let port = P::number(cpu.state(), record);
    permit(cpu, port, bytes::<W>())?;
    let direction = IoDirection::Out;
    let io = Io { direction, port, bytes: bytes::<W>(), operand: P::OPERAND, string: None };
    cpu.intercept(&Intercepted::Io(io))?;
    let value = u32::truncate(cpu.state().get::<W>(Slot::Rax).zero_extend());
    cpu.port_write(port, bytes::<W>(), value)?;
    done(cpu, record)
}

/// INS or OUTS.
trait StringOperation {
    const DIRECTION: IoDirection;
    const POINTER: Slot;
    fn segment<C>(record: &Record<C>) -> Option<SegmentRegister>;
    fn transfer<C: Cpu, W: Width>(cpu: &mut C, record: &Record<C>, port: u16) -> Result<(), Stopped>;
}

struct Ins;
impl StringOperation for Ins {
    const DIRECTION: IoDirection = IoDirection::In;
    const POINTER: Slot = Slot::Rdi;

    fn segment<C>(_: &Record<C>) -> Option<SegmentRegister> {
        Some(SegmentRegister::Es)
    }

    /// The destination must be writable before the device is asked, which cannot be undone.
    fn transfer<C: Cpu, W: Width>(cpu: &mut C, record: &Record<C>, port: u16) -> Result<(), Stopped> {
        let at = destination::<C, W>(cpu.state(), record, AccessKind::Write)?;
        cpu.modify::<W>(at, |_, old| old)?;
        let value = cpu.port_read(port, bytes::<W>())?;
        cpu.write(at, W::truncate(value.into()))
    }
}

struct Outs;
impl StringOperation for Outs {
    const DIRECTION: IoDirection = IoDirection::Out;
    const POINTER: Slot = Slot::Rsi;

    fn segment<C>(record: &Record<C>) -> Option<SegmentRegister> {
        SegmentRegister::of_base(record.segment)
    }

    fn transfer<C: Cpu, W: Width>(cpu: &mut C, record: &Record<C>, port: u16) -> Result<(), Stopped> {
        let at = source::<C, W>(cpu.state(), record)?;
        let value: W = cpu.read(at)?;
        cpu.port_write(port, bytes::<W>(), u32::truncate(value.zero_extend()))
    }
}

fn string<C: Cpu, O: StringOperation, W: Width>(form: &Form<'_>) -> Option<Handler<C>> {
    let instruction = form.instruction;
    if instruction.has_repe_prefix() || instruction.has_repne_prefix() {
        Some(repeat::<C, O, W>)
    } else {
        Some(once::<C, O, W>)
    }
}

fn once<C: Cpu, O: StringOperation, W: Width>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let port = cpu.state().get(Slot::Rdx);
    ask::<C, O, W>(cpu, record, port, Repetition::Once)?;
    O::transfer::<C, W>(cpu, record, port)?;
    step(cpu.state_mut(), record, &[O::POINTER], 1, W::BYTES as u64);
    done(cpu, record)
}

/// Between iterations interrupts are recognised: after some the machine looks, with RIP still at the instruction.
fn repeat<C: Cpu, O: StringOperation, W: Width>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let port = cpu.state().get(Slot::Rdx);
    let count = address_register(cpu.state(), record, Slot::Rcx);
    if count == 0 {
        return Ok(());
    }
    ask::<C, O, W>(cpu, record, port, Repetition::Repeated)?;
    let most = if debug::traps_iterations(cpu.state()) { 1 } else { ITERATIONS };
    for left in (count.saturating_sub(most)..count).rev() {
        O::transfer::<C, W>(cpu, record, port)?;
        let state = cpu.state_mut();
        step(state, record, &[O::POINTER], 1, W::BYTES as u64);
        set_address_register(state, record, Slot::Rcx, left);
    }
    if count > most {
        return Err(between_iterations(cpu, record));
    }
    done(cpu, record)
}

fn ask<C: Cpu, O: StringOperation, W: Width>(
    cpu: &mut C,
    record: &Record<C>,
    port: u16,
    repetition: Repetition,
) -> Result<(), Stopped> {
    permit(cpu, port, bytes::<W>())?;
    let state = cpu.state();
    let segment = O::segment(record).unwrap_or(SegmentRegister::Ds);
    let base = if record.modifiers.is_segmented() { segment.base() } else { record.segment };
    let offset = address_register(state, record, O::POINTER);
    let address = LinearAddress(state.slot(base).wrapping_add(offset));
    let string = StringIo { repetition, address, segment, address_size: address_size(record) };
    let (direction, operand) = (O::DIRECTION, PortOperand::Dx);
    cpu.intercept(&Intercepted::Io(Io {
        direction,
        port,
        bytes: bytes::<W>(),
        operand,
        string: Some(string),
    }))
}

fn address_size<C>(record: &Record<C>) -> u8 {
    if record.modifiers.has_16_bit_address() {
        16
    } else if record.modifiers.has_32_bit_address() {
        32
    } else {
        64
    }
}
