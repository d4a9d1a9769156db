//! The tagged TLB: set-associative, as lazy as hardware.
//!
//! Entries are tagged with VPID, PCID and EPTRTA (EPTP bits 51:12), interned to a small number, so that a lookup
//! compares one word per way. An entry stays until an [`Invalidation`] covers it, the access rights that it holds no
//! longer suffice, or its way is needed: a translation that software forgot to invalidate is served, as on hardware.
//!
//! Most invalidations retire tags: the tag is never handed out again while an entry holds it, and the entries become
//! free ways. Only single-address invalidations look at entries.

mod array;
pub mod geometry;
mod invalidate;
mod tags;

#[cfg(test)]
mod tests;

pub use geometry::{
    ArrayGeometry, Geometry, GeometryError, GeometryProblem, Index, Replacement, StructureArray,
    StructureGeometry,
};
pub use invalidate::{Dropped, Globals, Invalidation, Pcids, Structures};

use crate::context::Context;
use crate::mapping::Space;
use crate::translation::{PageSize, Requirement, Scope, Translation};
use array::{Array, Hint};
use isa::address::{AccessKind, LinearAddress};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use tags::{Tag, TagPair, Tags};

/// Which level of the TLB held a translation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// The first level of the kind of access.
    L1,
    /// The unified second level.
    L2,
}

/// What a lookup found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lookup {
    /// A translation that permits the access.
    Hit {
        /// Where it was.
        level: Level,
        /// The translation.
        translation: Translation,
    },
    /// A translation whose rights, or dirty flag, do not suffice: walk again, as hardware does before it faults.
    Refused,
    /// Nothing.
    Miss,
}

/// What making another tag current did to the entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Selected {
    /// Nothing.
    AsBefore,
    /// There was no number left for the tag, and all entries were forgotten.
    AfterLoss,
}

/// An entry that lost its way to another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Evicted {
    pub(crate) tag: Tag,
    pub(crate) address: LinearAddress,
    pub(crate) size: PageSize,
}

/// The entries that one insertion evicted: at most one in each level.
pub(crate) type Evictions = [Option<Evicted>; 2];

/// An array that may hold pages of a size.
#[derive(Clone, Copy, Debug)]
struct Probe {
    array: u8,
    size: PageSize,
}

/// Where a level puts pages of a size.
#[derive(Clone, Debug)]
struct Plan {
    /// The size of the pieces: the largest that some array of the level can hold.
    size: PageSize,
    /// The arrays that can hold it; none in a geometry without the level.
    arrays: SmallVec<[u8; 4]>,
}

impl Plan {
    fn new(probes: &[Probe], size: PageSize) -> Self {
        let held = probes.iter().map(|probe| probe.size).filter(|&held| held <= size).max().unwrap_or(size);
        let arrays = probes.iter().filter(|probe| probe.size == held).map(|probe| probe.array).collect();
        Self { size: held, arrays }
    }
}

/// Hints for each kind of access.
const HINTS: usize = 64;

/// The index of the second level among the plans; the first levels have the indexes of their [`side`].
const SECOND: usize = 3;

/// The TLB of one logical processor.
#[derive(Debug)]
pub struct Tlb {
    arrays: Vec<Array>,
    level1: [Vec<Probe>; 3],
    level2: Vec<Probe>,
    /// By level, then by page size.
    plans: [[Plan; 3]; 4],
    /// Where pages were found lately in the first levels under the current tag, by the low bits of the page number.
    hints: Box<[[Hint; HINTS]; 3]>,
    tags: Tags,
    current: TagPair,
    space: Space,
    clock: u64,
    /// How often all entries were forgotten for want of tags.
    losses: u64,
}

impl Tlb {
    /// An empty TLB.
    ///
    /// # Errors
    ///
    /// A [`GeometryError`] that names the field.
    pub fn new(geometry: &Geometry) -> Result<Self, GeometryError> {
        geometry.validate()?;
        let mut arrays = Vec::new();
        let mut build = |level: &[ArrayGeometry]| -> Vec<Probe> {
            let mut probes = Vec::new();
            for shape in level {
                let array = arrays.len() as u8;
                arrays.push(Array::new(shape));
                probes.extend(shape.page_sizes.iter().map(|&size| Probe { array, size }));
            }
            probes.sort_by_key(|probe| probe.size);
            probes
        };
        let data = build(&geometry.level1_data);
        let store =
            if geometry.level1_store.is_empty() { data.clone() } else { build(&geometry.level1_store) };
        let instruction = build(&geometry.level1_instruction);
        let level2 = build(&geometry.level2);
        let space = Space::default();
        let mut tags = Tags::default();
        let current = tags.pair(space).unwrap_or_default();
        let plans = [&data, &store, &instruction, &level2]
            .map(|probes| PageSize::ALL.map(|size| Plan::new(probes, size)));
        let level1 = [data, store, instruction];
        let hints = Box::new([[Hint::NONE; HINTS]; 3]);
        Ok(Self { arrays, level1, level2, plans, hints, tags, current, space, clock: 1, losses: 0 })
    }

    /// Makes the tag of `context` the current one. Nothing is invalidated.
    pub fn select(&mut self, context: &Context) -> Selected {
        let losses = self.losses;
        self.space = Space::of(context);
        self.refresh_tags();
        if losses == self.losses { Selected::AsBefore } else { Selected::AfterLoss }
    }

    /// Looks for the translation of `address` under the current tag. A hit in the second level moves a copy into
    /// the first.
    #[inline]
    pub fn lookup(&mut self, address: LinearAddress, kind: AccessKind, requirement: Requirement) -> Lookup {
        let found = match self.lookup_hinted(address, kind) {
            Some(&found) => Some(found),
            None => self.lookup_level1::<true>(address, kind).copied(),
        };
        match found {
            Some(translation) => hit(Level::L1, &translation, requirement),
            None => self.lookup_level2(address, kind, requirement).0,
        }
    }

    /// The translation of a page that was found in the first level lately, if it still is there.
    #[inline(always)]
    pub(crate) fn lookup_hinted(&mut self, address: LinearAddress, kind: AccessKind) -> Option<&Translation> {
        let hint = &self.hints[side(kind)][hint_index(address)];
        if !hint.is_for(address) {
            return None;
        }
        self.clock += 1;
        self.arrays[usize::from(hint.array)].find_hinted(hint, self.clock)
    }

    /// The translation that the first level holds. `HINT` takes note of where it is.
    #[inline]
    pub(crate) fn lookup_level1<const HINT: bool>(
        &mut self,
        address: LinearAddress,
        kind: AccessKind,
    ) -> Option<&Translation> {
        self.clock += 1;
        let (probe, slot) = self.level1[side(kind)].iter().find_map(|&probe| {
            let array = &self.arrays[usize::from(probe.array)];
            array.slot_of(probe.size, address, self.current).map(|slot| (probe, slot))
        })?;
        let array = &mut self.arrays[usize::from(probe.array)];
        if HINT {
            self.hints[side(kind)][hint_index(address)] = array.hint(address, slot, probe.array);
        }
        Some(array.touch(slot, self.clock))
    }

    /// As [`lookup`](Self::lookup) after the first level has missed; tells what the copy into it evicted.
    pub(crate) fn lookup_level2(
        &mut self,
        address: LinearAddress,
        kind: AccessKind,
        requirement: Requirement,
    ) -> (Lookup, Option<Evicted>) {
        let held = self.level2.iter().find_map(|probe| {
            let array = &mut self.arrays[usize::from(probe.array)];
            let slot = array.slot_of(probe.size, address, self.current)?;
            Some(*array.touch(slot, self.clock))
        });
        let Some(translation) = held else { return (Lookup::Miss, None) };
        let found = hit(Level::L2, &translation, requirement);
        let evicted = match found {
            Lookup::Hit { .. } => self.insert_into(side(kind), address, translation),
            Lookup::Refused | Lookup::Miss => None,
        };
        (found, evicted)
    }

    /// Whether some level holds a translation of `address` that permits the access; changes nothing.
    #[must_use]
    pub fn peek(
        &self,
        address: LinearAddress,
        kind: AccessKind,
        requirement: Requirement,
    ) -> Option<Translation> {
        self.level1[side(kind)]
            .iter()
            .chain(&self.level2)
            .find_map(|probe| self.arrays[usize::from(probe.array)].peek(probe.size, address, self.current))
            .filter(|translation| requirement.allows(translation.rights))
    }

    /// Caches a translation under the current tag in both levels, in pieces where a level has no array of its size.
    pub fn insert(&mut self, address: LinearAddress, kind: AccessKind, translation: Translation) {
        self.insert_reporting(address, kind, translation);
    }

    pub(crate) fn insert_reporting(
        &mut self,
        address: LinearAddress,
        kind: AccessKind,
        translation: Translation,
    ) -> Evictions {
        let first = self.insert_into(side(kind), address, translation);
        let second = self.insert_into(SECOND, address, translation);
        [first, second]
    }

    #[inline]
    fn insert_into(
        &mut self,
        level: usize,
        address: LinearAddress,
        translation: Translation,
    ) -> Option<Evicted> {
        let Plan { size, arrays } = &self.plans[level][translation.size as usize];
        let translation =
            if *size == translation.size { translation } else { translation.narrowed(address, *size) };
        let tag = match translation.scope {
            Scope::Pcid => self.current.own,
            Scope::Global => self.current.global,
        };
        // Several arrays may hold the size: the one with the more expendable way takes the entry.
        let candidate = |&array: &u8| {
            let array = usize::from(array);
            (array, self.arrays[array].candidate(*size, address, tag, &self.tags))
        };
        let (array, way) = match arrays.as_slice() {
            [] => return None,
            [array] => candidate(array),
            several => several.iter().map(candidate).min_by_key(|(_, way)| way.rank)?,
        };
        self.arrays[array].replace(way, translation, tag, self.clock, &mut self.tags)
    }

    /// Whether translations with a tag are used in `space`.
    pub(crate) fn is_used_in(&self, tag: Tag, space: Space) -> bool {
        self.tags.meaning(tag).is_none_or(|meaning| meaning.includes(space))
    }

    /// Number of entries that a lookup under some tag can still find.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.tags.entries()
    }

    /// Drops the entries for an address that the current tag finds.
    pub(crate) fn drop_current(&mut self, address: LinearAddress) {
        for array in &mut self.arrays {
            for tag in [self.current.own, self.current.global] {
                array.drop_page(address, tag, &mut self.tags);
            }
        }
    }

    /// The size of the largest page that one entry covers.
    pub(crate) fn reach(&self) -> PageSize {
        let used = |size: &PageSize| self.arrays.iter().any(|array| array.uses(*size));
        PageSize::ALL.into_iter().rev().find(used).unwrap_or(PageSize::Size4K)
    }

    /// The size of the page around `address` beyond which an invalidation of the address removes nothing.
    pub(crate) fn invalidation_reach(&self, address: LinearAddress) -> PageSize {
        let pieces = |size: &PageSize| self.arrays.iter().any(|array| array.may_hold_pieces(address, *size));
        PageSize::ALL.into_iter().rev().find(pieces).map_or(self.reach(), |size| size.max(self.reach()))
    }

    /// Gives the current space tags that are not retired.
    fn refresh_tags(&mut self) {
        let found = self.tags.pair(self.space).or_else(|| {
            self.collect();
            self.tags.pair(self.space)
        });
        let pair = found.unwrap_or_else(|| self.forget_all());
        if pair != self.current {
            self.current = pair;
            *self.hints = [[Hint::NONE; HINTS]; 3];
        }
    }

    /// Makes the numbers of retired and unused tags available again.
    fn collect(&mut self) {
        self.tags.retire_unused();
        for array in &mut self.arrays {
            array.free_retired(&self.tags);
        }
        self.tags.recycle();
    }

    /// Forgets every entry, so that all numbers are available again.
    fn forget_all(&mut self) -> TagPair {
        self.losses += 1;
        self.tags.retire(|_| true);
        self.collect();
        self.tags.pair(self.space).unwrap_or_default()
    }
}

#[inline(always)]
const fn side(kind: AccessKind) -> usize {
    match kind {
        AccessKind::Read => 0,
        AccessKind::Write => 1,
        AccessKind::Execute => 2,
    }
}

#[inline(always)]
const fn hint_index(address: LinearAddress) -> usize {
    address.page_number() as usize % HINTS
}

#[inline(always)]
const fn hit(level: Level, translation: &Translation, requirement: Requirement) -> Lookup {
    if requirement.allows(translation.rights) {
        Lookup::Hit { level, translation: *translation }
    } else {
        Lookup::Refused
    }
}
