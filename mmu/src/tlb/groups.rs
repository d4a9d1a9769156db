//! Which live tags an invalidation has to look at.

use super::meaning::{Group, TagMeaning};
use super::tags::Tag;
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

/// The tags of a group. Groups come and go with their tags, mostly few, without an allocation.
type List = SmallVec<[Tag; 8]>;

/// Empty lists that are kept beside as many as there are others: a group that loses its last tag mostly gets another.
const EMPTY: usize = 32;

/// The live tags, by group. A tag knows its place in its lists, so that it leaves them without a search.
#[derive(Debug, Default)]
pub(super) struct Groups {
    lists: FxHashMap<Group, List>,
    /// The lists that are not empty.
    used: usize,
    /// By the number of a tag, its places in the lists of its groups, in their order.
    places: Vec<[u32; TagMeaning::GROUPS]>,
}

impl Groups {
    /// Puts a tag that is in no list into those of its groups.
    pub(super) fn insert(&mut self, tag: Tag, meaning: TagMeaning) {
        if self.places.len() <= tag.index() {
            self.places.resize(tag.index() + 1, Default::default());
        }
        for (place, group) in self.places[tag.index()].iter_mut().zip(meaning.groups()) {
            let list = self.lists.entry(group).or_default();
            self.used += usize::from(list.is_empty());
            *place = list.len() as u32;
            list.push(tag);
        }
    }

    /// Takes a tag out of its lists.
    pub(super) fn remove(&mut self, tag: Tag, meaning: TagMeaning) {
        for (of, group) in meaning.groups().enumerate() {
            let place = self.places[tag.index()][of];
            let Some(list) = self.lists.get_mut(&group) else { continue };
            list.swap_remove(place as usize);
            // The last one has come to its place.
            match list.get(place as usize) {
                Some(moved) => self.places[moved.index()][of] = place,
                None => self.used -= usize::from(list.is_empty()),
            }
        }
        if self.lists.len() > 2 * self.used + EMPTY {
            self.lists.retain(|_, list| !list.is_empty());
        }
    }

    /// The tags of a group.
    pub(super) fn of(&self, group: Group) -> SmallVec<[Tag; 32]> {
        self.lists.get(&group).map(|list| SmallVec::from_slice(list)).unwrap_or_default()
    }

    /// Panics unless each tag is in the lists of its groups, once and at the place that it knows, and nothing else is.
    #[cfg(test)]
    pub(super) fn check(&self, live: &[(Tag, TagMeaning)]) {
        let mut listed = 0;
        for &(tag, meaning) in live {
            for (of, group) in meaning.groups().enumerate() {
                assert_eq!(self.lists[&group][self.places[tag.index()][of] as usize], tag, "{group:?}");
                listed += 1;
            }
        }
        assert_eq!(self.lists.values().map(SmallVec::len).sum::<usize>(), listed);
        assert_eq!(self.lists.values().filter(|list| !list.is_empty()).count(), self.used);
        assert!(self.lists.len() <= 2 * self.used + EMPTY, "empty lists take memory");
    }
}
