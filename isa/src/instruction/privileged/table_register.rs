//! LGDT LIDT SGDT SIDT SLDT STR (SDM Vol. 2).

use super::{done, guard, is_memory};
use crate::address::AccessKind;
use crate::cpu::{Cpu, Stop, Stopped};
use crate::decode::{Form, Size};
use crate::operand::{Destination, Memory};
use crate::record::{Handler, Record};
use crate::segment::DescriptorTable;
use crate::state::State;
use crate::system::guard::Guarded;
use crate::system::{Intercepted, System, TableRegister};
use crate::width::Width;
use iced_x86::{Code, Mnemonic};

/// The handler for a form of this family.
pub(super) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    match form.mnemonic() {
        Mnemonic::Sldt => selector::<C, Sldt>(form),
        Mnemonic::Str => selector::<C, Str>(form),
        _ => table(form),
    }
}

fn table<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    Some(match form.instruction.code() {
        Code::Lgdt_m1632_16 => load::<C, Gdtr, Bits24>,
        Code::Lgdt_m1632 => load::<C, Gdtr, Bits32>,
        Code::Lgdt_m1664 => load::<C, Gdtr, Bits64>,
        Code::Lidt_m1632_16 => load::<C, Idtr, Bits24>,
        Code::Lidt_m1632 => load::<C, Idtr, Bits32>,
        Code::Lidt_m1664 => load::<C, Idtr, Bits64>,
        Code::Sgdt_m1632_16 | Code::Sgdt_m1632 => store::<C, Gdtr, Bits32>,
        Code::Sgdt_m1664 => store::<C, Gdtr, Bits64>,
        Code::Sidt_m1632_16 | Code::Sidt_m1632 => store::<C, Idtr, Bits32>,
        Code::Sidt_m1664 => store::<C, Idtr, Bits64>,
        _ => return None,
    })
}

/// GDTR or IDTR.
trait Table {
    const LOAD: (Guarded, TableRegister);
    const STORE: (Guarded, TableRegister);
    fn of(system: &mut System) -> &mut DescriptorTable;
}
struct Gdtr;
struct Idtr;
impl Table for Gdtr {
    const LOAD: (Guarded, TableRegister) = (Guarded::Lgdt, TableRegister::Lgdt);
    const STORE: (Guarded, TableRegister) = (Guarded::Sgdt, TableRegister::Sgdt);
    fn of(system: &mut System) -> &mut DescriptorTable {
        &mut system.gdtr
    }
}
impl Table for Idtr {
    const LOAD: (Guarded, TableRegister) = (Guarded::Lidt, TableRegister::Lidt);
    const STORE: (Guarded, TableRegister) = (Guarded::Sidt, TableRegister::Sidt);
    fn of(system: &mut System) -> &mut DescriptorTable {
        &mut system.idtr
    }
}

/// How much of the base an operand has.
trait Base {
    type Bits: Width;
    const MASK: u64;
}
struct Bits24;
struct Bits32;
struct Bits64;
impl Base for Bits24 {
    type Bits = u32;
    const MASK: u64 = 0xff_ffff;
}
impl Base for Bits32 {
    type Bits = u32;
    const MASK: u64 = 0xffff_ffff;
}
impl Base for Bits64 {
    type Bits = u64;
    const MASK: u64 = u64::MAX;
}

/// The limit is in the first two bytes. A base in 64-bit mode must be canonical.
fn load<C: Cpu, T: Table, B: Base>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let (guarded, register) = T::LOAD;
    guard(cpu, guarded)?;
    cpu.intercept(&Intercepted::TableRegister(register))?;
    let at =
        record.linear_address(cpu.state(), 2 + <B::Bits as crate::width::Scalar>::BYTES, AccessKind::Read)?;
    let limit = cpu.read(at)?;
    let base = cpu.read::<B::Bits>(at.add(2))?.zero_extend() & B::MASK;
    if !cpu.state().system.features.is_canonical(base) {
        return Err(Stop::GENERAL_PROTECTION.into());
    }
    *T::of(&mut cpu.state_mut().system) = DescriptorTable { base, limit };
    done(cpu, record)
}

/// With a 16-bit operand size all 32 bits of the base are stored, too.
fn store<C: Cpu, T: Table, B: Base>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let (guarded, register) = T::STORE;
    guard(cpu, guarded)?;
    cpu.intercept(&Intercepted::TableRegister(register))?;
    let at = record.linear_address(
        cpu.state(),
        2 + <B::Bits as crate::width::Scalar>::BYTES,
        AccessKind::Write,
    )?;
    let DescriptorTable { base, limit } = *T::of(&mut cpu.state_mut().system);
    // The end is tried first, so that nothing is stored when it is on a page that refuses it.
    cpu.modify::<B::Bits>(at.add(2), |_, old| old)?;
    cpu.write(at, limit)?;
    cpu.write(at.add(2), B::Bits::truncate(base))
}

/// LDTR or TR.
trait Selector {
    const STORE: (Guarded, TableRegister);
    fn of(state: &State) -> u16;
}
struct Sldt;
struct Str;
impl Selector for Sldt {
    const STORE: (Guarded, TableRegister) = (Guarded::Sldt, TableRegister::Sldt);
    fn of(state: &State) -> u16 {
        state.system.ldtr.selector
    }
}
impl Selector for Str {
    const STORE: (Guarded, TableRegister) = (Guarded::Str, TableRegister::Str);
    fn of(state: &State) -> u16 {
        state.system.tr.selector
    }
}

/// Memory receives 16 bits; a register the selector zero-extended to its size.
fn selector<C: Cpu, S: Selector>(form: &Form<'_>) -> Option<Handler<C>> {
    if is_memory(form) {
        return Some(|cpu, record| {
            let selector = stored::<C, S>(cpu)?;
            Memory::store(cpu, record, selector)
        });
    }
    match form.size_of(0)? {
        Size::B16 => Some(into_register::<C, S, u16>),
        _ => Some(into_register::<C, S, u64>),
    }
}

fn stored<C: Cpu, S: Selector>(cpu: &mut C) -> Result<u16, Stopped> {
    let (guarded, register) = S::STORE;
    guard(cpu, guarded)?;
    cpu.intercept(&Intercepted::TableRegister(register))?;
    Ok(S::of(cpu.state()))
}

fn into_register<C: Cpu, S: Selector, W: Width>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let selector = stored::<C, S>(cpu)?;
    cpu.state_mut().put(record.destination, W::truncate(selector.into()));
    Ok(())
}
