//! The controls of VMX: seven words of bits, and what each bit does (SDM 27.6.1, 27.6.2, 27.7.1, 27.8.1).
//!
//! The rows are `vmx/data/controls.csv`, one for each bit that the manual names or counts among the default1 controls
//! (appendix A.2). Each word has a type of its own, so that a bit of one word cannot be asked of another.
//!
//! Every position in the table is one of revision 092 (tables 27-5 to 27-8, 27-14, 27-15 and 27-17), with two
//! exceptions that independent implementations agree on: "enable ENCLV exiting" and "EPC virtualization extensions",
//! bits 28 and 29 of the secondary word. One implementation also names tertiary bit 13; it is not here.

#[cfg(test)]
mod tests;
mod words;

use crate::Standing;
use crate::capability::CapabilityMsr;
use crate::field::Encoding;
use crate::table::{self, Text};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

pub use words::{
    EntryControls, PinBasedControls, PrimaryExitControls, PrimaryProcessorControls, SecondaryExitControls,
    SecondaryProcessorControls, TertiaryProcessorControls,
};

/// One of the seven words of controls.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum ControlWord {
    /// Pin-based VM-execution controls (27.6.1).
    #[serde(rename = "pin")]
    PinBased,
    /// Primary processor-based VM-execution controls (27.6.2).
    #[serde(rename = "primary")]
    PrimaryProcessor,
    /// Secondary processor-based VM-execution controls (27.6.2).
    #[serde(rename = "secondary")]
    SecondaryProcessor,
    /// Tertiary processor-based VM-execution controls (27.6.2).
    #[serde(rename = "tertiary")]
    TertiaryProcessor,
    /// Primary VM-exit controls (27.7.1).
    #[serde(rename = "exit")]
    PrimaryExit,
    /// Secondary VM-exit controls (27.7.1).
    #[serde(rename = "exit2")]
    SecondaryExit,
    /// VM-entry controls (27.8.1).
    #[serde(rename = "entry")]
    Entry,
}

/// What the tables call each word, with its field and the MSRs that report its settings.
const WORDS: [(ControlWord, &str, Encoding, CapabilityMsr, CapabilityMsr); 7] = {
    use CapabilityMsr as Msr;
    use ControlWord as W;
    [
        (W::PinBased, "pin", Encoding::PIN_CONTROLS, Msr::PinbasedCtls, Msr::TruePinbasedCtls),
        (
            W::PrimaryProcessor,
            "primary",
            Encoding::PRIMARY_PROC_CONTROLS,
            Msr::ProcbasedCtls,
            Msr::TrueProcbasedCtls,
        ),
        (
            W::SecondaryProcessor,
            "secondary",
            Encoding::SECONDARY_PROC_CONTROLS,
            Msr::ProcbasedCtls2,
            Msr::ProcbasedCtls2,
        ),
        (
            W::TertiaryProcessor,
            "tertiary",
            Encoding::TERTIARY_PROC_CONTROLS,
            Msr::ProcbasedCtls3,
            Msr::ProcbasedCtls3,
        ),
        (W::PrimaryExit, "exit", Encoding::PRIMARY_EXIT_CONTROLS, Msr::ExitCtls, Msr::TrueExitCtls),
        (W::SecondaryExit, "exit2", Encoding::SECONDARY_EXIT_CONTROLS, Msr::ExitCtls2, Msr::ExitCtls2),
        (W::Entry, "entry", Encoding::ENTRY_CONTROLS, Msr::EntryCtls, Msr::TrueEntryCtls),
    ]
};

impl ControlWord {
    /// The seven words in the order of the manual.
    pub const ALL: [Self; 7] = [
        Self::PinBased,
        Self::PrimaryProcessor,
        Self::SecondaryProcessor,
        Self::TertiaryProcessor,
        Self::PrimaryExit,
        Self::SecondaryExit,
        Self::Entry,
    ];

    /// The short name that the tables use: `pin`, `primary`, `secondary`, `tertiary`, `exit`, `exit2`, `entry`.
    #[must_use]
    pub const fn symbol(self) -> &'static str {
        WORDS[self as usize].1
    }

    /// The VMCS field that holds the word.
    #[must_use]
    pub const fn field(self) -> Encoding {
        WORDS[self as usize].2
    }

    /// How many bits the word has: 32 or 64.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Self::TertiaryProcessor | Self::SecondaryExit => 64,
            _ => 32,
        }
    }

    /// The capability MSR that every processor with this word has (appendices A.3 to A.5).
    #[must_use]
    pub const fn capability(self) -> CapabilityMsr {
        WORDS[self as usize].3
    }

    /// The capability MSR to consult when IA32_VMX_BASIC\[55\] is 1; for words without default1 controls the same one.
    #[must_use]
    pub const fn true_capability(self) -> CapabilityMsr {
        WORDS[self as usize].4
    }
}

/// A type that holds the bits of one word of controls.
///
/// It keeps bits that no control has, because a VMCS can hold them; VM entry is what refuses them.
pub trait Controls: bitflags::Flags<Bits: Into<u64>> {
    /// Which word.
    const WORD: ControlWord;
}

/// Whether processors always supported the 0-setting of a control (appendix A.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DefaultClass {
    /// Reserved or unsupported controls of this class are 0.
    Default0,
    /// Must be 1 unless a TRUE capability MSR says otherwise.
    Default1,
}

/// A row of the table of controls.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Control {
    /// An identifier that never changes: the word's symbol and the position.
    #[serde(deserialize_with = "table::text")]
    pub id: Text,
    /// The word that holds it.
    pub word: ControlWord,
    /// Its position in the word.
    pub bit: u8,
    /// The manual's name; `default1 bit N` where the manual has none.
    #[serde(deserialize_with = "table::text")]
    pub name: Text,
    /// Its class.
    pub default: DefaultClass,
    /// What it does when it is 1.
    #[serde(deserialize_with = "table::text")]
    pub meaning: Text,
    /// The section that defines it.
    #[serde(deserialize_with = "table::text")]
    pub section: Text,
    /// What the position rests on.
    pub standing: Standing,
}

/// Every control, by word and position.
pub static CONTROLS: LazyLock<Vec<Control>> =
    LazyLock::new(|| table::rows("controls.csv", include_str!("../data/controls.csv")));

impl Control {
    /// The control at a position.
    #[must_use]
    pub fn at(position: ControlBit) -> Option<&'static Self> {
        CONTROLS.iter().find(|control| control.position() == position)
    }

    /// The control of a word with this name; case and punctuation do not matter.
    #[must_use]
    pub fn by_name(word: ControlWord, name: &str) -> Option<&'static Self> {
        let name = table::normalized(name);
        CONTROLS.iter().find(|control| control.word == word && table::normalized(control.name) == name)
    }

    /// Where it is.
    #[must_use]
    pub const fn position(&self) -> ControlBit {
        ControlBit { word: self.word, bit: self.bit }
    }
}

/// The position of a control; written `secondary:5` in the tables.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ControlBit {
    /// The word.
    pub word: ControlWord,
    /// The position in it.
    pub bit: u8,
}

impl fmt::Display for ControlBit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.word.symbol(), self.bit)
    }
}

impl FromStr for ControlBit {
    type Err = ParseControlBitError;

    fn from_str(text: &str) -> Result<Self, ParseControlBitError> {
        let refused = || ParseControlBitError(text.to_owned());
        let (symbol, bit) = text.split_once(':').ok_or_else(refused)?;
        let word = ControlWord::ALL.into_iter().find(|word| word.symbol() == symbol).ok_or_else(refused)?;
        let bit = bit.parse().ok().filter(|bit| *bit < word.bits()).ok_or_else(refused)?;
        Ok(Self { word, bit })
    }
}

/// A text is no position of a control.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is not a word of controls and a bit of it, such as `secondary:5`")]
pub struct ParseControlBitError(String);
