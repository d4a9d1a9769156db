//! The built-in models.

use super::{COUNT, Capabilities};
use crate::capability::CapabilityMsr as Msr;
use crate::capability::registers::{Basic, EptVpidCap, Misc};
use crate::controls::{
    ControlWord, EntryControls, PinBasedControls, PrimaryExitControls, PrimaryProcessorControls,
    SecondaryProcessorControls,
};
use crate::vmcs::{REGION_SIZE, REVISION_IDENTIFIER};
use isa::control::Cr4;
use isa::system::{Features, Offers};

/// The names of the built-in models.
pub const NAMES: &[&str] = &["tier1"];

/// The pin-based controls of tier 1.
const PIN_BASED: PinBasedControls = PinBasedControls::EXTERNAL_INTERRUPT_EXITING
    .union(PinBasedControls::NMI_EXITING)
    .union(PinBasedControls::VIRTUAL_NMIS)
    .union(PinBasedControls::ACTIVATE_VMX_PREEMPTION_TIMER);

/// Of the primary controls, tier 1 lacks the tertiary ones only.
const PRIMARY: PrimaryProcessorControls =
    PrimaryProcessorControls::all().difference(PrimaryProcessorControls::ACTIVATE_TERTIARY_CONTROLS);

/// The secondary controls of tier 1, beside those of an instruction that the processor may lack.
const SECONDARY: SecondaryProcessorControls = SecondaryProcessorControls::ENABLE_EPT
    .union(SecondaryProcessorControls::DESCRIPTOR_TABLE_EXITING)
    .union(SecondaryProcessorControls::ENABLE_VPID)
    .union(SecondaryProcessorControls::WBINVD_EXITING)
    .union(SecondaryProcessorControls::UNRESTRICTED_GUEST);

/// The VM-exit controls of tier 1.
const EXIT: PrimaryExitControls = PrimaryExitControls::SAVE_DEBUG_CONTROLS
    .union(PrimaryExitControls::HOST_ADDRESS_SPACE_SIZE)
    .union(PrimaryExitControls::ACKNOWLEDGE_INTERRUPT_ON_EXIT)
    .union(PrimaryExitControls::SAVE_IA32_PAT)
    .union(PrimaryExitControls::LOAD_IA32_PAT)
    .union(PrimaryExitControls::SAVE_IA32_EFER)
    .union(PrimaryExitControls::LOAD_IA32_EFER)
    .union(PrimaryExitControls::SAVE_VMX_PREEMPTION_TIMER_VALUE);

/// The VM-entry controls of tier 1.
const ENTRY: EntryControls = EntryControls::LOAD_DEBUG_CONTROLS
    .union(EntryControls::IA_32E_MODE_GUEST)
    .union(EntryControls::LOAD_IA32_PAT)
    .union(EntryControls::LOAD_IA32_EFER);

/// The default1 bits of a word (A.2).
fn default1(word: ControlWord) -> u64 {
    use crate::controls::{CONTROLS, DefaultClass};
    let of_word =
        CONTROLS.iter().filter(|control| control.word == word && control.default == DefaultClass::Default1);
    of_word.fold(0, |bits, control| bits | 1 << control.bit)
}

/// The values of an MSR of a 32-bit word and of its TRUE twin: `offered` is what may be 1.
fn settings(word: ControlWord, offered: u32) -> (u64, u64) {
    let default1 = default1(word);
    let may_be_1 = (u64::from(offered) | default1) << 32;
    (may_be_1 | default1, may_be_1 | default1 & !u64::from(offered))
}

fn secondary(features: &Features) -> SecondaryProcessorControls {
    let mut controls = SECONDARY;
    controls.set(SecondaryProcessorControls::ENABLE_RDTSCP, features.offers.contains(Offers::RDTSCP));
    controls.set(SecondaryProcessorControls::ENABLE_INVPCID, features.offers.contains(Offers::INVPCID));
    controls
}

impl Capabilities {
    /// The built-in model with this name, on the processor with these features; see [`NAMES`].
    #[must_use]
    pub fn named(name: &str, features: &Features) -> Option<Self> {
        (name == "tier1").then(|| Self::tier1(features))
    }

    /// What the simulated processor offers: the core of VMX, and what every hypervisor relies on.
    ///
    /// External-interrupt and NMI exiting, virtual NMIs, the VMX-preemption timer; all primary controls but the tertiary
    /// ones; EPT of 4 and 5 levels with all page sizes and accessed and dirty flags, VPIDs, unrestricted guests,
    /// descriptor-table and WBINVD exiting, RDTSCP and INVPCID where the processor has them; TRUE capability MSRs;
    /// IA32_PAT, IA32_EFER and debug controls on entry and exit. CR4 may have the bits that `features` name, and VMXE.
    #[must_use]
    pub fn tier1(features: &Features) -> Self {
        let mut values = [0; COUNT];
        let mut set = |msr: Msr, value: u64| {
            if let Some(place) = super::place(msr) {
                values[place] = value;
            }
        };
        let words = [
            (Msr::PinbasedCtls, Msr::TruePinbasedCtls, ControlWord::PinBased, PIN_BASED.bits()),
            (Msr::ProcbasedCtls, Msr::TrueProcbasedCtls, ControlWord::PrimaryProcessor, offered_primary()),
            (Msr::ExitCtls, Msr::TrueExitCtls, ControlWord::PrimaryExit, EXIT.bits()),
            (Msr::EntryCtls, Msr::TrueEntryCtls, ControlWord::Entry, ENTRY.bits()),
        ];
        for (msr, true_msr, word, offered) in words {
            let (value, true_value) = settings(word, offered);
            set(msr, value);
            set(true_msr, true_value);
        }
        set(Msr::ProcbasedCtls2, u64::from(secondary(features).bits()) << 32);
        set(Msr::Basic, basic().into_bits());
        set(Msr::Misc, misc().into_bits());
        set(Msr::EptVpidCap, ept_vpid().into_bits());
        set(Msr::Cr0Fixed0, 0x8000_0021);
        set(Msr::Cr0Fixed1, 0xffff_ffff);
        set(Msr::Cr4Fixed0, Cr4::VMXE.bits());
        set(Msr::Cr4Fixed1, (features.cr4 | Cr4::VMXE).bits());
        Self::from_values(values).with_counted_fields()
    }
}

/// The primary controls that may be 0 or 1; those without a name stay 1.
fn offered_primary() -> u32 {
    use crate::controls::CONTROLS;
    let unnamed = CONTROLS.iter().filter(|control| {
        control.word == ControlWord::PrimaryProcessor && control.name.starts_with("default1")
    });
    PRIMARY.bits() & !unnamed.fold(0, |bits, control| bits | 1 << control.bit)
}

fn basic() -> Basic {
    Basic::new()
        .with_revision_identifier(REVISION_IDENTIFIER)
        .with_region_size(REGION_SIZE as u16) // 4096
        .with_memory_type(6)
        .with_ins_outs_information(true)
        .with_true_controls(true)
}

fn misc() -> Misc {
    Misc::new()
        .with_preemption_timer_tsc_bit(0)
        .with_stores_lma(true)
        .with_activity_hlt(true)
        .with_activity_shutdown(true)
        .with_activity_wait_for_sipi(true)
        .with_cr3_target_values(4)
}

fn ept_vpid() -> EptVpidCap {
    EptVpidCap::new()
        .with_execute_only(true)
        .with_page_walk_length_4(true)
        .with_page_walk_length_5(true)
        .with_uncacheable(true)
        .with_write_back(true)
        .with_pages_2m(true)
        .with_pages_1g(true)
        .with_invept(true)
        .with_accessed_and_dirty(true)
        .with_invept_single_context(true)
        .with_invept_all_context(true)
        .with_invvpid(true)
        .with_invvpid_individual_address(true)
        .with_invvpid_single_context(true)
        .with_invvpid_all_context(true)
        .with_invvpid_single_context_retaining_globals(true)
}
