//! The rows of the table of rules.

use super::predicates::{self, Predicate};
use super::state::State;
use super::subject::Subject;
use crate::error_number::InstructionError;
use crate::exit_reason::BasicExitReason;
use crate::field::{Encoding, Field};
use crate::table::{self, Text};
use crate::vmcs::FieldSet;
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

/// A step of VM entry (SDM chapter 29), in the order in which they are taken. It decides how an entry is refused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The first checks of VMLAUNCH and VMRESUME (29.1).
    Instruction,
    /// Checks of the VM-execution, VM-exit and VM-entry controls (29.2.1).
    Controls,
    /// Checks of the host-state area and of address-space size (29.2.2 to 29.2.4).
    HostState,
    /// Checks of the guest-state area (29.3).
    GuestState,
    /// Loading of MSRs (29.4).
    MsrLoading,
    /// Machine-check events during VM entry (29.9).
    MachineCheck,
    /// What is checked instead when a VM entry returns from SMM under the dual-monitor treatment (34.15.4).
    ReturnFromSmm,
}

/// How a VM entry is refused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Refusal {
    /// #UD.
    UndefinedOpcode,
    /// #GP(0).
    GeneralProtection,
    /// The VM exit that the instruction causes in VMX non-root operation.
    InstructionExit,
    /// VMfailInvalid: CF = 1, and no error number (33.2).
    VmFailInvalid,
    /// VMfailValid: ZF = 1, and the error number in the current VMCS (33.2).
    VmFailValid(InstructionError),
    /// A VM-entry failure, after which the host state is loaded (29.8).
    EntryFailure {
        /// The basic exit reason; bit 31 of the exit reason is 1.
        reason: BasicExitReason,
        /// The exit qualification.
        qualification: u64,
    },
}

impl fmt::Display for Refusal {
    /// `VMfailValid, VM-instruction error 7`; `VM-entry failure, exit reason 33, exit qualification 0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UndefinedOpcode => f.write_str("#UD"),
            Self::GeneralProtection => f.write_str("#GP(0)"),
            Self::InstructionExit => f.write_str("VM exit"),
            Self::VmFailInvalid => f.write_str("VMfailInvalid"),
            Self::VmFailValid(error) => write!(f, "VMfailValid, VM-instruction error {}", error.number()),
            Self::EntryFailure { reason, qualification } => {
                let number = reason.number();
                write!(f, "VM-entry failure, exit reason {number}, exit qualification {qualification}")
            }
        }
    }
}

impl FromStr for Refusal {
    type Err = String;

    /// A cell: `UD`, `GP`, `exit`, `fail-invalid`, `fail-valid:7`, `entry-failure:33:0`.
    fn from_str(cell: &str) -> Result<Self, String> {
        let parts: Vec<_> = cell.split(':').collect();
        let number = |text: &str| text.parse::<u32>().map_err(|error| format!("`{cell}`: {error}"));
        match parts[..] {
            ["UD"] => Ok(Self::UndefinedOpcode),
            ["GP"] => Ok(Self::GeneralProtection),
            ["exit"] => Ok(Self::InstructionExit),
            ["fail-invalid"] => Ok(Self::VmFailInvalid),
            ["fail-valid", error] => InstructionError::from_number(number(error)?)
                .map(Self::VmFailValid)
                .ok_or_else(|| format!("`{cell}`: the manual assigns no such error")),
            ["entry-failure", reason, qualification] => {
                let reason = u16::try_from(number(reason)?).ok().and_then(BasicExitReason::from_number);
                let reason = reason.ok_or_else(|| format!("`{cell}`: no such exit reason"))?;
                Ok(Self::EntryFailure { reason, qualification: number(qualification)?.into() })
            }
            _ => Err(format!("`{cell}` is no way to refuse a VM entry")),
        }
    }
}

/// A cell of the table: a field, or a part of a field that most rules read alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Read {
    Field(Encoding),
    Virtual8086,
}

impl FromStr for Read {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        if word == "GUEST_RFLAGS.VM" {
            return Ok(Self::Virtual8086);
        }
        let field = Field::by_name(word).filter(|field| field.symbol == word);
        field
            .map(|field| Self::Field(field.encoding))
            .ok_or_else(|| format!("no field has the symbol `{word}`"))
    }
}

/// The columns of the table.
#[derive(Deserialize)]
struct Row {
    #[serde(deserialize_with = "table::text")]
    id: Text,
    stage: Stage,
    #[serde(deserialize_with = "table::text")]
    section: Text,
    #[serde(deserialize_with = "table::text")]
    subject: Text,
    #[serde(deserialize_with = "table::text")]
    when: Text,
    #[serde(deserialize_with = "table::text")]
    must: Text,
    #[serde(deserialize_with = "table::list")]
    fields: Vec<Read>,
    #[serde(deserialize_with = "table::list")]
    reads: Vec<Read>,
    #[serde(deserialize_with = "table::list")]
    state: Vec<State>,
    #[serde(deserialize_with = "table::parsed")]
    refused_as: Refusal,
    tier: u8,
    #[serde(deserialize_with = "table::text")]
    counterexample: Text,
    #[serde(deserialize_with = "table::list")]
    breaks_too: Vec<String>,
    #[serde(deserialize_with = "modelled")]
    modelled: Modelled,
    #[serde(deserialize_with = "table::text")]
    notes: Text,
}

/// Whether the processor has the state that a rule is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Modelled {
    /// The rule is checked.
    Yes,
    /// The rule is never violated.
    No,
}

fn modelled<'de, D: Deserializer<'de>>(cell: D) -> Result<Modelled, D::Error> {
    match table::text(cell)? {
        "yes" => Ok(Modelled::Yes),
        "no" => Ok(Modelled::No),
        other => Err(D::Error::custom(format!("`{other}` is neither `yes` nor `no`"))),
    }
}

/// A rule of VM entry: one requirement, and when it applies.
pub struct Rule {
    /// An identifier that never changes.
    pub id: Text,
    /// Where in the entry it is checked.
    pub stage: Stage,
    /// The section of the manual.
    pub section: Text,
    /// What it is about, in words.
    pub subject: Text,
    /// When it applies: `always`, or a condition.
    pub when: Text,
    /// What must hold then.
    pub must: Text,
    /// The fields that it judges.
    pub fields: Vec<Encoding>,
    /// What else it looks at beside the VMCS.
    pub state: Vec<State>,
    /// How the entry is refused.
    pub refused_as: Refusal,
    /// The tier of the feature: 1 offered, 2 and 3 not yet.
    pub tier: u8,
    /// How to break it alone, in the notation of [`sample`](crate::sample); empty if that needs a feature not offered.
    pub counterexample: Text,
    /// The ids of other rules that no counterexample can leave whole.
    pub breaks_too: Vec<String>,
    /// Whether it is checked at all.
    pub modelled: Modelled,
    /// What else there is to know.
    pub notes: Text,
    pub(super) predicate: Predicate,
    pub(super) reads: FieldSet,
    pub(super) reads_virtual_8086: bool,
}

/// Every rule, in the order in which they are checked.
pub static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let predicates: HashMap<_, _> = predicates::all().copied().collect();
    let rows = table::rows("vm_entry_rules.csv", include_str!("../../data/vm_entry_rules.csv"));
    rows.into_iter().map(|row| Rule::from_row(row, &predicates)).collect()
});

impl Rule {
    /// # Panics
    /// When a row has no predicate: a defect of the build, which the tests see first.
    fn from_row(row: Row, predicates: &HashMap<&str, Predicate>) -> Self {
        let predicate = predicates.get(row.id).copied();
        let predicate = predicate.unwrap_or_else(|| panic!("the rule {} has no predicate", row.id));
        let all = || row.fields.iter().chain(&row.reads).copied();
        let field = |read: Read| match read {
            Read::Field(field) => Some(field),
            Read::Virtual8086 => None,
        };
        // A rule that judges the bit shows the whole register.
        let shown = |read: &Read| field(*read).unwrap_or(Encoding::GUEST_RFLAGS);
        Self {
            id: row.id,
            stage: row.stage,
            section: row.section,
            subject: row.subject,
            when: row.when,
            must: row.must,
            fields: row.fields.iter().map(shown).collect(),
            reads: all().filter_map(field).collect(),
            reads_virtual_8086: all().any(|read| read == Read::Virtual8086),
            state: row.state,
            refused_as: row.refused_as,
            tier: row.tier,
            counterexample: row.counterexample,
            breaks_too: row.breaks_too,
            modelled: row.modelled,
            notes: row.notes,
            predicate,
        }
    }

    /// The rule with this id; case does not matter.
    ///
    /// ```
    /// use vmx::entry_rules::{Rule, Stage};
    /// let rule = Rule::by_id("GUEST.RIP.RFLAGS_BIT1").unwrap();
    /// assert_eq!((rule.section, rule.stage), ("29.3.1.4", Stage::GuestState));
    /// ```
    #[must_use]
    pub fn by_id(id: &str) -> Option<&'static Self> {
        RULES.iter().find(|rule| rule.id.eq_ignore_ascii_case(id))
    }

    /// Whether it applies to a VM entry: its condition holds. Rules of MSR loading apply to entries of an area.
    #[must_use]
    pub fn applies(&self, subject: &Subject) -> bool {
        self.predicate.applies(subject)
    }

    /// What it demands, as one sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let Self { subject, when, must, .. } = self;
        match *when {
            "always" => format!("{subject}: {must}"),
            when => format!("{subject}: {must}, when {when}"),
        }
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id)
    }
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Rule {}
