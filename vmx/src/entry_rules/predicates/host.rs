//! Checks of the host-state area (SDM 29.2.2 to 29.2.4).

use super::{Entry, predicates};
use crate::controls::{PrimaryExitControls as Exit, SecondaryExitControls as Exit2};
use crate::entry_rules::Subject;
use crate::field::Encoding as E;
use isa::control::{Cr0, Cr4, Efer};

/// Bits 63:32.
pub(super) const HIGH: u64 = 0xffff_ffff_0000_0000;

/// Bits of IA32_S_CET that are reserved.
pub(super) const S_CET_RESERVED: u64 = 0x3c0;

/// Bits of IA32_FRED_CONFIG that are reserved.
pub(super) const FRED_CONFIG_RESERVED: u64 = 1 << 2 | 0x30 | 1 << 11;

/// Whether bits 10 and 11 (SUPPRESS and TRACKER) of IA32_S_CET are not both 1.
pub(super) const fn not_both(s: &Subject, s_cet: E) -> bool {
    s.bits(s_cet, 11, 10) != 3
}

/// Whether each byte of IA32_PAT is a memory type (SDM Vol. 3A, 14.12.2).
pub(super) fn pat(value: u64) -> bool {
    value.to_le_bytes().iter().all(|memory_type| matches!(memory_type, 0 | 1 | 4..=7))
}

/// Whether host RIP is canonical in the mode of the host: for 57 bits if its CR4.LA57 is 1, and for 48 otherwise.
const fn canonical_in_host(s: &Subject) -> bool {
    let width = if s.is_set(E::HOST_CR4, Cr4::LA57.bits()) { 57 } else { 48 };
    isa::system::is_canonical(s.field(E::HOST_RIP), width)
}

const fn host_efer(s: &Subject, bit: Efer) -> bool {
    s.is_set(E::HOST_EFER, bit.bits())
}

pub(super) const RULES: &[Entry] = predicates! { s;
    "HOST.CR.CR0_FIXED0", true => s.capabilities.cr0().must_be_1 & !s.field(E::HOST_CR0) == 0;
    "HOST.CR.CR0_FIXED1", true => s.is_clear(E::HOST_CR0, !s.capabilities.cr0().may_be_1);
    "HOST.CR.CR4_FIXED0", true => s.capabilities.cr4().must_be_1 & !s.field(E::HOST_CR4) == 0;
    "HOST.CR.CR4_FIXED1", true => s.is_clear(E::HOST_CR4, !s.capabilities.cr4().may_be_1);
    "HOST.CR.CET_WP", s.is_set(E::HOST_CR4, Cr4::CET.bits()) => s.is_set(E::HOST_CR0, Cr0::WP.bits());
    "HOST.CR.CR3_WIDTH", s.intel_64() => s.is_clear(E::HOST_CR3, s.cr3_reserved());
    "HOST.MSR.SYSENTER_ESP", s.intel_64() => s.canonical(E::HOST_SYSENTER_ESP);
    "HOST.MSR.SYSENTER_EIP", s.intel_64() => s.canonical(E::HOST_SYSENTER_EIP);
    "HOST.MSR.PERF_GLOBAL", s.exit(Exit::LOAD_IA32_PERF_GLOBAL_CTRL)
        => s.is_clear(E::HOST_PERF_GLOBAL_CTRL, !s.processor.limits.perf_global_ctrl);
    "HOST.MSR.PAT", s.exit(Exit::LOAD_IA32_PAT) => pat(s.field(E::HOST_PAT));
    "HOST.MSR.EFER_RSVD", s.exit(Exit::LOAD_IA32_EFER) => s.is_clear(E::HOST_EFER, !s.processor.limits.efer);
    "HOST.MSR.EFER_LMA", s.exit(Exit::LOAD_IA32_EFER) => host_efer(s, Efer::LMA) == s.host_64();
    "HOST.MSR.EFER_LME", s.exit(Exit::LOAD_IA32_EFER) => host_efer(s, Efer::LME) == s.host_64();
    "HOST.CET.S_CET_RSVD", s.exit(Exit::LOAD_CET_STATE) => s.is_clear(E::HOST_S_CET, S_CET_RESERVED);
    "HOST.CET.SUPPRESS_TRACKER", s.exit(Exit::LOAD_CET_STATE) => not_both(s, E::HOST_S_CET);
    "HOST.CET.SSP_ALIGN", s.exit(Exit::LOAD_CET_STATE) => s.is_clear(E::HOST_SSP, 3);
    "HOST.MSR.PKRS", s.exit(Exit::LOAD_PKRS) => s.is_clear(E::HOST_PKRS, HIGH);
    "HOST.MSR.SPEC_CTRL", s.exit2(Exit2::LOAD_IA32_SPEC_CTRL)
        => s.is_clear(E::HOST_SPEC_CTRL, !s.processor.limits.spec_ctrl);
    "HOST.SEG.CS_RPL_TI", true => s.is_clear(E::HOST_CS_SELECTOR, 7);
    "HOST.SEG.SS_RPL_TI", true => s.is_clear(E::HOST_SS_SELECTOR, 7);
    "HOST.SEG.DS_RPL_TI", true => s.is_clear(E::HOST_DS_SELECTOR, 7);
    "HOST.SEG.ES_RPL_TI", true => s.is_clear(E::HOST_ES_SELECTOR, 7);
    "HOST.SEG.FS_RPL_TI", true => s.is_clear(E::HOST_FS_SELECTOR, 7);
    "HOST.SEG.GS_RPL_TI", true => s.is_clear(E::HOST_GS_SELECTOR, 7);
    "HOST.SEG.TR_RPL_TI", true => s.is_clear(E::HOST_TR_SELECTOR, 7);
    "HOST.SEG.CS_NONZERO", true => s.field(E::HOST_CS_SELECTOR) != 0;
    "HOST.SEG.TR_NONZERO", true => s.field(E::HOST_TR_SELECTOR) != 0;
    "HOST.SEG.SS_NONZERO", !s.host_64() => s.field(E::HOST_SS_SELECTOR) != 0;
    "HOST.SEG.FS_BASE", s.intel_64() => s.canonical(E::HOST_FS_BASE);
    "HOST.SEG.GS_BASE", s.intel_64() => s.canonical(E::HOST_GS_BASE);
    "HOST.SEG.GDTR_BASE", s.intel_64() => s.canonical(E::HOST_GDTR_BASE);
    "HOST.SEG.IDTR_BASE", s.intel_64() => s.canonical(E::HOST_IDTR_BASE);
    "HOST.SEG.TR_BASE", s.intel_64() => s.canonical(E::HOST_TR_BASE);
    "HOST.ASZ.LMA0_GUEST64", !s.lma() => !s.ia_32e_guest();
    "HOST.ASZ.LMA0_HOST64", !s.lma() => !s.host_64();
    "HOST.ASZ.LMA1_HOST64", s.lma() => s.host_64();
    "HOST.ASZ.H32_GUEST64", !s.host_64() => !s.ia_32e_guest();
    "HOST.ASZ.H32_PCIDE", !s.host_64() => s.is_clear(E::HOST_CR4, Cr4::PCIDE.bits());
    "HOST.ASZ.H32_FRED", !s.host_64() => !s.host_fred();
    "HOST.ASZ.H32_RIP", !s.host_64() => s.is_clear(E::HOST_RIP, HIGH);
    "HOST.ASZ.H32_S_CET", !s.host_64() && s.exit(Exit::LOAD_CET_STATE) => s.is_clear(E::HOST_S_CET, HIGH);
    "HOST.ASZ.H32_SSP", !s.host_64() && s.exit(Exit::LOAD_CET_STATE) => s.is_clear(E::HOST_SSP, HIGH);
    "HOST.ASZ.H64_PAE", s.host_64() => s.is_set(E::HOST_CR4, Cr4::PAE.bits());
    "HOST.ASZ.H64_RIP", s.host_64() => canonical_in_host(s);
    "HOST.ASZ.H64_S_CET", s.host_64() && s.exit(Exit::LOAD_CET_STATE) => s.canonical(E::HOST_S_CET);
    "HOST.ASZ.H64_SSP", s.host_64() && s.exit(Exit::LOAD_CET_STATE) => s.canonical(E::HOST_SSP);
    "HOST.ASZ.ISST", s.exit(Exit::LOAD_CET_STATE) => s.canonical(E::HOST_INTERRUPT_SSP_TABLE);
    "HOST.ASZ.NO_INTEL64", !s.intel_64() => !s.ia_32e_guest() && !s.host_64();
};

pub(super) const FRED: &[Entry] = predicates! { s;
    "HOST.FRED.CONFIG_RSVD", s.exit2(Exit2::LOAD_FRED) => s.is_clear(E::HOST_FRED_CONFIG, FRED_CONFIG_RESERVED);
    "HOST.FRED.CONFIG_CANON", s.exit2(Exit2::LOAD_FRED) => s.canonical(E::HOST_FRED_CONFIG);
    "HOST.FRED.RSP1_CANON", s.exit2(Exit2::LOAD_FRED) => s.canonical(E::HOST_FRED_RSP1);
    "HOST.FRED.RSP1_ALIGN", s.exit2(Exit2::LOAD_FRED) => s.is_clear(E::HOST_FRED_RSP1, 0x3f);
    "HOST.FRED.RSP2_CANON", s.exit2(Exit2::LOAD_FRED) => s.canonical(E::HOST_FRED_RSP2);
    "HOST.FRED.RSP2_ALIGN", s.exit2(Exit2::LOAD_FRED) => s.is_clear(E::HOST_FRED_RSP2, 0x3f);
    "HOST.FRED.RSP3_CANON", s.exit2(Exit2::LOAD_FRED) => s.canonical(E::HOST_FRED_RSP3);
    "HOST.FRED.RSP3_ALIGN", s.exit2(Exit2::LOAD_FRED) => s.is_clear(E::HOST_FRED_RSP3, 0x3f);
    "HOST.FRED.SSP1_CANON", s.exit2(Exit2::LOAD_FRED) => s.canonical(E::HOST_FRED_SSP1);
    "HOST.FRED.SSP1_ALIGN", s.exit2(Exit2::LOAD_FRED) => s.is_clear(E::HOST_FRED_SSP1, 7);
    "HOST.FRED.SSP2_CANON", s.exit2(Exit2::LOAD_FRED) => s.canonical(E::HOST_FRED_SSP2);
    "HOST.FRED.SSP2_ALIGN", s.exit2(Exit2::LOAD_FRED) => s.is_clear(E::HOST_FRED_SSP2, 7);
    "HOST.FRED.SSP3_CANON", s.exit2(Exit2::LOAD_FRED) => s.canonical(E::HOST_FRED_SSP3);
    "HOST.FRED.SSP3_ALIGN", s.exit2(Exit2::LOAD_FRED) => s.is_clear(E::HOST_FRED_SSP3, 7);
};
