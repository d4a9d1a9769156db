//! One set-associative array.

use super::geometry::{ArrayGeometry, Index, StructureArray};
use super::key::{Address, Key, Origin, Region};
use super::meaning::Store;
use super::replacement::Policy;
use super::tags::{Removed, Tag, TagPair, Tags};
use crate::translation::{GuestPageSize, PageSize};
use isa::address::LinearAddress;

/// What stands behind a key.
pub(super) trait Entry: Copy {
    /// What the keys of these entries are made of.
    type Address: Address;

    /// Where these entries are.
    const STORE: Store;

    /// What stands behind a free key.
    const NOTHING: Self;

    /// The size of what the tables map where this entry is from, when the entry may be a piece of it.
    fn origin(&self) -> Option<Origin>;
}

#[derive(Clone, Copy, Debug)]
struct Payload<E> {
    entry: E,
    stamp: u64,
}

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

/// Entries that were dropped, one or more of each page.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Lost {
    pub(super) entries: u64,
    /// How many low bits of an address are the offset in the largest page among them, whole pages for their pieces.
    shift: u32,
}

impl Lost {
    const fn one(shift: u32) -> Self {
        Self { entries: 1, shift }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.entries += other.entries;
        self.shift = self.shift.max(other.shift);
    }

    /// The size of the page around the address of the entries beyond which nothing was dropped.
    pub(super) const fn reach(self) -> PageSize {
        match self.shift {
            0..=12 => PageSize::Size4K,
            13..=21 => PageSize::Size2M,
            // No smaller size has both halves of a page of 4 MByte.
            _ => PageSize::Size1G,
        }
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
pub(super) struct Array<E> {
    keys: Vec<Key>,
    payloads: Vec<Payload<E>>,
    ways: usize,
    set_mask: u64,
    set_bits: u32,
    index: Index,
    policy: Policy,
    /// The regions that keys have, by their code.
    regions: [Region; Region::CODES],
    /// Ways in use by the code of their region, those of retired tags among them.
    used: [u32; Region::CODES],
    /// Of those, the pieces of larger pages, in buckets by larger page.
    pieces: Vec<u32>,
}

/// No piece is of a larger page.
const LARGEST_PAGE: Region = Region::page(PageSize::Size1G);

/// Buckets for pieces of larger pages.
const BUCKETS: usize = 1024;

const fn bucket(address: u64, origin: Origin) -> usize {
    (address >> origin.shift()) as usize % BUCKETS
}

impl<E: Entry> Array<E> {
    /// An array of pages.
    pub(super) fn new(shape: &ArrayGeometry) -> Self {
        let policy = Policy::new(shape.replacement, shape.sets);
        Self::build(shape.sets, shape.ways, shape.index, policy, Region::PAGES)
    }

    /// An array of paging-structure entries of one level.
    pub(super) fn of_structures(shape: StructureArray, region: Region) -> Self {
        Self::build(shape.sets, shape.ways, Index::LowBits, Policy::Lru, [region; Region::CODES])
    }

    fn build(sets: u32, ways: u32, index: Index, policy: Policy, regions: [Region; Region::CODES]) -> Self {
        let slots = sets as usize * ways as usize;
        Self {
            keys: vec![Key::FREE; slots],
            payloads: vec![Payload { entry: E::NOTHING, stamp: 0 }; slots],
            ways: ways as usize,
            set_mask: u64::from(sets) - 1,
            set_bits: sets.trailing_zeros(),
            index,
            policy,
            regions,
            used: [0; Region::CODES],
            pieces: vec![0; BUCKETS],
        }
    }

    #[inline(always)]
    fn first_slot(&self, address: u64, region: Region) -> usize {
        let page = address >> region.shift();
        let set = match self.index {
            Index::LowBits => page,
            Index::XorOfTwoSlices => page ^ page >> self.set_bits,
        };
        (set & self.set_mask) as usize * self.ways
    }

    /// Where the entry of `address` for a region is under one of two tags.
    #[inline]
    pub(super) fn slot_of(&self, region: Region, address: E::Address, tags: TagPair) -> Option<usize> {
        if !self.uses(region) {
            return None;
        }
        let address = address.bits();
        let (own, global) = (Key::new(address, region, tags.own), Key::new(address, region, tags.global));
        let first = self.first_slot(address, region);
        let set = &self.keys[first..first + self.ways];
        set.iter().position(|&key| key == own || key == global).map(|way| first + way)
    }

    /// As [`slot_of`](Self::slot_of), under one tag.
    #[inline]
    pub(super) fn slot_under(&self, region: Region, address: E::Address, tag: Tag) -> Option<usize> {
        if !self.uses(region) {
            return None;
        }
        let address = address.bits();
        let wanted = Key::new(address, region, tag);
        let first = self.first_slot(address, region);
        let set = &self.keys[first..first + self.ways];
        set.iter().position(|&key| key == wanted).map(|way| first + way)
    }

    /// The entry of a hint, if it still is where it was.
    #[inline(always)]
    pub(super) fn find_hinted(&mut self, hint: &Hint, clock: u64) -> Option<&E> {
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

    /// The entry in a slot, which becomes the most recently used.
    #[inline(always)]
    pub(super) fn touch(&mut self, slot: usize, clock: u64) -> &E {
        let payload = &mut self.payloads[slot];
        if self.policy.is_by_use() {
            payload.stamp = clock;
            self.policy.used(slot, self.ways);
        }
        &payload.entry
    }

    /// The entry in a slot, without a trace.
    pub(super) fn peek(&self, slot: usize) -> &E {
        &self.payloads[slot].entry
    }

    /// The way that an entry for `address` would take.
    #[inline]
    pub(super) fn candidate(&self, region: Region, address: E::Address, tag: Tag, tags: &Tags) -> Way {
        let wanted = Key::new(address.bits(), region, tag);
        let first = self.first_slot(address.bits(), region);
        let range = first..first + self.ways;
        let any_retired = tags.any_retired(E::STORE);
        let mut best = Way { slot: first, rank: Rank(u64::MAX) };
        for (way, (&key, payload)) in self.keys[range.clone()].iter().zip(&self.payloads[range]).enumerate() {
            let slot = first + way;
            if key == wanted {
                return Way { slot, rank: Rank::LOSES_NOTHING };
            }
            let free = key == Key::FREE || (any_retired && tags.is_retired(key.tag()));
            let rank = if free { Rank::LOSES_NOTHING } else { Rank(payload.stamp) };
            if rank < best.rank {
                best = Way { slot, rank };
            }
        }
        if best.rank == Rank::LOSES_NOTHING {
            return best;
        }
        self.policy.victim(first, self.ways).map_or(best, |slot| {
            let rank = Rank(self.payloads[slot].stamp);
            Way { slot, rank }
        })
    }

    /// Puts an entry into the way of a [`candidate`](Self::candidate); returns the key of an entry that was lost.
    #[inline]
    pub(super) fn replace(
        &mut self,
        way: Way,
        entry: &E,
        key: Key,
        clock: u64,
        tags: &mut Tags,
    ) -> Option<Key> {
        let evicted = self.free(way.slot, tags).filter(|_| way.rank != Rank::LOSES_NOTHING);
        self.keys[way.slot] = key;
        self.payloads[way.slot] = Payload { entry: *entry, stamp: clock };
        self.policy.inserted(way.slot, self.ways);
        self.used[key.code()] += 1;
        if let Some(origin) = entry.origin().filter(|origin| origin.exceeds(self.region(key))) {
            self.pieces[bucket(key.address(), origin)] += 1;
        }
        tags.entry_added(key.tag());
        evicted
    }

    /// Frees a way; returns the key that it had, unless the tag was retired.
    #[inline]
    fn free(&mut self, slot: usize, tags: &mut Tags) -> Option<Key> {
        let key = core::mem::replace(&mut self.keys[slot], Key::FREE);
        if key == Key::FREE {
            return None;
        }
        self.used[key.code()] -= 1;
        if let Some(origin) =
            self.payloads[slot].entry.origin().filter(|origin| origin.exceeds(self.region(key)))
        {
            self.pieces[bucket(key.address(), origin)] -= 1;
        }
        match tags.entry_removed(key.tag()) {
            Removed::Live => Some(key),
            Removed::Retired => None,
        }
    }

    pub(super) const fn region(&self, key: Key) -> Region {
        self.regions[key.code()]
    }

    /// Drops the entries around `address` under one tag.
    pub(super) fn drop_address(&mut self, address: E::Address, tag: Tag, tags: &mut Tags) -> Lost {
        let mut lost = Lost::default();
        for code in 0..Region::CODES {
            if self.used[code] != 0
                && let Some(slot) = self.slot_under(self.regions[code], address, tag)
            {
                lost.add(self.lose(slot, tags));
            }
        }
        lost
    }

    /// Frees a way; tells what was lost unless the tag was retired.
    fn lose(&mut self, slot: usize, tags: &mut Tags) -> Lost {
        let shift = self.whole_shift(slot);
        self.free(slot, tags).map_or_else(Lost::default, |_| Lost::one(shift))
    }

    /// Drops every entry that is a piece of a larger page around `address` and whose tag is listed.
    pub(super) fn drop_pieces(&mut self, address: E::Address, listed: &[Tag], tags: &mut Tags) -> Lost {
        let mut lost = Lost::default();
        if listed.is_empty() || !Origin::ALL.iter().any(|&size| self.may_hold_pieces(address, size)) {
            return lost;
        }
        for slot in 0..self.keys.len() {
            let key = self.keys[slot];
            let near = Key::differ(key.address(), address.bits()) & !LARGEST_PAGE.offset_mask() == 0;
            if near && key != Key::FREE && listed.contains(&key.tag()) && self.is_around(slot, address) {
                lost.add(self.lose(slot, tags));
            }
        }
        lost
    }

    /// Whether the entry in a slot, or the larger page that it is a piece of, is used for `address`.
    pub(super) fn is_around(&self, slot: usize, address: E::Address) -> bool {
        Key::differ(self.keys[slot].address(), address.bits()) >> self.whole_shift(slot) == 0
    }

    /// How many low bits of an address are the offset in the entry of a slot, or in the larger page that it is a piece
    /// of.
    fn whole_shift(&self, slot: usize) -> u32 {
        let shift = self.region(self.keys[slot]).shift();
        self.payloads[slot].entry.origin().map_or(shift, |origin| origin.shift().max(shift))
    }

    /// Drops the entries under one tag that overlap the region around `address`; returns the largest region among it
    /// and theirs.
    pub(super) fn drop_overlapping(
        &mut self,
        address: E::Address,
        around: Region,
        tag: Tag,
        tags: &mut Tags,
    ) -> Region {
        let mut largest = around;
        for region in self.regions.into_iter().filter(|&region| region >= around) {
            if let Some(slot) = self.slot_under(region, address, tag) {
                self.free(slot, tags);
                largest = largest.max(region);
            }
        }
        if self.regions.into_iter().any(|region| region < around && self.uses(region)) {
            self.drop_inside(address, around, tag, tags);
        }
        largest
    }

    fn drop_inside(&mut self, address: E::Address, around: Region, tag: Tag, tags: &mut Tags) {
        for slot in 0..self.keys.len() {
            let key = self.keys[slot];
            let inside = Key::differ(key.address(), address.bits()) & !around.offset_mask() == 0;
            if key != Key::FREE && key.tag() == tag && inside {
                self.free(slot, tags);
            }
        }
    }

    /// Frees the ways of retired tags.
    pub(super) fn free_retired(&mut self, tags: &mut Tags) {
        for slot in 0..self.keys.len() {
            let key = self.keys[slot];
            if key != Key::FREE && tags.is_retired(key.tag()) {
                self.free(slot, tags);
            }
        }
    }

    /// The slots in use, those of retired tags among them, with the tag, the first address and the region of each.
    pub(super) fn slots(&self) -> impl Iterator<Item = (usize, Tag, E::Address, Region)> + '_ {
        let used = self.keys.iter().enumerate().filter(|&(_, &key)| key != Key::FREE);
        used.map(|(slot, &key)| (slot, key.tag(), E::Address::from_bits(key.address()), self.region(key)))
    }

    /// Whether entries for a region may be in the array.
    #[inline(always)]
    pub(super) const fn uses(&self, region: Region) -> bool {
        self.used[region.code()] != 0
    }

    /// Whether pieces of the larger page of a size around `address` may be in the array.
    pub(super) fn may_hold_pieces(&self, address: E::Address, size: GuestPageSize) -> bool {
        self.pieces[bucket(address.bits(), Origin::of(size))] != 0
    }
}
