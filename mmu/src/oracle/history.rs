//! Changes that a processor may not have taken note of, and what processors have done since.

use super::change::{Change, ChangeId};
use crate::mapping::{Mapping, Space};
use crate::operation::Performed;
use crate::rules::{self, Rule};
use isa::address::{GuestPhysicalAddress, HostPhysicalAddress};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use std::collections::VecDeque;

/// Old values that are remembered of one entry, and old roots of one tag.
const VALUES: usize = 8;
/// Operations that are remembered of one processor.
const OPERATIONS: usize = 4096;

/// Whether software relies on a change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Progress {
    /// Processors may use either translation (SDM 5.10.4.4).
    Made,
    /// The old translation must not be used any more.
    Completed,
}

/// A moment in the order of changes and operations.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Moment(u64);

/// A change and how far it is.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) id: ChangeId,
    pub(super) change: Change,
    pub(super) progress: Progress,
    pub(super) made: Moment,
}

/// What is known of one processor.
#[derive(Debug, Default)]
struct Past {
    operations: VecDeque<(Moment, Performed)>,
    /// The root that each tag stands for.
    roots: FxHashMap<Space, GuestPhysicalAddress>,
    /// Roots that a tag stood for before, with the change that ended it.
    bindings: FxHashMap<Space, SmallVec<[Record; 1]>>,
}

/// What has happened.
#[derive(Debug, Default)]
pub(super) struct History {
    by_entry: FxHashMap<HostPhysicalAddress, SmallVec<[Record; 2]>>,
    entries: FxHashMap<ChangeId, HostPhysicalAddress>,
    processors: Vec<Past>,
    now: u64,
    made: u64,
}

impl History {
    pub(super) fn new(processors: usize) -> Self {
        let processors = (0..processors).map(|_| Past::default()).collect();
        Self { processors, ..Self::default() }
    }

    fn tick(&mut self) -> Moment {
        self.now += 1;
        Moment(self.now)
    }

    fn number(&mut self) -> ChangeId {
        self.made += 1;
        ChangeId(self.made)
    }

    /// Takes a change of an entry in. One that takes nothing away gets a number and is forgotten.
    pub(super) fn edited(&mut self, change: Change) -> ChangeId {
        let (id, made) = (self.number(), self.tick());
        if !change.takes_away() {
            return id;
        }
        let entry = change.entry;
        let old = change.old_but_accessed();
        let records = self.by_entry.entry(entry).or_default();
        // The same old value is explained best by the latest change; otherwise the earliest is the first to go.
        let same = records.iter().position(|record| record.change.old_but_accessed() == old);
        if let Some(index) = same.or((records.len() >= VALUES).then_some(0)) {
            self.entries.remove(&records.remove(index).id);
        }
        records.push(Record { id, change, progress: Progress::Made, made });
        self.entries.insert(id, entry);
        id
    }

    pub(super) fn completed(&mut self, id: ChangeId) {
        let Some(entry) = self.entries.get(&id) else { return };
        let record = self.by_entry.get_mut(entry).and_then(|records| records.iter_mut().find(|r| r.id == id));
        if let Some(record) = record {
            record.progress = Progress::Completed;
        }
    }

    /// Takes an operation in, and with it the root that the current tag stands for from then on.
    pub(super) fn performed(
        &mut self,
        processor: usize,
        performed: &Performed,
        bound: impl FnOnce() -> Change,
    ) {
        let before = self.tick();
        let after = self.tick();
        let (space, root) = (performed.after.space(), performed.after.context(crate::Privilege::User).cr3);
        let id = self.number();
        let past = &mut self.processors[processor];
        if past.operations.len() == OPERATIONS {
            past.operations.pop_front();
        }
        past.operations.push_back((after, performed.clone()));
        if past.roots.insert(space, root).is_some_and(|old| old != root) {
            let records = past.bindings.entry(space).or_default();
            if records.len() == VALUES {
                records.remove(0);
            }
            // The operation that binds the tag anew may itself remove what was cached: it comes after the change.
            records.push(Record { id, change: bound(), progress: Progress::Completed, made: before });
        }
    }

    /// The root that a tag stood for until the operation that is about to be taken in.
    pub(super) fn root(&self, processor: usize, space: Space) -> Option<GuestPhysicalAddress> {
        self.processors[processor].roots.get(&space).copied()
    }

    /// The remembered changes of an entry, the latest first.
    pub(super) fn of_entry(&self, entry: HostPhysicalAddress) -> impl Iterator<Item = &Record> {
        self.by_entry.get(&entry).into_iter().flatten().rev()
    }

    /// The changes of what a tag stands for on a processor, the latest first.
    pub(super) fn of_tag(&self, processor: usize, space: Space) -> impl Iterator<Item = &Record> {
        self.processors[processor].bindings.get(&space).into_iter().flatten().rev()
    }

    /// The rule by which an operation of a processor since some moment demanded that a mapping be gone.
    pub(super) fn demanded(
        &self,
        processor: usize,
        mapping: &Mapping,
        since: Moment,
    ) -> Option<&'static Rule> {
        let operations = self.processors[processor].operations.iter().rev();
        operations
            .take_while(|(at, _)| *at > since)
            .find_map(|(_, performed)| rules::required(performed, mapping))
    }
}
