//! IA32_APIC_BASE: where the registers are, and in which mode (SDM 13.4.4, 13.12.1).

use super::msr::MsrRefusal;
use crate::options::{LocalApicFeatures, ProcessorIndex};

/// The mode of a local APIC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Globally disabled: the processor behaves as one without.
    Disabled,
    /// The registers are in memory.
    Xapic,
    /// The registers are MSRs.
    X2apic,
}

/// The value of IA32_APIC_BASE; always one of the valid states.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Base(u64);

const BOOTSTRAP: u64 = 1 << 8;
const X2APIC: u64 = 1 << 10;
const ENABLE: u64 = 1 << 11;
const LOWEST_ADDRESS_BIT: u64 = 1 << 12;

impl Base {
    /// The value at power-on.
    pub(super) fn new(processor: ProcessorIndex) -> Self {
        let bootstrap = if processor == ProcessorIndex(0) { BOOTSTRAP } else { 0 };
        Self(0xfee0_0000 | ENABLE | bootstrap)
    }

    /// The whole register.
    pub(super) fn bits(self) -> u64 {
        self.0
    }

    /// The address of the page of registers in xAPIC mode.
    pub(super) fn address(self) -> u64 {
        self.0 & !(LOWEST_ADDRESS_BIT - 1)
    }

    /// The mode.
    pub(super) fn mode(self) -> Mode {
        Self::mode_of(self.0).unwrap_or(Mode::Disabled)
    }

    /// The mode that a value stands for; `None` is x2APIC mode without the APIC.
    fn mode_of(value: u64) -> Option<Mode> {
        match (value & ENABLE != 0, value & X2APIC != 0) {
            (false, false) => Some(Mode::Disabled),
            (true, false) => Some(Mode::Xapic),
            (true, true) => Some(Mode::X2apic),
            (false, true) => None,
        }
    }

    /// The register after a write of `value` (SDM 13.12.5): x2APIC mode is entered from xAPIC mode only, and left only by
    /// disabling the APIC.
    pub(super) fn written(self, value: u64, features: LocalApicFeatures) -> Result<Self, MsrRefusal> {
        let addresses = (1_u64 << features.physical_address_bits) - LOWEST_ADDRESS_BIT;
        let mode_bits = ENABLE | if features.x2apic { X2APIC } else { 0 };
        let reserved = value & !(addresses | BOOTSTRAP | mode_bits);
        if reserved != 0 {
            return Err(MsrRefusal::Reserved(reserved));
        }
        let from = self.mode();
        let to = Self::mode_of(value).ok_or(MsrRefusal::InvalidMode)?;
        match (from, to) {
            (Mode::X2apic, Mode::Xapic) | (Mode::Disabled, Mode::X2apic) => {
                Err(MsrRefusal::Transition { from, to })
            }
            _ => Ok(Self(value)),
        }
    }
}
