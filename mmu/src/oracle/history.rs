//! The changes that some processor may not have taken note of yet.

use super::change::{Change, ChangeId};
use isa::address::HostPhysicalAddress;
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

/// Old values that are remembered of one entry. A processor can hold as many only if as many changes of the entry
/// were never followed by an invalidation.
const VALUES_OF_AN_ENTRY: usize = 8;

/// Whether software relies on a change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Progress {
    /// The processors may use either translation (SDM 5.10.4.4).
    Made,
    /// The old translation must not be used any more.
    Completed,
}

/// A change and how far it is.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) change: Change,
    pub(super) progress: Progress,
    /// The last event before which a processor may have cached the old translation.
    pub(super) since: u64,
    /// The processors that may hold the old translation.
    pub(super) holders: Processors,
}

/// A set of processors.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Processors(SmallVec<[u64; 1]>);

impl Processors {
    pub(super) fn one(processor: usize) -> Self {
        let mut set = Self::default();
        set.insert(processor);
        set
    }

    pub(super) fn insert(&mut self, processor: usize) {
        let word = processor / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (processor % 64);
    }

    pub(super) fn remove(&mut self, processor: usize) {
        if let Some(word) = self.0.get_mut(processor / 64) {
            *word &= !(1 << (processor % 64));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|&word| word == 0)
    }
}

/// The changes whose old translations some processor may still hold.
#[derive(Debug, Default)]
pub(super) struct History {
    records: FxHashMap<ChangeId, Record>,
    by_entry: FxHashMap<HostPhysicalAddress, SmallVec<[ChangeId; 2]>>,
    made: u64,
}

impl History {
    /// A number for a change.
    fn number(&mut self) -> ChangeId {
        self.made += 1;
        ChangeId(self.made)
    }

    /// Changes that are remembered.
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn get(&self, id: ChangeId) -> Option<&Record> {
        self.records.get(&id)
    }

    /// Takes a change of an entry in. A change that takes nothing away, or that no processor can have cached before,
    /// gets a number and is forgotten.
    pub(super) fn edited(&mut self, change: Change, since: u64, holders: Processors) -> ChangeId {
        let id = self.number();
        if !change.takes_away() || holders.is_empty() {
            return id;
        }
        let entry = change.entry;
        self.forget_one_before(&change);
        self.records.insert(id, Record { change, progress: Progress::Made, since, holders });
        self.by_entry.entry(entry).or_default().push(id);
        id
    }

    /// Takes the new binding of a tag in, which is complete at once.
    pub(super) fn bound(&mut self, change: Change, since: u64, holders: Processors) -> ChangeId {
        let id = self.number();
        self.records.insert(id, Record { change, progress: Progress::Completed, since, holders });
        id
    }

    /// Makes room for a change among those of its entry: the same old value is explained best by the latest change,
    /// and the earliest is the first to go.
    fn forget_one_before(&mut self, change: &Change) {
        let Some(ids) = self.by_entry.get(&change.entry) else { return };
        let value = change.old_but_accessed();
        let same = |id: &&ChangeId| {
            self.records.get(id).is_some_and(|record| record.change.old_but_accessed() == value)
        };
        let full = (ids.len() >= VALUES_OF_AN_ENTRY).then(|| ids[0]);
        if let Some(id) = ids.iter().find(same).copied().or(full) {
            self.forget(id);
        }
    }

    pub(super) fn completed(&mut self, id: ChangeId) {
        if let Some(record) = self.records.get_mut(&id) {
            record.progress = Progress::Completed;
        }
    }

    pub(super) fn forget(&mut self, id: ChangeId) {
        let Some(record) = self.records.remove(&id) else { return };
        if let Some(ids) = self.by_entry.get_mut(&record.change.entry) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_entry.remove(&record.change.entry);
            }
        }
    }

    /// The remembered changes of an entry, the earliest first.
    pub(super) fn of_entry(&self, entry: HostPhysicalAddress) -> impl Iterator<Item = (ChangeId, &Record)> {
        let ids = self.by_entry.get(&entry).map_or(&[][..], SmallVec::as_slice);
        ids.iter().filter_map(|&id| Some((id, self.records.get(&id)?)))
    }

    /// Notes that a processor holds nothing old but by `held`; forgets the changes that no processor holds.
    pub(super) fn keep_only(&mut self, processor: usize, held: &FxHashSet<ChangeId>) {
        let mut free = Vec::new();
        for (&id, record) in &mut self.records {
            if !held.contains(&id) {
                record.holders.remove(processor);
                if record.holders.is_empty() {
                    free.push(id);
                }
            }
        }
        free.into_iter().for_each(|id| self.forget(id));
    }

    /// The event after which operations are of interest to some remembered change.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.records.values().map(|record| record.since).min()
    }
}
