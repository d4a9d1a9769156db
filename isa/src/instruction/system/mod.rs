//! Segment registers and far transfers (SDM Vol. 1, 5.1.7, 5.1.10 and 5.2): which handler, and where the operands are.

mod far;
mod segment;

use crate::cpu::Cpu;
use crate::decode::Form;
use crate::record::Handler;

/// The handler for a form of this family.
pub(crate) fn select<C: Cpu>(form: &Form<'_>) -> Option<Handler<C>> {
    far::select(form).or_else(|| segment::select(form))
}
