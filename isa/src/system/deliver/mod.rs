//! How an event reaches its handler (SDM Vol. 3A, chapter 7; Vol. 2A, INT n).

mod long;
mod protected;
mod real;
mod virtual_8086;

use super::descriptor::{Descriptor, OperandSize};

use super::{Activity, Interruptibility};
use crate::cpu::{Cpu, Stop, Stopped};
use crate::event::{Event, EventKind, EventOrigin, Exception, Vector};
use crate::flags::Rflags;
use crate::state::State;

/// Delivers an event: pushes what its handler returns to and goes to the handler.
///
/// RIP is where the handler returns to, except for a software event, which returns behind the instruction at RIP. What
/// comes with the event beside (CR2 of a page fault; DR6 and DR7.GD of a debug exception) is for the caller to set
/// before. RF in the image that is pushed is 1 for a fault; for an interrupt between two iterations of a string
/// instruction it is what the caller has set in RFLAGS. An NMI blocks further ones even if its delivery fails.
///
/// CET and FRED are not modelled.
///
/// # Errors
///
/// An exception when the delivery itself faults, to be [combined](super::combine) with the event: its error code has EXT
/// set as the event asks, and no register has changed; on the stack, words may have been written. A switch of tasks that
/// faults in the new task is the exception that the manual makes: a [`Stop::AfterTaskSwitch`]. The machine may also intercept a
/// [switch of tasks](Cpu::task_switch).
pub fn deliver<C: Cpu>(cpu: &mut C, event: &Event) -> Result<(), Stopped> {
    if event.kind == EventKind::NonMaskableInterrupt {
        cpu.state_mut().system.interruptibility |= Interruptibility::NMI;
    }
    let outcome = route(cpu, event).map_err(|stopped| with_ext(event, stopped));
    if outcome.as_ref().err().is_none_or(|stopped| stopped.has_completed()) {
        let system = &mut cpu.state_mut().system;
        system.interruptibility -= Interruptibility::STI | Interruptibility::MOV_SS;
        system.activity = Activity::Active;
    }
    outcome
}

fn route<C: Cpu>(cpu: &mut C, event: &Event) -> Result<(), Stopped> {
    let state = cpu.state();
    if state.is_real_address() {
        real::deliver(cpu, event)
    } else if state.is_ia32e() {
        long::deliver(cpu, event)
    } else if state.is_virtual_8086() && event.kind == EventKind::SoftwareInterrupt {
        virtual_8086::deliver_software(cpu, event)
    } else {
        protected::deliver(cpu, event)
    }
}

/// EXT is 1 in the error codes of faults during the delivery of what no program asked for (SDM Vol. 3A, 7.13).
fn with_ext(event: &Event, mut stopped: Stopped) -> Stopped {
    if let Stop::Exception(exception) | Stop::AfterTaskSwitch(exception) = &mut *stopped
        && let Exception { vector, error_code: Some(code), .. } = exception
        && names_selector(*vector)
        && !event.kind.is_asked_by_program()
    {
        *code |= 1;
    }
    stopped
}

const fn names_selector(vector: Vector) -> bool {
    matches!(
        vector,
        Vector::InvalidTss | Vector::SegmentNotPresent | Vector::StackFault | Vector::GeneralProtection
    )
}

/// The error code that names a gate of the IDT.
fn idt_code(event: &Event) -> u16 {
    u16::from(event.vector) << 3 | 2
}

#[cold]
fn refuse_gate(event: &Event, vector: Vector) -> Stopped {
    super::fault::with_code(vector, idt_code(event))
}

/// The offset that the handler returns to.
fn return_rip(state: &State, event: &Event) -> u64 {
    state.rip().wrapping_add(event.instruction_length.into())
}

/// RFLAGS as they are pushed (SDM Vol. 3B, 20.3.1.1: RF).
#[must_use]
pub fn pushed_flags(state: &State, event: &Event) -> u64 {
    let fault = event.kind == EventKind::HardwareException
        && event.origin == EventOrigin::Processor
        && !is_trap_or_abort(event.vector);
    let resume = if fault { Rflags::RF.bits() } else { 0 };
    state.flags.get() | resume
}

/// #DB, which may be either and has RF as it was; double fault and machine check are aborts.
const fn is_trap_or_abort(vector: u8) -> bool {
    vector == Vector::Debug as u8
        || vector == Vector::DoubleFault as u8
        || vector == Vector::MachineCheck as u8
}

/// Interrupt gates clear IF, trap gates do not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Gate {
    Interrupt(OperandSize),
    Trap(OperandSize),
}

impl Gate {
    const fn size(self) -> OperandSize {
        match self {
            Self::Interrupt(size) | Self::Trap(size) => size,
        }
    }
}

/// RFLAGS as the handler starts with them: TF, NT, RF and VM are clear, IF behind an interrupt gate.
fn clear_flags(state: &mut State, gate: Gate) {
    let mut cleared = Rflags::TF | Rflags::NT | Rflags::RF | Rflags::VM;
    if matches!(gate, Gate::Interrupt(_)) {
        cleared |= Rflags::IF;
    }
    let flags = state.flags.get() & !cleared.bits();
    state.flags.set(flags);
}

/// What is checked of any gate of the IDT: its privilege for software, and that it is present.
fn check_gate(state: &State, event: &Event, gate: Descriptor) -> Result<(), Stopped> {
    if event.kind.is_asked_by_program() && gate.dpl() < state.system.cpl {
        return Err(refuse_gate(event, Vector::GeneralProtection));
    }
    if gate.is_present() { Ok(()) } else { Err(refuse_gate(event, Vector::SegmentNotPresent)) }
}
