//! The rules of cached translations as rows (SDM 5.10, 31.4): what is cached under which tag, what each operation
//! removes, and what software has to see to.
//!
//! A row that obliges an operation to remove mappings has a predicate, [`Rule::requires`], on the registers before and
//! after the operation and on the fields of a mapping. It is written without regard to
//! [`Invalidation`](crate::tlb::Invalidation): the two can be held against each other.
//!
//! # Example
//!
//! ```
//! use isa::address::LinearAddress;
//! use mmu::operation::{Operation, Paging, Registers};
//! use mmu::{rules, Mapping};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let ram = mmu::Ram::new(4096)?;
//! let mut registers = Registers::outside(Paging::four_level(0x1000));
//! let space = registers.space();
//! let performed = registers.perform(&ram, &Operation::Invlpg(LinearAddress(0x7000)));
//! let table = isa::address::HostPhysicalAddress(0x5000);
//! let structure = Mapping::Structure { space, level: 2, linear: LinearAddress(0x4000_0000), table };
//! let rule = rules::required(&performed, &structure).expect("INVLPG removes all structures of the PCID");
//! assert_eq!(rule.id, "TLB.OP.INVLPG");
//! # Ok(())
//! # }
//! ```

mod demand;
mod guidance;
mod operations;
mod tags;
mod vmx;

use crate::mapping::Mapping;
use crate::operation::Performed;
use serde::Serialize;
use std::fmt;

/// How a rule binds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Obligation {
    /// A processor does it.
    Must,
    /// A processor does not do it.
    MustNot,
    /// A processor may do it; software expects either.
    May,
    /// A processor need not do it; software does without.
    NeedNot,
    /// Software is advised to do it.
    Should,
}

/// One rule.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Rule {
    /// Its name, which stays.
    pub id: &'static str,
    /// Sections of the SDM.
    pub section: &'static str,
    /// How it binds.
    pub obligation: Obligation,
    /// What happens when it applies.
    pub operation: &'static str,
    /// The classes of mappings that it speaks of.
    pub mappings: &'static str,
    /// The rule.
    pub says: &'static str,
    /// What it does not ask for, how it is read here, and what is not modelled.
    pub note: &'static str,
    /// Whether this rule demands that the mapping be gone after the operation. Never true of a row that is no
    /// [`Obligation::Must`], of one that demands something else, and of an operation that was refused.
    #[serde(skip)]
    pub requires: fn(&Performed, &Mapping) -> bool,
}

/// Every rule.
pub static RULES: [Rule; 90] = joined();

const fn joined() -> [Rule; 90] {
    let groups: [&[Rule]; 4] = [&tags::ROWS, &operations::ROWS, &vmx::ROWS, &guidance::ROWS];
    let mut rules = [tags::ROWS[0]; 90];
    let (mut group, mut row, mut next) = (0, 0, 0);
    while group < groups.len() {
        if row < groups[group].len() {
            rules[next] = groups[group][row];
            (row, next) = (row + 1, next + 1);
        } else {
            (row, group) = (0, group + 1);
        }
    }
    rules
}

/// The rule with this id.
#[must_use]
pub fn rule(id: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.id == id)
}

/// The rule that demands that a mapping from before an operation be gone after it: the first of [`RULES`] that does.
/// `None` says that the architecture guarantees nothing, not that the mapping stays.
#[must_use]
pub fn required(performed: &Performed, mapping: &Mapping) -> Option<&'static Rule> {
    RULES.iter().find(|rule| (rule.requires)(performed, mapping))
}

/// For rules that remove no mapping.
const fn nothing(_: &Performed, _: &Mapping) -> bool {
    false
}

impl fmt::Display for Obligation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Must => "must",
            Self::MustNot => "must not",
            Self::May => "may",
            Self::NeedNot => "need not",
            Self::Should => "should",
        })
    }
}

impl fmt::Display for Rule {
    /// The id, section and obligation on one line, then the text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, section, obligation, operation, mappings, says, note, .. } = self;
        write!(
            f,
            "{id}  (SDM {section}; {obligation})\n  at: {operation}\n  mappings: {mappings}\n  {says}"
        )?;
        if note.is_empty() { Ok(()) } else { write!(f, "\n  [{note}]") }
    }
}
