//! One set-associative write-back cache that remembers lines and not their bytes.
//!
//! Each set keeps its lines in order of use, the most recently used first, and replaces the last (true LRU; processors
//! approximate it). A set is a row of words in one flat array, so that a hit on the first way is a single compare.

use isa::address::HostPhysicalAddress;

use crate::processor::{CacheGeometry, LINE_SIZE};

/// The number of a cache line: a host-physical address divided by [`LINE_SIZE`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Line(u64);

impl Line {
    /// The line that holds the byte at an address.
    #[inline]
    #[must_use]
    pub const fn of(address: HostPhysicalAddress) -> Self {
        Self(address.0 / LINE_SIZE)
    }

    /// The line behind this one, which must not be the last of the address space.
    #[inline]
    pub(crate) const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The number itself.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// Whether a cache holds a line that the level behind it has not seen in this form.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// As it came from behind.
    Clean,
    /// Written since; to be written back when it is replaced.
    Dirty,
}

/// Whether a cache held a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Lookup {
    /// It did.
    Hit,
    /// It did not; nothing changed.
    Miss,
}

/// A way without a line. No line has this word: the number of a line is below 2^58.
const EMPTY: u64 = u64::MAX;

/// The bit of a word that says [`State::Dirty`]; the line's number is above it.
const DIRTY: u64 = 1;

/// How a line's number chooses its set.
#[derive(Clone, Copy, Debug)]
enum SetIndex {
    /// The low bits, where the number of sets is a power of two.
    Mask(u64),
    /// The remainder by the number of sets. Processors spread such a cache over slices by an undisclosed hash.
    Remainder(u64),
}

/// A set-associative cache.
#[derive(Clone, Debug)]
pub struct Cache {
    words: Box<[u64]>,
    ways: usize,
    index: SetIndex,
}

impl Cache {
    /// An empty cache of the given geometry.
    #[must_use]
    pub fn new(geometry: &CacheGeometry) -> Self {
        let sets = geometry.sets();
        let index = if sets.is_power_of_two() { SetIndex::Mask(sets - 1) } else { SetIndex::Remainder(sets) };
        let ways = geometry.ways() as usize;
        Self { words: vec![EMPTY; sets as usize * ways].into_boxed_slice(), ways, index }
    }

    #[inline]
    fn set_mut(&mut self, line: Line) -> &mut [u64] {
        let set = match self.index {
            SetIndex::Mask(mask) => line.0 & mask,
            SetIndex::Remainder(sets) => line.0 % sets,
        };
        let first = set as usize * self.ways;
        &mut self.words[first..first + self.ways]
    }

    /// Looks a line up and, on a hit, makes it the most recently used; `written` then makes it dirty.
    #[inline]
    pub fn access(&mut self, line: Line, written: State) -> Lookup {
        let set = self.set_mut(line);
        if holds(set[0], line) {
            set[0] |= written as u64;
            return Lookup::Hit;
        }
        promote(set, line, written)
    }

    /// Makes a line dirty if the cache holds it; the order of use stays, because no instruction used the line.
    pub fn write_back(&mut self, line: Line) -> Lookup {
        match position(self.set_mut(line), line) {
            Some(word) => {
                *word |= DIRTY;
                Lookup::Hit
            }
            None => Lookup::Miss,
        }
    }

    /// Puts a line that the cache does not hold into its set as the most recently used, and returns the line that had
    /// to leave if that one was dirty.
    #[must_use = "a dirty line is to be written back"]
    pub fn fill(&mut self, line: Line, state: State) -> Option<Line> {
        let set = self.set_mut(line);
        let victim = set[set.len() - 1];
        set.copy_within(..set.len() - 1, 1);
        set[0] = line.0 << 1 | state as u64;
        (victim != EMPTY && victim & DIRTY != 0).then_some(Line(victim >> 1))
    }
}

/// A hit behind the first way: moves the line to the front.
fn promote(set: &mut [u64], line: Line, written: State) -> Lookup {
    let Some(way) = set.iter().position(|&word| holds(word, line)) else { return Lookup::Miss };
    let word = set[way];
    set.copy_within(..way, 1);
    set[0] = word | written as u64;
    Lookup::Hit
}

fn position(set: &mut [u64], line: Line) -> Option<&mut u64> {
    set.iter_mut().find(|word| holds(**word, line))
}

#[inline]
fn holds(word: u64, line: Line) -> bool {
    word & !DIRTY == line.0 << 1
}
