//! Valid VM entries to start from, in tests and examples; and the notation of counterexamples.
//!
//! A [`Sample`] is a VMCS with all that a VM entry looks at. [`Sample::of`] gives one for each kind of guest, which
//! [`check`](crate::entry_rules::check) accepts. A text changes it: the kind of guest, then words such as
//! `GUEST_RFLAGS=0x0` (a field) or `cpl-3` (a [`Setting`]), as the column `counterexample` of the table of rules has it.
//!
//! ```
//! use vmx::entry_rules::check;
//! use vmx::sample::Sample;
//! let sample: Sample = "long GUEST_RFLAGS=0x0".parse()?;
//! assert_eq!(check(&sample.subject()).unwrap_err().rule.id, "GUEST.RIP.RFLAGS_BIT1");
//! # Ok::<(), vmx::sample::ParseSampleError>(())
//! ```

mod guests;
mod memory;
mod setting;

use crate::capabilities::Capabilities;
use crate::entry_rules::{EntryInstruction, Limits, ProcessorState, Subject};
use crate::field::Field;
use crate::vmcs::Vmcs;
use isa::system::Features;
use std::str::FromStr;

pub use guests::Guest;
pub use memory::SampleMemory;
pub use setting::Setting;

/// A VM entry with its surroundings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sample {
    /// The instruction that begins it.
    pub instruction: EntryInstruction,
    /// The current VMCS.
    pub vmcs: Vmcs,
    /// What the processor offers.
    pub capabilities: Capabilities,
    /// The processor before the entry.
    pub processor: ProcessorState,
    /// Host-physical memory.
    pub memory: SampleMemory,
}

impl Sample {
    /// A valid first VM entry (VMLAUNCH) to this kind of guest, on a processor that offers tier 1.
    #[must_use]
    pub fn of(guest: Guest) -> Self {
        let features = Features::default();
        let mut sample = Self {
            instruction: EntryInstruction::Vmlaunch,
            vmcs: Vmcs::new(crate::vmcs::REVISION_IDENTIFIER),
            capabilities: Capabilities::tier1(&features),
            processor: ProcessorState::in_64_bit_mode(Limits::of(&features)),
            memory: SampleMemory::default(),
        };
        guests::prepare(&mut sample, guest);
        sample
    }

    /// The VM entry as the rules see it.
    #[must_use]
    pub fn subject(&self) -> Subject<'_> {
        Subject {
            instruction: self.instruction,
            vmcs: &self.vmcs,
            capabilities: &self.capabilities,
            processor: &self.processor,
            memory: &self.memory,
        }
    }

    /// Changes one thing: a setting, or a field as `SYMBOL=VALUE` with a hexadecimal value; `|=` sets bits of the field,
    /// and `-=` clears bits.
    ///
    /// # Errors
    /// A word that is neither.
    pub fn apply(&mut self, word: &str) -> Result<(), ParseSampleError> {
        let Some((symbol, digits)) = word.split_once('=') else {
            word.parse::<Setting>()?.apply(self);
            return Ok(());
        };
        let name = symbol.trim_end_matches(['|', '-']);
        let field = Field::by_name(name).ok_or_else(|| ParseSampleError::Field(name.to_owned()))?.encoding;
        let digits = digits.strip_prefix("0x").unwrap_or(digits);
        let value = u64::from_str_radix(digits, 16).map_err(|_| ParseSampleError::Value(word.to_owned()))?;
        let value = match &symbol[name.len()..] {
            "|" => self.vmcs.read(field) | value,
            "-" => self.vmcs.read(field) & !value,
            _ => value,
        };
        self.vmcs.write(field, value);
        Ok(())
    }
}

impl FromStr for Sample {
    type Err = ParseSampleError;

    fn from_str(text: &str) -> Result<Self, ParseSampleError> {
        let mut words = text.split_whitespace();
        let mut sample = Self::of(words.next().unwrap_or_default().parse()?);
        words.try_for_each(|word| sample.apply(word))?;
        Ok(sample)
    }
}

/// Why a text describes no sample.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ParseSampleError {
    /// The first word.
    #[error(
        "`{0}` is no kind of guest; there are long, pae, pae-shadow, protected, virtual-8086, real, legacy"
    )]
    Guest(String),
    /// The part before `=`.
    #[error("no VMCS field is called `{0}`")]
    Field(String),
    /// The part after `=`.
    #[error("`{0}`: the value of a field is hexadecimal, such as 0x1f")]
    Value(String),
    /// A word without `=`.
    #[error("`{0}` is no setting of a sample")]
    Setting(String),
}
