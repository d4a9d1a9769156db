//! The register stack, the control and status words, and how exceptions are taken (SDM Vol. 1, 8.1, 8.5 and 8.7).

use crate::cpu::{Cpu, Stop, Stopped};
use crate::event::Vector;
use crate::float::extended::{Control, Extended, INVALID, Outcome};
use crate::record::Record;
use crate::registers::X87;
use crate::state::{Slot, State};

/// SF: the invalid operation is a fault of the register stack.
const STACK_FAULT: u16 = 1 << 6;
/// C1: a result was rounded up, or the stack has overflowed.
pub(super) const C1: u16 = 1 << 9;
/// C0, C2 and C3.
pub(super) const C0: u16 = 1 << 8;
pub(super) const C2: u16 = 1 << 10;
pub(super) const C3: u16 = 1 << 14;
/// The six exception flags.
pub(super) const EXCEPTIONS: u16 = 0x3f;
/// #P.
const PRECISION: u16 = 1 << 5;
/// ES and B: an exception is pending that the control word does not mask.
const SUMMARY: u16 = 0x8080;

/// The status word with ES and B set when an exception is pending that the control word does not mask, and clear
/// otherwise (SDM Vol. 1, 8.1.3).
pub(crate) fn summarised(status: u16, control: u16) -> u16 {
    if status & !control & EXCEPTIONS == 0 { status & !SUMMARY } else { status | SUMMARY }
}

/// What an instruction does once its exceptions are known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// It delivers its result, or the masked response.
    Completes,
    /// An exception that is not masked keeps it from doing so.
    Withholds,
}

/// The register that an operand names.
pub(super) fn number(slot: Slot) -> usize {
    slot as usize & 7
}

/// What every instruction does first that is not one of the control instructions: a pending exception is #MF.
pub(crate) fn wait<C: Cpu>(cpu: &C) -> Result<(), Stopped> {
    if cpu.state().x87.status & SUMMARY == 0 {
        return Ok(());
    }
    Err(Stop::exception(Vector::FloatingPoint).into())
}

impl X87 {
    /// TOP, the physical number of ST(0).
    pub(super) fn top(&self) -> u16 {
        self.status >> 11 & 7
    }

    pub(super) fn set_top(&mut self, top: u16) {
        self.status = self.status & !0x3800 | (top & 7) << 11;
    }

    /// Names the registers by their physical numbers.
    pub(super) fn align(&mut self) {
        let top = usize::from(self.top());
        self.st.rotate_right(top);
        self.set_top(0);
    }

    /// What an instruction on MMX registers makes of the unit: they are `st`, TOP is 0, and none is empty (SDM Vol. 1,
    /// 9.5.1).
    pub(crate) fn as_mmx(&mut self) -> &mut Self {
        self.align();
        self.tag = 0xff;
        self
    }

    fn tag_bit(&self, number: usize) -> u8 {
        1 << ((usize::from(self.top()) + number) & 7)
    }

    /// Whether ST(`number`) is empty.
    pub(super) fn is_empty(&self, number: usize) -> bool {
        self.tag & self.tag_bit(number) == 0
    }

    /// Makes ST(`number`) empty.
    pub(super) fn free(&mut self, number: usize) {
        self.tag &= !self.tag_bit(number);
    }

    /// The content of ST(`number`).
    pub(super) fn get(&self, number: usize) -> Extended {
        Extended::from_bits(self.st[number])
    }

    /// Replaces the content of ST(`number`).
    pub(super) fn set(&mut self, number: usize, value: Extended) {
        self.st[number] = value.to_bits();
        self.tag |= self.tag_bit(number);
    }

    /// Makes the register above ST(0) the new ST(0).
    pub(super) fn push(&mut self, value: Extended) {
        self.rotate(-1);
        self.set(0, value);
    }

    /// Empties ST(0) and makes the next register ST(0).
    pub(super) fn pop(&mut self) {
        self.free(0);
        self.rotate(1);
    }

    /// Moves TOP up by 1 or down by 1; the registers keep their contents.
    pub(super) fn rotate(&mut self, by: i16) {
        self.set_top(self.top().wrapping_add_signed(by));
        if by > 0 { self.st.rotate_left(1) } else { self.st.rotate_right(1) }
    }

    /// What the control word says of a result.
    pub(super) fn rounding(&self) -> Control {
        Control::of(self.control)
    }

    /// Adds exceptions to the status word, sets C1, and says whether the instruction completes.
    pub(super) fn raise(&mut self, exceptions: u16, c1: bool) -> Verdict {
        self.status = self.status & !C1 | exceptions | if c1 { C1 } else { 0 };
        self.status = summarised(self.status, self.control);
        let unmasked = exceptions & !self.control & EXCEPTIONS;
        if unmasked == 0 { Verdict::Completes } else { Verdict::Withholds }
    }

    /// An empty register was to be read.
    pub(super) fn underflow(&mut self) -> Verdict {
        self.raise(INVALID | STACK_FAULT, false)
    }

    /// A register was to be pushed that is not empty.
    pub(super) fn overflow(&mut self) -> Verdict {
        self.raise(INVALID | STACK_FAULT, true)
    }

    /// Takes the exceptions of a result that goes to a register. One that is only found after the computation does not
    /// keep it from being delivered.
    pub(super) fn judge<T>(&mut self, outcome: &Outcome<T>) -> Verdict {
        const BEFORE: u16 = 7; // #I, #D, #Z
        if outcome.exceptions & !self.control & BEFORE != 0 {
            return self.raise(outcome.exceptions & BEFORE, false);
        }
        self.raise(outcome.exceptions, outcome.rounded_up);
        Verdict::Completes
    }

    /// Takes the exceptions of a number that is loaded: a denormal one is loaded although the exception is not masked.
    pub(super) fn judge_load<T>(&mut self, outcome: &Outcome<T>) -> Verdict {
        self.raise(outcome.exceptions, false);
        let withheld = outcome.exceptions & !self.control & INVALID;
        if withheld == 0 { Verdict::Completes } else { Verdict::Withholds }
    }

    /// Takes the exceptions of a result that goes to memory: only an inexact one is stored although it is not masked.
    pub(super) fn judge_store<T>(&mut self, outcome: &Outcome<T>) -> Verdict {
        if outcome.exceptions & !self.control & EXCEPTIONS & !PRECISION != 0 {
            return self.raise(outcome.exceptions & !PRECISION, false);
        }
        self.raise(outcome.exceptions, outcome.rounded_up);
        Verdict::Completes
    }
}

/// Changes the unit, and remembers where the instruction is when it leaves an exception that is not masked.
pub(super) fn execute<C: Cpu, T>(cpu: &mut C, record: &Record<C>, change: impl FnOnce(&mut X87) -> T) -> T {
    let state = cpu.state_mut();
    let result = change(&mut state.x87);
    if state.x87.status & SUMMARY != 0 {
        remember(state, record);
    }
    result
}

fn remember<C: Cpu>(state: &mut State, record: &Record<C>) {
    state.x87.instruction_pointer = state.rip().wrapping_add(record.offset.into());
    if record.modifiers.has_memory_operand() {
        state.x87.data_pointer = record.in_address_size(record.effective_address(state));
    }
}
