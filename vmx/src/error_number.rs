//! VM-instruction errors: why a VMX instruction failed (SDM 33.4, table 33-1).
//!
//! The rows are `vmx/data/vm_instruction_errors.csv`. VMfailValid writes the number into the VM-instruction error field of
//! the current VMCS; VM exits leave it.

use crate::table::{self, Text};
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use std::fmt;
use std::sync::LazyLock;

macro_rules! instruction_errors {
    ($($variant:ident = $number:literal,)*) => {
        /// A VM-instruction error; the numbers that the manual does not assign are no values.
        #[repr(u8)]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum InstructionError {
            $(
                #[doc = concat!("Number ", $number, "; its row in [`INSTRUCTION_ERRORS`] says what it means.")]
                $variant = $number,
            )*
        }

        impl InstructionError {
            /// All of them, by number.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The error with this number.
            #[must_use]
            pub const fn from_number(number: u32) -> Option<Self> {
                match number {
                    $($number => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

instruction_errors! {
    VmcallInRootOperation = 1,
    VmclearInvalidAddress = 2,
    VmclearVmxonPointer = 3,
    VmlaunchNonClearVmcs = 4,
    VmresumeNonLaunchedVmcs = 5,
    VmresumeAfterVmxoff = 6,
    InvalidControlFields = 7,
    InvalidHostStateFields = 8,
    VmptrldInvalidAddress = 9,
    VmptrldVmxonPointer = 10,
    VmptrldIncorrectRevisionIdentifier = 11,
    UnsupportedVmcsComponent = 12,
    ReadOnlyVmcsComponent = 13,
    VmxonInRootOperation = 15,
    InvalidExecutiveVmcsPointer = 16,
    NonLaunchedExecutiveVmcs = 17,
    ExecutiveVmcsPointerNotVmxonPointer = 18,
    VmcallNonClearVmcs = 19,
    VmcallInvalidExitControlFields = 20,
    VmcallIncorrectMsegRevisionIdentifier = 22,
    VmxoffUnderDualMonitorTreatment = 23,
    VmcallInvalidSmmMonitorFeatures = 24,
    InvalidExecutionControlsInExecutiveVmcs = 25,
    EntryBlockedByMovSs = 26,
    InvalidOperandToInveptInvvpid = 28,
}

impl InstructionError {
    /// The number that VMfailValid stores.
    #[must_use]
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// Its row.
    ///
    /// ```
    /// use vmx::error_number::InstructionError;
    /// let row = InstructionError::UnsupportedVmcsComponent.row();
    /// assert_eq!((row.number, row.name), (12, "VMREAD/VMWRITE of unsupported VMCS component"));
    /// ```
    #[must_use]
    pub fn row(self) -> &'static InstructionErrorRow {
        // The table has a row for each number from 1.
        &INSTRUCTION_ERRORS[self as usize - 1]
    }
}

impl fmt::Display for InstructionError {
    /// `VM-instruction error 7, VM entry with invalid control field(s)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VM-instruction error {}, {}", self.number(), self.row().name)
    }
}

/// A row of the table of VM-instruction errors.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct InstructionErrorRow {
    /// The number.
    pub number: u32,
    /// The manual's description; `not assigned` for a number that the manual skips.
    #[serde(deserialize_with = "table::text")]
    pub name: Text,
    /// The instructions that can store it.
    #[serde(deserialize_with = "instructions")]
    pub instructions: Vec<Text>,
    /// What else there is to know.
    #[serde(deserialize_with = "table::text")]
    pub notes: Text,
}

/// Every number from 1 to 28, assigned or not.
pub static INSTRUCTION_ERRORS: LazyLock<Vec<InstructionErrorRow>> = LazyLock::new(|| {
    table::rows("vm_instruction_errors.csv", include_str!("../data/vm_instruction_errors.csv"))
});

fn instructions<'de, D: Deserializer<'de>>(cell: D) -> Result<Vec<Text>, D::Error> {
    let words: Vec<_> = table::text(cell)?.split_whitespace().collect();
    match words.iter().find(|word| !word.bytes().all(|letter| letter.is_ascii_uppercase())) {
        Some(word) => Err(D::Error::custom(format!("`{word}` is no instruction"))),
        None => Ok(words),
    }
}

#[cfg(test)]
mod tests {
    use super::{INSTRUCTION_ERRORS, InstructionError};

    #[test]
    fn the_rows_are_the_numbers_from_1_and_the_assigned_ones_are_the_variants() {
        let numbers: Vec<_> = INSTRUCTION_ERRORS.iter().map(|row| row.number).collect();
        assert_eq!(numbers, (1..=28).collect::<Vec<_>>());
        for row in INSTRUCTION_ERRORS.iter() {
            let error = InstructionError::from_number(row.number);
            assert_eq!(error.is_some(), row.name != "not assigned", "{}", row.number);
            assert_eq!(error.is_some(), !row.instructions.is_empty(), "{}", row.number);
            assert!(error.is_none_or(|error| error.row() == row), "{}", row.number);
        }
        assert_eq!(InstructionError::ALL.len(), 25);
    }
}
