//! MOV and POP to a segment register, LDS LES LFS LGS LSS.

use super::far::{far_pointer, next};
use crate::cpu::{Cpu, Stop, Stopped};
use crate::decode::{Form, Kind};
use crate::operand::{Memory, Source, SourceRegister};
use crate::record::{Handler, Record};
use crate::segment::SegmentRegister;
use crate::state::Slot;
use crate::system::descriptor::OperandSize;
use crate::system::stack::Stack;
use crate::system::{Interruptibility, Selector, load};
use crate::width::Width;
use iced_x86::{Mnemonic, Register};

/// The handler for a form of this family.
pub(super) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    match form.mnemonic() {
        Mnemonic::Mov => for_register(form, mov::<C>),
        Mnemonic::Pop => for_register(form, pop::<C>),
        Mnemonic::Les => far_load::<C, 0>(form),
        Mnemonic::Lss => far_load::<C, 2>(form),
        Mnemonic::Lds => far_load::<C, 3>(form),
        Mnemonic::Lfs => far_load::<C, 4>(form),
        Mnemonic::Lgs => far_load::<C, 5>(form),
        _ => None,
    }
}

/// The handlers of one instruction for the segment registers that it loads.
type Handlers<C> = fn(&Form<'_>, usize) -> Option<Handler<C>>;

fn for_register<C: Cpu>(form: &Form<'_>, handlers: Handlers<C>) -> Option<Handler<C>> {
    handlers(
        form,
        match form.instruction.op0_register() {
            Register::ES => 0,
            Register::SS => 2,
            Register::DS => 3,
            Register::FS => 4,
            Register::GS => 5,
            _ => return None,
        },
    )
}

/// Chooses the instance of a handler for the number of a segment register.
macro_rules! for_number {
    ($number:expr, $handler:ident::<$($parameter:ty),*>) => {
        match $number {
            0 => Some($handler::<$($parameter,)* 0>),
            2 => Some($handler::<$($parameter,)* 2>),
            3 => Some($handler::<$($parameter,)* 3>),
            4 => Some($handler::<$($parameter,)* 4>),
            5 => Some($handler::<$($parameter,)* 5>),
            _ => None,
        }
    };
}

fn mov<C: Cpu>(form: &Form<'_>, number: usize) -> Option<Handler<C>> {
    if form.kinds[1] == Kind::Register {
        for_number!(number, mov_from::<C, SourceRegister>)
    } else {
        for_number!(number, mov_from::<C, Memory>)
    }
}

fn mov_from<C: Cpu, S: Source, const NUMBER: usize>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let selector = Selector(S::load::<C, u16>(cpu, record)?);
    let segment = load::segment(cpu, SegmentRegister::ALL[NUMBER], selector)?;
    cpu.state_mut().set_segment(SegmentRegister::ALL[NUMBER], segment);
    after_load::<C, NUMBER>(cpu, record)
}

/// Loading SS blocks events for one instruction, so that ESP can be loaded with it (SDM Vol. 3A, 7.8.3).
fn after_load<C: Cpu, const NUMBER: usize>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    if SegmentRegister::ALL[NUMBER] != SegmentRegister::Ss {
        return Ok(());
    }
    cpu.state_mut().system.interruptibility |= Interruptibility::MOV_SS;
    completed(cpu, record)
}

/// The instruction has completed, and what stack instructions do has changed.
fn completed<C: Cpu>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let next = next(cpu.state(), record);
    cpu.state_mut().set_rip(next);
    Err(Stop::Done.into())
}

fn pop<C: Cpu>(form: &Form<'_>, number: usize) -> Option<Handler<C>> {
    match form.instruction.stack_pointer_increment() {
        2 => for_number!(number, pop_size::<C, u16>),
        4 => for_number!(number, pop_size::<C, u32>),
        8 => for_number!(number, pop_size::<C, u64>),
        _ => None,
    }
}

fn pop_size<C: Cpu, W: Width, const NUMBER: usize>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let size = match W::BITS {
        16 => OperandSize::Word,
        32 => OperandSize::Doubleword,
        _ => OperandSize::Quadword,
    };
    let mut stack = Stack::current(cpu.state());
    let selector = stack.pop_selector(cpu, size)?;
    let segment = load::segment(cpu, SegmentRegister::ALL[NUMBER], selector)?;
    let state = cpu.state_mut();
    state.set_slot(Slot::Rsp, stack.rsp());
    state.set_segment(SegmentRegister::ALL[NUMBER], segment);
    after_load::<C, NUMBER>(cpu, record)
}

fn far_load<C: Cpu, const NUMBER: usize>(form: &Form<'_>) -> Option<Handler<C>> {
    use crate::decode::Size;
    Some(match Size::from_bytes(form.instruction.op0_register().size())? {
        Size::B16 => load_pointer::<C, u16, NUMBER>,
        Size::B32 => load_pointer::<C, u32, NUMBER>,
        Size::B64 => load_pointer::<C, u64, NUMBER>,
        Size::B8 => return None,
    })
}

/// LSS blocks nothing: it loads the pointer as well.
fn load_pointer<C: Cpu, W: Width, const NUMBER: usize>(
    cpu: &mut C,
    record: &Record<C>,
) -> Result<(), Stopped> {
    let pointer = far_pointer::<C, W>(cpu, record)?;
    let segment = load::segment(cpu, SegmentRegister::ALL[NUMBER], pointer.selector)?;
    let state = cpu.state_mut();
    state.set_segment(SegmentRegister::ALL[NUMBER], segment);
    state.put(record.destination, W::truncate(pointer.offset));
    if SegmentRegister::ALL[NUMBER] == SegmentRegister::Ss { completed(cpu, record) } else { Ok(()) }
}
