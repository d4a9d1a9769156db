//! Reads the text in which hypervisors print a VMCS: Linux KVM (`dump_vmcs`) and Xen (`vmcs_dump_vcpu`).
//!
//! Both print the guest state, the host state and the controls under headings such as `*** Guest State ***`, in lines of
//! names and hexadecimal values. What the log puts before a line is skipped. A dump does not hold all fields;
//! [`Dump::given`] says which.
//!
//! ```
//! use vmx::dump::Dump;
//! use vmx::field::Encoding;
//! let text = "kvm_intel: *** Guest State ***\nkvm_intel: CR3 = 0x0000000000001000\n\
//!     kvm_intel: *** Host State ***\nkvm_intel: *** Control State ***\n";
//! let dump = Dump::parse(text)?;
//! assert_eq!(dump.vmcs.read(Encoding::GUEST_CR3), 0x1000);
//! assert!(!dump.given.contains(Encoding::HOST_RIP));
//! # Ok::<(), vmx::dump::DumpError>(())
//! ```

mod lines;
mod template;
#[cfg(test)]
mod tests;

use crate::field::{AccessType, Encoding, Field};
use crate::vmcs::{FieldSet, REVISION_IDENTIFIER, Vmcs};
use template::Mismatch;

/// Some fields of a VMCS.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dump {
    /// The fields; those that are not given are 0.
    pub vmcs: Vmcs,
    /// Which fields are given.
    pub given: FieldSet,
    /// The lines after the first heading that were not understood, counted from 1.
    pub ignored_lines: Vec<usize>,
}

/// The headings of a dump.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Part {
    /// `*** Guest State ***`
    Guest,
    /// `*** Host State ***`
    Host,
    /// `*** Control State ***`
    Control,
}

impl Part {
    /// The three headings in their order.
    pub const ALL: [(Self, &'static str); 3] = [
        (Self::Guest, "*** Guest State ***"),
        (Self::Host, "*** Host State ***"),
        (Self::Control, "*** Control State ***"),
    ];
}

/// Why a text is no dump of a VMCS.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DumpError {
    /// A heading is not there.
    #[error("no line `{0}`: expected what Linux KVM (dump_vmcs) or Xen (vmcs_dump_vcpu) prints, whole")]
    NoHeading(&'static str),
    /// A second dump begins.
    #[error("line {line}: a second dump begins; give one at a time")]
    Second {
        /// The line, counted from 1.
        line: usize,
    },
    /// A line begins as it should and goes on differently.
    #[error("line {line}, column {column}: expected {expected}, found {found}")]
    Malformed {
        /// The line, counted from 1.
        line: usize,
        /// The column, in bytes from 1.
        column: usize,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A value does not fit its field.
    #[error("line {line}: {value:#x} does not fit {name}, which has {bits} bits")]
    TooWide {
        /// The line, counted from 1.
        line: usize,
        /// The field.
        name: &'static str,
        /// The value.
        value: u64,
        /// The width of the field.
        bits: u32,
    },
}

impl Default for Dump {
    fn default() -> Self {
        Self { vmcs: Vmcs::new(REVISION_IDENTIFIER), given: FieldSet::EMPTY, ignored_lines: Vec::new() }
    }
}

/// What a log puts before the text of a line.
const PREFIXES: [&str; 5] = ["kvm_intel: ", "kvm: ", "(XEN) ", "kernel: ", "] "];

/// The text of a line, without what the log puts before it.
fn without_prefix(line: &str) -> &str {
    let end = |prefix: &&str| line.rfind(*prefix).map(|at| at + prefix.len());
    let from = PREFIXES.iter().filter_map(end).max().unwrap_or(0);
    line[from..].trim()
}

impl Dump {
    /// Records the value of a field, or of bits 63:32 of one.
    ///
    /// # Errors
    /// The number of bits of the field, if the value has more.
    pub fn give(&mut self, field: Encoding, value: u64) -> Result<(), u32> {
        let mask = match field.access_type() {
            AccessType::Full => field.width().mask(),
            AccessType::High => 0xffff_ffff,
        };
        if value & !mask != 0 {
            return Err(mask.count_ones());
        }
        self.vmcs.write(field, value);
        self.given.insert(field);
        Ok(())
    }

    /// Reads a dump, with whatever a log puts around it.
    ///
    /// # Errors
    /// The place and what was expected there.
    pub fn parse(text: &str) -> Result<Self, DumpError> {
        let mut dump = Self::default();
        let mut part = None;
        // Xen draws lines of asterisks around a dump.
        for (line, number) in text.lines().zip(1..) {
            let words = without_prefix(line);
            match Part::ALL.iter().find(|(_, heading)| words == *heading) {
                Some((next, _)) if part.is_some_and(|part| part >= *next) => {
                    return Err(DumpError::Second { line: number });
                }
                Some((next, _)) => part = Some(*next),
                None => {
                    let Some(part) = part.filter(|_| !words.chars().all(|c| c == '*')) else { continue };
                    dump.read_line(part, line, words, number)?;
                }
            }
        }
        let lacks = |heading: &str| !text.lines().any(|line| without_prefix(line) == heading);
        match Part::ALL.iter().find(|(_, heading)| lacks(heading)) {
            Some((_, heading)) => Err(DumpError::NoHeading(heading)),
            None => Ok(dump),
        }
    }

    /// Reads the text of one line: one item of the part, or several.
    fn read_line(&mut self, part: Part, line: &str, text: &str, number: usize) -> Result<(), DumpError> {
        let mut rest = text;
        while !rest.is_empty() {
            match item(part, rest) {
                Ok((values, after)) => {
                    for (field, value) in values {
                        self.give(field, value).map_err(|bits| too_wide(number, field, value, bits))?;
                    }
                    rest = after.trim_start();
                }
                Err(None) => {
                    self.ignored_lines.push(number);
                    return Ok(());
                }
                Err(Some(Mismatch { rest, expected })) => {
                    return Err(malformed(line, rest, number, expected));
                }
            }
        }
        Ok(())
    }

    /// Counts words of controls that are given as not activated as given, and 0, as the processor does.
    #[must_use]
    pub fn with_inactive_controls(mut self) -> Self {
        use crate::controls::{PrimaryExitControls as Exit, PrimaryProcessorControls as Primary};
        let primary = self.vmcs.primary_processor();
        let exit = self.vmcs.primary_exit();
        let (processor, exits) = (Encoding::PRIMARY_PROC_CONTROLS, Encoding::PRIMARY_EXIT_CONTROLS);
        let (secondary, tertiary) =
            (Primary::ACTIVATE_SECONDARY_CONTROLS, Primary::ACTIVATE_TERTIARY_CONTROLS);
        let words = [
            (Encoding::SECONDARY_PROC_CONTROLS, processor, primary.contains(secondary)),
            (Encoding::TERTIARY_PROC_CONTROLS, processor, primary.contains(tertiary)),
            (Encoding::SECONDARY_EXIT_CONTROLS, exits, exit.contains(Exit::ACTIVATE_SECONDARY_CONTROLS)),
        ];
        for (word, activated_by, active) in words {
            // Without the word that would activate it, nothing is known.
            if !active && self.given.contains(activated_by) {
                self.given.insert(word);
            }
        }
        self
    }
}

/// What an item of a line says, and the text after it.
type Item<'a> = (Vec<(Encoding, u64)>, &'a str);

/// The item at the start of a text. Nothing as error: no item begins like this.
fn item(part: Part, text: &str) -> Result<Item<'_>, Option<Mismatch<'_>>> {
    let mut nearest: Option<Mismatch> = None;
    for template in lines::of(part) {
        match template::read(template, text) {
            Ok(item) => return Ok(item),
            Err(None) => {}
            Err(Some(mismatch)) => {
                // The one that went furthest is what the line was meant to be.
                if nearest.as_ref().is_none_or(|nearest| mismatch.rest.len() < nearest.rest.len()) {
                    nearest = Some(mismatch);
                }
            }
        }
    }
    Err(nearest)
}

fn too_wide(line: usize, field: Encoding, value: u64, bits: u32) -> DumpError {
    let name = Field::by_encoding(field).map_or("the field", |field| field.name);
    DumpError::TooWide { line, name, value, bits }
}

fn malformed(line: &str, rest: &str, number: usize, expected: String) -> DumpError {
    let word: String = rest.chars().take_while(|c| !c.is_whitespace()).take(20).collect();
    let found = if word.is_empty() { "the end of the line".to_owned() } else { format!("`{word}`") };
    let column = line.trim_end().len() - rest.len() + 1;
    DumpError::Malformed { line: number, column, expected, found }
}
