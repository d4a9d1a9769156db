//! String instructions (SDM Vol. 1, 5.1.8): MOVS CMPS SCAS LODS STOS, with REP, REPE and REPNE.
//!
//! A repeated instruction can stop between two iterations: its registers then say how far it came, and it goes on
//! from there when it is started again. The flags are then those of the last iteration of CMPS and SCAS; the manual has
//! them restored after a fault (SDM Vol. 2B, REP), which no program that is started again can tell. Upward copies and
//! fills are done in runs where the memory allows it.

use crate::address::{AccessKind, LinearAddress};
use crate::cpu::{Cpu, Level, Stop, Stopped};
use crate::decode::{Form, Size};
use crate::flags::Direction;
use crate::record::{Handler, Record};
use crate::state::{Slot, State};
use crate::system::debug;
use crate::width::Width;
use iced_x86::Mnemonic;

/// The handler for a form of this family.
pub(crate) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    match form.mnemonic() {
        Mnemonic::Movsb => once_or_repeated::<C, Movs, u8>(form),
        Mnemonic::Movsw => once_or_repeated::<C, Movs, u16>(form),
        // The SSE2 instruction of the same name has XMM operands.
        Mnemonic::Movsd if is_string(form) => once_or_repeated::<C, Movs, u32>(form),
        Mnemonic::Movsq => once_or_repeated::<C, Movs, u64>(form),
        Mnemonic::Cmpsb => once_or_repeated::<C, Cmps, u8>(form),
        Mnemonic::Cmpsw => once_or_repeated::<C, Cmps, u16>(form),
        Mnemonic::Cmpsd if is_string(form) => once_or_repeated::<C, Cmps, u32>(form),
        Mnemonic::Cmpsq => once_or_repeated::<C, Cmps, u64>(form),
        Mnemonic::Scasb => once_or_repeated::<C, Scas, u8>(form),
        Mnemonic::Scasw => once_or_repeated::<C, Scas, u16>(form),
        Mnemonic::Scasd => once_or_repeated::<C, Scas, u32>(form),
        Mnemonic::Scasq => once_or_repeated::<C, Scas, u64>(form),
        Mnemonic::Lodsb => once_or_repeated::<C, Lods, u8>(form),
        Mnemonic::Lodsw => once_or_repeated::<C, Lods, u16>(form),
        Mnemonic::Lodsd => once_or_repeated::<C, Lods, u32>(form),
        Mnemonic::Lodsq => once_or_repeated::<C, Lods, u64>(form),
        Mnemonic::Stosb => once_or_repeated::<C, Stos, u8>(form),
        Mnemonic::Stosw => once_or_repeated::<C, Stos, u16>(form),
        Mnemonic::Stosd => once_or_repeated::<C, Stos, u32>(form),
        Mnemonic::Stosq => once_or_repeated::<C, Stos, u64>(form),
        _ => None,
    }
}

fn is_string(form: &Form<'_>) -> bool {
    form.instruction.is_string_instruction()
}

/// One iteration of a string instruction. Registers move only when all of it has been done.
trait StringOperation {
    /// The address registers that it moves: RSI, RDI or both.
    const MOVES: &'static [Slot];
    fn iterate<C: Cpu, W: Width>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped>;
    /// Does several elements at once and returns their number; 0 where that cannot be done.
    fn run<C: Cpu, W: Width>(_: &mut C, _: &Record<C>, _elements: u64) -> u64 {
        0
    }
}

fn once_or_repeated<C: Cpu, O: StringOperation, W: Width>(form: &Form<'_>) -> Option<Handler<C>> {
    let instruction = form.instruction;
    let compares = matches!(
        instruction.mnemonic(),
        Mnemonic::Cmpsb
            | Mnemonic::Cmpsw
            | Mnemonic::Cmpsd
            | Mnemonic::Cmpsq
            | Mnemonic::Scasb
            | Mnemonic::Scasw
            | Mnemonic::Scasd
            | Mnemonic::Scasq
    );
    debug_assert!(Size::from_bytes(W::BYTES).is_some());
    Some(match (instruction.has_repe_prefix(), instruction.has_repne_prefix()) {
        (false, false) => once::<C, O, W>,
        (true, _) if compares => repeat::<C, O, W, WhileEqual>,
        (_, true) if compares => repeat::<C, O, W, WhileNotEqual>,
        _ => repeat::<C, O, W, Always>,
    })
}

fn once<C: Cpu, O: StringOperation, W: Width>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    O::iterate::<C, W>(cpu, record)?;
    step(cpu.state_mut(), record, O::MOVES, 1, W::BYTES as u64);
    Ok(())
}

/// Whether a repetition goes on after an iteration.
trait Repetition {
    fn goes_on(state: &State) -> bool;
}
struct Always;
struct WhileEqual;
struct WhileNotEqual;
impl Repetition for Always {
    fn goes_on(_: &State) -> bool {
        true
    }
}
impl Repetition for WhileEqual {
    fn goes_on(state: &State) -> bool {
        state.flags.zf()
    }
}
impl Repetition for WhileNotEqual {
    fn goes_on(state: &State) -> bool {
        !state.flags.zf()
    }
}

fn repeat<C: Cpu, O: StringOperation, W: Width, R: Repetition>(
    cpu: &mut C,
    record: &Record<C>,
) -> Result<(), Stopped> {
    let traps = C::LEVEL == Level::System && debug::traps_iterations(cpu.state());
    loop {
        let count = address_register(cpu.state(), record, Slot::Rcx);
        if count == 0 {
            return Ok(());
        }
        let many =
            if !traps && can_run(cpu.state(), record) { O::run::<C, W>(cpu, record, count) } else { 0 };
        if many == 0 {
            O::iterate::<C, W>(cpu, record)?;
        }
        let done = many.max(1);
        let state = cpu.state_mut();
        step(state, record, O::MOVES, done, W::BYTES as u64);
        set_address_register(state, record, Slot::Rcx, count - done);
        if !R::goes_on(state) {
            return Ok(());
        }
        if traps && count != done {
            return Err(between_iterations(cpu, record));
        }
    }
}

/// Stops with RIP still at the instruction.
#[cold]
pub(super) fn between_iterations<C: Cpu>(cpu: &mut C, record: &Record<C>) -> Stopped {
    let rip = cpu.state().rip().wrapping_add(record.offset.into());
    cpu.state_mut().set_rip(rip);
    Stop::Iteration.into()
}

/// Runs go upward and do not wrap around addresses of less than 64 bits.
fn can_run<C: Cpu>(state: &State, record: &Record<C>) -> bool {
    state.flags.direction() == Direction::Up && !record.modifiers.has_short_address()
}

/// RSI, RDI or RCX in the address size of the instruction.
pub(super) fn address_register<C: Cpu>(state: &State, record: &Record<C>, slot: Slot) -> u64 {
    record.in_address_size(state.slot(slot))
}

pub(super) fn set_address_register<C: Cpu>(state: &mut State, record: &Record<C>, slot: Slot, value: u64) {
    if record.modifiers.has_32_bit_address() {
        state.put(slot, u32::truncate(value));
    } else if record.modifiers.has_16_bit_address() {
        state.put(slot, u16::truncate(value));
    } else {
        state.set_slot(slot, value);
    }
}

pub(super) fn step<C: Cpu>(state: &mut State, record: &Record<C>, slots: &[Slot], elements: u64, bytes: u64) {
    let distance = elements.wrapping_mul(bytes);
    for &slot in slots {
        let old = address_register(state, record, slot);
        let new = match state.flags.direction() {
            Direction::Up => old.wrapping_add(distance),
            Direction::Down => old.wrapping_sub(distance),
        };
        set_address_register(state, record, slot, new);
    }
}

/// The source is at RSI, in any segment; the destination at RDI, always in ES.
pub(super) fn source<C: Cpu, W: Width>(state: &State, record: &Record<C>) -> Result<LinearAddress, Stopped> {
    record.address_at(state, state.slot(Slot::Rsi), W::BYTES, AccessKind::Read)
}

pub(super) fn destination<C: Cpu, W: Width>(
    state: &State,
    record: &Record<C>,
    kind: AccessKind,
) -> Result<LinearAddress, Stopped> {
    let offset = address_register(state, record, Slot::Rdi);
    if record.modifiers.is_checked() {
        let segment = if record.modifiers.is_segmented() { Slot::EsBase } else { Slot::Zero };
        return record.checked_address(state, segment, offset, W::BYTES, kind);
    }
    Ok(LinearAddress(offset))
}

struct Movs;
impl StringOperation for Movs {
    const MOVES: &'static [Slot] = &[Slot::Rsi, Slot::Rdi];

    fn iterate<C: Cpu, W: Width>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
        let from = source::<C, W>(cpu.state(), record)?;
        let to = destination::<C, W>(cpu.state(), record, AccessKind::Write)?;
        let value: W = cpu.read(from)?;
        cpu.write(to, value)
    }

    /// Copying whole elements upward equals copying bytes unless the destination starts within the element before it.
    fn run<C: Cpu, W: Width>(cpu: &mut C, record: &Record<C>, elements: u64) -> u64 {
        let (Ok(from), Ok(to)) = (
            source::<C, W>(cpu.state(), record),
            destination::<C, W>(cpu.state(), record, AccessKind::Write),
        ) else {
            return 0;
        };
        let bytes = W::BYTES as u64;
        let distance = to.0.wrapping_sub(from.0);
        if distance != 0 && distance < bytes {
            return 0;
        }
        cpu.copy_run(from, to, elements.saturating_mul(bytes), bytes) / bytes
    }
}

struct Cmps;
impl StringOperation for Cmps {
    const MOVES: &'static [Slot] = &[Slot::Rsi, Slot::Rdi];

    fn iterate<C: Cpu, W: Width>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
        let from = source::<C, W>(cpu.state(), record)?;
        let to = destination::<C, W>(cpu.state(), record, AccessKind::Read)?;
        let a: W = cpu.read(from)?;
        let b: W = cpu.read(to)?;
        compare(cpu.state_mut(), a, b);
        Ok(())
    }
}

fn compare<W: Width>(state: &mut State, a: W, b: W) {
    let (difference, borrow) = a.sub_with_borrow(b, false);
    state.flags.set_sub(a, b, difference, borrow);
}

struct Scas;
impl StringOperation for Scas {
    const MOVES: &'static [Slot] = &[Slot::Rdi];

    fn iterate<C: Cpu, W: Width>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
        let at = destination::<C, W>(cpu.state(), record, AccessKind::Read)?;
        let b: W = cpu.read(at)?;
        let a = cpu.state().get(Slot::Rax);
        compare(cpu.state_mut(), a, b);
        Ok(())
    }
}

struct Lods;
impl StringOperation for Lods {
    const MOVES: &'static [Slot] = &[Slot::Rsi];

    fn iterate<C: Cpu, W: Width>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
        let at = source::<C, W>(cpu.state(), record)?;
        let value: W = cpu.read(at)?;
        cpu.state_mut().put(Slot::Rax, value);
        Ok(())
    }
}

struct Stos;
impl StringOperation for Stos {
    const MOVES: &'static [Slot] = &[Slot::Rdi];

    fn iterate<C: Cpu, W: Width>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
        let to = destination::<C, W>(cpu.state(), record, AccessKind::Write)?;
        let value: W = cpu.state().get(Slot::Rax);
        cpu.write(to, value)
    }

    fn run<C: Cpu, W: Width>(cpu: &mut C, record: &Record<C>, elements: u64) -> u64 {
        let Ok(to) = destination::<C, W>(cpu.state(), record, AccessKind::Write) else { return 0 };
        let pattern: W = cpu.state().get(Slot::Rax);
        let bytes = W::BYTES as u64;
        cpu.fill_run(to, elements.saturating_mul(bytes), pattern) / bytes
    }
}
