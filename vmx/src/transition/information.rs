//! What a VM exit records beside the state, and what VM entry injects (SDM 27.8.3, 30.2).

use crate::exit::Exit;
use crate::field::Encoding;
use crate::vmcs::Vmcs;
use isa::event::{Event, EventKind, EventOrigin};

/// Bit 31 of an event's identification: valid. Bit 11: there is an error code.
const VALID: u64 = 1 << 31;
const HAS_ERROR_CODE: u64 = 1 << 11;

/// The format that injection, exits and original events share: bits 7:0 the vector, 10:8 the type.
const fn identification(event: &Event) -> u64 {
    let code = if event.error_code.is_some() { HAS_ERROR_CODE } else { 0 };
    VALID | code | (event.kind as u64) << 8 | event.vector as u64
}

/// Records why a VM exit happened. `length` and `information` are those of the instruction at RIP, where it is told.
pub fn record_exit(vmcs: &mut Vmcs, exit: &Exit, length: u64, information: u32) {
    vmcs.write(Encoding::EXIT_REASON, exit.reason.number().into());
    vmcs.write(Encoding::EXIT_QUALIFICATION, exit.qualification);
    vmcs.write(Encoding::GUEST_LINEAR_ADDR, exit.guest_linear);
    vmcs.write(Encoding::GUEST_PHYSICAL_ADDR, exit.guest_physical);
    vmcs.write(Encoding::EXIT_INSTRUCTION_LENGTH, length);
    vmcs.write(Encoding::EXIT_INSTRUCTION_INFO, information.into());
    vmcs.write(Encoding::EXITING_EVENT_ID, exit.event.as_ref().map_or(0, identification));
    if let Some(code) = exit.event.and_then(|event| event.error_code) {
        vmcs.write(Encoding::EXITING_EVENT_ERROR, code.into());
    }
    let injected = vmcs.read(Encoding::INJECTED_EVENT_ID);
    vmcs.write(Encoding::INJECTED_EVENT_ID, injected & !VALID);
}

/// Records the event whose delivery the VM exit interrupted, or that there was none (30.2.4).
pub fn record_original_event(vmcs: &mut Vmcs, event: Option<&Event>) {
    vmcs.write(Encoding::ORIGINAL_EVENT_ID, event.map_or(0, identification));
    let Some(event) = event else { return };
    if let Some(code) = event.error_code {
        vmcs.write(Encoding::ORIGINAL_EVENT_ERROR, code.into());
    }
    if event.kind.is_software() {
        vmcs.write(Encoding::EXIT_INSTRUCTION_LENGTH, event.instruction_length.into());
    }
}

/// What VM entry is to inject.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Injected {
    /// An event for its handler.
    Event(Event),
    /// A pending MTF VM exit.
    MonitorTrap,
}

/// What VM entry is to inject, if anything (29.6).
#[must_use]
pub fn injected_event(vmcs: &Vmcs) -> Option<Injected> {
    let identification = vmcs.read(Encoding::INJECTED_EVENT_ID);
    if identification & VALID == 0 {
        return None;
    }
    let [vector, second, ..] = identification.to_le_bytes();
    let Some(kind) = EventKind::of_code(second & 7) else { return Some(Injected::MonitorTrap) };
    let length = vmcs.read32(Encoding::ENTRY_INSTRUCTION_LENGTH).to_le_bytes()[0];
    let has_code = identification & HAS_ERROR_CODE != 0;
    Some(Injected::Event(Event {
        vector,
        kind,
        error_code: has_code.then(|| vmcs.read16(Encoding::INJECTED_EVENT_ERROR)),
        instruction_length: if kind.is_software() { length } else { 0 },
        origin: EventOrigin::VmEntry,
    }))
}
