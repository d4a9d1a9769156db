//! PUSHF and POPF (SDM Vol. 2B): what may be changed depends on the mode, CPL and IOPL.

use super::branch::successor;
use super::stack::push_value;
use crate::control::Cr4;
use crate::cpu::{Cpu, Stop, Stopped};
use crate::decode::Form;
use crate::flags::Rflags;
use crate::record::{Handler, Record};
use crate::stack::Stack;
use crate::state::State;
use crate::width::Width;
use iced_x86::Mnemonic;

/// The handler for a form of this family.
pub(crate) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    Some(match form.mnemonic() {
        Mnemonic::Pushf => pushf::<C, u16>,
        Mnemonic::Pushfd => pushf::<C, u32>,
        Mnemonic::Pushfq => pushf::<C, u64>,
        Mnemonic::Popf => popf::<C, u16>,
        Mnemonic::Popfd => popf::<C, u32>,
        Mnemonic::Popfq => popf::<C, u64>,
        _ => return None,
    })
}

/// How RFLAGS may be looked at and changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Access {
    /// As they are.
    Direct,
    /// IF is VIF, because of the virtual-8086 mode extensions (SDM Vol. 3A, 22.3).
    VirtualInterruptFlag,
}

/// Virtual-8086 mode needs IOPL 3, or with its extensions 16-bit operands.
fn access<W: Width>(state: &State) -> Result<Access, Stopped> {
    // 64-bit mode has no VM.
    if W::BITS == 64 || !state.is_virtual_8086() || state.io_privilege_level() == 3 {
        Ok(Access::Direct)
    } else if state.system.cr4.contains(Cr4::VME) && W::BITS == 16 {
        Ok(Access::VirtualInterruptFlag)
    } else {
        Err(Stop::GENERAL_PROTECTION.into())
    }
}

/// RF and VM are pushed as 0.
fn pushf<C: Cpu, W: Width>(cpu: &mut C, _: &Record<C>) -> Result<(), Stopped> {
    let access = access::<W>(cpu.state())?;
    let flags = Rflags::from_bits_retain(cpu.state().flags.get());
    let mut image = flags - (Rflags::RF | Rflags::VM);
    if access == Access::VirtualInterruptFlag {
        image.insert(Rflags::IOPL);
        image.set(Rflags::IF, flags.contains(Rflags::VIF));
    }
    push_value(cpu, W::truncate(image.bits()))
}

/// The machine looks again at a change of what it serves interrupts, traps and alignment by.
fn popf<C: Cpu, W: Width>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let access = access::<W>(cpu.state())?;
    let mut stack = Stack::of(cpu.state());
    let image = Rflags::from_bits_retain(stack.pop::<C, W>(cpu)?.zero_extend());
    let old = Rflags::from_bits_retain(cpu.state().flags.get());
    let new = match access {
        Access::Direct => popped::<W>(cpu.state(), old, image),
        Access::VirtualInterruptFlag => popped_by_extension(old, image)?,
    };
    let state = cpu.state_mut();
    state.flags.set((new - Rflags::RF).bits());
    stack.commit(state);
    if (old ^ new).intersects(Rflags::TF | Rflags::IF | Rflags::AC) {
        let next = successor(state, record);
        state.set_rip(next);
        return Err(Stop::Done.into());
    }
    Ok(())
}

/// What every level may change; above it are IF and IOPL.
const CHANGES: Rflags =
    Rflags::STATUS.union(Rflags::TF).union(Rflags::DF).union(Rflags::NT).union(Rflags::AC).union(Rflags::ID);

/// IF needs CPL <= IOPL and IOPL needs CPL 0; where they may not change they keep their values without a fault.
fn popped<W: Width>(state: &State, old: Rflags, image: Rflags) -> Rflags {
    let mut changes = CHANGES;
    if state.system.cpl == 0 || state.is_real_address() {
        changes |= Rflags::IF | Rflags::IOPL;
    } else if state.system.cpl <= state.io_privilege_level() {
        changes |= Rflags::IF;
    }
    if W::BITS == 16 {
        changes &= Rflags::from_bits_retain(0xffff);
    }
    (old - changes) | image & changes
}

/// A program may not set IF while an interrupt is pending, nor TF.
fn popped_by_extension(old: Rflags, image: Rflags) -> Result<Rflags, Stopped> {
    let enables = image.contains(Rflags::IF);
    if image.contains(Rflags::TF) || enables && old.contains(Rflags::VIP) {
        return Err(Stop::GENERAL_PROTECTION.into());
    }
    let changes = CHANGES & Rflags::from_bits_retain(0xffff);
    let mut new = (old - changes) | image & changes;
    new.set(Rflags::VIF, enables);
    Ok(new)
}
