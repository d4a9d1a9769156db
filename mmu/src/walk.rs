//! What a walk starts from, what it has found and has yet to write.

mod caches;
mod flags;
mod learned;

pub use caches::{EntryWidth, EptStructure, Keeps, Structure, WalkCaches};
pub use flags::{FlagUpdate, FlagUpdates, PageModificationLog};

pub(crate) use caches::{Fresh, Recall};
pub(crate) use learned::Learned;

use crate::translation::Translation;

/// A walk that permits its access.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Walk {
    /// What it found.
    pub translation: Translation,
    /// The flags to set before the access is made or the translation is cached.
    pub updates: FlagUpdates,
}

/// What a walk has found beside the translation. All of it waits until the whole access is known to be permitted.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// Flags to set.
    pub(crate) updates: FlagUpdates,
    /// Entries that caches may keep.
    pub(crate) learned: Learned,
    /// Whether the walk relied on something cached.
    pub(crate) reliance: Reliance,
}

/// Whether a walk relied on cached structures or guest-physical mappings.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Reliance {
    /// All it says was read from the tables.
    #[default]
    Tables,
    /// Part of what it says may be older than the tables.
    Caches,
}

impl Notes {
    /// Forgets an earlier walk.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.updates.clear();
        self.learned.clear();
        self.reliance = Reliance::Tables;
    }
}
