//! Tags: what entries are cached under, as one small number.

use super::groups::Groups;
use super::invalidate::{Dropped, Extent, Invalidation};
use super::meaning::{Store, TagMeaning};
use crate::mapping::Space;
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

/// An interned [`TagMeaning`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, PartialOrd, Ord)]
pub(crate) struct Tag(pub(crate) u16);

impl Tag {
    /// Never handed out: no entry has it.
    pub(crate) const NONE: Self = Self(0);

    #[inline(always)]
    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The tags that a lookup of a translation accepts: that of the PCID, and that of the global ones beside it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct TagPair {
    pub(crate) own: Tag,
    pub(crate) global: Tag,
}

/// The tags of what the current context uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct CurrentTags {
    pub(super) translations: TagPair,
    pub(super) structures: Tag,
    pub(super) guest_physical: Tag,
    pub(super) ept_structures: Tag,
}

impl CurrentTags {
    fn all(&self) -> [Tag; 5] {
        let TagPair { own, global } = self.translations;
        [own, global, self.structures, self.guest_physical, self.ept_structures]
    }
}

/// Whether a TLB has a store, and needs tags for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Presence {
    Absent,
    Present,
}

/// The optional stores of a TLB.
#[derive(Clone, Copy, Debug)]
pub(super) struct Presences {
    pub(super) structures: Presence,
    pub(super) guest_physical: Presence,
    pub(super) ept_structures: Presence,
}

/// Tags of which an invalidation covers the entries around an address, by store.
#[derive(Debug, Default)]
pub(super) struct AddressTags {
    pub(super) translations: SmallVec<[Tag; 8]>,
    pub(super) structures: SmallVec<[Tag; 8]>,
    pub(super) guest_physical: SmallVec<[Tag; 1]>,
    pub(super) ept_structures: SmallVec<[Tag; 1]>,
}

impl AddressTags {
    fn push(&mut self, store: Store, tag: Tag) {
        match store {
            Store::Translations => self.translations.push(tag),
            Store::Structures => self.structures.push(tag),
            Store::GuestPhysical => self.guest_physical.push(tag),
            Store::EptStructures => self.ept_structures.push(tag),
        }
    }
}

/// What kind of tag an entry that was removed had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Removed {
    Live,
    Retired,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// No entry has it.
    Free,
    /// It has a meaning, and entries perhaps.
    Live(TagMeaning),
    /// Entries of a store have it, and none of them is found any more.
    Retired(Store),
}

/// The table of tags.
#[derive(Debug)]
pub(crate) struct Tags {
    by_meaning: FxHashMap<TagMeaning, Tag>,
    /// The live tags.
    groups: Groups,
    states: Vec<State>,
    /// How many entries have a tag.
    counts: Vec<u32>,
    /// Whether a tag is retired: what an insertion asks of each way.
    retired: Vec<bool>,
    /// The number of retired tags, by store.
    retired_in: [u32; 4],
    free: Vec<Tag>,
    limit: usize,
}

impl Default for Tags {
    fn default() -> Self {
        Self::with_limit(1 << 16)
    }
}

impl Tags {
    /// A table with numbers below `limit`, which is at least 6 and at most 2^16.
    pub(crate) fn with_limit(limit: usize) -> Self {
        let mut tags = Self {
            by_meaning: FxHashMap::default(),
            groups: Groups::default(),
            states: Vec::new(),
            counts: Vec::new(),
            retired: Vec::new(),
            retired_in: Default::default(),
            free: Vec::new(),
            limit,
        };
        let none = tags.unused();
        debug_assert_eq!(none, Some(Tag::NONE));
        tags
    }

    /// The tags of a space, or `None` when there are no numbers left.
    pub(super) fn current(&mut self, space: Space, present: Presences) -> Option<CurrentTags> {
        let own = self.intern(TagMeaning::Pcid(space))?;
        let global = self.intern(TagMeaning::globals_of(space))?;
        let structures = self.intern_for(present.structures, Some(TagMeaning::Structures(space)))?;
        let nested = space.ept.map(|ept| TagMeaning::GuestPhysical { ept });
        let guest_physical = self.intern_for(present.guest_physical, nested)?;
        let nested = space.ept.map(|ept| TagMeaning::EptStructures { ept });
        let ept_structures = self.intern_for(present.ept_structures, nested)?;
        Some(CurrentTags {
            translations: TagPair { own, global },
            structures,
            guest_physical,
            ept_structures,
        })
    }

    fn intern_for(&mut self, store: Presence, meaning: Option<TagMeaning>) -> Option<Tag> {
        match (store, meaning) {
            (Presence::Present, Some(meaning)) => self.intern(meaning),
            (Presence::Absent, _) | (_, None) => Some(Tag::NONE),
        }
    }

    fn intern(&mut self, meaning: TagMeaning) -> Option<Tag> {
        if let Some(&tag) = self.by_meaning.get(&meaning) {
            return Some(tag);
        }
        let tag = self.free.pop().or_else(|| self.unused())?;
        self.states[tag.index()] = State::Live(meaning);
        self.by_meaning.insert(meaning, tag);
        self.groups.insert(tag, meaning);
        Some(tag)
    }

    fn unused(&mut self) -> Option<Tag> {
        let number = self.states.len();
        if number >= self.limit {
            return None;
        }
        self.states.push(State::Free);
        self.counts.push(0);
        self.retired.push(false);
        u16::try_from(number).ok().map(Tag)
    }

    /// What a tag stands for, unless it is retired.
    pub(crate) fn meaning(&self, tag: Tag) -> Option<TagMeaning> {
        match self.states[tag.index()] {
            State::Live(meaning) => Some(meaning),
            State::Free | State::Retired(_) => None,
        }
    }

    /// Whether entries with this tag can no longer be found.
    #[inline(always)]
    pub(crate) fn is_retired(&self, tag: Tag) -> bool {
        self.retired[tag.index()]
    }

    /// Whether some entry of a store has a retired tag.
    #[inline(always)]
    pub(super) const fn any_retired(&self, store: Store) -> bool {
        self.retired_in[store as usize] != 0
    }

    /// Whether all of these tags are live still.
    pub(super) fn are_live(&self, tags: CurrentTags) -> bool {
        tags.all().iter().all(|&tag| tag == Tag::NONE || self.meaning(tag).is_some())
    }

    /// Retires the tags all of whose entries an invalidation covers, and tells those of which it covers entries
    /// around an address.
    ///
    /// On the way, tags that no entry has are forgotten, unless they are `current`: so the next invalidation does
    /// not look at them.
    pub(super) fn invalidate(
        &mut self,
        invalidation: &Invalidation,
        current: CurrentTags,
    ) -> (Dropped, AddressTags) {
        let (mut dropped, mut around) = (Dropped::default(), AddressTags::default());
        let tags = match invalidation.group() {
            Some(group) => self.groups.of(group),
            None => self.by_meaning.values().copied().collect(),
        };
        for tag in tags {
            self.invalidate_tag(tag, invalidation, current, &mut dropped, &mut around);
        }
        (dropped, around)
    }

    /// Applies an invalidation to one live tag.
    fn invalidate_tag(
        &mut self,
        tag: Tag,
        invalidation: &Invalidation,
        current: CurrentTags,
        dropped: &mut Dropped,
        around: &mut AddressTags,
    ) {
        let Some(meaning) = self.meaning(tag) else { return };
        let entries = self.counts[tag.index()];
        if entries == 0 {
            if !current.all().contains(&tag) {
                self.release(tag, meaning);
            }
            return;
        }
        match invalidation.extent(meaning) {
            Extent::Nothing => {}
            Extent::Address => around.push(meaning.store(), tag),
            Extent::Everything => {
                dropped.add(meaning, u64::from(entries));
                self.retire(tag, meaning);
            }
        }
    }

    /// Forgets the meaning of a tag that no entry has.
    fn release(&mut self, tag: Tag, meaning: TagMeaning) {
        self.by_meaning.remove(&meaning);
        self.groups.remove(tag, meaning);
        self.states[tag.index()] = State::Free;
        self.free.push(tag);
    }

    /// Forgets the meaning of a tag that entries have.
    fn retire(&mut self, tag: Tag, meaning: TagMeaning) {
        self.by_meaning.remove(&meaning);
        self.groups.remove(tag, meaning);
        self.states[tag.index()] = State::Retired(meaning.store());
        self.retired[tag.index()] = true;
        self.retired_in[meaning.store() as usize] += 1;
    }

    #[inline]
    pub(super) fn entry_added(&mut self, tag: Tag) {
        self.counts[tag.index()] += 1;
    }

    /// The number of a retired tag that lost its last entry is available again.
    #[inline]
    pub(super) fn entry_removed(&mut self, tag: Tag) -> Removed {
        let count = &mut self.counts[tag.index()];
        *count = count.saturating_sub(1);
        if !self.retired[tag.index()] {
            return Removed::Live;
        }
        if *count == 0 {
            self.recycle(tag);
        }
        Removed::Retired
    }

    fn recycle(&mut self, tag: Tag) {
        if let State::Retired(store) = self.states[tag.index()] {
            self.retired_in[store as usize] -= 1;
        }
        self.states[tag.index()] = State::Free;
        self.retired[tag.index()] = false;
        self.free.push(tag);
    }

    /// The live tags that entries have, with the number of those.
    pub(super) fn occupied(&self) -> impl Iterator<Item = (TagMeaning, u64)> + '_ {
        self.states.iter().zip(&self.counts).filter_map(|(&state, &entries)| match state {
            State::Live(meaning) if entries != 0 => Some((meaning, u64::from(entries))),
            _ => None,
        })
    }

    /// Forgets the meanings that no entry has.
    pub(super) fn release_unused(&mut self) {
        for number in 0..self.states.len() {
            if let (State::Live(meaning), 0) = (self.states[number], self.counts[number]) {
                self.release(Tag(number as u16), meaning);
            }
        }
    }

    /// Panics unless the table agrees with itself: each number is live, retired or free, and known as such.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let mut live = Vec::new();
        let (mut free, mut retired_in) = (vec![Tag::NONE], [0; 4]);
        for (number, &state) in self.states.iter().enumerate() {
            let tag = Tag(number as u16);
            match state {
                State::Live(meaning) => live.push((tag, meaning)),
                State::Retired(store) => retired_in[store as usize] += 1,
                State::Free if tag == Tag::NONE => {}
                State::Free => free.push(tag),
            }
            let entries = self.counts[number];
            assert!(entries == 0 || state != State::Free, "{tag:?} is free and has {entries} entries");
            assert_eq!(self.is_retired(tag), matches!(state, State::Retired(_)), "{tag:?}");
            assert!(entries != 0 || !self.is_retired(tag), "{tag:?} is retired and has no entries");
        }
        let mut known: Vec<_> = self.by_meaning.iter().map(|(&meaning, &tag)| (tag, meaning)).collect();
        known.sort_unstable();
        assert_eq!(known, live);
        let mut listed: Vec<_> = core::iter::once(Tag::NONE).chain(self.free.iter().copied()).collect();
        listed.sort_unstable();
        assert_eq!(listed, free);
        assert_eq!(self.retired_in, retired_in);
        self.groups.check(&live);
    }

    /// How many numbers were handed out so far.
    #[cfg(test)]
    pub(super) const fn numbers(&self) -> usize {
        self.states.len() - 1
    }

    /// How many entries have each number.
    #[cfg(test)]
    pub(super) fn counts(&self) -> &[u32] {
        &self.counts
    }

    /// How many meanings an invalidation may have to look at.
    #[cfg(test)]
    pub(super) fn live(&self) -> usize {
        self.by_meaning.len()
    }
}
