//! LLDT and LTR (SDM Vol. 2).

use super::{require_descriptors, selector};
use crate::cpu::{Cpu, Stop, Stopped};
use crate::decode::{Form, Kind};
use crate::operand::{Memory, Register, Source};
use crate::record::{Handler, Record};
use crate::system::{Intercepted, TableRegister, task};
use iced_x86::Mnemonic;

/// The handler for a form of this family.
pub(super) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    Some(match (form.mnemonic(), form.kinds[0]) {
        (Mnemonic::Lldt, Kind::Register) => lldt::<C, Register>,
        (Mnemonic::Lldt, _) => lldt::<C, Memory>,
        (Mnemonic::Ltr, Kind::Register) => ltr::<C, Register>,
        (Mnemonic::Ltr, _) => ltr::<C, Memory>,
        _ => return None,
    })
}

fn guard<C: Cpu>(cpu: &mut C, register: TableRegister) -> Result<(), Stopped> {
    require_descriptors(cpu)?;
    if cpu.state().system.cpl != 0 {
        return Err(Stop::GENERAL_PROTECTION.into());
    }
    cpu.intercept(&Intercepted::TableRegister(register))
}

fn lldt<C: Cpu, S: Source>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    guard(cpu, TableRegister::Lldt)?;
    let selector = selector::<C, S>(cpu, record)?;
    let ldtr = task::load_ldtr(cpu, selector)?;
    cpu.state_mut().system.ldtr = ldtr;
    Ok(())
}

fn ltr<C: Cpu, S: Source>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    guard(cpu, TableRegister::Ltr)?;
    let selector = selector::<C, S>(cpu, record)?;
    let tr = task::load_tr(cpu, selector)?;
    cpu.state_mut().system.tr = tr;
    Ok(())
}
