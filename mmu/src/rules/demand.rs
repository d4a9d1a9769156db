//! For each operation, whether a mapping must be gone after it: the tables of SDM 5.10.4.1 and 31.4.3.1 as conditions
//! on the fields of the mapping.

use crate::mapping::Mapping;
use crate::operation::{Entry, Invept, Invpcid, Invvpid, MsrLoads, Operation, Paging, Performed, Registers};
use crate::translation::Scope;
use isa::address::{GuestPhysicalAddress, LinearAddress};

// ---- Mappings ----

/// A linear or combined mapping of a VPID.
fn is_of_vpid(mapping: &Mapping, vpid: u16) -> bool {
    match mapping {
        Mapping::Translation { space, .. } | Mapping::Structure { space, .. } => space.vpid == vpid,
        Mapping::GuestPhysical { .. } | Mapping::EptStructure { .. } => false,
    }
}

fn is_from_linear(mapping: &Mapping) -> bool {
    matches!(mapping, Mapping::Translation { .. } | Mapping::Structure { .. })
}

fn is_structure(mapping: &Mapping) -> bool {
    matches!(mapping, Mapping::Structure { .. })
}

/// Entries of paging-structure caches are never global.
fn is_global(mapping: &Mapping) -> bool {
    matches!(mapping, Mapping::Translation { translation, .. } if translation.scope == Scope::Global)
}

/// Of a PCID and not global.
fn is_of_pcid(mapping: &Mapping, pcid: u16) -> bool {
    match mapping {
        Mapping::Translation { space, .. } | Mapping::Structure { space, .. } => {
            space.pcid == pcid && !is_global(mapping)
        }
        Mapping::GuestPhysical { .. } | Mapping::EptStructure { .. } => false,
    }
}

/// A translation of the page, as software made it, that holds the address.
fn translates_page(mapping: &Mapping, address: LinearAddress) -> bool {
    match mapping {
        Mapping::Translation { translation, .. } => {
            same_region(translation.linear.0, address.0, translation.guest_size.shift())
        }
        _ => false,
    }
}

/// A translation, of a whole page or of a piece, that translates the address itself.
fn translates(mapping: &Mapping, address: LinearAddress) -> bool {
    match mapping {
        Mapping::Translation { translation, .. } => {
            same_region(translation.linear.0, address.0, translation.size.shift())
        }
        _ => false,
    }
}

/// An entry of a paging-structure cache that a walk for the address would use.
fn serves(mapping: &Mapping, address: LinearAddress) -> bool {
    match *mapping {
        Mapping::Structure { level, linear, .. } => same_region(linear.0, address.0, entry_shift(level)),
        _ => false,
    }
}

/// A guest-physical mapping that the address would use.
fn serves_guest_physical(mapping: &Mapping, address: GuestPhysicalAddress) -> bool {
    match *mapping {
        Mapping::GuestPhysical { guest_physical, size, .. } => {
            same_region(guest_physical.0, address.0, size.shift())
        }
        Mapping::EptStructure { level, guest_physical, .. } => {
            same_region(guest_physical.0, address.0, entry_shift(level))
        }
        _ => false,
    }
}

const fn same_region(one: u64, other: u64, shift: u32) -> bool {
    one >> shift == other >> shift
}

/// The number of address bits below those that select an entry of this level and of the levels above.
fn entry_shift(level: u8) -> u32 {
    3 + 9 * u32::from(level)
}

// ---- Registers ----

/// A linear or combined mapping of the VPID that was current at the operation.
fn is_current(performed: &Performed, mapping: &Mapping) -> bool {
    happened(performed) && is_of_vpid(mapping, performed.before.vpid())
}

fn happened(performed: &Performed) -> bool {
    performed.refusal.is_none()
}

const fn cr4_changed(performed: &Performed, bit: u64) -> bool {
    (performed.before.paging.cr4 ^ performed.after.paging.cr4) & bit != 0
}

const fn has_pcids(registers: &Registers) -> bool {
    registers.paging.cr4 & Paging::PCIDE != 0
}

// ---- SDM 5.10.4.1 ----

pub(super) fn invlpg(performed: &Performed, mapping: &Mapping) -> bool {
    let Operation::Invlpg(address) = performed.operation else { return false };
    let of_pcid = is_of_pcid(mapping, performed.before.pcid());
    let page = translates(mapping, address) && (of_pcid || is_global(mapping));
    is_current(performed, mapping) && (page || (is_structure(mapping) && of_pcid))
}

pub(super) fn invlpg_large(performed: &Performed, mapping: &Mapping) -> bool {
    let Operation::Invlpg(address) = performed.operation else { return false };
    let kept = !is_of_pcid(mapping, performed.before.pcid()) && !is_global(mapping);
    is_current(performed, mapping) && translates_page(mapping, address) && !kept
}

pub(super) fn invpcid_address(performed: &Performed, mapping: &Mapping) -> bool {
    let Operation::Invpcid(Invpcid::Address { pcid, address }) = performed.operation else { return false };
    let covered = translates_page(mapping, address) || is_structure(mapping);
    is_current(performed, mapping) && is_of_pcid(mapping, pcid) && covered
}

pub(super) fn invpcid_context(performed: &Performed, mapping: &Mapping) -> bool {
    let Operation::Invpcid(Invpcid::Context { pcid }) = performed.operation else { return false };
    is_current(performed, mapping) && is_of_pcid(mapping, pcid)
}

pub(super) fn invpcid_all(performed: &Performed, mapping: &Mapping) -> bool {
    performed.operation == Operation::Invpcid(Invpcid::AllWithGlobals) && is_current(performed, mapping)
}

pub(super) fn invpcid_all_but_globals(performed: &Performed, mapping: &Mapping) -> bool {
    let all = performed.operation == Operation::Invpcid(Invpcid::AllButGlobals);
    all && is_current(performed, mapping) && !is_global(mapping)
}

pub(super) fn cr0_pg(performed: &Performed, mapping: &Mapping) -> bool {
    let Operation::MovToCr0(cr0) = performed.operation else { return false };
    let was_paging = performed.before.paging.cr0 & Paging::PG != 0;
    was_paging && cr0 & Paging::PG == 0 && is_current(performed, mapping)
}

pub(super) fn cr3_without_pcids(performed: &Performed, mapping: &Mapping) -> bool {
    let moved = matches!(performed.operation, Operation::MovToCr3(_));
    moved && !has_pcids(&performed.before) && is_current(performed, mapping) && is_of_pcid(mapping, 0)
}

pub(super) fn cr3_flushing(performed: &Performed, mapping: &Mapping) -> bool {
    let Operation::MovToCr3(source) = performed.operation else { return false };
    let flushing = has_pcids(&performed.before) && source & 1 << 63 == 0;
    flushing && is_current(performed, mapping) && is_of_pcid(mapping, (source & 0xfff) as u16)
}

pub(super) fn cr4_pge(performed: &Performed, mapping: &Mapping) -> bool {
    let moved = matches!(performed.operation, Operation::MovToCr4(_));
    moved && cr4_changed(performed, Paging::PGE) && is_current(performed, mapping)
}

pub(super) fn cr4_pcide(performed: &Performed, mapping: &Mapping) -> bool {
    let moved = matches!(performed.operation, Operation::MovToCr4(_));
    moved && has_pcids(&performed.before) && !has_pcids(&performed.after) && is_current(performed, mapping)
}

pub(super) fn cr4_pae_smep(performed: &Performed, mapping: &Mapping) -> bool {
    let Operation::MovToCr4(cr4) = performed.operation else { return false };
    let smep = cr4 & Paging::SMEP != 0 && cr4_changed(performed, Paging::SMEP);
    let mine = is_of_pcid(mapping, performed.before.pcid()) || is_global(mapping);
    (smep || cr4_changed(performed, Paging::PAE)) && is_current(performed, mapping) && mine
}

pub(super) fn task_switch(performed: &Performed, mapping: &Mapping) -> bool {
    let Operation::TaskSwitch { cr3 } = performed.operation else { return false };
    cr3 != performed.before.paging.cr3 && is_current(performed, mapping) && is_of_pcid(mapping, 0)
}

pub(super) fn page_fault(performed: &Performed, mapping: &Mapping) -> bool {
    let Operation::PageFault(address) = performed.operation else { return false };
    let of_pcid = is_of_pcid(mapping, performed.before.pcid());
    let page = translates_page(mapping, address) && (of_pcid || is_global(mapping));
    is_current(performed, mapping) && (page || (serves(mapping, address) && of_pcid))
}

pub(super) fn reset(performed: &Performed, _: &Mapping) -> bool {
    performed.operation == Operation::Reset && happened(performed)
}

pub(super) fn init(performed: &Performed, mapping: &Mapping) -> bool {
    performed.operation == Operation::Init && is_current(performed, mapping)
}

// ---- SDM 29.3.2.5, 29.4, 30.5.5, 30.6 ----

pub(super) fn msr_load(performed: &Performed, mapping: &Mapping) -> bool {
    let loads = match performed.operation {
        Operation::VmEntry(entry) | Operation::SmmReturn(entry) => entry.msr_loads,
        Operation::VmExit(exit) => exit.msr_loads,
        _ => MsrLoads::Harmless,
    };
    loads == MsrLoads::Flushing && happened(performed) && is_of_vpid(mapping, performed.after.vpid())
}

pub(super) fn entry_without_vpid(performed: &Performed, mapping: &Mapping) -> bool {
    let Operation::VmEntry(Entry { vpid: None, .. }) = performed.operation else { return false };
    happened(performed) && is_of_vpid(mapping, 0)
}

pub(super) fn exit_without_vpid(performed: &Performed, mapping: &Mapping) -> bool {
    let exit = matches!(performed.operation, Operation::VmExit(_));
    exit && performed.before.vpid() == 0 && happened(performed) && is_of_vpid(mapping, 0)
}

// ---- SDM 31.4.3.1: INVVPID and INVEPT ----

pub(super) fn invvpid_address(performed: &Performed, mapping: &Mapping) -> bool {
    let Operation::Invvpid(Invvpid::Address { vpid, address }) = performed.operation else { return false };
    let covered = translates_page(mapping, address) || serves(mapping, address);
    happened(performed) && is_of_vpid(mapping, vpid) && covered
}

pub(super) fn invvpid_context(performed: &Performed, mapping: &Mapping) -> bool {
    let Operation::Invvpid(Invvpid::Context { vpid }) = performed.operation else { return false };
    happened(performed) && is_of_vpid(mapping, vpid)
}

pub(super) fn invvpid_all(performed: &Performed, mapping: &Mapping) -> bool {
    let all = performed.operation == Operation::Invvpid(Invvpid::All);
    all && happened(performed) && is_from_linear(mapping) && !is_of_vpid(mapping, 0)
}

pub(super) fn invvpid_but_globals(performed: &Performed, mapping: &Mapping) -> bool {
    let Operation::Invvpid(Invvpid::ContextButGlobals { vpid }) = performed.operation else { return false };
    happened(performed) && is_of_vpid(mapping, vpid) && !is_global(mapping)
}

pub(super) fn invvpid_structures(performed: &Performed, mapping: &Mapping) -> bool {
    let Operation::Invvpid(invvpid) = performed.operation else { return false };
    let covered = match invvpid {
        Invvpid::Address { vpid, address } => is_of_vpid(mapping, vpid) && serves(mapping, address),
        Invvpid::Context { vpid } | Invvpid::ContextButGlobals { vpid } => is_of_vpid(mapping, vpid),
        Invvpid::All => !is_of_vpid(mapping, 0),
    };
    happened(performed) && is_structure(mapping) && covered
}

pub(super) fn invept_context(performed: &Performed, mapping: &Mapping) -> bool {
    let Operation::Invept(Invept::Context { eptp }) = performed.operation else { return false };
    happened(performed) && has_eptrta_of(mapping, eptp)
}

pub(super) fn invept_all(performed: &Performed, mapping: &Mapping) -> bool {
    let all = performed.operation == Operation::Invept(Invept::All);
    all && happened(performed) && mapping.ept().is_some()
}

/// Whether a mapping was made through the EPT that an EPTP names: bits 51:12 of it.
fn has_eptrta_of(mapping: &Mapping, eptp: u64) -> bool {
    mapping.ept().is_some_and(|ept| ept.0 >> 12 == eptp >> 12 & 0xff_ffff_ffff)
}

// ---- SDM 31.4.3.1, 28.5.7.3: EPT violations and EPTP switching ----

pub(super) fn violation_guest_physical(performed: &Performed, mapping: &Mapping) -> bool {
    let Operation::EptViolation { guest_physical, .. } = performed.operation else { return false };
    let current = performed.before.eptp().is_some_and(|eptp| has_eptrta_of(mapping, eptp));
    happened(performed) && current && serves_guest_physical(mapping, guest_physical)
}

pub(super) fn violation_combined(performed: &Performed, mapping: &Mapping) -> bool {
    let Operation::EptViolation { linear: Some(address), .. } = performed.operation else { return false };
    let current = performed.before.eptp().is_some_and(|eptp| has_eptrta_of(mapping, eptp));
    let mine = is_of_pcid(mapping, performed.before.pcid()) || is_global(mapping);
    let covered = translates_page(mapping, address) || serves(mapping, address);
    is_current(performed, mapping) && current && mine && covered
}

pub(super) fn eptp_switch_without_vpid(performed: &Performed, mapping: &Mapping) -> bool {
    let switched = matches!(performed.operation, Operation::EptpSwitch { .. });
    let combined = is_of_vpid(mapping, 0) && mapping.ept().is_some();
    switched && performed.before.vpid() == 0 && happened(performed) && combined
}

// ---- SDM 34.14, 34.15: SMM ----

pub(super) fn smi(performed: &Performed, mapping: &Mapping) -> bool {
    performed.operation == Operation::Smi && happened(performed) && is_of_vpid(mapping, 0)
}

pub(super) fn rsm(performed: &Performed, mapping: &Mapping) -> bool {
    matches!(performed.operation, Operation::Rsm(_)) && happened(performed) && is_from_linear(mapping)
}

pub(super) fn smm_exit(performed: &Performed, mapping: &Mapping) -> bool {
    matches!(performed.operation, Operation::SmmVmExit(_)) && happened(performed) && is_of_vpid(mapping, 0)
}

pub(super) fn smm_return(performed: &Performed, mapping: &Mapping) -> bool {
    matches!(performed.operation, Operation::SmmReturn(_)) && happened(performed) && is_from_linear(mapping)
}

pub(super) fn smm_activate(performed: &Performed, mapping: &Mapping) -> bool {
    let activated = matches!(performed.operation, Operation::SmmActivate(_));
    let (before, after) = (&performed.before.paging, &performed.after.paging);
    let changed = before.cr3 & !0x1f != after.cr3 & !0x1f
        || cr4_changed(performed, Paging::PAE | Paging::PSE)
        || before.efer & Paging::LMA != after.efer & Paging::LMA;
    activated && changed && happened(performed) && is_of_vpid(mapping, 0)
}
