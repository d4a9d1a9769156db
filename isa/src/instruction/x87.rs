//! The x87 instructions that only look at its control and status words (SDM Vol. 1, 5.2.6): FNSTCW FNSTSW. The
//! mathematical functions of C libraries ask for the rounding mode this way. x87 arithmetic is not modelled.

use crate::cpu::{Cpu, Stopped};
use crate::decode::Form;
use crate::operand::{Destination, Memory, Register};
use crate::record::{Handler, Record};
use iced_x86::Code;

/// The handler for a form of this family.
pub(crate) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    Some(match form.instruction.code() {
        Code::Fnstcw_m2byte => |cpu, record| store::<C, Memory>(cpu, record, cpu.state().x87.control),
        Code::Fnstsw_m2byte => |cpu, record| store::<C, Memory>(cpu, record, cpu.state().x87.status),
        Code::Fnstsw_AX => |cpu, record| store::<C, Register>(cpu, record, cpu.state().x87.status),
        _ => return None,
    })
}

/// Neither waits for pending exceptions.
fn store<C: Cpu, D: Destination>(cpu: &mut C, record: &Record<C>, word: u16) -> Result<(), Stopped> {
    D::store(cpu, record, word)
}
