//! Checks of guest RIP, RFLAGS and SSP, of state that is not in registers, and of the PDPTEs (SDM 29.3.1.4 to 29.3.1.6).

use super::{Entry, predicates};
use crate::controls::{
    EntryControls as Entered, PinBasedControls as Pin, SecondaryProcessorControls as Secondary,
};
use crate::entry_rules::Subject;
use crate::entry_rules::question::event_type::{EXTERNAL_INTERRUPT, HARDWARE_EXCEPTION, NMI, OTHER};
use crate::entry_rules::question::rights;
use crate::field::Encoding as E;
use isa::control::Cr0;

/// Bits of interruptibility state (table 27-3).
const STI: u64 = 1;
const MOV_SS: u64 = 1 << 1;
const SMI: u64 = 1 << 2;
const NMI_BLOCKING: u64 = 1 << 3;
const ENCLAVE: u64 = 1 << 4;

/// Activity states (27.4.2).
const HLT: u64 = 1;
const SHUTDOWN: u64 = 2;
const WAIT_FOR_SIPI: u64 = 3;

/// Bits of RFLAGS.
const TF: u64 = 1 << 8;
const IF: u64 = 1 << 9;
const VM: u64 = 1 << 17;

/// Bits of pending debug exceptions (table 27-4).
const BLD: u64 = 1 << 11;
const BS: u64 = 1 << 14;
const RTM: u64 = 1 << 16;
const PENDING_DEBUG_RESERVED: u64 = 0xffff_ffff_fffe_a7f0;
const PENDING_DEBUG_RTM_RESERVED: u64 = 0xffff_ffff_fffe_efff;

const fn activity(s: &Subject) -> u64 {
    s.field(E::GUEST_ACTIVITY)
}

/// Whether the processor has the activity state (A.6).
const fn has_activity(s: &Subject) -> bool {
    match activity(s) {
        0 => true,
        HLT => s.capabilities.misc().activity_hlt(),
        SHUTDOWN => s.capabilities.misc().activity_shutdown(),
        WAIT_FOR_SIPI => s.capabilities.misc().activity_wait_for_sipi(),
        _ => false,
    }
}

/// Events that may be injected into a halted processor.
const fn wakes_from_hlt(s: &Subject) -> bool {
    match s.event_type() {
        EXTERNAL_INTERRUPT | NMI => true,
        HARDWARE_EXCEPTION => matches!(s.vector(), 1 | 18),
        OTHER => s.vector() == 0,
        _ => false,
    }
}

/// Events that may be injected into a processor that is shut down: NMI and #MC.
const fn wakes_from_shutdown(s: &Subject) -> bool {
    match s.event_type() {
        NMI => true,
        HARDWARE_EXCEPTION => s.vector() == 18,
        _ => false,
    }
}

/// A single-step trap could be pending but for a boundary that has not been passed.
const fn holds_back_traps(s: &Subject) -> bool {
    s.is_set(E::GUEST_INTERRUPTIBILITY, STI | MOV_SS) || activity(s) == HLT
}

/// RFLAGS.TF = 1 means a trap after each instruction, not after each branch.
const fn single_steps(s: &Subject) -> bool {
    s.is_set(E::GUEST_RFLAGS, TF) && s.is_clear(E::GUEST_DEBUGCTL, 2)
}

const fn is_64_bit(s: &Subject) -> bool {
    s.ia_32e_guest() && s.is_set(E::GUEST_CS_AR, rights::L)
}

/// An entry from outside SMM, or one to SMM, keeps the current VMCS as the parent (29.3.1.5).
fn link_is_not_current(s: &Subject) -> bool {
    let pointer = isa::address::HostPhysicalAddress(s.field(E::VMCS_LINK_PTR));
    s.processor.current_vmcs != Some(pointer)
}

pub(super) const RULES: &[Entry] = predicates! { s;
    "GUEST.RIP.RIP_HI32", !is_64_bit(s) => s.is_clear(E::GUEST_RIP, super::host::HIGH);
    "GUEST.RIP.RIP_NBITS", is_64_bit(s) => s.upper_bits_equal(E::GUEST_RIP);
    "GUEST.RIP.RFLAGS_RSVD", true => s.is_clear(E::GUEST_RFLAGS, 0xffff_ffff_ffc0_8028);
    "GUEST.RIP.RFLAGS_BIT1", true => s.is_set(E::GUEST_RFLAGS, 2);
    "GUEST.RIP.RFLAGS_VM_64", s.ia_32e_guest() => s.is_clear(E::GUEST_RFLAGS, VM);
    "GUEST.RIP.RFLAGS_VM_REAL", !s.guest_cr0(Cr0::PE) => s.is_clear(E::GUEST_RFLAGS, VM);
    "GUEST.RIP.RFLAGS_IF_EXTINT", s.injects(EXTERNAL_INTERRUPT) => s.is_set(E::GUEST_RFLAGS, IF);
    "GUEST.RIP.SSP_ALIGN", s.entry(Entered::LOAD_CET_STATE) => s.is_clear(E::GUEST_SSP, 3);
    "GUEST.RIP.SSP_NBITS", s.entry(Entered::LOAD_CET_STATE) => s.upper_bits_equal(E::GUEST_SSP);
    "GUEST.NONREG.ACT_RANGE", true => has_activity(s);
    "GUEST.NONREG.ACT_HLT_DPL", activity(s) == HLT => s.dpl(E::GUEST_SS_AR) == 0;
    "GUEST.NONREG.ACT_BLOCKING", s.is_set(E::GUEST_INTERRUPTIBILITY, STI | MOV_SS) => activity(s) == 0;
    "GUEST.NONREG.ACT_INJ_HLT", s.injects_any() && activity(s) == HLT => wakes_from_hlt(s);
    "GUEST.NONREG.ACT_INJ_SHUTDOWN", s.injects_any() && activity(s) == SHUTDOWN => wakes_from_shutdown(s);
    "GUEST.NONREG.ACT_INJ_WFS", activity(s) == WAIT_FOR_SIPI => !s.injects_any();
    "GUEST.NONREG.ACT_SMM_WFS", s.entry(Entered::ENTRY_TO_SMM) => activity(s) != WAIT_FOR_SIPI;
    "GUEST.NONREG.INT_RSVD", true => s.is_clear(E::GUEST_INTERRUPTIBILITY, 0xffff_ffe0);
    "GUEST.NONREG.INT_STI_MOVSS", true => s.bits(E::GUEST_INTERRUPTIBILITY, 1, 0) != 3;
    "GUEST.NONREG.INT_STI_IF", s.is_clear(E::GUEST_RFLAGS, IF) => s.is_clear(E::GUEST_INTERRUPTIBILITY, STI);
    "GUEST.NONREG.INT_INJ_EXT_STI", s.injects(EXTERNAL_INTERRUPT) => s.is_clear(E::GUEST_INTERRUPTIBILITY, STI);
    "GUEST.NONREG.INT_INJ_EXT_MOVSS", s.injects(EXTERNAL_INTERRUPT)
        => s.is_clear(E::GUEST_INTERRUPTIBILITY, MOV_SS);
    "GUEST.NONREG.INT_INJ_NMI_STI", s.injects(NMI) => s.is_clear(E::GUEST_INTERRUPTIBILITY, STI);
    "GUEST.NONREG.INT_INJ_NMI_MOVSS", s.injects(NMI) => s.is_clear(E::GUEST_INTERRUPTIBILITY, MOV_SS);
    "GUEST.NONREG.INT_SMI_OUTSIDE", !s.in_smm() => s.is_clear(E::GUEST_INTERRUPTIBILITY, SMI);
    "GUEST.NONREG.INT_SMI_ENTRY", s.entry(Entered::ENTRY_TO_SMM) => s.is_set(E::GUEST_INTERRUPTIBILITY, SMI);
    "GUEST.NONREG.INT_VNMI", s.pin(Pin::VIRTUAL_NMIS) && s.injects(NMI)
        => s.is_clear(E::GUEST_INTERRUPTIBILITY, NMI_BLOCKING);
    "GUEST.NONREG.INT_ENCLAVE_MOVSS", s.is_set(E::GUEST_INTERRUPTIBILITY, ENCLAVE)
        => s.is_clear(E::GUEST_INTERRUPTIBILITY, MOV_SS);
    "GUEST.NONREG.INT_ENCLAVE_SGX", s.is_set(E::GUEST_INTERRUPTIBILITY, ENCLAVE)
        => s.processor.limits.interruptibility & ENCLAVE != 0;
    "GUEST.NONREG.PDBG_RSVD", true
        => s.is_clear(E::GUEST_PENDING_DEBUG, PENDING_DEBUG_RESERVED | BLD & !s.processor.limits.pending_debug);
    "GUEST.NONREG.PDBG_BS_1", holds_back_traps(s) && single_steps(s) => s.is_set(E::GUEST_PENDING_DEBUG, BS);
    "GUEST.NONREG.PDBG_BS_0", holds_back_traps(s) && !single_steps(s) => s.is_clear(E::GUEST_PENDING_DEBUG, BS);
    "GUEST.NONREG.PDBG_RTM_BITS", s.is_set(E::GUEST_PENDING_DEBUG, RTM)
        => s.field(E::GUEST_PENDING_DEBUG) & (PENDING_DEBUG_RTM_RESERVED | 1 << 12) == 1 << 12;
    "GUEST.NONREG.PDBG_RTM_CPU", s.is_set(E::GUEST_PENDING_DEBUG, RTM)
        => s.processor.limits.pending_debug & RTM != 0;
    "GUEST.NONREG.PDBG_RTM_MOVSS", s.is_set(E::GUEST_PENDING_DEBUG, RTM)
        => s.is_clear(E::GUEST_INTERRUPTIBILITY, MOV_SS);
    "GUEST.LINK.ALIGN", s.has_link() => s.is_clear(E::VMCS_LINK_PTR, 0xfff);
    "GUEST.LINK.WIDTH", s.has_link() => s.in_width(E::VMCS_LINK_PTR);
    "GUEST.LINK.REVISION", s.has_usable_link()
        => s.linked_header() & 0x7fff_ffff == s.capabilities.basic().revision_identifier();
    "GUEST.LINK.SHADOW_BIT", s.has_usable_link()
        => (s.linked_header() >> 31 == 1) == s.secondary(Secondary::VMCS_SHADOWING);
    "GUEST.LINK.NOT_CURRENT", s.has_link() && (!s.in_smm() || s.entry(Entered::ENTRY_TO_SMM))
        => link_is_not_current(s);
    "GUEST.LINK.NOT_EXECUTIVE", s.has_link() && s.in_smm() && !s.entry(Entered::ENTRY_TO_SMM)
        => s.field(E::VMCS_LINK_PTR) != s.field(E::EXECUTIVE_VMCS_PTR);
    "GUEST.PDPTE.MEM", s.pae_guest() && !s.ept()
        => (0..4).all(|number| s.pdpte_accepted(s.pdpte_in_memory(number)));
    "GUEST.PDPTE.FIELD0", s.pae_guest() && s.ept() => s.pdpte_accepted(s.field(E::GUEST_PDPTE0));
    "GUEST.PDPTE.FIELD1", s.pae_guest() && s.ept() => s.pdpte_accepted(s.field(E::GUEST_PDPTE1));
    "GUEST.PDPTE.FIELD2", s.pae_guest() && s.ept() => s.pdpte_accepted(s.field(E::GUEST_PDPTE2));
    "GUEST.PDPTE.FIELD3", s.pae_guest() && s.ept() => s.pdpte_accepted(s.field(E::GUEST_PDPTE3));
};
