//! What hardware removes at each operation: what the manual requires and no more.

use super::registers::eptrta;
use super::{Entry, Exit, Invept, Invpcid, Invvpid, MsrLoads, Operation, Paging, Registers};
use crate::mapping::Space;
use crate::tlb::{Globals, Invalidation, Pcids, Structures};
use isa::address::LinearAddress;
use smallvec::{SmallVec, smallvec};

type Invalidations = SmallVec<[Invalidation; 2]>;

/// The invalidations of an operation that brings `before` to `after`.
///
/// Operations on linear addresses act on the current VPID alone, and there on linear and combined mappings of every
/// EPTRTA (SDM 31.4.3.1). Without a VPID of its own a guest shares 0000H with the host, and each transition between
/// them removes all of it. What is not listed removes nothing.
pub(super) fn of(operation: &Operation, before: &Registers, after: &Registers) -> Invalidations {
    let (vpid, pcid) = (before.vpid(), before.pcid());
    let change = Change { before: before.paging, after: after.paging };
    match *operation {
        // SDM 5.10.4.1: control registers.
        Operation::MovToCr0(_) if change.clears_cr0(Paging::PG) => one(all_of(vpid)),
        Operation::MovToCr3(_) if before.paging.cr4 & Paging::PCIDE == 0 => one(pcid_of(vpid, 0)),
        Operation::MovToCr3(source) if source >> 63 == 0 => one(pcid_of(vpid, after.pcid())),
        Operation::MovToCr4(_) if change.changes_cr4(Paging::PGE) => one(all_of(vpid)),
        Operation::MovToCr4(_) if change.clears_cr4(Paging::PCIDE) => one(all_of(vpid)),
        Operation::MovToCr4(_) if change.changes_cr4(Paging::PAE) => one(all_of_pcid(vpid, pcid)),
        Operation::MovToCr4(_) if change.sets_cr4(Paging::SMEP) => one(all_of_pcid(vpid, pcid)),
        Operation::TaskSwitch { .. } if change.changes_cr3() => one(pcid_of(vpid, 0)),

        // SDM 5.10.4.1: single addresses and INVPCID (Vol. 2A).
        Operation::Invlpg(at) => one(page(vpid, Pcids::One(pcid), Globals::Drop, Structures::All, at)),
        Operation::PageFault(at) => {
            one(page(vpid, Pcids::One(pcid), Globals::Drop, Structures::OfAddress, at))
        }
        Operation::Invpcid(Invpcid::Address { pcid, address }) => {
            one(page(vpid, Pcids::One(pcid), Globals::Keep, Structures::All, address))
        }
        Operation::Invpcid(Invpcid::Context { pcid }) => one(pcid_of(vpid, pcid)),
        Operation::Invpcid(Invpcid::AllWithGlobals) => one(all_of(vpid)),
        Operation::Invpcid(Invpcid::AllButGlobals) => one(all_but_globals_of(vpid)),

        // SDM 31.4.3.1, 33.3: INVVPID and INVEPT.
        Operation::Invvpid(Invvpid::Address { vpid, address }) => {
            one(page(vpid, Pcids::All, Globals::Drop, Structures::OfAddress, address))
        }
        Operation::Invvpid(Invvpid::Context { vpid }) => one(all_of(vpid)),
        Operation::Invvpid(Invvpid::All) => one(Invalidation::NonzeroVpids),
        Operation::Invvpid(Invvpid::ContextButGlobals { vpid }) => one(all_but_globals_of(vpid)),
        Operation::Invept(Invept::Context { eptp }) => one(Invalidation::EptRoot { root: eptrta(eptp) }),
        Operation::Invept(Invept::All) => one(Invalidation::EptRoots),

        // SDM 29.3.2.5, 30.5.5: transitions without a VPID.
        Operation::VmEntry(Entry { vpid: None, .. }) => one(all_of(0)),
        Operation::VmExit(_) if !has_vpid(before) => one(all_of(0)),
        // SDM 29.4, 30.6: MSRs whose load needs a flush, which is one of the VPID that is then current.
        Operation::VmEntry(Entry { msr_loads: MsrLoads::Flushing, .. })
        | Operation::VmExit(Exit { msr_loads: MsrLoads::Flushing, .. }) => one(all_of(after.vpid())),

        // SDM 31.4.3.1: EPT violations. SDM 28.5.7.3: EPTP switching without a VPID.
        Operation::EptViolation { guest_physical: address, linear } => match before.space() {
            space @ Space { ept: Some(root), .. } => {
                let combined = linear.map(|address| Invalidation::Combined { space, address });
                [Invalidation::GuestPhysical { root, address }].into_iter().chain(combined).collect()
            }
            _ => none(),
        },
        Operation::EptpSwitch { .. } if !has_vpid(before) => one(all_of(0)),

        // SDM 34.14.1, 34.14.2, 34.15.2.5, 34.15.4.5, 34.15.6.5: SMM.
        Operation::Smi => one(all_of(0)),
        Operation::Rsm(_) => one(Invalidation::Vpids),
        Operation::SmmVmExit(_) => one(all_of(0)),
        Operation::SmmReturn(_) => one(Invalidation::Vpids),
        Operation::SmmActivate(_) if change.activation_flushes() => one(all_of(0)),

        // SDM 31.4.3.1 and table 12-1. INIT clears CR0.PG and CR4.PGE.
        Operation::Reset => one(Invalidation::Everything),
        Operation::Init => one(all_of(0)),

        // SDM 5.10.4.1, 31.4.3.2: nothing.
        Operation::MovToCr0(_)
        | Operation::MovToCr3(_)
        | Operation::MovToCr4(_)
        | Operation::TaskSwitch { .. }
        | Operation::VmEntry(_)
        | Operation::VmExit(_)
        | Operation::EptMisconfiguration(_)
        | Operation::EptpSwitch { .. }
        | Operation::SmmActivate(_)
        | Operation::WrmsrEfer(_)
        | Operation::WrmsrMemoryType
        | Operation::A20
        | Operation::CacheFlush
        | Operation::WriteProtectionKeys
        | Operation::VmxOnOff
        | Operation::VmcsAccess => none(),
    }
}

/// No invalidation.
pub(super) fn none() -> Invalidations {
    smallvec![]
}

fn one(invalidation: Invalidation) -> Invalidations {
    smallvec![invalidation]
}

/// Everything of a VPID.
const fn all_of(vpid: u16) -> Invalidation {
    Invalidation::Vpid { vpid, pcids: Pcids::All, globals: Globals::Drop }
}

/// Everything of a VPID but global translations.
const fn all_but_globals_of(vpid: u16) -> Invalidation {
    Invalidation::Vpid { vpid, pcids: Pcids::All, globals: Globals::Keep }
}

/// Everything of a PCID, and global translations.
const fn all_of_pcid(vpid: u16, pcid: u16) -> Invalidation {
    Invalidation::Vpid { vpid, pcids: Pcids::One(pcid), globals: Globals::Drop }
}

/// Everything of a PCID but global translations.
const fn pcid_of(vpid: u16, pcid: u16) -> Invalidation {
    Invalidation::Vpid { vpid, pcids: Pcids::One(pcid), globals: Globals::Keep }
}

const fn page(
    vpid: u16,
    pcids: Pcids,
    globals: Globals,
    structures: Structures,
    address: LinearAddress,
) -> Invalidation {
    Invalidation::Address { vpid, pcids, globals, structures, address }
}

/// Whether the guest that runs has a VPID of its own.
const fn has_vpid(registers: &Registers) -> bool {
    registers.vpid() != 0
}

/// Control registers before and after.
struct Change {
    before: Paging,
    after: Paging,
}

impl Change {
    const fn changes_cr3(&self) -> bool {
        self.before.cr3 != self.after.cr3
    }

    const fn clears_cr0(&self, bit: u64) -> bool {
        self.before.cr0 & !self.after.cr0 & bit != 0
    }

    const fn changes_cr4(&self, bits: u64) -> bool {
        (self.before.cr4 ^ self.after.cr4) & bits != 0
    }

    const fn clears_cr4(&self, bit: u64) -> bool {
        self.before.cr4 & !self.after.cr4 & bit != 0
    }

    const fn sets_cr4(&self, bit: u64) -> bool {
        !self.before.cr4 & self.after.cr4 & bit != 0
    }

    /// CR3 bits 63:5, CR4.PAE, CR4.PSE or IA32_EFER.LMA.
    const fn activation_flushes(&self) -> bool {
        (self.before.cr3 ^ self.after.cr3) >> 5 != 0
            || self.changes_cr4(Paging::PAE | Paging::PSE)
            || (self.before.efer ^ self.after.efer) & Paging::LMA != 0
    }
}
