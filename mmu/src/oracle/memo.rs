//! Fresh walks that need not be made again.

use super::Use;
use isa::address::{AccessKind, HostPhysicalAddress};
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

const SLOTS: usize = 1 << 14;
/// Walks that may depend on one entry before it counts as one that most depend on.
const DEPENDENTS: usize = 64;
/// A store reaches this far: no instruction stores more at once within a page.
const STORE: u64 = 64;

/// Number of a context.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct View(pub(super) u32);

impl View {
    /// Of no context.
    pub(super) const NONE: Self = Self(u32::MAX);
}

impl Default for View {
    fn default() -> Self {
        Self::NONE
    }
}

/// What a fresh walk found for a 4-KByte page.
#[derive(Clone, Copy, Debug)]
struct Slot {
    page: u64,
    host: u64,
    view: View,
    /// A bit for each kind of access that the walk was made for.
    kinds: u8,
}

impl Slot {
    const EMPTY: Self = Self { page: 0, host: 0, view: View::NONE, kinds: 0 };
}

/// Fresh walks by context and page, as long as no entry that they have read changes.
#[derive(Debug)]
pub(super) struct Memo {
    slots: Box<[Slot; SLOTS]>,
    /// The slots that depend on an entry which maps a page.
    leaves: FxHashMap<u64, SmallVec<[u16; 2]>>,
    /// The entries on which many slots depend.
    shared: FxHashSet<u64>,
    /// The frames that hold those entries, a bit each.
    tables: Vec<u64>,
}

impl Default for Memo {
    fn default() -> Self {
        let slots = Box::new([Slot::EMPTY; SLOTS]);
        Self { slots, leaves: FxHashMap::default(), shared: FxHashSet::default(), tables: Vec::new() }
    }
}

impl Memo {
    /// Whether a fresh walk is known to find what was used.
    #[inline(always)]
    pub(super) fn confirms(&self, view: View, used: &Use) -> bool {
        let page = used.address.page_number();
        let slot = &self.slots[index(view, page)];
        slot.page == page
            && slot.view == view
            && slot.host == used.host_physical.page_number()
            && slot.kinds & bit(used.kind) != 0
    }

    /// Remembers a walk that found `used`. `entries` are those that it read, and `leaves` of them, at the end of
    /// either dimension, map the page.
    pub(super) fn fill(&mut self, view: View, used: &Use, entries: impl Iterator<Item = (u64, EntryKind)>) {
        let page = used.address.page_number();
        let host = used.host_physical.page_number();
        let number = index(view, page);
        if self.leaves.len() > 4 * SLOTS {
            self.clear();
        }
        for (entry, kind) in entries {
            self.depend(number as u16, entry, kind);
        }
        let slot = &mut self.slots[number];
        let same = slot.page == page && slot.view == view && slot.host == host;
        let kinds = bit(used.kind) | if same { slot.kinds } else { 0 };
        *slot = Slot { page, host, view, kinds };
    }

    fn depend(&mut self, slot: u16, entry: u64, kind: EntryKind) {
        self.note_table(HostPhysicalAddress(entry));
        if kind == EntryKind::Shared {
            self.shared.insert(entry);
            return;
        }
        let dependents = self.leaves.entry(entry).or_default();
        if dependents.len() >= DEPENDENTS {
            self.shared.insert(entry);
        } else if !dependents.contains(&slot) {
            dependents.push(slot);
        }
    }

    fn note_table(&mut self, entry: HostPhysicalAddress) {
        let frame = entry.page_number() as usize;
        if self.tables.len() <= frame / 64 {
            self.tables.resize(frame / 64 + 1, 0);
        }
        self.tables[frame / 64] |= 1 << (frame % 64);
    }

    /// Whether some walk has read an entry in the frame.
    #[inline(always)]
    pub(super) fn is_table(&self, address: HostPhysicalAddress) -> bool {
        let frame = address.page_number() as usize;
        self.tables.get(frame / 64).is_some_and(|word| word >> (frame % 64) & 1 != 0)
    }

    /// Forgets the walks that have read an entry.
    pub(super) fn forget_entry(&mut self, entry: HostPhysicalAddress) {
        if self.shared.contains(&entry.0) {
            return self.clear();
        }
        for slot in self.leaves.remove(&entry.0).into_iter().flatten() {
            self.slots[usize::from(slot)] = Slot::EMPTY;
        }
    }

    /// Forgets the walks that have read one of the entries that a store may reach.
    #[cold]
    pub(super) fn forget_stored(&mut self, address: HostPhysicalAddress) {
        for entry in (address.0 & !7..address.0 + STORE).step_by(4) {
            self.forget_entry(HostPhysicalAddress(entry));
        }
    }

    /// Forgets all walks.
    pub(super) fn clear(&mut self) {
        self.slots.fill(Slot::EMPTY);
        self.leaves.clear();
        self.shared.clear();
    }
}

/// How many walks depend on an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum EntryKind {
    /// Those of one page: it maps the page.
    Leaf,
    /// Those of many pages.
    Shared,
}

#[inline(always)]
const fn index(view: View, page: u64) -> usize {
    (page ^ (view.0 as u64).wrapping_mul(0x9e5)) as usize % SLOTS
}

#[inline(always)]
const fn bit(kind: AccessKind) -> u8 {
    match kind {
        AccessKind::Read => 1,
        AccessKind::Write => 2,
        AccessKind::Execute => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::translator::Hit;
    use isa::address::LinearAddress;

    fn used(page: u64, kind: AccessKind) -> Use {
        let address = LinearAddress(page << 12);
        Use { address, kind, host_physical: HostPhysicalAddress(page << 13), hit: Hit::L1, at: 0 }
    }

    fn filled(pages: u64) -> Memo {
        let mut memo = Memo::default();
        for page in 0..pages {
            let entries = [(0x1000, EntryKind::Shared), (0x2000 + 8 * page, EntryKind::Leaf)];
            memo.fill(View(1), &used(page, AccessKind::Read), entries.into_iter());
        }
        memo
    }

    #[test]
    fn a_walk_is_known_for_its_context_page_and_kind_alone() {
        let memo = filled(1);
        assert!(memo.confirms(View(1), &used(0, AccessKind::Read)));
        assert!(!memo.confirms(View(1), &used(0, AccessKind::Write)));
        assert!(!memo.confirms(View(2), &used(0, AccessKind::Read)));
        assert!(!memo.confirms(View(1), &used(1, AccessKind::Read)));
        let elsewhere = Use { host_physical: HostPhysicalAddress(0x5000), ..used(0, AccessKind::Read) };
        assert!(!memo.confirms(View(1), &elsewhere));
    }

    #[test]
    fn an_entry_that_maps_a_page_takes_its_page_along_and_a_shared_one_all() {
        let mut memo = filled(2);
        memo.forget_entry(HostPhysicalAddress(0x2008));
        assert!(memo.confirms(View(1), &used(0, AccessKind::Read)));
        assert!(!memo.confirms(View(1), &used(1, AccessKind::Read)));
        memo.forget_entry(HostPhysicalAddress(0x1000));
        assert!(!memo.confirms(View(1), &used(0, AccessKind::Read)));
    }

    #[test]
    fn a_store_reaches_the_entries_behind_its_address() {
        let mut memo = filled(20);
        memo.forget_stored(HostPhysicalAddress(0x2004));
        let known = |page| memo.confirms(View(1), &used(page, AccessKind::Read));
        assert!(!(0..9).any(known) && (9..20).all(known));
        assert!(memo.is_table(HostPhysicalAddress(0x2fff)));
        assert!(!memo.is_table(HostPhysicalAddress(0x3000)));
    }
}
