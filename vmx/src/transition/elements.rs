//! The table of single registers.

use crate::controls::{EntryControls, PrimaryExitControls};
use crate::field::Encoding;
use isa::state::{Slot, State};
use isa::system::debug;

/// When a VM exit saves an element.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Save {
    /// At every exit.
    Always,
    /// When this VM-exit control is 1.
    If(PrimaryExitControls),
}

/// When and with what a transition loads an element.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Load<C> {
    /// With this field, always.
    Field(Encoding),
    /// With this field when this control is 1; else it stays.
    FieldIf(C, Encoding),
    /// With this value.
    Value(u64),
}

/// One register, and what transitions do with it.
#[derive(Clone, Copy, Debug)]
pub struct Element {
    /// A name that never changes.
    pub id: &'static str,
    /// The section that says what VM entry loads.
    pub section: &'static str,
    /// What VM entry loads.
    pub entry: Load<EntryControls>,
    /// Where VM exit saves it, and when.
    pub save: (Encoding, Save),
    /// What VM exit loads.
    pub host: Load<PrimaryExitControls>,
    /// Its value in the processor.
    pub get: fn(&State) -> u64,
    /// Gives it a value.
    pub set: fn(&mut State, u64),
}

const PAT: u32 = 0x277;
const DEBUGCTL: u32 = 0x1d9;

use EntryControls as Entry;
use PrimaryExitControls as Exit;

/// All of them.
pub const ELEMENTS: &[Element] = &[
    Element {
        id: "DR7",
        section: "29.3.2.1",
        entry: Load::FieldIf(Entry::LOAD_DEBUG_CONTROLS, Encoding::GUEST_DR7),
        save: (Encoding::GUEST_DR7, Save::If(Exit::SAVE_DEBUG_CONTROLS)),
        host: Load::Value(debug::DR7_RESET),
        get: |state| state.system.dr7,
        set: |state, value| state.system.dr7 = debug::dr7(value),
    },
    Element {
        id: "IA32_DEBUGCTL",
        section: "29.3.2.1",
        entry: Load::FieldIf(Entry::LOAD_DEBUG_CONTROLS, Encoding::GUEST_DEBUGCTL),
        save: (Encoding::GUEST_DEBUGCTL, Save::If(Exit::SAVE_DEBUG_CONTROLS)),
        host: Load::Value(0),
        get: |state| state.system.msrs.get(DEBUGCTL).unwrap_or(0),
        set: |state, value| state.system.msrs.set(DEBUGCTL, value),
    },
    Element {
        id: "IA32_SYSENTER_CS",
        section: "29.3.2.1",
        entry: Load::Field(Encoding::GUEST_SYSENTER_CS),
        save: (Encoding::GUEST_SYSENTER_CS, Save::Always),
        host: Load::Field(Encoding::HOST_SYSENTER_CS),
        get: |state| state.system.system_call.sysenter_cs,
        set: |state, value| state.system.system_call.sysenter_cs = value,
    },
    Element {
        id: "IA32_SYSENTER_ESP",
        section: "29.3.2.1",
        entry: Load::Field(Encoding::GUEST_SYSENTER_ESP),
        save: (Encoding::GUEST_SYSENTER_ESP, Save::Always),
        host: Load::Field(Encoding::HOST_SYSENTER_ESP),
        get: |state| state.system.system_call.sysenter_esp,
        set: |state, value| state.system.system_call.sysenter_esp = value,
    },
    Element {
        id: "IA32_SYSENTER_EIP",
        section: "29.3.2.1",
        entry: Load::Field(Encoding::GUEST_SYSENTER_EIP),
        save: (Encoding::GUEST_SYSENTER_EIP, Save::Always),
        host: Load::Field(Encoding::HOST_SYSENTER_EIP),
        get: |state| state.system.system_call.sysenter_eip,
        set: |state, value| state.system.system_call.sysenter_eip = value,
    },
    Element {
        id: "IA32_PAT",
        section: "29.3.2.1",
        entry: Load::FieldIf(Entry::LOAD_IA32_PAT, Encoding::GUEST_PAT),
        save: (Encoding::GUEST_PAT, Save::If(Exit::SAVE_IA32_PAT)),
        host: Load::FieldIf(Exit::LOAD_IA32_PAT, Encoding::HOST_PAT),
        get: |state| state.system.msrs.get(PAT).unwrap_or(0),
        set: |state, value| state.system.msrs.set(PAT, value),
    },
    Element {
        id: "RSP",
        section: "29.3.2.3",
        entry: Load::Field(Encoding::GUEST_RSP),
        save: (Encoding::GUEST_RSP, Save::Always),
        host: Load::Field(Encoding::HOST_RSP),
        get: |state| state.slot(Slot::Rsp),
        set: |state, value| state.set_slot(Slot::Rsp, value),
    },
    Element {
        id: "RIP",
        section: "29.3.2.3",
        entry: Load::Field(Encoding::GUEST_RIP),
        save: (Encoding::GUEST_RIP, Save::Always),
        host: Load::Field(Encoding::HOST_RIP),
        get: State::rip,
        set: State::set_rip,
    },
    Element {
        id: "RFLAGS",
        section: "29.3.2.3",
        entry: Load::Field(Encoding::GUEST_RFLAGS),
        save: (Encoding::GUEST_RFLAGS, Save::Always),
        host: Load::Value(2),
        get: |state| state.flags.get(),
        set: |state, value| state.flags.set(value),
    },
];
