//! Which processors have a VMCS field: the footnotes of appendix B as data.

use crate::controls::{ControlBit, ParseControlBitError};
use std::fmt;
use std::str::FromStr;

/// Which processors have a field.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Existence {
    /// All of them.
    Always,
    /// Those that satisfy at least one of the conditions.
    AnyOf(Vec<Condition>),
}

/// One reason for a field to exist.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Condition {
    /// The processor supports the 1-setting of the control.
    Control(ControlBit),
    /// The processor supports the 1-setting of this bit of the VM-function controls.
    VmFunction(u8),
    /// The processor supports more than this many CR3-target values (IA32_VMX_MISC\[24:16\]).
    Cr3TargetsAbove(u16),
    /// The processor supports FRED transitions.
    FredTransitions,
}

impl Existence {
    /// Whether a processor that answers the conditions in this way has the field.
    pub fn holds(&self, supports: impl FnMut(Condition) -> bool) -> bool {
        match self {
            Self::Always => true,
            Self::AnyOf(conditions) => conditions.iter().copied().any(supports),
        }
    }
}

impl FromStr for Existence {
    type Err = ParseConditionError;

    fn from_str(cell: &str) -> Result<Self, ParseConditionError> {
        if cell == "always" {
            return Ok(Self::Always);
        }
        let conditions = cell.split_whitespace().map(str::parse).collect::<Result<Vec<_>, _>>()?;
        if conditions.is_empty() { Err(ParseConditionError::Empty) } else { Ok(Self::AnyOf(conditions)) }
    }
}

impl FromStr for Condition {
    type Err = ParseConditionError;

    fn from_str(word: &str) -> Result<Self, ParseConditionError> {
        if word == "fred" {
            return Ok(Self::FredTransitions);
        }
        if let Some(function) = word.strip_prefix("vm-function:") {
            return Ok(Self::VmFunction(function.parse()?));
        }
        if let Some(count) = word.strip_prefix("cr3-targets>") {
            return Ok(Self::Cr3TargetsAbove(count.parse()?));
        }
        Ok(Self::Control(word.parse()?))
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Control(bit) => write!(f, "{bit}"),
            Self::VmFunction(function) => write!(f, "vm-function:{function}"),
            Self::Cr3TargetsAbove(count) => write!(f, "cr3-targets>{count}"),
            Self::FredTransitions => f.write_str("fred"),
        }
    }
}

/// Why a cell is no condition.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ParseConditionError {
    /// The cell holds nothing.
    #[error("a field needs `always` or at least one condition")]
    Empty,
    /// A count or the number of a VM function is no number.
    #[error("not a number: {0}")]
    Number(#[from] std::num::ParseIntError),
    /// It looks like a control and is none.
    #[error(transparent)]
    Control(#[from] ParseControlBitError),
}
