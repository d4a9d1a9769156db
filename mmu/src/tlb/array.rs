//! One set-associative array.

use super::Evicted;
use super::geometry::{ArrayGeometry, Index, Replacement};
use super::tags::{Tag, TagPair, Tags};
use crate::translation::{PageSize, Rights, Scope, Translation};
use isa::address::{HostPhysicalAddress, LinearAddress};

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

/// What stands behind a key; meaningless behind a free one.
#[derive(Clone, Copy, Debug)]
struct Payload {
    translation: Translation,
    stamp: u64,
}

const NOTHING: Payload = Payload {
    translation: Translation {
        linear: LinearAddress(0),
        host_physical: HostPhysicalAddress(0),
        size: PageSize::Size4K,
        guest_size: PageSize::Size4K,
        rights: Rights::empty(),
        scope: Scope::Pcid,
    },
    stamp: 0,
};

/// Where a page was found lately. It still is there if the key is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hint {
    page: LinearAddress,
    key: Key,
    slot: u32,
    pub(super) array: u8,
}

impl Hint {
    /// No page; the low bits of an address of a page are 0.
    pub(super) const NONE: Self = Self { page: LinearAddress(1), key: Key::FREE, slot: 0, array: 0 };

    #[inline(always)]
    pub(super) const fn is_for(&self, address: LinearAddress) -> bool {
        self.page.0 == address.page().0
    }
}

/// A way that an insertion may take, and how little is lost by that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    slot: usize,
    pub(super) rank: Rank,
}

/// The smaller, the rather is the way given up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Rank(u64);

impl Rank {
    /// A way with the same page under the same tag, with nothing, or with a retired tag.
    const LOSES_NOTHING: Self = Self(0);
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
            payloads: vec![NOTHING; slots],
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

    /// Where the translation of `address` in a page of `size` is.
    #[inline]
    pub(super) fn slot_of(&self, size: PageSize, address: LinearAddress, tags: TagPair) -> Option<usize> {
        if self.used[size as usize] == 0 {
            return None;
        }
        let (own, global) = (Key::new(address, size, tags.own), Key::new(address, size, tags.global));
        let first = self.first_slot(address, size);
        let set = &self.keys[first..first + self.ways];
        set.iter().position(|&key| key == own || key == global).map(|way| first + way)
    }

    /// The translation of a hint, if it still is where it was.
    #[inline(always)]
    pub(super) fn find_hinted(&mut self, hint: &Hint, clock: u64) -> Option<&Translation> {
        let slot = hint.slot as usize;
        if *self.keys.get(slot)? != hint.key {
            return None;
        }
        Some(self.touch(slot, clock))
    }

    /// A hint for a page whose translation is in a slot.
    #[inline]
    pub(super) fn hint(&self, address: LinearAddress, slot: usize, array: u8) -> Hint {
        Hint { page: address.page(), key: self.keys[slot], slot: slot as u32, array }
    }

    /// The translation in a slot, which becomes the most recently used.
    #[inline(always)]
    pub(super) fn touch(&mut self, slot: usize, clock: u64) -> &Translation {
        let payload = &mut self.payloads[slot];
        if self.replacement == Replacement::Lru {
            payload.stamp = clock;
        }
        &payload.translation
    }

    /// As [`find`](Self::find), without a trace.
    pub(super) fn peek(&self, size: PageSize, address: LinearAddress, tags: TagPair) -> Option<Translation> {
        Some(self.payloads[self.slot_of(size, address, tags)?].translation)
    }

    /// The way that an entry for `address` would take.
    pub(super) fn candidate(&self, size: PageSize, address: LinearAddress, tag: Tag, tags: &Tags) -> Way {
        let wanted = Key::new(address, size, tag);
        let first = self.first_slot(address, size);
        let range = first..first + self.ways;
        let mut best = Way { slot: first, rank: Rank(u64::MAX) };
        for (way, (&key, payload)) in self.keys[range.clone()].iter().zip(&self.payloads[range]).enumerate() {
            let slot = first + way;
            if key == wanted {
                return Way { slot, rank: Rank::LOSES_NOTHING };
            }
            let free = key == Key::FREE || tags.is_retired(key.tag());
            let rank = if free { Rank::LOSES_NOTHING } else { Rank(payload.stamp) };
            if rank < best.rank {
                best = Way { slot, rank };
            }
        }
        best
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
        let evicted = self.free(way.slot, tags).filter(|_| way.rank != Rank::LOSES_NOTHING);
        self.keys[way.slot] = Key::new(translation.linear, translation.size, tag);
        self.payloads[way.slot] = Payload { translation, stamp: clock };
        self.used[translation.size as usize] += 1;
        if translation.guest_size > translation.size {
            self.pieces[bucket(translation.linear, translation.guest_size)] += 1;
        }
        tags.entry_added(tag);
        evicted
    }

    /// Frees a way; returns what was in it, unless its tag was retired.
    #[inline]
    fn free(&mut self, slot: usize, tags: &mut Tags) -> Option<Evicted> {
        let key = self.vacate(slot)?;
        if tags.is_retired(key.tag()) {
            return None;
        }
        tags.entry_removed(key.tag());
        Some(Evicted { tag: key.tag(), address: key.address(), size: key.size() })
    }

    #[inline]
    fn vacate(&mut self, slot: usize) -> Option<Key> {
        let key = core::mem::replace(&mut self.keys[slot], Key::FREE);
        if key == Key::FREE {
            return None;
        }
        let Translation { linear, guest_size, size, .. } = self.payloads[slot].translation;
        self.used[size as usize] -= 1;
        if guest_size > size {
            self.pieces[bucket(linear, guest_size)] -= 1;
        }
        Some(key)
    }

    /// Drops the entries of the pages around `address` under one tag; returns how many.
    pub(super) fn drop_page(&mut self, address: LinearAddress, tag: Tag, tags: &mut Tags) -> u64 {
        let mut dropped = 0;
        for size in PageSize::ALL {
            if let Some(slot) = self.slot_of(size, address, TagPair { own: tag, global: tag }) {
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
            let translation = self.payloads[slot].translation;
            let same_page = (translation.linear.0 ^ address.0) & !translation.guest_size.offset_mask() == 0;
            let key = self.keys[slot];
            if key != Key::FREE && same_page && listed.binary_search(&key.tag()).is_ok() {
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
