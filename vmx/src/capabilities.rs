//! The values of the VMX capability MSRs on one processor (SDM appendix A), and what they offer.
//!
//! [`Capabilities`] is plain data: a built-in model by [name](Capabilities::named), or the MSRs that another processor
//! reported. The MSRs of appendix A lie between `480H` and `493H`; IA32_FEATURE_CONTROL is not one of them, since
//! software writes it.

mod models;
#[cfg(test)]
mod tests;

use crate::capability::registers::{Basic, EptVpidCap, Misc};
use crate::capability::{CapabilityMsr, Settings, vmcs_enum};
use crate::controls::{ControlBit, ControlWord};
use crate::field::{Condition, Encoding, FIELDS};
use crate::vmcs::FieldSet;

pub use models::NAMES;

/// IA32_VMX_BASIC.
const FIRST: u32 = CapabilityMsr::Basic.index();

/// How many there are.
const COUNT: usize = (CapabilityMsr::ExitCtls2.index() - FIRST) as usize + 1;

/// Where CR4.FRED is: a processor whose CR4 may have it supports FRED transitions.
const CR4_FRED: u64 = 1 << 32;

/// The values of all VMX capability MSRs of one processor.
///
/// An MSR that the processor does not have is 0, which offers nothing.
///
/// ```
/// use isa::system::Features;
/// use vmx::capabilities::Capabilities;
/// use vmx::capability::CapabilityMsr;
/// use vmx::field::Encoding;
/// let tier1 = Capabilities::tier1(&Features::default());
/// assert!(tier1.basic().true_controls());
/// assert!(tier1.fields().contains(Encoding::EPTP) && !tier1.fields().contains(Encoding::PML_ADDRESS));
/// assert_eq!(tier1.read(CapabilityMsr::Vmfunc), None);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Capabilities {
    values: [u64; COUNT],
    /// Follows from `values`.
    fields: FieldSet,
}

/// Values of capability MSRs are no processor's.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CapabilitiesError {
    /// An MSR that every processor with these others has is not among them.
    #[error("{} ({:X}H) is missing: the other capability MSRs say that the processor has it (SDM appendix A)", .0.name(), .0.index())]
    Missing(CapabilityMsr),
    /// An MSR is not one of the MSRs `480H` to `493H`.
    #[error("{} ({:X}H) reports no capability: those are 480H to 493H (SDM appendix A)", .0.name(), .0.index())]
    NoCapability(CapabilityMsr),
}

/// The place of an MSR in the values; nothing for an MSR that software writes.
const fn place(msr: CapabilityMsr) -> Option<usize> {
    match msr.index().checked_sub(FIRST) {
        Some(place) if (place as usize) < COUNT => Some(place as usize),
        _ => None,
    }
}

impl Capabilities {
    /// The processor that reports these values.
    ///
    /// # Errors
    /// An MSR that must be there and is not, and one that reports no capability.
    pub fn from_msrs(
        msrs: impl IntoIterator<Item = (CapabilityMsr, u64)>,
    ) -> Result<Self, CapabilitiesError> {
        let mut given = [None; COUNT];
        for (msr, value) in msrs {
            given[place(msr).ok_or(CapabilitiesError::NoCapability(msr))?] = Some(value);
        }
        let capabilities = Self::from_values(given.map(Option::unwrap_or_default));
        let all = CapabilityMsr::ALL.iter().copied();
        let lacks = |msr: &CapabilityMsr| place(*msr).is_some_and(|place| given[place].is_none());
        match all.filter(|msr| capabilities.has(*msr)).find(lacks) {
            Some(msr) => Err(CapabilitiesError::Missing(msr)),
            None => Ok(capabilities),
        }
    }

    fn from_values(values: [u64; COUNT]) -> Self {
        let mut capabilities = Self { values, fields: FieldSet::EMPTY };
        let exists = |field: &&crate::field::Field| field.exists_if.holds(|it| capabilities.supports(it));
        capabilities.fields = FIELDS.iter().filter(exists).map(|field| field.encoding).collect();
        capabilities
    }

    /// The same processor with another value of one MSR; an MSR that reports no capability changes nothing.
    #[must_use]
    pub fn with(&self, msr: CapabilityMsr, value: u64) -> Self {
        let mut values = self.values;
        if let Some(place) = place(msr) {
            values[place] = value;
        }
        Self::from_values(values)
    }

    /// The same processor with IA32_VMX_VMCS_ENUM as its fields make it (A.9).
    fn with_counted_fields(&self) -> Self {
        let fields = FIELDS.iter().filter(|field| self.fields.contains(field.encoding));
        self.with(CapabilityMsr::VmcsEnum, vmcs_enum(fields))
    }

    /// What the MSR holds; 0 if the processor does not have it.
    #[must_use]
    #[inline]
    pub const fn value(&self, msr: CapabilityMsr) -> u64 {
        match place(msr) {
            Some(place) => self.values[place],
            None => 0,
        }
    }

    /// What RDMSR reads; nothing if the processor does not have the MSR, so that RDMSR faults.
    #[must_use]
    pub fn read(&self, msr: CapabilityMsr) -> Option<u64> {
        self.has(msr).then(|| self.value(msr))
    }

    /// Whether the processor has the MSR (appendix A).
    #[must_use]
    pub fn has(&self, msr: CapabilityMsr) -> bool {
        use CapabilityMsr as Msr;
        let may = |word, bit| self.offers(ControlBit { word, bit });
        match msr {
            Msr::FeatureControl | Msr::SmmMonitorCtl | Msr::Smbase => false,
            Msr::TruePinbasedCtls | Msr::TrueProcbasedCtls | Msr::TrueExitCtls | Msr::TrueEntryCtls => {
                self.basic().true_controls()
            }
            Msr::ProcbasedCtls2 => may(ControlWord::PrimaryProcessor, 31),
            Msr::ProcbasedCtls3 => may(ControlWord::PrimaryProcessor, 17),
            Msr::EptVpidCap => {
                may(ControlWord::SecondaryProcessor, 1) || may(ControlWord::SecondaryProcessor, 5)
            }
            Msr::Vmfunc => may(ControlWord::SecondaryProcessor, 13),
            Msr::ExitCtls2 => may(ControlWord::PrimaryExit, 31),
            _ => true,
        }
    }

    /// IA32_VMX_BASIC (A.1).
    #[must_use]
    pub const fn basic(&self) -> Basic {
        Basic::from_bits(self.value(CapabilityMsr::Basic))
    }

    /// IA32_VMX_MISC (A.6).
    #[must_use]
    pub const fn misc(&self) -> Misc {
        Misc::from_bits(self.value(CapabilityMsr::Misc))
    }

    /// IA32_VMX_EPT_VPID_CAP (A.10).
    #[must_use]
    pub const fn ept_vpid(&self) -> EptVpidCap {
        EptVpidCap::from_bits(self.value(CapabilityMsr::EptVpidCap))
    }

    /// The MSR that reports the settings of a word of controls: the TRUE one where there is one (A.2 to A.5).
    #[must_use]
    pub const fn settings_msr(&self, word: ControlWord) -> CapabilityMsr {
        if self.basic().true_controls() { word.true_capability() } else { word.capability() }
    }

    /// The settings of a word of controls that VM entry allows.
    #[must_use]
    pub const fn settings(&self, word: ControlWord) -> Settings {
        Settings::of_controls(word, self.value(self.settings_msr(word)))
    }

    /// The bits that CR0 must and may have in VMX operation (A.7).
    #[must_use]
    pub const fn cr0(&self) -> Settings {
        let [low, high] = [CapabilityMsr::Cr0Fixed0, CapabilityMsr::Cr0Fixed1];
        Settings::of_control_register(self.value(low), self.value(high))
    }

    /// The bits that CR4 must and may have in VMX operation (A.8).
    #[must_use]
    pub const fn cr4(&self) -> Settings {
        let [low, high] = [CapabilityMsr::Cr4Fixed0, CapabilityMsr::Cr4Fixed1];
        Settings::of_control_register(self.value(low), self.value(high))
    }

    /// Whether the 1-setting of a control is supported.
    #[must_use]
    pub const fn offers(&self, control: ControlBit) -> bool {
        self.settings(control.word).may_be_1 >> control.bit & 1 == 1
    }

    /// Whether the processor satisfies a condition for a field to exist (appendix B).
    #[must_use]
    pub const fn supports(&self, condition: Condition) -> bool {
        match condition {
            Condition::Control(control) => self.offers(control),
            Condition::VmFunction(function) => {
                function < 64 && self.value(CapabilityMsr::Vmfunc) >> function & 1 == 1
            }
            Condition::Cr3TargetsAbove(count) => self.misc().cr3_target_values() > count,
            Condition::FredTransitions => self.value(CapabilityMsr::Cr4Fixed1) & CR4_FRED != 0,
        }
    }

    /// The fields that the processor has; VMREAD and VMWRITE of any other fail with error 12 (33.3).
    #[must_use]
    pub const fn fields(&self) -> FieldSet {
        self.fields
    }

    /// Whether the processor has the field that an encoding names, in whole or in part.
    #[must_use]
    #[inline]
    pub const fn has_field(&self, encoding: Encoding) -> bool {
        self.fields.contains(encoding)
    }
}
