//! What a counterexample can change beside fields.

use super::{ParseSampleError, Sample};
use crate::capability::CapabilityMsr as Msr;
use crate::entry_rules::{EntryInstruction, MovSsBlocking, SystemManagementMode, VmxOperation};
use crate::vmcs::{LaunchState, VmcsType};
use isa::control::{Cr0, Efer};
use std::str::FromStr;

macro_rules! settings {
    ($($(#[$meta:meta])* $variant:ident = $word:literal, |$sample:ident| $change:expr;)*) => {
        /// A change of a [`Sample`] that is not a field of the VMCS.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Setting {
            $($(#[$meta])* $variant,)*
        }

        impl Setting {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its word in the notation.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }

            /// Makes the change.
            pub fn apply(self, sample: &mut Sample) {
                match self {
                    $(Self::$variant => { let $sample = sample; $change; })*
                }
            }
        }
    };
}

settings! {
    /// Outside VMX operation.
    OutsideVmx = "outside-vmx", |it| it.processor.operation = VmxOperation::Outside;
    /// VMX non-root operation.
    NonRoot = "non-root", |it| it.processor.operation = VmxOperation::NonRoot;
    /// The VMM is in real-address mode.
    RealMode = "real-mode", |it| it.processor.cr0 -= Cr0::PE;
    /// The VMM is in virtual-8086 mode.
    Virtual8086Mode = "virtual-8086-mode", |it| it.processor.virtual_8086 = true;
    /// The VMM is in compatibility mode.
    CompatibilityMode = "compatibility-mode", |it| it.processor.long_code_segment = false;
    /// The VMM is not in IA-32e mode.
    LegacyMode = "legacy-mode", |it| {
        it.processor.efer -= Efer::LMA | Efer::LME;
        it.processor.long_code_segment = false;
    };
    /// Privilege level 3.
    Cpl3 = "cpl-3", |it| it.processor.cpl = 3;
    /// MOV SS blocks events.
    MovSs = "mov-ss", |it| it.processor.mov_ss = MovSsBlocking::Blocked;
    /// The processor is in SMM.
    Smm = "smm", |it| it.processor.smm = SystemManagementMode::Inside;
    /// No VMCS is current.
    NoVmcs = "no-vmcs", |it| it.processor.current_vmcs = None;
    /// The current VMCS is a shadow VMCS.
    Shadow = "shadow-vmcs", |it| it.vmcs.set_vmcs_type(VmcsType::Shadow);
    /// The launch state is launched.
    Launched = "launched", |it| it.vmcs.set_launch_state(LaunchState::Launched);
    /// The instruction is VMRESUME.
    Vmresume = "vmresume", |it| it.instruction = EntryInstruction::Vmresume;
    /// A processor without Intel 64 architecture.
    NoIntel64 = "no-intel-64", |it| it.processor.limits.linear_address_width = 32;
    /// Addresses of VMX structures are limited to 32 bits.
    ShortAddresses = "short-addresses", |it| {
        let basic = it.capabilities.basic().with_addresses_limited_to_32_bits(true);
        it.capabilities = it.capabilities.with(Msr::Basic, basic.into_bits());
    };
    /// EPT has no accessed and dirty flags.
    NoAccessedAndDirty = "no-accessed-and-dirty", |it| {
        let offered = it.capabilities.ept_vpid().with_accessed_and_dirty(false);
        it.capabilities = it.capabilities.with(Msr::EptVpidCap, offered.into_bits());
    };
    /// There is no monitor trap flag.
    NoMonitorTrapFlag = "no-monitor-trap-flag", |it| {
        let value = it.capabilities.value(Msr::TrueProcbasedCtls) & !(1 << 59);
        it.capabilities = it.capabilities.with(Msr::TrueProcbasedCtls, value);
    };
    /// The nested-exception bit of an injected event may be 1.
    NestedException = "nested-exception", |it| {
        let basic = it.capabilities.basic().with_nested_exception(true);
        it.capabilities = it.capabilities.with(Msr::Basic, basic.into_bits());
    };
    /// All controls (of 64-bit words, bits 62:0) and all bits of CR4 but the highest are offered.
    Everything = "everything", |it| offer_everything(it);
}

/// Offers every control; those that must be 1 still must.
fn offer_everything(it: &mut Sample) {
    let words = [Msr::TruePinbasedCtls, Msr::TrueProcbasedCtls, Msr::TrueExitCtls, Msr::TrueEntryCtls];
    for msr in words.into_iter().chain([Msr::ProcbasedCtls2]) {
        let value = it.capabilities.value(msr) | 0xffff_ffff_0000_0000;
        it.capabilities = it.capabilities.with(msr, value);
    }
    for msr in [Msr::ProcbasedCtls3, Msr::ExitCtls2, Msr::Cr4Fixed1] {
        it.capabilities = it.capabilities.with(msr, u64::MAX >> 1);
    }
    it.capabilities = it.capabilities.with(Msr::Vmfunc, 1);
    it.processor.limits.pending_debug = 1 << 11 | 1 << 16;
    it.processor.limits.interruptibility = 1 << 4;
}

impl FromStr for Setting {
    type Err = ParseSampleError;

    fn from_str(word: &str) -> Result<Self, ParseSampleError> {
        let setting = Self::ALL.iter().copied().find(|setting| setting.word() == word);
        setting.ok_or_else(|| ParseSampleError::Setting(word.to_owned()))
    }
}
