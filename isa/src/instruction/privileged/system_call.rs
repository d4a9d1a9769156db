//! SYSCALL SYSRET SYSENTER SYSEXIT SWAPGS (SDM Vol. 2B, 2C; Vol. 3A, 6.8.7 and 6.8.8).
//!
//! The descriptors that these load are constants; none is read. SYSCALL and SYSRET outside 64-bit mode are those of
//! processors that have them there ([`Behaviours`]).

use super::{following, guard};
use crate::cpu::{Cpu, Stop, Stopped};
use crate::decode::Form;
use crate::flags::Rflags;
use crate::mode::CodeSize;
use crate::record::{Handler, Record};
use crate::segment::{AccessRights, Segment, SegmentRegister};
use crate::state::{Slot, State};
use crate::system::debug::Stepping;
use crate::system::guard::Guarded;
use crate::system::{Behaviours, SystemCall};
use iced_x86::{Code, Mnemonic};

/// The handler for a form of this family.
pub(super) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    Some(match form.instruction.code() {
        Code::Sysretq => sysret::<C, Bits64>,
        Code::Sysretd => sysret::<C, Bits32>,
        Code::Sysexitq => sysexit::<C, Bits64>,
        Code::Sysexitd => sysexit::<C, Bits32>,
        _ => match form.mnemonic() {
            Mnemonic::Syscall => syscall,
            Mnemonic::Sysenter => sysenter,
            Mnemonic::Swapgs => swapgs,
            _ => return None,
        },
    })
}

/// The size of code that a return goes to.
trait Target {
    const CODE: AccessRights;
    const MASK: u64;
    /// Added to the selector in IA32_STAR for CS.
    const SYSRET_CS: u16;
    /// Added to the selector in IA32_SYSENTER_CS for CS.
    const SYSEXIT_CS: u16;
}
struct Bits32;
struct Bits64;
impl Target for Bits32 {
    const CODE: AccessRights = AccessRights::DEFAULT_BIG;
    const MASK: u64 = 0xffff_ffff;
    const SYSRET_CS: u16 = 0;
    const SYSEXIT_CS: u16 = 16;
}
impl Target for Bits64 {
    const CODE: AccessRights = AccessRights::LONG;
    const MASK: u64 = u64::MAX;
    const SYSRET_CS: u16 = 16;
    const SYSEXIT_CS: u16 = 32;
}

/// Loads CS and SS with flat segments of a privilege level, and makes it the current one.
fn enter(state: &mut State, code: u16, stack: u16, size: AccessRights, level: u8) {
    let dpl = AccessRights::from_bits_retain(u32::from(level) << 5);
    let code = Segment::flat(code, size | dpl | AccessRights::CODE);
    let stack = Segment::flat(stack, AccessRights::DEFAULT_BIG | dpl);
    state.set_segment(SegmentRegister::Cs, code);
    state.set_segment(SegmentRegister::Ss, stack);
    state.system.cpl = level;
}

/// The selector in bits 15:0 of `value >> shift`.
fn selector(value: u64, shift: u32) -> u16 {
    let [low, high, ..] = (value >> shift).to_le_bytes();
    u16::from_le_bytes([low, high])
}

fn check_canonical(state: &State, address: u64) -> Result<(), Stopped> {
    if state.is_canonical(address) { Ok(()) } else { Err(Stop::GENERAL_PROTECTION.into()) }
}

/// Whether the processor behaves so.
fn behaves(state: &State, behaviour: Behaviours) -> bool {
    state.system.features.behaviours.contains(behaviour)
}

fn syscall<C: Cpu>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    guard(cpu, Guarded::Syscall)?;
    let next = following(cpu.state(), record);
    let state = cpu.state_mut();
    let SystemCall { star, lstar, cstar, sfmask, .. } = state.system.system_call;
    let cs = selector(star, 32) & !3;
    let ss = selector(star, 32).wrapping_add(8);
    let flags = state.flags.get();
    state.set_slot(Slot::Rcx, next);
    if state.is_ia32e() {
        let target = if state.code_size() == CodeSize::Bits64 { lstar } else { cstar };
        state.set_slot(Slot::R11, flags);
        state.flags.set(flags & !sfmask & !Rflags::RF.bits());
        enter(state, cs, ss, AccessRights::LONG, 0);
        state.set_rip(target);
    } else {
        state.flags.set(flags & !(Rflags::VM | Rflags::IF | Rflags::RF).bits());
        enter(state, cs, ss, AccessRights::DEFAULT_BIG, 0);
        state.set_rip(star & 0xffff_ffff);
    }
    state.system.stepping = Stepping::AsAfter;
    Err(Stop::Done.into())
}

/// The flags that SYSRET takes from R11.
const SYSRET_FLAGS: u64 = 0x3c_7fd7;

fn sysret<C: Cpu, T: Target>(cpu: &mut C, _: &Record<C>) -> Result<(), Stopped> {
    guard(cpu, Guarded::Sysret)?;
    let state = cpu.state_mut();
    let target = state.slot(Slot::Rcx) & T::MASK;
    if !behaves(state, Behaviours::SYSRET_TAKES_ANY_TARGET) {
        check_canonical(state, target)?;
    }
    let flags = match state.code_size() {
        CodeSize::Bits64 => state.slot(Slot::R11) & SYSRET_FLAGS,
        _ => state.flags.get() | Rflags::IF.bits(),
    };
    let base = selector(state.system.system_call.star, 48);
    let (cs, ss) = (base.wrapping_add(T::SYSRET_CS) | 3, base.wrapping_add(8) | 3);
    let stack = state.segment(SegmentRegister::Ss);
    enter(state, cs, ss, T::CODE, 3);
    if behaves(state, Behaviours::SYSRET_LOADS_STACK_SELECTOR) {
        state.set_segment(SegmentRegister::Ss, Segment { selector: ss, ..stack });
    }
    state.flags.set(flags);
    state.set_rip(target);
    state.system.stepping = Stepping::AsAfter;
    Err(Stop::Done.into())
}

fn sysenter<C: Cpu>(cpu: &mut C, _: &Record<C>) -> Result<(), Stopped> {
    guard(cpu, Guarded::Sysenter)?;
    let state = cpu.state_mut();
    let SystemCall { sysenter_cs, sysenter_esp, sysenter_eip, .. } = state.system.system_call;
    let (size, mask) =
        if state.is_ia32e() { (Bits64::CODE, Bits64::MASK) } else { (Bits32::CODE, Bits32::MASK) };
    let cleared = Rflags::VM | Rflags::IF | Rflags::RF;
    let flags = state.flags.get() & !cleared.bits();
    state.flags.set(flags);
    let cs = selector(sysenter_cs, 0) & !3;
    enter(state, cs, cs.wrapping_add(8), size, 0);
    state.set_slot(Slot::Rsp, sysenter_esp & mask);
    state.set_rip(sysenter_eip & mask);
    Err(Stop::Done.into())
}

fn sysexit<C: Cpu, T: Target>(cpu: &mut C, _: &Record<C>) -> Result<(), Stopped> {
    guard(cpu, Guarded::Sysexit)?;
    let state = cpu.state_mut();
    let (stack, target) = (state.slot(Slot::Rcx) & T::MASK, state.slot(Slot::Rdx) & T::MASK);
    check_canonical(state, stack)?;
    check_canonical(state, target)?;
    let cs = selector(state.system.system_call.sysenter_cs, 0).wrapping_add(T::SYSEXIT_CS) | 3;
    enter(state, cs, cs.wrapping_add(8), T::CODE, 3);
    state.set_slot(Slot::Rsp, stack);
    state.set_rip(target);
    Err(Stop::Done.into())
}

fn swapgs<C: Cpu>(cpu: &mut C, _: &Record<C>) -> Result<(), Stopped> {
    guard(cpu, Guarded::Swapgs)?;
    let state = cpu.state_mut();
    let base = state.slot(Slot::GsBase);
    state.set_slot(Slot::GsBase, state.system.kernel_gs_base);
    state.system.kernel_gs_base = base;
    Ok(())
}
