//! One set-associative array.

use super::Evicted;
use super::geometry::{ArrayGeometry, Index, Replacement};
use super::tags::{Tag, TagPair, Tags};
use crate::translation::{PageSize, Translation};
use isa::address::LinearAddress;

/// Page number, page size and tag in one word; 0 is a free way.
///
/// Bits 63:19 are linear-address bits 56:12 (with the bits below the page size 0), bits 18:17 the size, bits 16:1 the
/// tag, bit 0 is 1. Bits 63:57 of a canonical address equal bit 56.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Key(u64);

impl Key {
    const FREE: Self = Self(0);

    #[inline(always)]
    const fn new(address: LinearAddress, size: PageSize, tag: Tag) -> Self {
        let page = (address.0 & !size.offset_mask()) << 7;
        Self(page | (size as u64) << 17 | (tag.0 as u64) << 1 | 1)
    }

    const fn tag(self) -> Tag {
        Tag((self.0 >> 1) as u16)
    }

    const fn size(self) -> PageSize {
        PageSize::ALL[(self.0 >> 17 & 3) as usize]
    }

    const fn address(self) -> LinearAddress {
        LinearAddress((self.0 as i64 >> 7) as u64 & !0xfff)
    }
}

#[derive(Clone, Copy, Debug)]
struct Payload {
    translation: Option<Translation>,
    stamp: u64,
}

/// A way that an insertion may take, and how little is lost by that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    slot: usize,
    pub(super) rank: Rank,
}

/// The smaller, the rather is the way given up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Rank {
    /// The same page under the same tag.
    Same,
    /// Nothing, or an entry with a retired tag.
    Free,
    /// An entry, by age.
    Used(u64),
}

/// The entries of one array.
#[derive(Debug)]
pub(super) struct Array {
    keys: Vec<Key>,
    payloads: Vec<Payload>,
    ways: usize,
    set_mask: u64,
    set_bits: u32,
    index: Index,
    replacement: Replacement,
    /// Ways in use by page size, those of retired tags among them.
    used: [u32; 3],
    /// Of those, the pieces of larger guest pages, in buckets by guest page.
    pieces: Vec<u32>,
}

/// Buckets for pieces of larger guest pages.
const BUCKETS: usize = 1024;

const fn bucket(address: LinearAddress, guest_size: PageSize) -> usize {
    (address.0 >> guest_size.shift()) as usize % BUCKETS
}

impl Array {
    pub(super) fn new(shape: &ArrayGeometry) -> Self {
        let slots = shape.sets as usize * shape.ways as usize;
        Self {
            keys: vec![Key::FREE; slots],
            payloads: vec![Payload { translation: None, stamp: 0 }; slots],
            ways: shape.ways as usize,
            set_mask: u64::from(shape.sets) - 1,
            set_bits: shape.sets.trailing_zeros(),
            index: shape.index,
            replacement: shape.replacement,
            used: [0; 3],
            pieces: vec![0; BUCKETS],
        }
    }

    #[inline(always)]
    fn first_slot(&self, address: LinearAddress, size: PageSize) -> usize {
        let page = address.0 >> size.shift();
        let set = match self.index {
            Index::LowBits => page,
            Index::XorOfTwoSlices => page ^ page >> self.set_bits,
        };
        (set & self.set_mask) as usize * self.ways
    }

    #[inline(always)]
    fn slot_of(&self, size: PageSize, address: LinearAddress, tags: TagPair) -> Option<usize> {
        if self.used[size as usize] == 0 {
            return None;
        }
        let (own, global) = (Key::new(address, size, tags.own), Key::new(address, size, tags.global));
        let first = self.first_slot(address, size);
        let set = &self.keys[first..first + self.ways];
        set.iter().position(|&key| key == own || key == global).map(|way| first + way)
    }

    /// The translation of `address` in a page of `size`, which becomes the most recently used.
    #[inline(always)]
    pub(super) fn find(
        &mut self,
        size: PageSize,
        address: LinearAddress,
        tags: TagPair,
        clock: u64,
    ) -> Option<Translation> {
        let slot = self.slot_of(size, address, tags)?;
        let payload = &mut self.payloads[slot];
        if self.replacement == Replacement::Lru {
            payload.stamp = clock;
        }
        payload.translation
    }

    /// As [`find`](Self::find), without a trace.
    pub(super) fn peek(&self, size: PageSize, address: LinearAddress, tags: TagPair) -> Option<Translation> {
        self.payloads[self.slot_of(size, address, tags)?].translation
    }

    /// The way that an entry for `address` would take.
    pub(super) fn candidate(&self, size: PageSize, address: LinearAddress, tag: Tag, tags: &Tags) -> Way {
        let wanted = Key::new(address, size, tag);
        let first = self.first_slot(address, size);
        let rank = |slot: usize| match self.keys[slot] {
            key if key == wanted => Rank::Same,
            key if key == Key::FREE || tags.is_retired(key.tag()) => Rank::Free,
            _ => Rank::Used(self.payloads[slot].stamp),
        };
        let ways = (first..first + self.ways).map(|slot| Way { slot, rank: rank(slot) });
        ways.min_by_key(|way| way.rank).unwrap_or(Way { slot: first, rank: Rank::Free })
    }

    /// Puts a translation into the way of a [`candidate`](Self::candidate).
    pub(super) fn replace(
        &mut self,
        way: Way,
        translation: Translation,
        tag: Tag,
        clock: u64,
        tags: &mut Tags,
    ) -> Option<Evicted> {
        let evicted = self.free(way.slot, tags).filter(|_| matches!(way.rank, Rank::Used(_)));
        self.keys[way.slot] = Key::new(translation.linear, translation.size, tag);
        self.payloads[way.slot] = Payload { translation: Some(translation), stamp: clock };
        self.used[translation.size as usize] += 1;
        if translation.guest_size > translation.size {
            self.pieces[bucket(translation.linear, translation.guest_size)] += 1;
        }
        tags.entry_added(tag);
        evicted
    }

    /// Frees a way; returns what was in it, unless its tag was retired.
    fn free(&mut self, slot: usize, tags: &mut Tags) -> Option<Evicted> {
        let key = self.vacate(slot)?;
        let meaning = tags.meaning(key.tag())?;
        tags.entry_removed(key.tag());
        Some(Evicted { meaning, address: key.address(), size: key.size() })
    }

    fn vacate(&mut self, slot: usize) -> Option<Key> {
        let key = core::mem::replace(&mut self.keys[slot], Key::FREE);
        let translation = self.payloads[slot].translation.take();
        if let Some(Translation { linear, guest_size, size, .. }) = translation {
            self.used[size as usize] -= 1;
            if guest_size > size {
                self.pieces[bucket(linear, guest_size)] -= 1;
            }
        }
        (key != Key::FREE).then_some(key)
    }

    /// Drops the entries of the pages around `address` under one tag; returns how many.
    pub(super) fn drop_page(&mut self, address: LinearAddress, tag: Tag, tags: &mut Tags) -> u64 {
        let mut dropped = 0;
        for size in PageSize::ALL {
            while let Some(slot) = self.slot_of(size, address, TagPair { own: tag, global: tag }) {
                dropped += u64::from(self.free(slot, tags).is_some());
            }
        }
        dropped
    }

    /// Drops every entry that is a piece of a guest page around `address` and whose tag is listed.
    pub(super) fn drop_pieces(&mut self, address: LinearAddress, listed: &[Tag], tags: &mut Tags) -> u64 {
        if !PageSize::ALL.into_iter().any(|size| self.may_hold_pieces(address, size)) {
            return 0;
        }
        let mut dropped = 0;
        for slot in 0..self.keys.len() {
            let Some(translation) = self.payloads[slot].translation else { continue };
            let same_page = (translation.linear.0 ^ address.0) & !translation.guest_size.offset_mask() == 0;
            let key = self.keys[slot];
            if same_page && listed.binary_search(&key.tag()).is_ok() {
                dropped += u64::from(self.free(slot, tags).is_some());
            }
        }
        dropped
    }

    /// Frees the ways of retired tags.
    pub(super) fn free_retired(&mut self, tags: &Tags) {
        for slot in 0..self.keys.len() {
            let key = self.keys[slot];
            if key != Key::FREE && tags.is_retired(key.tag()) {
                self.vacate(slot);
            }
        }
    }

    /// Whether pages of a size may be in the array.
    pub(super) const fn uses(&self, size: PageSize) -> bool {
        self.used[size as usize] != 0
    }

    /// Whether pieces of the guest page of a size around `address` may be in the array.
    pub(super) fn may_hold_pieces(&self, address: LinearAddress, guest_size: PageSize) -> bool {
        guest_size != PageSize::Size4K && self.pieces[bucket(address, guest_size)] != 0
    }
}
