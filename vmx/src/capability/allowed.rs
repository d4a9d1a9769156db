//! Allowed settings of controls and of control-register bits (SDM appendix A.2 to A.5, A.7 and A.8).

use crate::controls::{Control, ControlBit, ControlWord, Controls};
use std::fmt;

/// A value that a bit has to have.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Setting {
    /// Fixed to 0.
    Zero,
    /// Fixed to 1.
    One,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Zero => "0",
            Self::One => "1",
        })
    }
}

/// Which bits of a word must be 1, and which may be.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Settings {
    /// Bits that must be 1.
    pub must_be_1: u64,
    /// Bits that may be 1; the others must be 0.
    pub may_be_1: u64,
}

impl Settings {
    /// What the capability MSR of a word of controls says.
    ///
    /// For the 32-bit words, bits 31:0 of the MSR are the allowed 0-settings and bits 63:32 the allowed 1-settings
    /// (A.3.1). The MSRs of the two 64-bit words hold allowed 1-settings only (A.3.4, A.4.2).
    #[must_use]
    pub const fn of_controls(word: ControlWord, msr: u64) -> Self {
        match word.bits() {
            32 => Self { must_be_1: msr & 0xffff_ffff, may_be_1: msr >> 32 },
            _ => Self { must_be_1: 0, may_be_1: msr },
        }
    }

    /// What a pair of IA32_VMX_CR0_FIXED or IA32_VMX_CR4_FIXED MSRs says (A.7, A.8).
    #[must_use]
    pub const fn of_control_register(fixed0: u64, fixed1: u64) -> Self {
        Self { must_be_1: fixed0, may_be_1: fixed1 }
    }

    /// The lowest bit of `value` that is not allowed, with the value it must have.
    ///
    /// A bit that must be 1 and may not be, which no processor reports, is refused whatever it is.
    #[must_use]
    pub const fn refusal(self, value: u64) -> Option<(u8, Setting)> {
        let too_low = self.must_be_1 & !value;
        let too_high = value & !self.may_be_1;
        if too_low | too_high == 0 {
            return None;
        }
        let bit = (too_low | too_high).trailing_zeros() as u8; // at most 63
        Some((bit, if too_low >> bit & 1 == 1 { Setting::One } else { Setting::Zero }))
    }
}

/// A word of controls has a bit that the processor does not allow. VM entry fails with VM-instruction error 7 (29.2.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub struct NotAllowed {
    /// The lowest such bit.
    pub control: ControlBit,
    /// The value that it must have.
    pub must_be: Setting,
}

impl fmt::Display for NotAllowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Control::at(self.control).map_or("a reserved control", |control| control.name);
        write!(f, "{name} ({}) must be {} on this processor (SDM A.3 to A.5)", self.control, self.must_be)
    }
}

/// The controls themselves, if the processor allows all of their bits.
///
/// `settings_msr` is the value of the word's capability MSR: the TRUE one where IA32_VMX_BASIC\[55\] is 1
/// ([`ControlWord::true_capability`]). Conditions between controls are not checked here; they are rules of VM entry.
///
/// # Errors
/// The lowest bit that is not allowed.
///
/// ```
/// use vmx::capability::{Setting, allowed};
/// use vmx::controls::PinBasedControls;
/// let msr = 0x0000_007f_0000_0016; // bits 1, 2 and 4 must be 1; bits 6:0 may be
/// let wanted = PinBasedControls::NMI_EXITING;
/// let refused = allowed(msr, wanted).unwrap_err();
/// assert_eq!((refused.control.bit, refused.must_be), (1, Setting::One));
/// let wanted = wanted | PinBasedControls::from_bits_retain(0x16);
/// assert_eq!(allowed(msr, wanted), Ok(wanted));
/// ```
pub fn allowed<C: Controls>(settings_msr: u64, wanted: C) -> Result<C, NotAllowed> {
    match Settings::of_controls(C::WORD, settings_msr).refusal(wanted.bits().into()) {
        None => Ok(wanted),
        Some((bit, must_be)) => Err(NotAllowed { control: ControlBit { word: C::WORD, bit }, must_be }),
    }
}
