//! Checks of guest control registers, debug registers and MSRs (SDM 29.3.1.1).

use super::host::{FRED_CONFIG_RESERVED, HIGH, S_CET_RESERVED, not_both, pat};
use super::{Entry, predicates};
use crate::controls::EntryControls as Entered;
use crate::entry_rules::Subject;
use crate::field::Encoding as E;
use isa::control::{Cr0, Cr4, Efer};

/// Bits of IA32_BNDCFGS that are reserved.
const BNDCFGS_RESERVED: u64 = 0xffc;

/// The bits of guest CR0 that must be 1; an unrestricted guest may have PE and PG at 0.
const fn cr0_ones(s: &Subject) -> u64 {
    let waived = if s.unrestricted() { Cr0::PE.union(Cr0::PG) } else { Cr0::empty() };
    s.capabilities.cr0().must_be_1 & !waived.bits() & !NEVER_CHECKED.bits()
}

/// Bits of guest CR0 that VM entry does not load.
const NEVER_CHECKED: Cr0 = Cr0::NW.union(Cr0::CD);

const fn guest_efer(s: &Subject, bit: Efer) -> bool {
    s.is_set(E::GUEST_EFER, bit.bits())
}

/// Whether bits 63:12 of guest IA32_BNDCFGS are a canonical address.
const fn bndcfgs_canonical(s: &Subject) -> bool {
    let base = s.field(E::GUEST_BNDCFGS) & !0xfff;
    isa::system::is_canonical(base, s.processor.limits.linear_address_width)
}

pub(super) const RULES: &[Entry] = predicates! { s;
    "GUEST.CR.CR0_FIXED0", true => cr0_ones(s) & !s.field(E::GUEST_CR0) == 0;
    "GUEST.CR.CR0_FIXED1", true
        => s.is_clear(E::GUEST_CR0, !s.capabilities.cr0().may_be_1 & !NEVER_CHECKED.bits());
    "GUEST.CR.CR0_PG_PE", s.guest_cr0(Cr0::PG) => s.guest_cr0(Cr0::PE);
    "GUEST.CR.CR4_FIXED0", true => s.capabilities.cr4().must_be_1 & !s.field(E::GUEST_CR4) == 0;
    "GUEST.CR.CR4_FIXED1", true => s.is_clear(E::GUEST_CR4, !s.capabilities.cr4().may_be_1);
    "GUEST.CR.CET_WP", s.guest_cr4(Cr4::CET) => s.guest_cr0(Cr0::WP);
    "GUEST.MSR.DEBUGCTL", s.entry(Entered::LOAD_DEBUG_CONTROLS)
        => s.is_clear(E::GUEST_DEBUGCTL, !s.processor.limits.debugctl);
    "GUEST.CR.IA32E_PG", s.ia_32e_guest() => s.guest_cr0(Cr0::PG);
    "GUEST.CR.IA32E_PAE", s.ia_32e_guest() => s.guest_cr4(Cr4::PAE);
    "GUEST.CR.N32_PCIDE", !s.ia_32e_guest() => !s.guest_cr4(Cr4::PCIDE);
    "GUEST.CR.N32_FRED", !s.ia_32e_guest() => !s.guest_fred();
    "GUEST.CR.CR3_WIDTH", s.intel_64() => s.is_clear(E::GUEST_CR3, s.cr3_reserved());
    "GUEST.DR.DR7_HI", s.entry(Entered::LOAD_DEBUG_CONTROLS) => s.is_clear(E::GUEST_DR7, HIGH);
    "GUEST.MSR.SYSENTER_ESP", s.intel_64() => s.canonical(E::GUEST_SYSENTER_ESP);
    "GUEST.MSR.SYSENTER_EIP", s.intel_64() => s.canonical(E::GUEST_SYSENTER_EIP);
    "GUEST.CET.S_CET_CANON", s.entry(Entered::LOAD_CET_STATE) => s.canonical(E::GUEST_S_CET);
    "GUEST.CET.ISST_CANON", s.entry(Entered::LOAD_CET_STATE) => s.canonical(E::GUEST_INTERRUPT_SSP_TABLE);
    "GUEST.CET.S_CET_RSVD", s.entry(Entered::LOAD_CET_STATE) => s.is_clear(E::GUEST_S_CET, S_CET_RESERVED);
    "GUEST.CET.SUPPRESS_TRACKER", s.entry(Entered::LOAD_CET_STATE) => not_both(s, E::GUEST_S_CET);
    "GUEST.MSR.PERF_GLOBAL", s.entry(Entered::LOAD_IA32_PERF_GLOBAL_CTRL)
        => s.is_clear(E::GUEST_PERF_GLOBAL_CTRL, !s.processor.limits.perf_global_ctrl);
    "GUEST.MSR.PAT", s.entry(Entered::LOAD_IA32_PAT) => pat(s.field(E::GUEST_PAT));
    "GUEST.MSR.EFER_RSVD", s.entry(Entered::LOAD_IA32_EFER) => s.is_clear(E::GUEST_EFER, !s.processor.limits.efer);
    "GUEST.MSR.EFER_LMA", s.entry(Entered::LOAD_IA32_EFER) => guest_efer(s, Efer::LMA) == s.ia_32e_guest();
    "GUEST.MSR.EFER_LME", s.entry(Entered::LOAD_IA32_EFER) && s.guest_cr0(Cr0::PG)
        => guest_efer(s, Efer::LME) == guest_efer(s, Efer::LMA);
    "GUEST.MSR.BNDCFGS_RSVD", s.entry(Entered::LOAD_IA32_BNDCFGS) => s.is_clear(E::GUEST_BNDCFGS, BNDCFGS_RESERVED);
    "GUEST.MSR.BNDCFGS_CANON", s.entry(Entered::LOAD_IA32_BNDCFGS) => bndcfgs_canonical(s);
    "GUEST.MSR.PKRS", s.entry(Entered::LOAD_PKRS) => s.is_clear(E::GUEST_PKRS, HIGH);
    "GUEST.MSR.UINV", s.entry(Entered::LOAD_UINV) => s.is_clear(E::GUEST_UINV, 0xff00);
    "GUEST.MSR.SPEC_CTRL", s.entry(Entered::LOAD_IA32_SPEC_CTRL)
        => s.is_clear(E::GUEST_SPEC_CTRL, !s.processor.limits.spec_ctrl);
};

pub(super) const FRED: &[Entry] = predicates! { s;
    "GUEST.FRED.CONFIG_RSVD", s.entry(Entered::LOAD_FRED) => s.is_clear(E::GUEST_FRED_CONFIG, FRED_CONFIG_RESERVED);
    "GUEST.FRED.CONFIG_CANON", s.entry(Entered::LOAD_FRED) => s.canonical(E::GUEST_FRED_CONFIG);
    "GUEST.FRED.RSP1_CANON", s.entry(Entered::LOAD_FRED) => s.canonical(E::GUEST_FRED_RSP1);
    "GUEST.FRED.RSP1_ALIGN", s.entry(Entered::LOAD_FRED) => s.is_clear(E::GUEST_FRED_RSP1, 0x3f);
    "GUEST.FRED.RSP2_CANON", s.entry(Entered::LOAD_FRED) => s.canonical(E::GUEST_FRED_RSP2);
    "GUEST.FRED.RSP2_ALIGN", s.entry(Entered::LOAD_FRED) => s.is_clear(E::GUEST_FRED_RSP2, 0x3f);
    "GUEST.FRED.RSP3_CANON", s.entry(Entered::LOAD_FRED) => s.canonical(E::GUEST_FRED_RSP3);
    "GUEST.FRED.RSP3_ALIGN", s.entry(Entered::LOAD_FRED) => s.is_clear(E::GUEST_FRED_RSP3, 0x3f);
    "GUEST.FRED.SSP1_CANON", s.entry(Entered::LOAD_FRED) => s.canonical(E::GUEST_FRED_SSP1);
    "GUEST.FRED.SSP1_ALIGN", s.entry(Entered::LOAD_FRED) => s.is_clear(E::GUEST_FRED_SSP1, 7);
    "GUEST.FRED.SSP2_CANON", s.entry(Entered::LOAD_FRED) => s.canonical(E::GUEST_FRED_SSP2);
    "GUEST.FRED.SSP2_ALIGN", s.entry(Entered::LOAD_FRED) => s.is_clear(E::GUEST_FRED_SSP2, 7);
    "GUEST.FRED.SSP3_CANON", s.entry(Entered::LOAD_FRED) => s.canonical(E::GUEST_FRED_SSP3);
    "GUEST.FRED.SSP3_ALIGN", s.entry(Entered::LOAD_FRED) => s.is_clear(E::GUEST_FRED_SSP3, 7);
};
