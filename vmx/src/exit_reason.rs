//! Basic exit reasons: what causes each VM exit, which controls ask for it, and what it writes (SDM appendix C and 30.2).
//!
//! The rows are `vmx/data/exit_reasons.csv`.
//!
//! What the manual leaves open: reasons 84 and 85 (immediate forms of RDMSR and WRMSRNS) are not in the editions of
//! appendix C that were at hand. Two implementations agree on both numbers; one, written by the vendor, also gives the
//! MSR's index as exit qualification and the register operand in bits 6:3 of the instruction information. The other gives
//! reason 85 to the implicit WRMSRNS as well; here that form has reason 32 and exit qualification 1, as 30.2.1 has it.
//! Reason 70 (ENCLV) is no longer listed by revision 092.

mod reasons;
#[cfg(test)]
mod tests;

use crate::Standing;
use crate::controls::ControlBit;
use crate::table::{self, Text};
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use std::sync::LazyLock;

pub use reasons::BasicExitReason;

/// What it takes for the cause of a VM exit to lead to one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Conditionality {
    /// It depends on controls (28.1.3, 28.2).
    Conditional,
    /// It happens in VMX non-root operation whatever the controls are (28.1.2, 28.2).
    Unconditional,
    /// It is a failure of VM entry after the checks of controls and host state (29.8).
    EntryFailure,
    /// It is an SMM VM exit, under the dual-monitor treatment (34.15.2).
    Smm,
}

/// When, relative to an instruction, a VM exit happens (30.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Before the instruction that causes it, which leaves no trace.
    FaultLike,
    /// After the instruction that causes it.
    TrapLike,
    /// Between instructions.
    Boundary,
    /// At an event that belongs to no instruction.
    Event,
    /// As the exception that causes it.
    AsTheException,
    /// VM entry does not complete.
    EntryFailure,
}

/// What a VM exit does to the exit qualification, or to another field that holds information on the cause.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Written {
    /// The field keeps the value that it had.
    Unmodified,
    /// The manual does not define the value.
    Undefined,
    /// The field becomes 0.
    Cleared,
    /// The field receives a value of one obvious meaning.
    Value,
    /// The field receives what the sentence says, when it says so.
    As(Text),
}

/// What a VM exit does to exiting-event or original-event identification (30.2.2, 30.2.4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum EventWritten {
    /// The field keeps the value that it had.
    Unmodified,
    /// Bit 31 becomes 0; the manual does not define the others.
    MarkedInvalid,
    /// The field describes an event when the sentence says so, and is marked invalid otherwise.
    Event(Text),
}

/// A row of the table of basic exit reasons.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct ExitReason {
    /// The reason.
    #[serde(rename = "number", deserialize_with = "reason_cell")]
    pub reason: BasicExitReason,
    /// The manual's name.
    #[serde(deserialize_with = "table::text")]
    pub name: Text,
    /// What happens in the guest.
    #[serde(deserialize_with = "table::text")]
    pub cause: Text,
    /// What it takes for the cause to lead to a VM exit.
    pub conditionality: Conditionality,
    /// The controls that decide, of which `condition` says how.
    #[serde(deserialize_with = "table::list")]
    pub controls: Vec<ControlBit>,
    /// The controls and other fields that decide, in words.
    #[serde(deserialize_with = "table::text")]
    pub condition: Text,
    /// When it happens.
    pub kind: Kind,
    /// What becomes of the exit qualification (30.2.1).
    #[serde(deserialize_with = "written_cell")]
    pub exit_qualification: Written,
    /// What becomes of the VM-exit instruction length (30.2.5).
    #[serde(deserialize_with = "written_cell")]
    pub instruction_length: Written,
    /// What becomes of the VM-exit instruction information (30.2.5).
    #[serde(deserialize_with = "written_cell")]
    pub instruction_information: Written,
    /// What becomes of the guest-linear address (30.2.1).
    #[serde(deserialize_with = "written_cell")]
    pub guest_linear_address: Written,
    /// What becomes of the guest-physical address (30.2.1).
    #[serde(deserialize_with = "written_cell")]
    pub guest_physical_address: Written,
    /// What becomes of exiting-event identification (30.2.2).
    #[serde(deserialize_with = "event_cell")]
    pub exiting_event: EventWritten,
    /// What becomes of original-event identification (30.2.4).
    #[serde(deserialize_with = "event_cell")]
    pub original_event: EventWritten,
    /// What the number rests on.
    pub standing: Standing,
    /// What else there is to know.
    #[serde(deserialize_with = "table::text")]
    pub notes: Text,
}

/// Every basic exit reason, by number.
pub static EXIT_REASONS: LazyLock<Vec<ExitReason>> =
    LazyLock::new(|| table::rows("exit_reasons.csv", include_str!("../data/exit_reasons.csv")));

impl ExitReason {
    /// The row of a reason.
    ///
    /// ```
    /// use vmx::exit_reason::{BasicExitReason, Conditionality, ExitReason};
    /// let row = ExitReason::of(BasicExitReason::Cpuid);
    /// assert_eq!(row.conditionality, Conditionality::Unconditional);
    /// ```
    #[must_use]
    pub fn of(reason: BasicExitReason) -> &'static Self {
        // Both lists are in the order of the numbers and leave out the same ones.
        let position = BasicExitReason::ALL.partition_point(|other| *other < reason);
        &EXIT_REASONS[position]
    }
}

fn reason_cell<'de, D: Deserializer<'de>>(cell: D) -> Result<BasicExitReason, D::Error> {
    let number = u16::deserialize(cell)?;
    BasicExitReason::from_number(number).ok_or_else(|| D::Error::custom(format!("no exit reason {number}")))
}

fn written_cell<'de, D: Deserializer<'de>>(cell: D) -> Result<Written, D::Error> {
    Ok(match table::text(cell)? {
        "unmodified" => Written::Unmodified,
        "undefined" => Written::Undefined,
        "cleared" => Written::Cleared,
        "written" => Written::Value,
        "" => return Err(D::Error::custom("what becomes of a field is missing")),
        sentence => Written::As(sentence),
    })
}

fn event_cell<'de, D: Deserializer<'de>>(cell: D) -> Result<EventWritten, D::Error> {
    Ok(match table::text(cell)? {
        "unmodified" => EventWritten::Unmodified,
        "marked-invalid" => EventWritten::MarkedInvalid,
        sentence if sentence.contains("valid") => EventWritten::Event(sentence),
        other => return Err(D::Error::custom(format!("`{other}` does not say when the event is valid"))),
    })
}
