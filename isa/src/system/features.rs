//! What the processor offers, as far as system instructions ask: plain data that a processor model fills in.

use crate::control::{Cr4, Efer};
use bitflags::bitflags;

bitflags! {
    /// Instructions and registers that exist only where CPUID says so (SDM Vol. 2A, CPUID).
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct Offers: u32 {
        /// SYSENTER and SYSEXIT.
        const SYSENTER = 1 << 0;
        /// Memory-type range registers.
        const MTRR = 1 << 1;
        /// The page attribute table.
        const PAT = 1 << 2;
        /// The machine-check architecture.
        const MACHINE_CHECK = 1 << 3;
        /// MONITOR and MWAIT.
        const MONITOR = 1 << 4;
        /// x2APIC mode.
        const X2APIC = 1 << 5;
        /// The TSC-deadline mode of the local APIC's timer.
        const TSC_DEADLINE = 1 << 6;
        /// VMX.
        const VMX = 1 << 7;
        /// XSAVE XRSTOR XGETBV XSETBV.
        const XSAVE = 1 << 8;
        /// XSAVEOPT.
        const XSAVEOPT = 1 << 9;
        /// XSAVEC, and the compacted format for XRSTOR.
        const XSAVEC = 1 << 10;
        /// XGETBV of the components in use.
        const XGETBV_IN_USE = 1 << 11;
        /// RDTSCP and IA32_TSC_AUX.
        const RDTSCP = 1 << 12;
        /// RDPID.
        const RDPID = 1 << 13;
        /// INVPCID.
        const INVPCID = 1 << 14;
        /// IA32_TSC_ADJUST.
        const TSC_ADJUST = 1 << 15;
        /// IA32_SPEC_CTRL with IBRS, and IA32_PRED_CMD.
        const SPEC_CTRL = 1 << 16;
        /// Single thread indirect branch predictors.
        const STIBP = 1 << 17;
        /// Speculative store bypass disable.
        const SSBD = 1 << 18;
        /// IA32_FLUSH_CMD.
        const FLUSH_L1D = 1 << 19;
        /// IA32_ARCH_CAPABILITIES.
        const ARCH_CAPABILITIES = 1 << 20;
        /// WBNOINVD; without it the encoding is WBINVD.
        const WBNOINVD = 1 << 21;
        /// XSAVES and IA32_XSS.
        const XSAVES = 1 << 22;
        /// IA-32e mode, and the MSRs that come with it.
        const LONG_MODE = 1 << 23;
        /// SYSCFG, HWCR and the four performance counters of AMD's processors, which keep what is written and do nothing.
        const AMD_CONFIGURATION = 1 << 24;
    }
}

bitflags! {
    /// In what the processor differs from what the SDM describes: behaviours that the manual of AMD has instead
    /// (AMD64 Architecture Programmer's Manual, Vol. 2, 6.1, and Vol. 3).
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct Behaviours: u32 {
        /// SYSCALL and SYSRET also execute outside 64-bit mode: SYSCALL goes to IA32_CSTAR from compatibility mode, and
        /// to bits 31:0 of IA32_STAR outside IA-32e mode, where neither saves or restores the flags.
        const SYSCALL_EVERYWHERE = 1 << 0;
        /// SYSENTER and SYSEXIT are #UD in IA-32e mode.
        const NO_SYSENTER_IN_IA32E = 1 << 1;
        /// SYSRET takes any RCX: the fault for one that is not canonical comes at privilege level 3.
        const SYSRET_TAKES_ANY_TARGET = 1 << 2;
        /// SYSRET loads the selector of SS and nothing else of it.
        const SYSRET_LOADS_STACK_SELECTOR = 1 << 3;
        /// IA32_SYSENTER_ESP and IA32_SYSENTER_EIP keep 32 bits.
        const NARROW_SYSENTER = 1 << 4;
    }
}

/// What the processor offers. Bits of control registers and MSRs that are not in here are reserved.
///
/// ```
/// use isa::control::Cr4;
/// use isa::system::Features;
///
/// assert!(Features::default().cr4.contains(Cr4::LA57));
/// assert!(!Features::default().cr4.contains(Cr4::CET));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Features {
    /// The bits of CR4 that may be 1.
    pub cr4: Cr4,
    /// The bits of IA32_EFER that may be 1.
    pub efer: Efer,
    /// Everything that has no control bit of its own.
    pub offers: Offers,
    /// In what it differs from the SDM.
    pub behaviours: Behaviours,
    /// MAXPHYADDR: 32 to 52.
    pub physical_address_width: u8,
    /// The widest linear address: 32, 48 or 57.
    pub linear_address_width: u8,
    /// The bits of XCR0 that may be 1.
    pub xcr0: u64,
    /// Pairs of variable-range MTRRs: at most 10.
    pub variable_mtrrs: u8,
    /// Banks of machine-check registers: at most 32.
    pub machine_check_banks: u8,
    /// General-purpose performance counters that RDPMC reads.
    pub performance_counters: u8,
}

impl Default for Features {
    /// All that is modelled.
    fn default() -> Self {
        let absent = Cr4::SMXE | Cr4::KL | Cr4::CET | Cr4::PKS;
        Self {
            cr4: Cr4::all() - absent,
            efer: Efer::all(),
            offers: Offers::all() - Offers::XSAVES - Offers::AMD_CONFIGURATION,
            behaviours: Behaviours::empty(),
            physical_address_width: 46,
            linear_address_width: 57,
            xcr0: 0x203,
            variable_mtrrs: 8,
            machine_check_banks: 4,
            performance_counters: 0,
        }
    }
}

impl Features {
    /// Whether the bits of an address above the widest linear address repeat its top bit. Bases in MSRs and descriptor
    /// tables are judged by this, whatever CR4.LA57 is (SDM Vol. 3A, 5.2.1).
    #[must_use]
    pub const fn is_canonical(&self, address: u64) -> bool {
        is_canonical(address, self.linear_address_width)
    }

    /// The bits that IA32_SYSENTER_ESP and IA32_SYSENTER_EIP keep.
    pub(crate) const fn sysenter_mask(&self) -> u64 {
        if self.behaviours.contains(Behaviours::NARROW_SYSENTER) { u32::MAX as u64 } else { u64::MAX }
    }
}

/// Whether the bits from the top one of an address of `width` bits upward are equal.
#[must_use]
pub const fn is_canonical(address: u64, width: u8) -> bool {
    let upper = address.cast_signed() >> (width - 1);
    upper == 0 || upper == -1
}
