//! Rules that need state which the processor does not have: dual-monitor treatment, SEAM, Intel PT, last-branch records.
//!
//! A control that would give it that state must be 0 by another rule.

use super::{Entry, Predicate};

const fn entry(id: &'static str) -> Entry {
    (id, Predicate::NotModelled)
}

pub(super) const RULES: &[Entry] = &[
    entry("BASIC.12.RESUME_AFTER_VMXOFF"),
    entry("CTL.EXEC.SEAM.EPT"),
    entry("CTL.EXEC.SEAM.SHARED_EPTP"),
    entry("CTL.EXEC.PT.TRACE_ON_LOAD"),
    entry("GUEST.MSR.RTIT_CTL"),
    entry("GUEST.MSR.LBR_CTL"),
    entry("MCE.DURING_ENTRY"),
    entry("SMMRET.EXEC_ALIGN"),
    entry("SMMRET.EXEC_WIDTH"),
    entry("SMMRET.EXEC_REVISION"),
    entry("SMMRET.EXEC_LAUNCHED"),
    entry("SMMRET.DEACT_VMXON"),
    entry("SMMRET.EXEC_CONTROLS"),
    entry("SMMRET.NO_MTF_TO_ROOT"),
    entry("SMMRET.GUEST_CTL_SOURCE"),
    entry("SMMRET.WFS_TO_ROOT"),
    entry("SMMRET.FAIL_VMCS"),
];
