//! Far JMP, CALL and RET, and IRET.

use crate::address::AccessKind;
use crate::cpu::{Cpu, Stopped};
use crate::decode::Form;
use crate::mode::CodeSize;
use crate::record::{Handler, Record};
use crate::state::State;
use crate::system::Selector;
use crate::system::descriptor::OperandSize;
use crate::system::transfer::{self, FarPointer};
use crate::width::Width;
use iced_x86::{Code, Mnemonic};

/// What a far pointer is for.
type Transfer<C> = fn(&mut C, OperandSize, FarPointer, u64) -> Result<(), Stopped>;

/// The handler for a form of this family.
pub(super) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    Some(match form.instruction.code() {
        Code::Jmp_ptr1616 => direct::<C, u16, Jump>,
        Code::Jmp_ptr1632 => direct::<C, u32, Jump>,
        Code::Jmp_m1616 => indirect::<C, u16, Jump>,
        Code::Jmp_m1632 => indirect::<C, u32, Jump>,
        Code::Jmp_m1664 => indirect::<C, u64, Jump>,
        Code::Call_ptr1616 => direct::<C, u16, Call>,
        Code::Call_ptr1632 => direct::<C, u32, Call>,
        Code::Call_m1616 => indirect::<C, u16, Call>,
        Code::Call_m1632 => indirect::<C, u32, Call>,
        Code::Call_m1664 => indirect::<C, u64, Call>,
        Code::Retfw | Code::Retfw_imm16 => ret::<C, u16>,
        Code::Retfd | Code::Retfd_imm16 => ret::<C, u32>,
        Code::Retfq | Code::Retfq_imm16 => ret::<C, u64>,
        _ => return iret(form),
    })
}

fn iret<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    Some(match form.mnemonic() {
        Mnemonic::Iret => |cpu, record| return_from_handler(cpu, record, OperandSize::Word),
        Mnemonic::Iretd => |cpu, record| return_from_handler(cpu, record, OperandSize::Doubleword),
        Mnemonic::Iretq => |cpu, record| return_from_handler(cpu, record, OperandSize::Quadword),
        _ => return None,
    })
}

/// JMP or CALL.
trait Far {
    fn transfer<C: Cpu>() -> Transfer<C>;
}
struct Jump;
struct Call;
impl Far for Jump {
    fn transfer<C: Cpu>() -> Transfer<C> {
        transfer::jump
    }
}
impl Far for Call {
    fn transfer<C: Cpu>() -> Transfer<C> {
        transfer::call
    }
}

fn size_of<W: Width>() -> OperandSize {
    match W::BITS {
        16 => OperandSize::Word,
        32 => OperandSize::Doubleword,
        _ => OperandSize::Quadword,
    }
}

/// The offset behind the instruction, in EIP outside 64-bit mode.
pub(super) fn next<C: Cpu>(state: &State, record: &Record<C>) -> u64 {
    let next = record.next_rip(state);
    if state.code_size() == CodeSize::Bits64 { next } else { next & 0xffff_ffff }
}

#[allow(clippy::cast_possible_truncation, reason = "the selector is above the offset")]
fn direct<C: Cpu, W: Width, F: Far>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let next = next(cpu.state(), record);
    let selector = Selector((record.immediate >> 32) as u16);
    let to = FarPointer { selector, offset: record.immediate & 0xffff_ffff };
    F::transfer::<C>()(cpu, size_of::<W>(), to, next)
}

fn indirect<C: Cpu, W: Width, F: Far>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    let next = next(cpu.state(), record);
    let to = far_pointer::<C, W>(cpu, record)?;
    F::transfer::<C>()(cpu, size_of::<W>(), to, next)
}

/// A far pointer in memory: the offset, then the selector.
pub(super) fn far_pointer<C: Cpu, W: Width>(cpu: &mut C, record: &Record<C>) -> Result<FarPointer, Stopped> {
    let at = record.linear_address(cpu.state(), W::BYTES + 2, AccessKind::Read)?;
    let offset: W = cpu.read(at)?;
    let selector = cpu.read(at.add(W::BYTES as u64))?;
    Ok(FarPointer { selector: Selector(selector), offset: offset.zero_extend() })
}

fn ret<C: Cpu, W: Width>(cpu: &mut C, record: &Record<C>) -> Result<(), Stopped> {
    transfer::ret(cpu, size_of::<W>(), record.immediate)
}

fn return_from_handler<C: Cpu>(cpu: &mut C, record: &Record<C>, size: OperandSize) -> Result<(), Stopped> {
    let next = next(cpu.state(), record);
    transfer::iret(cpu, size, next)
}
