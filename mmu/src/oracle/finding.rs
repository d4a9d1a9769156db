//! What the oracle has to say, as values and in words.

use super::change::{Change, ChangeId, Tag, What};
use super::remedy::Words;
use super::{Use, Verdict};
use crate::mapping::Space;
use crate::operation::Operation;
use crate::rules;
use crate::translator::Hit;
use isa::address::AccessKind;
use rustc_hash::FxHashMap;
use serde::Serialize;
use std::fmt;

/// Findings that are kept in full.
pub const KEPT: usize = 64;

/// A translation was used that must not be used any more, or never.
///
/// As text it is one paragraph for the author of the software.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// [`Verdict::Missing`] or [`Verdict::Incoherent`].
    pub verdict: Verdict,
    /// The logical processor that used the translation.
    pub processor: usize,
    /// The tag under which it did.
    pub space: Space,
    /// The use: the first, where there were several.
    pub used: Use,
    /// Where the translation comes from.
    pub origin: Origin,
    /// For an incoherent processor, the id of the [rule](crate::rules) that it broke.
    pub rule: Option<&'static str>,
    /// For a missing invalidation, operations of which each would have sufficed on this processor.
    pub needed: Vec<Operation>,
    /// The last invalidations that were performed there since the change and did not suffice.
    pub performed: Vec<Operation>,
    /// Uses.
    pub count: u64,
}

/// Where a stale translation comes from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// It was right before a change.
    Change(ChangeId, Change),
    /// It is of a global page that the tables of another PCID map otherwise; the change is the switch to that PCID.
    GlobalPage(Change),
    /// It was right, and no change was announced since.
    UnknownWriter {
        /// When a walk found it, in instructions.
        right_at: u64,
    },
    /// It was right under another tag.
    OtherTag(Space),
    /// It was never right.
    Nowhere,
}

impl Origin {
    /// The change, if it is known.
    #[must_use]
    pub const fn change(&self) -> Option<&Change> {
        match self {
            Self::Change(_, change) | Self::GlobalPage(change) => Some(change),
            _ => None,
        }
    }
}

/// What makes two findings one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Key {
    Change(Verdict, usize, ChangeId),
    Page(Verdict, usize, Space, u64),
}

impl Finding {
    fn key(&self) -> Key {
        match self.origin {
            Origin::Change(id, _) => Key::Change(self.verdict, self.processor, id),
            _ => Key::Page(self.verdict, self.processor, self.space, self.used.address.page_number()),
        }
    }
}

/// The findings so far: the first ones in full.
#[derive(Debug, Default)]
pub(super) struct Findings {
    kept: Vec<Finding>,
    places: FxHashMap<Key, usize>,
}

impl Findings {
    /// Counts a finding; its number, if it is kept.
    pub(super) fn add(&mut self, finding: Finding) -> Option<usize> {
        let (key, next) = (finding.key(), self.kept.len());
        if let Some(&place) = self.places.get(&key) {
            self.repeat(place);
            return Some(place);
        }
        if next >= KEPT {
            return None;
        }
        self.places.insert(key, next);
        self.kept.push(finding);
        Some(next)
    }

    /// Counts a finding again.
    pub(super) fn repeat(&mut self, number: usize) {
        self.kept[number].count += 1;
    }

    pub(super) fn as_slice(&self) -> &[Finding] {
        &self.kept
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rule {
            Some(rule) => self.write_incoherent(f, rule)?,
            None => self.write_missing(f)?,
        }
        if self.count > 1 { write!(f, " It was used {} times.", self.count) } else { Ok(()) }
    }
}

impl Finding {
    fn write_missing(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let processor = self.processor;
        write!(f, "Missing invalidation on processor {processor}: ")?;
        match &self.origin {
            Origin::UnknownWriter { right_at } => {
                let address = self.used.address;
                write!(
                    f,
                    "after instruction {right_at} an unknown writer changed an entry that translates linear \
                     address {address}, and announced it to nobody."
                )?;
            }
            Origin::GlobalPage(change) => {
                let Change { at, old, new, .. } = change;
                let (who, address) = (&change.by.who, self.used.address);
                write!(
                    f,
                    "at instruction {at} processor {processor} went from CR3 {old:#x} to {new:#x} by {who}; \
                     linear address {address} is on a global page of the one that the other does not map alike."
                )?;
            }
            origin => self.write_change(f, origin)?,
        }
        write!(f, " At instruction {} processor {processor} still ", self.used.at)?;
        self.write_use(f)?;
        self.write_needed(f)?;
        write!(f, " SDM {}.", self.sections())
    }

    fn write_change(&self, f: &mut fmt::Formatter<'_>, origin: &Origin) -> fmt::Result {
        let Some(change) = origin.change() else { return Ok(()) };
        let done = match change.what {
            What::Binding { .. } => "",
            _ => ", and software relies on it",
        };
        write!(f, "at instruction {} {change}{done}.", change.at)
    }

    /// The use, from its verb on.
    fn write_use(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Use { address, kind, host_physical, hit, .. } = self.used;
        let verb = match kind {
            AccessKind::Read => "read",
            AccessKind::Write => "wrote",
            AccessKind::Execute => "fetched from",
        };
        let held = match hit {
            Hit::L1 => "held by the first level of the TLB",
            Hit::L2 => "held by the second level of the TLB",
            Hit::Walk => "found by a walk that began at something cached",
        };
        let tag = Tag(self.space);
        write!(f, "{verb} linear address {address} at host-physical address {host_physical} ({tag}; {held}).")
    }

    fn write_needed(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " Needed on processor {} in between: ", self.processor)?;
        write_list(f, &self.needed, " or ")?;
        if self.performed.is_empty() {
            return f.write_str("; no invalidation was performed there.");
        }
        f.write_str("; performed there was ")?;
        write_list(f, &self.performed, ", ")?;
        f.write_str(".")
    }

    fn sections(&self) -> String {
        let guest = self.space.vpid != 0;
        let of_entry = if guest { "5.10.4.2, 31.4.3.3" } else { "5.10.4.2" };
        let sections = match self.origin.change().map(|change| change.what) {
            Some(What::EptEntry { .. }) => "31.4.3.4",
            Some(What::Binding { .. }) if matches!(self.origin, Origin::GlobalPage(_)) => "5.10.2.4",
            Some(What::Binding { .. }) => {
                if guest {
                    "5.10.4.1, 31.4.3.3"
                } else {
                    "5.10.4.1"
                }
            }
            Some(What::GuestEntry { .. }) | None => of_entry,
        };
        let elsewhere = self.origin.change().is_some_and(|change| change.by.processor != self.processor);
        format!("{sections}{}", if elsewhere { ", 5.10.5" } else { "" })
    }

    fn write_incoherent(&self, f: &mut fmt::Formatter<'_>, id: &str) -> fmt::Result {
        let processor = self.processor;
        write!(f, "Processor {processor} broke rule {id}")?;
        if let Some(rule) = rules::rule(id) {
            write!(f, " (SDM {}: {})", rule.section, rule.says)?;
        }
        write!(f, ": at instruction {} it ", self.used.at)?;
        self.write_use(f)?;
        match &self.origin {
            Origin::Change(_, change) | Origin::GlobalPage(change) => {
                write!(f, " At instruction {} {change}, and the processor has since performed ", change.at)?;
                f.write_str("an operation that removes the old translation.")
            }
            Origin::UnknownWriter { right_at } => {
                write!(
                    f,
                    " The translation was right last at instruction {right_at}, and the processor has "
                )?;
                f.write_str("since performed an operation that removes it.")
            }
            Origin::OtherTag(other) => write!(f, " That translation was right under {} only.", Tag(*other)),
            Origin::Nowhere => f.write_str(" No walk under this tag has found that translation."),
        }
    }
}

fn write_list(f: &mut fmt::Formatter<'_>, operations: &[Operation], separator: &str) -> fmt::Result {
    for (place, operation) in operations.iter().enumerate() {
        let separator = if place == 0 { "" } else { separator };
        write!(f, "{separator}{}", Words(operation))?;
    }
    Ok(())
}
