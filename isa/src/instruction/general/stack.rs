//! PUSH, POP, PUSHA, POPA, ENTER and LEAVE (SDM Vol. 1, 6.2 and 6.6).

use crate::cpu::{Cpu, Stopped};
use crate::decode::{Form, Kind};
use crate::operand::{Destination, Immediate, Memory, Register, Source};
use crate::record::{Handler, Record};
use crate::segment::SegmentRegister;
use crate::stack::Stack;
use crate::state::Slot;
use crate::width::Width;
use iced_x86::{Code, Mnemonic, Register as Name};

/// The handler for a form of this family.
pub(crate) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    match form.instruction.code() {
        Code::Pushaw => Some(push_all::<C, u16>),
        Code::Pushad => Some(push_all::<C, u32>),
        Code::Popaw => Some(pop_all::<C, u16>),
        Code::Popad => Some(pop_all::<C, u32>),
        Code::Enterw_imm16_imm8 => Some(enter::<C, u16>),
        Code::Enterd_imm16_imm8 => Some(enter::<C, u32>),
        Code::Enterq_imm16_imm8 => Some(enter::<C, u64>),
        Code::Leavew => Some(leave::<C, u16>),
        Code::Leaved => Some(leave::<C, u32>),
        Code::Leaveq => Some(leave::<C, u64>),
        _ => match (form.mnemonic(), form.instruction.stack_pointer_increment()) {
            (Mnemonic::Push, -2) => push::<C, u16>(form.kinds[0]),
            (Mnemonic::Push, -4) => push::<C, u32>(form.kinds[0]),
            (Mnemonic::Push, -8) => push::<C, u64>(form.kinds[0]),
            (Mnemonic::Pop, 2) => pop::<C, u16>(form.kinds[0]),
            (Mnemonic::Pop, 4) => pop::<C, u32>(form.kinds[0]),
            (Mnemonic::Pop, 8) => pop::<C, u64>(form.kinds[0]),
            _ => None,
        },
    }
}

fn push<C: Cpu, W: Width>(kind: Kind) -> Option<Handler<C>> {
    Some(match kind {
        Kind::Register => push_operand::<C, W, Register>,
        Kind::Immediate => push_operand::<C, W, Immediate>,
        Kind::Flat | Kind::Memory => push_operand::<C, W, Memory>,
        _ => return None,
    })
}

fn push_operand<C: Cpu, W: Width, S: Source>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let value = S::load::<C, W>(cpu, record)?;
    push_value(cpu, value)
}

/// Stores a value below the top of the stack and moves the top there.
pub(super) fn push_value<C: Cpu, W: Width>(cpu: &mut C, value: W) -> Result<(), Stopped> {
    let mut stack = Stack::of(cpu.state());
    stack.push(cpu, value)?;
    stack.commit(cpu.state_mut());
    Ok(())
}

fn pop<C: Cpu, W: Width>(kind: Kind) -> Option<Handler<C>> {
    match kind {
        Kind::Register => Some(|cpu, record| {
            let mut stack = Stack::of(cpu.state());
            let value: W = stack.pop(cpu)?;
            stack.commit(cpu.state_mut());
            Register::store(cpu, record, value)
        }),
        Kind::Flat | Kind::Memory => Some(pop_memory::<C, W>),
        _ => None,
    }
}

/// An address that names the stack pointer sees it already incremented (SDM Vol. 2B, POP); a fault puts it back.
fn pop_memory<C: Cpu, W: Width>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let before = cpu.state().slot(Slot::Rsp);
    let mut stack = Stack::of(cpu.state());
    let value: W = stack.pop(cpu)?;
    stack.commit(cpu.state_mut());
    let stored = Memory::store(cpu, record, value);
    if stored.is_err() {
        cpu.state_mut().set_slot(Slot::Rsp, before);
    }
    stored
}

/// The handler for PUSH of a segment register, in any mode.
pub(super) fn select_selector<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    if form.mnemonic() != Mnemonic::Push {
        return None;
    }
    match form.instruction.op0_register() {
        Name::ES => push_selector::<C, 0>(form),
        Name::CS => push_selector::<C, 1>(form),
        Name::SS => push_selector::<C, 2>(form),
        Name::DS => push_selector::<C, 3>(form),
        Name::FS => push_selector::<C, 4>(form),
        Name::GS => push_selector::<C, 5>(form),
        _ => None,
    }
}

/// With a 32-bit operand size 16 bits are stored and the upper half of the place stays (SDM Vol. 2B, PUSH); with 64 bits
/// all of it is.
fn push_selector<C: Cpu, const NUMBER: usize>(form: &Form<'_>) -> Option<Handler<C>> {
    match form.instruction.stack_pointer_increment() {
        -2 => Some(|cpu, _| {
            let selector = cpu.state().selector(SegmentRegister::ALL[NUMBER]);
            push_value(cpu, selector)
        }),
        -4 => Some(|cpu, _| {
            let selector = cpu.state().selector(SegmentRegister::ALL[NUMBER]);
            let mut stack = Stack::of(cpu.state());
            stack.push_into(cpu, 4, selector)?;
            stack.commit(cpu.state_mut());
            Ok(())
        }),
        -8 => Some(|cpu, _| {
            let selector = cpu.state().selector(SegmentRegister::ALL[NUMBER]);
            push_value(cpu, u64::from(selector))
        }),
        _ => None,
    }
}

/// The general-purpose registers in the order in which PUSHA stores them.
const ALL: [Slot; 8] =
    [Slot::Rax, Slot::Rcx, Slot::Rdx, Slot::Rbx, Slot::Rsp, Slot::Rbp, Slot::Rsi, Slot::Rdi];

fn push_all<C: Cpu, W: Width>(cpu: &mut C, _: &Record<C>) -> Result<(), Stopped> {
    let mut stack = Stack::of(cpu.state());
    for slot in ALL {
        let value: W = cpu.state().get(slot);
        stack.push(cpu, value)?;
    }
    stack.commit(cpu.state_mut());
    Ok(())
}

/// The place of the stack pointer is skipped.
fn pop_all<C: Cpu, W: Width>(cpu: &mut C, _: &Record<C>) -> Result<(), Stopped> {
    let mut stack = Stack::of(cpu.state());
    let mut values = [W::ZERO; 8];
    for value in values.iter_mut().rev() {
        *value = stack.pop(cpu)?;
    }
    let state = cpu.state_mut();
    for (slot, value) in ALL.into_iter().zip(values).filter(|&(slot, _)| slot != Slot::Rsp) {
        state.put(slot, value);
    }
    stack.commit(state);
    Ok(())
}

/// ENTER (SDM Vol. 2A): the frame pointers of enclosing procedures are copied from the old frame to the new one. A fault
/// leaves the registers alone; what was pushed before it stays below the top of the stack.
fn enter<C: Cpu, W: Width>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let allocated = record.immediate & 0xffff;
    let level = record.immediate >> 32 & 31;
    let old_frame = cpu.state().slot(Slot::Rbp);
    let mut stack = Stack::of(cpu.state());
    stack.push(cpu, W::truncate(old_frame))?;
    let frame = stack.register(cpu.state());
    let mut display = Stack::at(cpu.state(), old_frame);
    for _ in 1..level {
        display.reserve(W::BYTES as u64);
        let pointer: W = { display }.pop(cpu)?;
        stack.push(cpu, pointer)?;
    }
    if level > 0 {
        stack.push(cpu, W::truncate(frame))?;
    }
    stack.reserve(allocated);
    // The new top must be writable, although nothing is stored there.
    stack.probe::<C, W>(cpu)?;
    let state = cpu.state_mut();
    state.put(Slot::Rbp, W::truncate(frame));
    stack.commit(state);
    Ok(())
}

fn leave<C: Cpu, W: Width>(cpu: &mut C, _: &Record<C>) -> Result<(), Stopped> {
    let mut stack = Stack::at(cpu.state(), cpu.state().slot(Slot::Rbp));
    let old: W = stack.pop(cpu)?;
    let state = cpu.state_mut();
    stack.commit(state);
    state.put(Slot::Rbp, old);
    Ok(())
}
