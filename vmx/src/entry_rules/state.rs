//! What rules look at beside the fields of the VMCS.

use super::subject::Subject;
use crate::capability::CapabilityMsr;
use isa::address::HostPhysicalAddress;
use std::fmt;
use std::str::FromStr;

/// Something beside the fields of the VMCS that a rule reads.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum State {
    /// A capability MSR, or for a word of controls the TRUE one where there is one.
    Capability(CapabilityMsr),
    /// The physical-address width.
    PhysicalAddressWidth,
    /// The linear-address width.
    LinearAddressWidth,
    /// The bits of a register or MSR that are not reserved.
    SupportedBits,
    /// IA32_EFER.LMA before the entry.
    LongModeActive,
    /// Whether the processor is in SMM.
    SystemManagementMode,
    /// The current-VMCS pointer.
    CurrentVmcs,
    /// Operation, privilege and launch state: what the first checks of the instruction ask.
    Instruction,
    /// Memory.
    Memory,
    /// An entry of an MSR-load area.
    MsrEntry,
}

impl State {
    /// Whether it belongs to the processor and can differ between two entries with the same VMCS.
    pub(super) const fn is_of_processor(self) -> bool {
        matches!(
            self,
            Self::PhysicalAddressWidth
                | Self::LinearAddressWidth
                | Self::SupportedBits
                | Self::LongModeActive
                | Self::SystemManagementMode
                | Self::CurrentVmcs
        )
    }

    /// Its value, where one number says it all.
    pub(super) fn value(self, subject: &Subject) -> Option<u64> {
        match self {
            Self::Capability(msr) => Some(subject.capabilities.value(Self::in_use(msr, subject))),
            Self::PhysicalAddressWidth => Some(subject.structure_address_width().into()),
            Self::LinearAddressWidth => Some(subject.processor.limits.linear_address_width.into()),
            Self::LongModeActive => Some(subject.lma().into()),
            Self::SystemManagementMode => Some(subject.in_smm().into()),
            Self::CurrentVmcs => subject.processor.current_vmcs.map(|HostPhysicalAddress(address)| address),
            Self::SupportedBits | Self::Instruction | Self::Memory | Self::MsrEntry => None,
        }
    }

    /// The TRUE twin of an MSR where it is the one to consult (appendix A.2).
    fn in_use(msr: CapabilityMsr, subject: &Subject) -> CapabilityMsr {
        use crate::controls::ControlWord;
        let word = ControlWord::ALL.into_iter().find(|word| word.capability() == msr);
        word.map_or(msr, |word| subject.capabilities.settings_msr(word))
    }

    /// Its name for this subject.
    pub(super) fn name_for(self, subject: &Subject) -> String {
        match self {
            Self::Capability(msr) => Self::in_use(msr, subject).name().to_owned(),
            other => other.to_string(),
        }
    }
}

/// The words of the table.
const WORDS: [(&str, &str, State); 9] = [
    ("physical-address-width", "the physical-address width", State::PhysicalAddressWidth),
    ("linear-address-width", "the linear-address width", State::LinearAddressWidth),
    ("supported-bits", "the bits that the processor supports", State::SupportedBits),
    ("lma", "IA32_EFER.LMA", State::LongModeActive),
    ("smm", "SMM", State::SystemManagementMode),
    ("current-vmcs", "the current-VMCS pointer", State::CurrentVmcs),
    ("instruction", "the state of the processor at the instruction", State::Instruction),
    ("memory", "memory", State::Memory),
    ("msr-entry", "the entry of the MSR-load area", State::MsrEntry),
];

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Capability(msr) = self {
            return f.write_str(msr.name());
        }
        let words = WORDS.iter().find(|(_, _, state)| state == self);
        f.write_str(words.map_or("", |(_, words, _)| words))
    }
}

impl FromStr for State {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        if let Some((_, _, state)) = WORDS.iter().find(|(symbol, _, _)| *symbol == word) {
            return Ok(*state);
        }
        let msr = CapabilityMsr::ALL.iter().find(|msr| msr.name() == word);
        msr.map(|msr| Self::Capability(*msr)).ok_or_else(|| format!("`{word}` is nothing that a rule reads"))
    }
}
