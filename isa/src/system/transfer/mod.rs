//! Far transfers of control: JMP, CALL, RET and IRET (SDM Vol. 3A, 6.8; Vol. 2).
//!
//! Each ends with [`Stop::Done`]: RIP is at the target, and the code there may have another size or privilege level.

mod call;
mod iret;
mod jump;
mod ret;

pub(crate) use call::call;
pub(crate) use iret::iret;
pub(crate) use jump::jump;
pub(crate) use ret::ret;

use super::code;
use super::descriptor::OperandSize;
use super::load;
use super::selector::Selector;
use crate::cpu::{Cpu, Stop, Stopped};
use crate::segment::SegmentRegister;
use crate::state::State;

/// The destination operand of a far JMP or CALL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FarPointer {
    pub(crate) selector: Selector,
    pub(crate) offset: u64,
}

/// The transfer has completed.
fn done() -> Result<(), Stopped> {
    Err(Stop::Done.into())
}

/// Whether code segments are found without descriptors.
fn has_no_descriptors(state: &State) -> bool {
    state.is_real_address() || state.is_virtual_8086()
}

/// Where a far pointer leads in real-address and virtual-8086 mode.
fn check_without_descriptor<C: Cpu>(
    cpu: &C,
    size: OperandSize,
    to: FarPointer,
) -> Result<crate::segment::Segment, Stopped> {
    let segment = load::without_descriptor(cpu.state(), SegmentRegister::Cs, to.selector);
    code::check_rip(cpu.state(), &segment, size.truncate(to.offset))?;
    Ok(segment)
}
