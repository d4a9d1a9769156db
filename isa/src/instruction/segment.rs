//! Segment registers (SDM Vol. 1, 5.1.10 and 5.1.15): selectors as a program reads them, and the bases of FS and GS.
//!
//! A 64-bit program of Linux runs with fixed selectors, and nothing here loads one.

use crate::cpu::{Cpu, Stop, Stopped};
use crate::decode::{Form, Kind, Size};
use crate::operand::{Destination, Memory};
use crate::record::{Handler, Record};
use crate::segment::SegmentRegister;
use crate::state::Slot;
use crate::width::Width;
use iced_x86::{Mnemonic, Register};

/// The handler for a form of this family.
pub(crate) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    match form.mnemonic() {
        Mnemonic::Mov => match form.instruction.op1_register() {
            Register::ES => read_selector::<C, 0>(form),
            Register::CS => read_selector::<C, 1>(form),
            Register::SS => read_selector::<C, 2>(form),
            Register::DS => read_selector::<C, 3>(form),
            Register::FS => read_selector::<C, 4>(form),
            Register::GS => read_selector::<C, 5>(form),
            _ => None,
        },
        Mnemonic::Rdfsbase => read_base::<C, Fs>(form),
        Mnemonic::Rdgsbase => read_base::<C, Gs>(form),
        Mnemonic::Wrfsbase => write_base::<C, Fs>(form),
        Mnemonic::Wrgsbase => write_base::<C, Gs>(form),
        _ => None,
    }
}

/// A register receives the selector zero-extended to its size; memory always receives 16 bits.
fn read_selector<C: Cpu, const NUMBER: usize>(form: &Form<'_>) -> Option<Handler<C>> {
    Some(match (form.kinds[0], form.size_of(0)?) {
        (Kind::Register, Size::B16) => |cpu, record| {
            let selector = cpu.state().selector(SegmentRegister::ALL[NUMBER]);
            cpu.state_mut().put(record.destination, selector);
            Ok(())
        },
        (Kind::Register, _) => |cpu, record| {
            let selector = cpu.state().selector(SegmentRegister::ALL[NUMBER]);
            cpu.state_mut().put(record.destination, u64::from(selector));
            Ok(())
        },
        (Kind::Flat | Kind::Memory, _) => |cpu, record| {
            let selector = cpu.state().selector(SegmentRegister::ALL[NUMBER]);
            Memory::store(cpu, record, selector)
        },
        _ => return None,
    })
}

/// FS or GS.
trait Segment {
    const BASE: Slot;
}
struct Fs;
struct Gs;
impl Segment for Fs {
    const BASE: Slot = Slot::FsBase;
}
impl Segment for Gs {
    const BASE: Slot = Slot::GsBase;
}

fn read_base<C: Cpu, S: Segment>(form: &Form<'_>) -> Option<Handler<C>> {
    match form.size_of(0)? {
        Size::B32 => Some(load_base::<C, S, u32>),
        Size::B64 => Some(load_base::<C, S, u64>),
        _ => None,
    }
}

fn load_base<C: Cpu, S: Segment, W: Width>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let base: W = cpu.state().get(S::BASE);
    cpu.state_mut().put(record.destination, base);
    Ok(())
}

fn write_base<C: Cpu, S: Segment>(form: &Form<'_>) -> Option<Handler<C>> {
    match form.size_of(0)? {
        Size::B32 => Some(store_base::<C, S, u32>),
        Size::B64 => Some(store_base::<C, S, u64>),
        _ => None,
    }
}

/// The base must be canonical; a 32-bit operand always is.
fn store_base<C: Cpu, S: Segment, W: Width>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let base = cpu.state().get::<W>(record.destination).zero_extend();
    let upper = base.cast_signed() >> 47;
    if upper != 0 && upper != -1 {
        return Err(Stop::GENERAL_PROTECTION.into());
    }
    cpu.state_mut().set_slot(S::BASE, base);
    Ok(())
}
