//! Uses of translations, the verdicts on them, and their counts.

use crate::translator::{Found, Hit};
use isa::address::{AccessKind, HostPhysicalAddress, LinearAddress};
use serde::Serialize;

/// The use of a translation by an access.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Use {
    /// The linear address of the access.
    pub address: LinearAddress,
    /// What the access did.
    pub kind: AccessKind,
    /// The host-physical address that was accessed.
    pub host_physical: HostPhysicalAddress,
    /// Where the translation came from.
    pub hit: Hit,
    /// When, in instructions.
    pub at: u64,
}

impl Use {
    /// The use of what a [`Translator`](crate::Translator) has found.
    #[inline]
    #[must_use]
    pub const fn of(address: LinearAddress, kind: AccessKind, found: &Found, at: u64) -> Self {
        Self { address, kind, host_physical: found.translation.host(address), hit: found.hit, at }
    }
}

/// The verdict on a use.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The translation is what a fresh walk finds.
    Coherent,
    /// It is stale, and may be used until software relies on the change.
    InWindow,
    /// It is stale, and software has not invalidated it.
    Missing,
    /// The processor should not have it.
    Incoherent,
}

/// Counts of verdicts and judgements.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Summary {
    /// Invalidating operations that removed something stale.
    pub required: u64,
    /// Invalidating operations that removed nothing stale.
    pub redundant: u64,
    /// Valid translations that were dropped and found again unchanged by a walk.
    pub over_broad: u64,
    /// Valid mappings that were dropped.
    pub valid_dropped: u64,
    /// Uses of stale translations before software relied on the change.
    pub in_window: u64,
    /// Uses after that.
    pub missing: u64,
    /// Uses of translations that the processor should not have had.
    pub incoherent: u64,
}

impl Summary {
    pub(super) const fn count(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Coherent => {}
            Verdict::InWindow => self.in_window += 1,
            Verdict::Missing => self.missing += 1,
            Verdict::Incoherent => self.incoherent += 1,
        }
    }
}
