//! FNINIT FNCLEX FLDCW FNSTCW FNSTSW FWAIT FINCSTP FDECSTP FFREE FNOP EMMS (SDM Vol. 1, 5.2.6 and 5.4.7).

use super::stack::{C1, number, summarised, wait};
use crate::cpu::{Cpu, Stopped};
use crate::decode::Form;
use crate::operand::{Destination, Memory, Register, Source};
use crate::record::{Handler, Record};
use crate::registers::X87;
use iced_x86::{Code, Mnemonic};

/// The bits of the control word that can be written, and the one that is always 1 (SDM Vol. 1, figure 8-6).
const WRITABLE: u16 = 0x1f3f;
const FIXED: u16 = 0x40;
/// What FNCLEX keeps of the status word.
const CONDITIONS_AND_TOP: u16 = 0x7f00;

/// The handler for a form of this family.
pub(super) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    Some(match form.instruction.code() {
        Code::Fnstcw_m2byte => |cpu, record| store::<C, Memory>(cpu, record, cpu.state().x87.control),
        Code::Fnstsw_m2byte => |cpu, record| store::<C, Memory>(cpu, record, cpu.state().x87.status),
        Code::Fnstsw_AX => |cpu, record| store::<C, Register>(cpu, record, cpu.state().x87.status),
        Code::Fldcw_m2byte => load_control,
        Code::Fninit => |cpu, _| {
            initialise(&mut cpu.state_mut().x87);
            Ok(())
        },
        Code::Fnclex => |cpu, _| {
            cpu.state_mut().x87.status &= CONDITIONS_AND_TOP;
            Ok(())
        },
        Code::Wait | Code::Fnop => |cpu, _| wait(cpu),
        // They did something on the 8087 and the 80287 only.
        Code::Fneni | Code::Fndisi | Code::Fnsetpm => |_, _| Ok(()),
        Code::Fincstp => |cpu, _| rotate(cpu, 1),
        Code::Fdecstp => |cpu, _| rotate(cpu, -1),
        Code::Ffree_sti => |cpu, record| {
            wait(cpu)?;
            cpu.state_mut().x87.free(number(record.destination));
            Ok(())
        },
        Code::Ffreep_sti => |cpu, record| {
            wait(cpu)?;
            let x87 = &mut cpu.state_mut().x87;
            x87.free(number(record.destination));
            x87.pop();
            Ok(())
        },
        _ if form.mnemonic() == Mnemonic::Emms => |cpu, _| {
            wait(cpu)?;
            empty(&mut cpu.state_mut().x87);
            Ok(())
        },
        _ => return None,
    })
}

/// These do not wait for pending exceptions.
fn store<C: Cpu, D: Destination>(cpu: &mut C, record: &Record<C>, word: u16) -> Result<(), Stopped> {
    D::store(cpu, record, word)
}

/// A control word as the unit keeps it.
pub(crate) fn control_word(word: u16) -> u16 {
    word & WRITABLE | FIXED
}

/// The new masks may make an exception of before pending.
fn load_control<C: Cpu>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    wait(cpu)?;
    let word: u16 = Memory::load(cpu, record)?;
    let x87 = &mut cpu.state_mut().x87;
    x87.control = control_word(word);
    x87.status = summarised(x87.status, x87.control);
    Ok(())
}

/// Makes all registers empty and names them by their physical numbers (SDM Vol. 3A, table 14-1).
fn empty(x87: &mut X87) {
    x87.align();
    x87.tag = 0;
}

/// FNINIT: the registers keep their contents.
pub(super) fn initialise(x87: &mut X87) {
    empty(x87);
    *x87 = X87 { st: x87.st, ..X87::default() };
}

fn rotate<C: Cpu>(cpu: &mut C, by: i16) -> Result<(), Stopped> {
    wait(cpu)?;
    let x87 = &mut cpu.state_mut().x87;
    x87.rotate(by);
    x87.status &= !C1;
    Ok(())
}
