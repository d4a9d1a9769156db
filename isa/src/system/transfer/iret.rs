//! IRET (SDM Vol. 2A, IRET/IRETD/IRETQ).

use super::super::Interruptibility;
use super::super::code;
use super::super::descriptor::OperandSize;
use super::super::fault;
use super::super::load;
use super::super::stack::Stack;
use super::super::task;
use super::ret::{Return, ReturnStack, target};
use super::{FarPointer, check_without_descriptor, done};
use crate::control::Cr4;
use crate::cpu::{Cpu, Stopped};
use crate::flags::Rflags;
use crate::mode::CodeSize;
use crate::segment::SegmentRegister;
use crate::state::{Slot, State};

/// Returns from the handler of an event. NMIs are no longer blocked, even when the return faults (SDM Vol. 3A, 7.7.1).
pub(crate) fn iret<C: Cpu>(cpu: &mut C, size: OperandSize, next: u64) -> Result<(), Stopped> {
    cpu.state_mut().system.interruptibility -= Interruptibility::NMI;
    let state = cpu.state();
    let is_nested = state.flags.rest() & Rflags::NT.bits() != 0;
    if state.is_real_address() {
        to_real_address(cpu, size)
    } else if state.is_virtual_8086() {
        inside_virtual_8086(cpu, size)
    } else if !is_nested {
        protected(cpu, size)
    } else if state.is_ia32e() {
        Err(fault::general_protection_0())
    } else {
        task::return_to_previous(cpu, next)
    }
}

/// What is on top of the stack.
struct Popped {
    stack: Stack,
    to: FarPointer,
    flags: Rflags,
}

impl Popped {
    fn new<C: Cpu>(cpu: &mut C, size: OperandSize) -> Result<Self, Stopped> {
        let mut stack = Stack::current(cpu.state());
        let offset = stack.pop(cpu, size)?;
        let selector = stack.pop_selector(cpu, size)?;
        let flags = Rflags::from_bits_truncate(stack.pop(cpu, size)?);
        Ok(Self { stack, to: FarPointer { selector, offset }, flags })
    }
}

/// RFLAGS with the bits `loaded` of `popped`; a return of 16 bits leaves what is above.
fn merge(state: &State, size: OperandSize, popped: Rflags, loaded: Rflags) -> u64 {
    let loaded = Rflags::from_bits_retain(size.truncate(loaded.bits()));
    state.flags.get() & !loaded.bits() | (popped & loaded).bits()
}

fn protected<C: Cpu>(cpu: &mut C, size: OperandSize) -> Result<(), Stopped> {
    let Popped { mut stack, to, flags } = Popped::new(cpu, size)?;
    let state = cpu.state();
    let cpl = state.system.cpl;
    let to_virtual_8086 = flags.contains(Rflags::VM) && size == OperandSize::Doubleword && cpl == 0;
    if to_virtual_8086 && !state.is_ia32e() {
        return enter_virtual_8086(cpu, stack, to, flags);
    }
    let from_long = state.code_size() == CodeSize::Bits64;
    let code = target(cpu, to.selector)?;
    let has_stack = from_long || to.selector.rpl() > cpl;
    let return_stack =
        if has_stack { ReturnStack::popped(cpu, &mut stack, size)? } else { ReturnStack::Kept(stack) };
    let flags = merge(cpu.state(), size, flags, loaded_flags(cpu.state()));
    Return { code, rip: to.offset, to: return_stack }.complete(cpu, 0)?;
    cpu.state_mut().flags.set(flags);
    done()
}

/// The flags that the level before the return may load.
fn loaded_flags(state: &State) -> Rflags {
    let mut loaded =
        Rflags::STATUS | Rflags::TF | Rflags::DF | Rflags::NT | Rflags::RF | Rflags::AC | Rflags::ID;
    let iopl = (state.flags.rest() & Rflags::IOPL.bits()) >> 12;
    if u64::from(state.system.cpl) <= iopl {
        loaded |= Rflags::IF;
    }
    if state.system.cpl == 0 {
        loaded |= Rflags::IOPL | Rflags::VIF | Rflags::VIP;
    }
    loaded
}

/// Nine doublewords, and privilege level 3.
fn enter_virtual_8086<C: Cpu>(
    cpu: &mut C,
    mut stack: Stack,
    to: FarPointer,
    flags: Rflags,
) -> Result<(), Stopped> {
    use SegmentRegister::{Ds, Es, Fs, Gs, Ss};
    let esp = stack.pop(cpu, OperandSize::Doubleword)?;
    let mut segments = [Ss, Es, Ds, Fs, Gs].map(|register| (register, to.selector));
    for (_, selector) in &mut segments {
        *selector = stack.pop_selector(cpu, OperandSize::Doubleword)?;
    }
    let code = load::virtual_8086(to.selector);
    code::check_rip(cpu.state(), &code, to.offset)?;
    let state = cpu.state_mut();
    state.flags.set(flags.bits());
    for (register, selector) in segments {
        state.set_segment(register, load::virtual_8086(selector));
    }
    state.set_segment(SegmentRegister::Cs, code);
    state.set_slot(Slot::Rsp, esp);
    state.set_rip(to.offset);
    state.system.cpl = 3;
    done()
}

fn to_real_address<C: Cpu>(cpu: &mut C, size: OperandSize) -> Result<(), Stopped> {
    let popped = Popped::new(cpu, size)?;
    let loaded = Rflags::all() - Rflags::VM - Rflags::VIF - Rflags::VIP;
    without_descriptor(cpu, size, &popped, loaded)
}

/// IOPL must be 3, or the virtual-8086 mode extensions make VIF of IF for a return of 16 bits.
fn inside_virtual_8086<C: Cpu>(cpu: &mut C, size: OperandSize) -> Result<(), Stopped> {
    let state = cpu.state();
    let is_allowed = state.flags.rest() & Rflags::IOPL.bits() == Rflags::IOPL.bits();
    let is_extended = state.system.cr4.contains(Cr4::VME) && size == OperandSize::Word;
    if !is_allowed && !is_extended {
        return Err(fault::general_protection_0());
    }
    let mut popped = Popped::new(cpu, size)?;
    let mut loaded = Rflags::all() - Rflags::VM - Rflags::IOPL - Rflags::VIF - Rflags::VIP;
    if is_allowed {
        return without_descriptor(cpu, size, &popped, loaded);
    }
    let pending = cpu.state().flags.rest() & Rflags::VIP.bits() != 0;
    let enables = popped.flags.contains(Rflags::IF);
    if pending && enables || popped.flags.contains(Rflags::TF) {
        return Err(fault::general_protection_0());
    }
    popped.flags.set(Rflags::VIF, enables);
    loaded -= Rflags::IF;
    load_without_descriptor(cpu, &popped, |state| {
        merge(state, size, popped.flags, loaded) & !Rflags::VIF.bits() | (popped.flags & Rflags::VIF).bits()
    })
}

fn without_descriptor<C: Cpu>(
    cpu: &mut C,
    size: OperandSize,
    popped: &Popped,
    loaded: Rflags,
) -> Result<(), Stopped> {
    load_without_descriptor(cpu, popped, |state| merge(state, size, popped.flags, loaded))
}

fn load_without_descriptor<C: Cpu>(
    cpu: &mut C,
    popped: &Popped,
    flags: impl FnOnce(&State) -> u64,
) -> Result<(), Stopped> {
    let segment = check_without_descriptor(cpu, OperandSize::Doubleword, popped.to)?;
    let state = cpu.state_mut();
    let flags = flags(state);
    state.flags.set(flags);
    state.set_slot(Slot::Rsp, popped.stack.rsp());
    state.set_segment(SegmentRegister::Cs, segment);
    state.set_rip(popped.to.offset);
    done()
}
