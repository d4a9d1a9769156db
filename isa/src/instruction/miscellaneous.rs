//! The rest of the general-purpose instructions (SDM Vol. 1, 5.1.6 to 5.1.16): loops, stack frames, flags, CPUID, time,
//! random numbers, hints and fences.

use crate::address::{AccessKind, LinearAddress};
use crate::cpu::{Cpu, Stopped};
use crate::decode::{Form, Size};
use crate::flags::{Direction, Rflags};
use crate::operand::{Destination, Memory};
use crate::record::{Handler, Record};
use crate::state::{Slot, State};
use crate::width::Width;
use iced_x86::{Code, Mnemonic};

/// The handler for a form of this family.
pub(crate) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    flags(form)
        .or_else(|| hints(form))
        .or_else(|| stack(form))
        .or_else(|| system(form))
        .or_else(|| loops(form))
}

fn flags<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    Some(match form.mnemonic() {
        Mnemonic::Clc => |cpu, _| with_flags(cpu, |state| state.flags.set_cf(false)),
        Mnemonic::Stc => |cpu, _| with_flags(cpu, |state| state.flags.set_cf(true)),
        Mnemonic::Cmc => |cpu, _| with_flags(cpu, |state| state.flags.set_cf(!state.flags.cf())),
        Mnemonic::Cld => |cpu, _| with_flags(cpu, |state| state.flags.set_direction(Direction::Up)),
        Mnemonic::Std => |cpu, _| with_flags(cpu, |state| state.flags.set_direction(Direction::Down)),
        Mnemonic::Lahf => |cpu, _| with_flags(cpu, lahf),
        Mnemonic::Sahf => |cpu, _| with_flags(cpu, sahf),
        _ => return None,
    })
}

fn with_flags<C: Cpu>(cpu: &mut C, change: impl FnOnce(&mut State)) -> Result<(), Stopped> {
    change(cpu.state_mut());
    Ok(())
}

/// SF, ZF, AF, PF and CF at their places, bit 1 as 1.
fn lahf(state: &mut State) {
    let rax = state.slot(Slot::Rax) & !0xff00;
    state.set_slot(Slot::Rax, rax | (state.flags.get() & 0xff) << 8);
}

fn sahf(state: &mut State) {
    let ah = state.slot(Slot::Rax) >> 8 & 0xff;
    let mut status = Rflags::from_bits_truncate(ah) & Rflags::STATUS;
    status.set(Rflags::OF, state.flags.of());
    state.flags.set_status(status);
}

/// Hints do nothing. Those that name a cache line translate its address as a read does (SDM Vol. 2A, CLFLUSH), the
/// prefetches do not even that.
fn hints<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    Some(match form.mnemonic() {
        Mnemonic::Nop
        | Mnemonic::Pause
        | Mnemonic::Endbr64
        | Mnemonic::Endbr32
        | Mnemonic::Lfence
        | Mnemonic::Sfence
        | Mnemonic::Mfence
        | Mnemonic::Prefetchnta
        | Mnemonic::Prefetcht0
        | Mnemonic::Prefetcht1
        | Mnemonic::Prefetcht2
        | Mnemonic::Prefetch
        | Mnemonic::Prefetchw
        | Mnemonic::Prefetchwt1
        | Mnemonic::Prefetchit0
        | Mnemonic::Prefetchit1
        | Mnemonic::Cldemote
        | Mnemonic::Reservednop
        // Shadow stacks are off: the destination keeps its value.
        | Mnemonic::Rdsspd
        | Mnemonic::Rdsspq => |_, _| Ok(()),
        Mnemonic::Clflush | Mnemonic::Clflushopt | Mnemonic::Clwb => |cpu, record| {
            let at = record.linear_address(cpu.state(), 1, AccessKind::Read)?;
            cpu.read::<u8>(at).map(|_| ())
        },
        Mnemonic::Movnti => match form.size_of(0)? {
            Size::B64 => movnti::<C, u64>,
            _ => movnti::<C, u32>,
        },
        _ => return None,
    })
}

fn movnti<C: Cpu, W: Width>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let value: W = cpu.state().get(record.source);
    Memory::store(cpu, record, value)
}

fn stack<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    Some(match form.instruction.code() {
        Code::Enterq_imm16_imm8 => enter::<C, u64>,
        Code::Enterw_imm16_imm8 => enter::<C, u16>,
        Code::Leaveq => leave::<C, u64>,
        Code::Leavew => leave::<C, u16>,
        Code::Xlat_m8 => xlat,
        _ => return None,
    })
}

/// ENTER (SDM Vol. 2A): the frame pointers of enclosing procedures are copied from the old frame to the new one. A fault
/// leaves the registers alone; what was pushed before it stays below the top of the stack.
fn enter<C: Cpu, W: Width>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let size = W::BYTES as u64;
    let allocated = record.immediate & 0xffff;
    let level = record.immediate >> 32 & 31;
    let (old_frame, old_top) = (cpu.state().slot(Slot::Rbp), cpu.state().slot(Slot::Rsp));
    let frame = old_top.wrapping_sub(size);
    let below = |words: u64| LinearAddress(frame.wrapping_sub(words * size));
    // In this order, because the old frame may overlap what is pushed.
    cpu.write(LinearAddress(frame), W::truncate(old_frame))?;
    for nesting in 1..level {
        let at = LinearAddress(old_frame.wrapping_sub(nesting * size));
        let pointer: W = cpu.read(at)?;
        cpu.write(below(nesting), pointer)?;
    }
    if level > 0 {
        cpu.write(below(level), W::truncate(frame))?;
    }
    // The new top must be writable, although nothing is stored there.
    let top = below(level).0.wrapping_sub(allocated);
    cpu.modify(LinearAddress(top), |_, old: W| old)?;
    let state = cpu.state_mut();
    state.put(Slot::Rbp, W::truncate(frame));
    state.set_slot(Slot::Rsp, top);
    Ok(())
}

fn leave<C: Cpu, W: Width>(cpu: &mut C, _: &Record<C>) -> Result<(), Stopped> {
    let frame = cpu.state().slot(Slot::Rbp);
    let old: W = cpu.read(LinearAddress(frame))?;
    let state = cpu.state_mut();
    state.set_slot(Slot::Rsp, frame.wrapping_add(W::BYTES as u64));
    state.put(Slot::Rbp, old);
    Ok(())
}

fn xlat<C: Cpu>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let state = cpu.state();
    let offset = state.slot(Slot::Rbx).wrapping_add(state.slot(Slot::Rax) & 0xff);
    let at = record.address_at(state, offset, 1, AccessKind::Read)?;
    let value: u8 = cpu.read(at)?;
    cpu.state_mut().put(Slot::Rax, value);
    Ok(())
}

fn system<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    Some(match form.mnemonic() {
        Mnemonic::Cpuid => cpuid,
        Mnemonic::Rdtsc => |cpu, _| {
            let counter = cpu.time_stamp_counter()?;
            put_pair(cpu.state_mut(), counter);
            Ok(())
        },
        Mnemonic::Rdtscp => |cpu, _| {
            let counter = cpu.time_stamp_counter()?;
            let auxiliary = cpu.time_stamp_auxiliary()?;
            put_pair(cpu.state_mut(), counter);
            cpu.state_mut().put(Slot::Rcx, auxiliary);
            Ok(())
        },
        Mnemonic::Rdpid => |cpu, record| {
            let auxiliary = cpu.time_stamp_auxiliary()?;
            cpu.state_mut().put(record.destination, auxiliary);
            Ok(())
        },
        Mnemonic::Rdrand | Mnemonic::Rdseed => match form.size_of(0)? {
            Size::B16 => random::<C, u16>,
            Size::B32 => random::<C, u32>,
            _ => random::<C, u64>,
        },
        _ => return None,
    })
}

fn cpuid<C: Cpu>(cpu: &mut C, _: &Record<C>) -> Result<(), Stopped> {
    let (leaf, subleaf) = (cpu.state().get(Slot::Rax), cpu.state().get(Slot::Rcx));
    let values = cpu.cpuid(leaf, subleaf)?;
    for (slot, value) in [Slot::Rax, Slot::Rbx, Slot::Rcx, Slot::Rdx].into_iter().zip(values) {
        cpu.state_mut().put(slot, value);
    }
    Ok(())
}

fn put_pair(state: &mut State, value: u64) {
    state.put(Slot::Rax, u32::truncate(value));
    state.put(Slot::Rdx, u32::truncate(value >> 32));
}

/// CF says that the number is random; the other status flags are 0.
fn random<C: Cpu, W: Width>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let value = W::truncate(cpu.random()?);
    let state = cpu.state_mut();
    state.put(record.destination, value);
    state.flags.set_status(Rflags::CF);
    Ok(())
}

fn loops<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    Some(match form.instruction.code() {
        Code::Loop_rel8_64_RCX => |cpu, record| count_down::<C, u64>(cpu, record, |_| true),
        Code::Loop_rel8_64_ECX => |cpu, record| count_down::<C, u32>(cpu, record, |_| true),
        Code::Loope_rel8_64_RCX => |cpu, record| count_down::<C, u64>(cpu, record, |state| state.flags.zf()),
        Code::Loope_rel8_64_ECX => |cpu, record| count_down::<C, u32>(cpu, record, |state| state.flags.zf()),
        Code::Loopne_rel8_64_RCX => {
            |cpu, record| count_down::<C, u64>(cpu, record, |state| !state.flags.zf())
        }
        Code::Loopne_rel8_64_ECX => {
            |cpu, record| count_down::<C, u32>(cpu, record, |state| !state.flags.zf())
        }
        Code::Jrcxz_rel8_64 => jump_if_zero::<C, u64>,
        Code::Jecxz_rel8_64 => jump_if_zero::<C, u32>,
        _ => return None,
    })
}

fn count_down<C: Cpu, W: Width>(
    cpu: &mut C,
    record: &Record<C>,
    condition: impl FnOnce(&State) -> bool,
) -> Result<(), Stopped> {
    let state = cpu.state_mut();
    let (count, _) = state.get::<W>(Slot::Rcx).sub_with_borrow(W::ONE, false);
    let again = count != W::ZERO && condition(state);
    state.put(Slot::Rcx, count);
    branch(state, record, again)
}

fn jump_if_zero<C: Cpu, W: Width>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let state = cpu.state_mut();
    let zero = state.get::<W>(Slot::Rcx) == W::ZERO;
    branch(state, record, zero)
}

fn branch<C: Cpu>(state: &mut State, record: &Record<C>, taken: bool) -> Result<(), Stopped> {
    let rip = if taken { record.target(state) } else { record.next_rip(state) };
    state.set_rip(rip);
    Ok(())
}
