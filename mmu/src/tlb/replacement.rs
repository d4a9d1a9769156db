//! Which way of a full set is given up.

use super::geometry::Replacement;

/// A replacement policy with what it remembers beside the stamps of the entries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Policy {
    /// The smallest stamp; stamps are times of use.
    Lru,
    /// The smallest stamp; stamps are times of insertion.
    Fifo,
    /// For each set a tree over its ways, as bits numbered as in a heap from 1: which half was used less recently.
    TreePlru(Vec<u128>),
    /// The number that the next choice is made by.
    Random(u64),
}

impl Policy {
    pub(super) fn new(replacement: Replacement, sets: u32) -> Self {
        match replacement {
            Replacement::Lru => Self::Lru,
            Replacement::Fifo => Self::Fifo,
            Replacement::TreePlru => Self::TreePlru(vec![0; sets as usize]),
            Replacement::Random { seed } => Self::Random(seed),
        }
    }

    /// Whether a use of an entry counts.
    #[inline(always)]
    pub(super) const fn is_by_use(&self) -> bool {
        matches!(self, Self::Lru | Self::TreePlru(_))
    }

    /// Takes note of the use of a slot.
    #[inline(always)]
    pub(super) fn used(&mut self, slot: usize, ways: usize) {
        if let Self::TreePlru(trees) = self {
            point_away(&mut trees[slot / ways], slot % ways, ways);
        }
    }

    /// Takes note of an insertion into a slot.
    #[inline]
    pub(super) fn inserted(&mut self, slot: usize, ways: usize) {
        match self {
            Self::TreePlru(_) => self.used(slot, ways),
            Self::Random(state) => *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15),
            Self::Lru | Self::Fifo => {}
        }
    }

    /// The slot of a full set that is given up, where the stamps do not decide.
    #[inline]
    pub(super) fn victim(&self, first: usize, ways: usize) -> Option<usize> {
        match self {
            Self::Lru | Self::Fifo => None,
            Self::TreePlru(trees) => Some(first + pointed_at(trees[first / ways], ways)),
            Self::Random(state) => Some(first + scrambled(*state) as usize % ways),
        }
    }
}

/// Makes every node on the path to a way point to its other half.
#[inline(never)]
const fn point_away(tree: &mut u128, way: usize, ways: usize) {
    let mut node = ways + way;
    while node > 1 {
        let parent = node / 2;
        if node.is_multiple_of(2) {
            *tree |= 1 << parent;
        } else {
            *tree &= !(1 << parent);
        }
        node = parent;
    }
}

/// The way that the nodes point at, from the root.
const fn pointed_at(tree: u128, ways: usize) -> usize {
    let mut node = 1;
    while node < ways {
        node = 2 * node + (tree >> node & 1) as usize;
    }
    node - ways
}

/// The finalizer of SplitMix64.
const fn scrambled(state: u64) -> u64 {
    let z = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}
