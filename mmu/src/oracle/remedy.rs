//! Which operation would have been needed, and operations in words.

use super::change::{Change, What};
use crate::mapping::Space;
use crate::operation::{Invept, Invpcid, Invvpid, Operation};
use crate::translation::Scope;
use isa::address::LinearAddress;
use std::fmt;

/// A translation that is to go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) space: Space,
    pub(super) scope: Scope,
    pub(super) address: LinearAddress,
    /// The current CR3.
    pub(super) cr3: u64,
}

/// Operations of which each removes a translation after a change, the one that removes least first.
///
/// Those that VMX non-root operation does not have are for the monitor, the others for the software that runs under
/// the tag.
pub(super) fn needed(change: Option<&Change>, held: &Held) -> Vec<Operation> {
    let Some(change) = change else { return of_page(held) };
    match change.what {
        What::GuestEntry { .. } if change.had_table() => [of_page(held), of_tag(held)].concat(),
        What::GuestEntry { .. } => of_page(held),
        What::EptEntry { ept, .. } => {
            vec![Operation::Invept(Invept::Context { eptp: ept.root.page().0 })]
        }
        What::Binding { .. } => of_tag(held),
    }
}

fn of_page(held: &Held) -> Vec<Operation> {
    let Held { space: Space { vpid, pcid, .. }, scope, address, .. } = *held;
    let mut operations = vec![Operation::Invlpg(address)];
    if vpid != 0 {
        operations.push(Operation::Invvpid(Invvpid::Address { vpid, address }));
    } else if scope == Scope::Pcid && pcid != 0 {
        operations.push(Operation::Invpcid(Invpcid::Address { pcid, address }));
    }
    operations
}

fn of_tag(held: &Held) -> Vec<Operation> {
    let Held { space: Space { vpid, pcid, .. }, scope, cr3, .. } = *held;
    let mut operations = match (scope, pcid) {
        (Scope::Global, _) => vec![Operation::Invpcid(Invpcid::AllWithGlobals)],
        (Scope::Pcid, 0) => vec![Operation::MovToCr3(cr3)],
        (Scope::Pcid, _) => {
            let reload = Operation::MovToCr3(cr3 | u64::from(pcid));
            vec![reload, Operation::Invpcid(Invpcid::Context { pcid })]
        }
    };
    if vpid != 0 {
        operations.push(Operation::Invvpid(Invvpid::Context { vpid }));
    }
    operations
}

/// An operation in words.
pub(super) struct Words<'a>(pub(super) &'a Operation);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Operation::Invlpg(address) => write!(f, "INVLPG {address}"),
            Operation::Invpcid(invpcid) => write_invpcid(f, invpcid),
            Operation::Invvpid(invvpid) => write_invvpid(f, invvpid),
            Operation::Invept(Invept::Context { eptp }) => write!(f, "INVEPT type 1 of EPTP {eptp:#x}"),
            Operation::Invept(Invept::All) => f.write_str("INVEPT type 2"),
            Operation::MovToCr3(source) if source >> 63 == 0 => {
                write!(f, "MOV to CR3 of {source:#x} with bit 63 = 0")
            }
            Operation::MovToCr3(source) => {
                write!(f, "MOV to CR3 of {:#x} with bit 63 = 1", source & !(1 << 63))
            }
            Operation::TaskSwitch { cr3 } => write!(f, "a task switch to CR3 {cr3:#x}"),
            Operation::PageFault(address) => write!(f, "a page fault at {address}"),
            Operation::EptViolation { guest_physical, .. } => {
                write!(f, "an EPT violation at guest-physical {guest_physical}")
            }
            other => f.write_str(name(other)),
        }
    }
}

fn write_invpcid(f: &mut fmt::Formatter<'_>, invpcid: &Invpcid) -> fmt::Result {
    match invpcid {
        Invpcid::Address { pcid, address } => {
            write!(f, "INVPCID type 0 of PCID {pcid} and address {address}")
        }
        Invpcid::Context { pcid } => write!(f, "INVPCID type 1 of PCID {pcid}"),
        Invpcid::AllWithGlobals => f.write_str("INVPCID type 2"),
        Invpcid::AllButGlobals => f.write_str("INVPCID type 3"),
    }
}

fn write_invvpid(f: &mut fmt::Formatter<'_>, invvpid: &Invvpid) -> fmt::Result {
    match invvpid {
        Invvpid::Address { vpid, address } => {
            write!(f, "INVVPID type 0 of VPID {vpid} and address {address}")
        }
        Invvpid::Context { vpid } => write!(f, "INVVPID type 1 of VPID {vpid}"),
        Invvpid::All => f.write_str("INVVPID type 2"),
        Invvpid::ContextButGlobals { vpid } => write!(f, "INVVPID type 3 of VPID {vpid}"),
    }
}

const fn name(operation: &Operation) -> &'static str {
    match operation {
        Operation::MovToCr0(_) => "MOV to CR0",
        Operation::MovToCr4(_) => "MOV to CR4",
        Operation::VmEntry(_) | Operation::SmmReturn(_) => "VM entry",
        Operation::VmExit(_) | Operation::SmmVmExit(_) | Operation::SmmActivate(_) => "VM exit",
        Operation::EptpSwitch { .. } => "EPTP switching",
        Operation::Smi => "SMI",
        Operation::Rsm(_) => "RSM",
        Operation::Reset => "RESET",
        Operation::Init => "INIT",
        _ => "an operation that invalidates nothing",
    }
}
