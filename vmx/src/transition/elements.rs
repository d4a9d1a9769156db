//! The table of single registers.

use crate::controls::{EntryControls, PrimaryExitControls};
use crate::field::Encoding;
use crate::vmcs::Vmcs;
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

impl<C: bitflags::Flags> Load<C> {
    /// What is loaded under these controls, if anything is.
    pub(super) fn value(&self, vmcs: &Vmcs, controls: C) -> Option<u64> {
        match self {
            Self::Field(field) => Some(vmcs.read(*field)),
            Self::FieldIf(control, field) => {
                controls.contains(C::from_bits_retain(control.bits())).then(|| vmcs.read(*field))
            }
            Self::Value(value) => Some(*value),
        }
    }
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

/// A register that every transition saves and loads.
const fn exchanged(
    (id, section): (&'static str, &'static str),
    guest: Encoding,
    host: Encoding,
    get: fn(&State) -> u64,
    set: fn(&mut State, u64),
) -> Element {
    let (entry, save, host) = (Load::Field(guest), (guest, Save::Always), Load::Field(host));
    Element { id, section, entry, save, host, get, set }
}

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
    exchanged(
        ("IA32_SYSENTER_CS", "29.3.2.1"),
        Encoding::GUEST_SYSENTER_CS,
        Encoding::HOST_SYSENTER_CS,
        |state| state.system.system_call.sysenter_cs,
        |state, value| state.system.system_call.sysenter_cs = value,
    ),
    exchanged(
        ("IA32_SYSENTER_ESP", "29.3.2.1"),
        Encoding::GUEST_SYSENTER_ESP,
        Encoding::HOST_SYSENTER_ESP,
        |state| state.system.system_call.sysenter_esp,
        |state, value| state.system.system_call.sysenter_esp = value,
    ),
    exchanged(
        ("IA32_SYSENTER_EIP", "29.3.2.1"),
        Encoding::GUEST_SYSENTER_EIP,
        Encoding::HOST_SYSENTER_EIP,
        |state| state.system.system_call.sysenter_eip,
        |state, value| state.system.system_call.sysenter_eip = value,
    ),
    Element {
        id: "IA32_PAT",
        section: "29.3.2.1",
        entry: Load::FieldIf(Entry::LOAD_IA32_PAT, Encoding::GUEST_PAT),
        save: (Encoding::GUEST_PAT, Save::If(Exit::SAVE_IA32_PAT)),
        host: Load::FieldIf(Exit::LOAD_IA32_PAT, Encoding::HOST_PAT),
        get: |state| state.system.msrs.get(PAT).unwrap_or(0),
        set: |state, value| state.system.msrs.set(PAT, value),
    },
    exchanged(
        ("RSP", "29.3.2.3"),
        Encoding::GUEST_RSP,
        Encoding::HOST_RSP,
        |state| state.slot(Slot::Rsp),
        |state, value| state.set_slot(Slot::Rsp, value),
    ),
    exchanged(("RIP", "29.3.2.3"), Encoding::GUEST_RIP, Encoding::HOST_RIP, State::rip, State::set_rip),
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
