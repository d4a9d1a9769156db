//! Which MSRs there are.

use super::rule::{MACHINE_CHECK_CAPABILITIES, MTRR_CAPABILITIES};
use super::{Access, Count, Field, Home, Msr, Rule};
use crate::state::State;
use crate::system::Offers;
use Access::{ReadOnly, ReadWrite, WriteOnly};
use Home::{Computed, Machine, Stored};

const fn row(first: u32, name: &'static str, access: Access, home: Home, rule: Rule) -> Msr {
    Msr { name, first, count: Count::Fixed(1), step: 1, access, home, rule, reset: 0, needs: Offers::empty() }
}

const fn field(first: u32, name: &'static str, field: Field, rule: Rule) -> Msr {
    row(first, name, ReadWrite, Home::Field(field), rule)
}

impl Msr {
    const fn after_reset(self, reset: u64) -> Self {
        Self { reset, ..self }
    }

    const fn if_offered(self, needs: Offers) -> Self {
        Self { needs, ..self }
    }

    const fn each(self, count: Count, step: u32) -> Self {
        Self { count, step, ..self }
    }

    const fn times(self, count: u32) -> Self {
        self.each(Count::Fixed(count), 1)
    }
}

const SPECULATION: Offers = Offers::SPEC_CTRL.union(Offers::STIBP).union(Offers::SSBD);
const AUXILIARY: Offers = Offers::RDTSCP.union(Offers::RDPID);

/// Fast strings, and neither branch trace storage nor precise event-based sampling; MONITOR is enabled.
const MISC_ENABLE_RESET: u64 = 1 << 0 | 1 << 11 | 1 << 12 | 1 << 18;
/// What says whether something is there is read-only.
const MISC_ENABLE_WRITABLE: u64 = 1 << 0 | 1 << 3 | 1 << 16 | 1 << 18 | 1 << 22 | 1 << 23 | 1 << 34;

/// The MSRs, by index (SDM Vol. 4, table 2-2; those from C0010000H on are AMD's).
///
/// Not modelled: the effects of IA32_MISC_ENABLE, of IA32_DEBUGCTL and of speculation control; MTRRs and IA32_PAT are
/// kept and checked, and all memory behaves as write-back.
pub const MSRS: &[Msr] = &[
    row(0x10, "IA32_TIME_STAMP_COUNTER", ReadWrite, Machine, Rule::Any),
    row(0x17, "IA32_PLATFORM_ID", ReadOnly, Stored, Rule::Any),
    row(0x1b, "IA32_APIC_BASE", ReadWrite, Machine, Rule::Any),
    row(0x3a, "IA32_FEATURE_CONTROL", ReadWrite, Stored, Rule::FeatureControl).if_offered(Offers::VMX),
    row(0x3b, "IA32_TSC_ADJUST", ReadWrite, Machine, Rule::Any).if_offered(Offers::TSC_ADJUST),
    row(0x48, "IA32_SPEC_CTRL", ReadWrite, Stored, Rule::SpeculationControl).if_offered(SPECULATION),
    row(0x49, "IA32_PRED_CMD", WriteOnly, Computed, Rule::Bits(1)).if_offered(Offers::SPEC_CTRL),
    // The signature stands in the upper half; what software writes before it asks is not kept.
    row(0x8b, "IA32_BIOS_SIGN_ID", ReadWrite, Stored, Rule::Keeps(0)).after_reset(1 << 32),
    // What the driver of MWAIT's states looks at.
    row(0xe2, "MSR_PKG_CST_CONFIG_CONTROL", ReadWrite, Stored, Rule::Any).if_offered(Offers::MONITOR),
    row(MTRR_CAPABILITIES, "IA32_MTRRCAP", ReadOnly, Computed, Rule::Any).if_offered(Offers::MTRR),
    row(0x10a, "IA32_ARCH_CAPABILITIES", ReadOnly, Stored, Rule::Any).if_offered(Offers::ARCH_CAPABILITIES),
    row(0x10b, "IA32_FLUSH_CMD", WriteOnly, Computed, Rule::Bits(1)).if_offered(Offers::FLUSH_L1D),
    field(0x174, "IA32_SYSENTER_CS", Field::SysenterCs, Rule::Any).if_offered(Offers::SYSENTER),
    field(0x175, "IA32_SYSENTER_ESP", Field::SysenterEsp, Rule::Canonical).if_offered(Offers::SYSENTER),
    field(0x176, "IA32_SYSENTER_EIP", Field::SysenterEip, Rule::Canonical).if_offered(Offers::SYSENTER),
    row(MACHINE_CHECK_CAPABILITIES, "IA32_MCG_CAP", ReadOnly, Computed, Rule::Any)
        .if_offered(Offers::MACHINE_CHECK),
    row(0x17a, "IA32_MCG_STATUS", ReadWrite, Stored, Rule::Bits(7)).if_offered(Offers::MACHINE_CHECK),
    row(0x17b, "IA32_MCG_CTL", ReadWrite, Stored, Rule::AllOrNone).if_offered(Offers::MACHINE_CHECK),
    row(0x1a0, "IA32_MISC_ENABLE", ReadWrite, Stored, Rule::Keeps(MISC_ENABLE_WRITABLE))
        .after_reset(MISC_ENABLE_RESET),
    row(0x1d9, "IA32_DEBUGCTL", ReadWrite, Stored, Rule::Bits(3)),
    row(0x1fc, "MSR_POWER_CTL", ReadWrite, Stored, Rule::Any).if_offered(Offers::MONITOR),
    row(0x200, "IA32_MTRR_PHYSBASE", ReadWrite, Stored, Rule::RangeBase)
        .if_offered(Offers::MTRR)
        .each(Count::VariableRanges, 2),
    row(0x201, "IA32_MTRR_PHYSMASK", ReadWrite, Stored, Rule::RangeMask)
        .if_offered(Offers::MTRR)
        .each(Count::VariableRanges, 2),
    row(0x250, "IA32_MTRR_FIX64K_00000", ReadWrite, Stored, Rule::MemoryTypes).if_offered(Offers::MTRR),
    row(0x258, "IA32_MTRR_FIX16K", ReadWrite, Stored, Rule::MemoryTypes).if_offered(Offers::MTRR).times(2),
    row(0x268, "IA32_MTRR_FIX4K", ReadWrite, Stored, Rule::MemoryTypes).if_offered(Offers::MTRR).times(8),
    row(0x277, "IA32_PAT", ReadWrite, Stored, Rule::PageAttributes)
        .if_offered(Offers::PAT)
        .after_reset(0x0007_0406_0007_0406),
    row(0x2ff, "IA32_MTRR_DEF_TYPE", ReadWrite, Stored, Rule::DefaultType).if_offered(Offers::MTRR),
    row(0x400, "IA32_MC_CTL", ReadWrite, Stored, Rule::AllOrNone)
        .if_offered(Offers::MACHINE_CHECK)
        .each(Count::Banks, 4),
    row(0x401, "IA32_MC_STATUS", ReadWrite, Stored, Rule::Bits(0))
        .if_offered(Offers::MACHINE_CHECK)
        .each(Count::Banks, 4),
    row(0x402, "IA32_MC_ADDR", ReadWrite, Stored, Rule::Any)
        .if_offered(Offers::MACHINE_CHECK)
        .each(Count::Banks, 4),
    row(0x403, "IA32_MC_MISC", ReadWrite, Stored, Rule::Any)
        .if_offered(Offers::MACHINE_CHECK)
        .each(Count::Banks, 4),
    row(0x480, "IA32_VMX", ReadOnly, Machine, Rule::Any).if_offered(Offers::VMX).times(0x14),
    row(0x6e0, "IA32_TSC_DEADLINE", ReadWrite, Machine, Rule::Any).if_offered(Offers::TSC_DEADLINE),
    row(0x800, "IA32_X2APIC", ReadWrite, Machine, Rule::Any).if_offered(Offers::X2APIC).times(0x100),
    row(0xda0, "IA32_XSS", ReadWrite, Stored, Rule::Bits(0)).if_offered(Offers::XSAVES),
    field(0xc000_0080, "IA32_EFER", Field::Efer, Rule::Any),
    field(0xc000_0081, "IA32_STAR", Field::Star, Rule::Any).if_offered(Offers::LONG_MODE),
    field(0xc000_0082, "IA32_LSTAR", Field::Lstar, Rule::Canonical).if_offered(Offers::LONG_MODE),
    field(0xc000_0083, "IA32_CSTAR", Field::Cstar, Rule::Canonical).if_offered(Offers::LONG_MODE),
    field(0xc000_0084, "IA32_FMASK", Field::Fmask, Rule::Bits(0xffff_ffff)).if_offered(Offers::LONG_MODE),
    field(0xc000_0100, "IA32_FS_BASE", Field::FsBase, Rule::Canonical).if_offered(Offers::LONG_MODE),
    field(0xc000_0101, "IA32_GS_BASE", Field::GsBase, Rule::Canonical).if_offered(Offers::LONG_MODE),
    field(0xc000_0102, "IA32_KERNEL_GS_BASE", Field::KernelGsBase, Rule::Canonical)
        .if_offered(Offers::LONG_MODE),
    field(0xc000_0103, "IA32_TSC_AUX", Field::TscAux, Rule::Bits(0xffff_ffff)).if_offered(AUXILIARY),
    row(0xc001_0000, "PERF_CTL", ReadWrite, Stored, Rule::Any).if_offered(Offers::AMD_CONFIGURATION).times(4),
    row(0xc001_0004, "PERF_CTR", ReadWrite, Stored, Rule::Bits(0xffff_ffff_ffff))
        .if_offered(Offers::AMD_CONFIGURATION)
        .times(4),
    row(0xc001_0010, "SYSCFG", ReadWrite, Stored, Rule::Any).if_offered(Offers::AMD_CONFIGURATION),
    row(0xc001_0015, "HWCR", ReadWrite, Stored, Rule::Any).if_offered(Offers::AMD_CONFIGURATION),
];

/// The row of an index, when this processor has it.
#[must_use]
pub fn find(state: &State, index: u32) -> Option<&'static Msr> {
    MSRS.iter().find(|msr| msr.has(state, index))
}
