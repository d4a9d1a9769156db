//! CLI STI (SDM Vol. 2, tables 3-7 and 4-22) and CLAC STAC.

use super::{done, guard};
use crate::control::Cr4;
use crate::cpu::{Cpu, Stop, Stopped};
use crate::decode::Form;
use crate::flags::Rflags;
use crate::record::{Handler, Record};
use crate::state::State;
use crate::system::Interruptibility;
use crate::system::guard::Guarded;
use iced_x86::Mnemonic;

/// The handler for a form of this family.
pub(super) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    Some(match form.mnemonic() {
        Mnemonic::Cli => cli,
        Mnemonic::Sti => sti,
        Mnemonic::Clac => {
            |cpu, record| access_control(cpu, record, Guarded::Clac, |flags| flags - Rflags::AC)
        }
        Mnemonic::Stac => {
            |cpu, record| access_control(cpu, record, Guarded::Stac, |flags| flags | Rflags::AC)
        }
        _ => return None,
    })
}

/// Which flag CLI and STI change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Changes {
    /// IF.
    Interrupts,
    /// VIF: virtual-8086 mode with CR4.VME, or CPL 3 with CR4.PVI.
    VirtualInterrupts,
    /// Neither: #GP(0).
    Refused,
}

fn changes(state: &State) -> Changes {
    let system = &state.system;
    let level = if state.is_virtual_8086() { 3 } else { system.cpl };
    let extension = if state.is_virtual_8086() { Cr4::VME } else { Cr4::PVI };
    if state.is_real_address() || state.io_privilege_level() >= level {
        Changes::Interrupts
    } else if level == 3 && system.cr4.contains(extension) {
        Changes::VirtualInterrupts
    } else {
        Changes::Refused
    }
}

fn change(state: &mut State, change: impl FnOnce(Rflags) -> Rflags) {
    let flags = Rflags::from_bits_retain(state.flags.get());
    state.flags.set(change(flags).bits());
}

fn cli<C: Cpu>(cpu: &mut C, _: &Record<C>) -> Result<(), Stopped> {
    let state = cpu.state_mut();
    match changes(state) {
        Changes::Interrupts => change(state, |flags| flags - Rflags::IF),
        Changes::VirtualInterrupts => change(state, |flags| flags - Rflags::VIF),
        Changes::Refused => return Err(Stop::GENERAL_PROTECTION.into()),
    }
    Ok(())
}

/// When IF was 0, interrupts stay blocked until the next instruction has completed. VIF with VIP = 1 is #GP(0).
fn sti<C: Cpu>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let state = cpu.state_mut();
    let flags = Rflags::from_bits_retain(state.flags.get());
    match changes(state) {
        Changes::Interrupts if flags.contains(Rflags::IF) => Ok(()),
        Changes::Interrupts => {
            change(state, |flags| flags | Rflags::IF);
            state.system.interruptibility.insert(Interruptibility::STI);
            done(cpu, record)
        }
        Changes::VirtualInterrupts if !flags.contains(Rflags::VIP) => {
            change(state, |flags| flags | Rflags::VIF);
            Ok(())
        }
        _ => Err(Stop::GENERAL_PROTECTION.into()),
    }
}

fn access_control<C: Cpu>(
    cpu: &mut C,
    record: &Record<C>,
    guarded: Guarded,
    set: impl FnOnce(Rflags) -> Rflags,
) -> Result<(), Stopped> {
    guard(cpu, guarded)?;
    change(cpu.state_mut(), set);
    done(cpu, record)
}
