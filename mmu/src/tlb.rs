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

pub use geometry::{ArrayGeometry, Geometry, GeometryError, GeometryProblem, Index, Replacement};
pub use invalidate::{Dropped, Globals, Invalidation, Pcids};

use crate::context::Context;
use crate::translation::{PageSize, Requirement, Scope, Translation};
use array::Array;
use isa::address::{AccessKind, LinearAddress};
use serde::{Deserialize, Serialize};
pub(crate) use tags::{TagMeaning, TagSpace};
use tags::{TagPair, Tags};

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
    pub(crate) meaning: TagMeaning,
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

/// The TLB of one logical processor.
#[derive(Debug)]
pub struct Tlb {
    arrays: Vec<Array>,
    level1: [Vec<Probe>; 3],
    level2: Vec<Probe>,
    tags: Tags,
    current: TagPair,
    space: TagSpace,
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
        let space = TagSpace { vpid: 0, pcid: 0, ept: None };
        let mut tags = Tags::default();
        let current = tags.pair(space).unwrap_or_default();
        let level1 = [data, store, instruction];
        Ok(Self { arrays, level1, level2, tags, current, space, clock: 0, losses: 0 })
    }

    /// Makes the tag of `context` the current one. Nothing is invalidated.
    pub fn select(&mut self, context: &Context) -> Selected {
        let losses = self.losses;
        self.space = TagSpace::of(context);
        self.refresh_tags();
        if losses == self.losses { Selected::AsBefore } else { Selected::AfterLoss }
    }

    /// Looks for the translation of `address` under the current tag. A hit in the second level moves a copy into
    /// the first.
    #[inline]
    pub fn lookup(&mut self, address: LinearAddress, kind: AccessKind, requirement: Requirement) -> Lookup {
        self.lookup_reporting(address, kind, requirement).0
    }

    #[inline]
    pub(crate) fn lookup_reporting(
        &mut self,
        address: LinearAddress,
        kind: AccessKind,
        requirement: Requirement,
    ) -> (Lookup, Option<Evicted>) {
        self.clock += 1;
        for probe in &self.level1[side(kind)] {
            let array = &mut self.arrays[usize::from(probe.array)];
            if let Some(translation) = array.find(probe.size, address, self.current, self.clock) {
                return (hit(Level::L1, translation, requirement), None);
            }
        }
        self.lookup_level2(address, kind, requirement)
    }

    fn lookup_level2(
        &mut self,
        address: LinearAddress,
        kind: AccessKind,
        requirement: Requirement,
    ) -> (Lookup, Option<Evicted>) {
        let (arrays, current, clock) = (&mut self.arrays, self.current, self.clock);
        let held = self
            .level2
            .iter()
            .find_map(|probe| arrays[usize::from(probe.array)].find(probe.size, address, current, clock));
        let Some(translation) = held else { return (Lookup::Miss, None) };
        let found = hit(Level::L2, translation, requirement);
        let evicted = match found {
            Lookup::Hit { .. } => self.insert_level1(address, kind, translation),
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
        let first = self.insert_level1(address, kind, translation);
        let second = self.insert_level2(address, translation);
        [first, second]
    }

    fn insert_level1(
        &mut self,
        address: LinearAddress,
        kind: AccessKind,
        translation: Translation,
    ) -> Option<Evicted> {
        let probes = core::mem::take(&mut self.level1[side(kind)]);
        let evicted = self.insert_into(&probes, address, translation);
        self.level1[side(kind)] = probes;
        evicted
    }

    fn insert_level2(&mut self, address: LinearAddress, translation: Translation) -> Option<Evicted> {
        let probes = core::mem::take(&mut self.level2);
        let evicted = self.insert_into(&probes, address, translation);
        self.level2 = probes;
        evicted
    }

    fn insert_into(
        &mut self,
        probes: &[Probe],
        address: LinearAddress,
        translation: Translation,
    ) -> Option<Evicted> {
        let size = probes.iter().rev().map(|probe| probe.size).find(|&size| size <= translation.size)?;
        let translation = translation.narrowed(address, size);
        let tag = match translation.scope {
            Scope::Pcid => self.current.own,
            Scope::Global => self.current.global,
        };
        // Several arrays may hold the size: the one with the more expendable way takes the entry.
        let (array, way) = probes
            .iter()
            .filter(|probe| probe.size == size)
            .map(|probe| {
                let array = usize::from(probe.array);
                (array, self.arrays[array].candidate(size, address, tag, &self.tags))
            })
            .min_by_key(|(_, way)| way.rank)?;
        self.arrays[array].replace(way, translation, tag, self.clock, &mut self.tags)
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
        self.current = found.unwrap_or_else(|| self.forget_all());
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
const fn hit(level: Level, translation: Translation, requirement: Requirement) -> Lookup {
    if requirement.allows(translation.rights) { Lookup::Hit { level, translation } } else { Lookup::Refused }
}
