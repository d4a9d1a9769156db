//! INT n in virtual-8086 mode (SDM Vol. 3A, 22.3 and table 22-2).

use super::super::descriptor::{OperandSize, table_address};
use super::super::fault::{self, require};
use super::super::inner_stack::tss_size;
use super::super::selector::Selector;
use super::super::stack::Stack;
use super::{protected, real, return_rip};
use crate::address::LinearAddress;
use crate::control::Cr4;
use crate::cpu::{Cpu, Privilege, Stopped};
use crate::event::{Event, EventOrigin};
use crate::flags::Rflags;
use crate::segment::SegmentRegister;
use crate::state::{Slot, State};

/// To the handler of the 8086 program when CR4.VME is 1 and the bit of the vector in the redirection bitmap is 0, else
/// through the IDT, for which IOPL must be 3.
pub(super) fn deliver_software<C: Cpu>(cpu: &mut C, event: &Event) -> Result<(), Stopped> {
    if cpu.state().system.cr4.contains(Cr4::VME) && !goes_to_monitor(cpu, event.vector)? {
        return to_program(cpu, event);
    }
    let allowed = cpu.state().io_privilege_level() == 3 || event.origin == EventOrigin::VmEntry;
    require(allowed, fault::general_protection, Selector(0))?;
    protected::deliver(cpu, event)
}

/// The bit of a vector in the software interrupt redirection bitmap, the 32 bytes below the I/O permission bitmap.
fn goes_to_monitor<C: Cpu>(cpu: &mut C, vector: u8) -> Result<bool, Stopped> {
    const IO_MAP_BASE: u64 = 0x66;
    let tr = cpu.state().system.tr;
    let inside = |offset: u64, bytes: u64| offset + bytes - 1 <= u64::from(tr.limit);
    let whole = tss_size(cpu.state()) == OperandSize::Doubleword && inside(IO_MAP_BASE, 2);
    require(whole, fault::general_protection, Selector(0))?;
    let at = table_address(cpu.state(), tr.base, IO_MAP_BASE);
    let base: u16 = cpu.read_as(Privilege::Implicit, at)?;
    let offset = u64::from(base).wrapping_sub(32).wrapping_add(u64::from(vector) / 8);
    require(base >= 32 && inside(offset, 1), fault::general_protection, Selector(0))?;
    let at = table_address(cpu.state(), tr.base, offset);
    let bits: u8 = cpu.read_as(Privilege::Implicit, at)?;
    Ok(bits >> (vector % 8) & 1 != 0)
}

/// As in real-address mode; below IOPL 3, VIF stands for IF and the image says IOPL 3.
fn to_program<C: Cpu>(cpu: &mut C, event: &Event) -> Result<(), Stopped> {
    let at = LinearAddress(4 * u64::from(event.vector));
    let handler = cpu.read_as(Privilege::User, at)?;
    let state = cpu.state();
    let cs = state.selector(SegmentRegister::Cs);
    let mut stack = Stack::current(state);
    let pushed = [program_flags(state), cs.into(), return_rip(state, event)];
    stack.push_all(cpu, OperandSize::Word, &pushed)?;
    let state = cpu.state_mut();
    let masked = if state.io_privilege_level() == 3 { Rflags::IF } else { Rflags::VIF };
    let flags = state.flags.get() & !(masked | Rflags::TF | Rflags::RF).bits();
    state.flags.set(flags);
    state.set_slot(Slot::Rsp, stack.rsp());
    real::enter(state, handler);
    Ok(())
}

fn program_flags(state: &State) -> u64 {
    let flags = Rflags::from_bits_retain(state.flags.get());
    if state.io_privilege_level() == 3 {
        return flags.bits();
    }
    let mut image = flags | Rflags::IOPL;
    image.set(Rflags::IF, flags.contains(Rflags::VIF));
    image.bits()
}
