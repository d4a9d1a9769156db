//! Tags: VPID, PCID and EPTRTA as one small number.

use crate::mapping::Space;
use isa::address::HostPhysicalAddress;
use rustc_hash::FxHashMap;

/// What a tag stands for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum TagMeaning {
    /// Translations of one PCID.
    Pcid(Space),
    /// Global translations, of every PCID.
    Global { vpid: u16, ept: Option<HostPhysicalAddress>, word: u32 },
}

impl TagMeaning {
    /// Whether translations with this meaning are used in `space`.
    pub(crate) fn includes(self, space: Space) -> bool {
        match self {
            Self::Pcid(own) => own == space,
            Self::Global { vpid, ept, word } => vpid == space.vpid && ept == space.ept && word == space.word,
        }
    }

    pub(crate) const fn vpid(self) -> u16 {
        match self {
            Self::Pcid(space) => space.vpid,
            Self::Global { vpid, .. } => vpid,
        }
    }

    pub(crate) const fn word(self) -> u32 {
        match self {
            Self::Pcid(space) => space.word,
            Self::Global { word, .. } => word,
        }
    }

    pub(crate) const fn ept(self) -> Option<HostPhysicalAddress> {
        match self {
            Self::Pcid(space) => space.ept,
            Self::Global { ept, .. } => ept,
        }
    }
}

/// An interned [`TagMeaning`]. Tag 0 is never handed out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, PartialOrd, Ord)]
pub(crate) struct Tag(pub(crate) u16);

/// The tags that a lookup accepts: that of the PCID, and that of the global translations beside it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct TagPair {
    pub(crate) own: Tag,
    pub(crate) global: Tag,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// `None` when retired or never used.
    meaning: Option<TagMeaning>,
    entries: u32,
}

/// The table of tags.
#[derive(Debug)]
pub(crate) struct Tags {
    by_meaning: FxHashMap<TagMeaning, Tag>,
    slots: Vec<Slot>,
    free: Vec<Tag>,
    limit: usize,
    /// Whether some entry may have a retired tag.
    any_retired: bool,
}

impl Default for Tags {
    fn default() -> Self {
        Self::with_limit(1 << 16)
    }
}

impl Tags {
    /// A table with numbers below `limit`, which is at least 3 and at most 2^16.
    pub(crate) fn with_limit(limit: usize) -> Self {
        let never_used = Slot { meaning: None, entries: 0 };
        let slots = vec![never_used];
        Self { by_meaning: FxHashMap::default(), slots, free: Vec::new(), limit, any_retired: false }
    }

    /// The tags of a space, or `None` when there are no numbers left.
    pub(crate) fn pair(&mut self, space: Space) -> Option<TagPair> {
        let own = self.intern(TagMeaning::Pcid(space))?;
        let global =
            self.intern(TagMeaning::Global { vpid: space.vpid, ept: space.ept, word: space.word })?;
        Some(TagPair { own, global })
    }

    fn intern(&mut self, meaning: TagMeaning) -> Option<Tag> {
        if let Some(&tag) = self.by_meaning.get(&meaning) {
            return Some(tag);
        }
        let tag = self.free.pop().or_else(|| self.unused())?;
        self.slots[usize::from(tag.0)] = Slot { meaning: Some(meaning), entries: 0 };
        self.by_meaning.insert(meaning, tag);
        Some(tag)
    }

    fn unused(&mut self) -> Option<Tag> {
        let number = self.slots.len();
        if number >= self.limit {
            return None;
        }
        self.slots.push(Slot { meaning: None, entries: 0 });
        u16::try_from(number).ok().map(Tag)
    }

    /// What a tag stands for, unless it is retired.
    pub(crate) fn meaning(&self, tag: Tag) -> Option<TagMeaning> {
        self.slots[usize::from(tag.0)].meaning
    }

    /// Whether entries with this tag can no longer be found.
    #[inline(always)]
    pub(crate) fn is_retired(&self, tag: Tag) -> bool {
        self.any_retired && self.slots[usize::from(tag.0)].meaning.is_none()
    }

    /// Retires the tags that `covers` holds for; returns the number of entries that can no longer be found.
    pub(crate) fn retire(&mut self, covers: impl Fn(TagMeaning) -> bool) -> u64 {
        let Self { by_meaning, slots, any_retired, .. } = self;
        let mut dropped = 0;
        by_meaning.retain(|&meaning, tag| {
            let slot = &mut slots[usize::from(tag.0)];
            // A tag without entries has nothing to forget.
            if !covers(meaning) || slot.entries == 0 {
                return true;
            }
            dropped += u64::from(slot.entries);
            *slot = Slot { meaning: None, entries: 0 };
            *any_retired = true;
            false
        });
        dropped
    }

    /// The tags that `covers` holds for.
    pub(crate) fn matching(&self, covers: impl Fn(TagMeaning) -> bool) -> Vec<Tag> {
        let matches = self.by_meaning.iter().filter(|(meaning, _)| covers(**meaning));
        let mut tags: Vec<Tag> = matches.map(|(_, &tag)| tag).collect();
        tags.sort_unstable();
        tags
    }

    pub(crate) fn entry_added(&mut self, tag: Tag) {
        self.slots[usize::from(tag.0)].entries += 1;
    }

    pub(crate) fn entry_removed(&mut self, tag: Tag) {
        let slot = &mut self.slots[usize::from(tag.0)];
        slot.entries = slot.entries.saturating_sub(1);
    }

    pub(crate) fn entries(&self) -> u64 {
        self.slots.iter().map(|slot| u64::from(slot.entries)).sum()
    }

    /// Retires the tags that no entry has.
    pub(crate) fn retire_unused(&mut self) {
        let Self { by_meaning, slots, .. } = self;
        by_meaning.retain(|_, tag| {
            let slot = &mut slots[usize::from(tag.0)];
            if slot.entries == 0 {
                slot.meaning = None;
            }
            slot.entries != 0
        });
    }

    /// Makes the retired tags available again. No entry may hold one.
    pub(crate) fn recycle(&mut self) {
        self.any_retired = false;
        self.free.clear();
        for (number, slot) in self.slots.iter().enumerate().skip(1).rev() {
            if slot.meaning.is_none() {
                self.free.push(Tag(number as u16));
            }
        }
    }
}
