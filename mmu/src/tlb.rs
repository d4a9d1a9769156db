//! What one logical processor has cached of translations, as lazy as hardware: the TLB, the paging-structure caches, the
//! TLB of guest-physical mappings and the EPT paging-structure caches (SDM 5.10, 31.4).
//!
//! All are set-associative arrays under one table of tags ([`TagMeaning`]: VPID, PCID, EPTRTA and kind of entry, interned
//! to a small number), so that a lookup compares one word per way. An entry stays until an [`Invalidation`] covers it,
//! the access rights that it holds no longer suffice, or its way is needed: a translation that software forgot to
//! invalidate is served, as on hardware.
//!
//! Most invalidations retire tags: the tag is never handed out again while an entry holds it, and the entries become
//! free ways. Their cost grows with the number of tags of the VPID or EPTRTA that they name, not with the number of
//! entries. Only single-address invalidations look at entries.

mod array;
mod caches;
mod current;
mod enumerate;
pub mod geometry;
mod groups;
mod invalidate;
mod key;
mod level;
mod meaning;
mod nested;
mod replacement;
mod structures;
mod tags;

#[cfg(test)]
mod tests;

pub use current::Selected;
pub use geometry::{
    ArrayGeometry, Geometry, GeometryError, GeometryProblem, Index, Replacement, StructureArray,
    StructureGeometry,
};
pub use invalidate::{Dropped, Globals, Invalidation, Pcids, Structures};
pub use meaning::TagMeaning;

use crate::mapping::Space;
use crate::translation::{GuestPageSize, PageSize, Requirement, Rights, Scope, Translation};
use crate::walk::{EptStructure, Structure};
use array::{Array, Entry, Hint, Lost};
use isa::address::{AccessKind, HostPhysicalAddress, LinearAddress};
use key::{Key, Origin, Region};
use level::{Plan, Probe};
use meaning::Store;
use nested::Nested;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use structures::StructureCaches;
use tags::{CurrentTags, Tag, TagPair, Tags};

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

/// An entry that lost its way to another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Evicted {
    pub(crate) tag: Tag,
    pub(crate) address: LinearAddress,
    pub(crate) size: PageSize,
}

/// The entries that one insertion evicted: at most one in each level.
pub(crate) type Evictions = [Option<Evicted>; 2];

impl Entry for Translation {
    type Address = LinearAddress;

    const STORE: Store = Store::Translations;

    const NOTHING: Self = Self {
        linear: LinearAddress(0),
        host_physical: HostPhysicalAddress(0),
        size: PageSize::Size4K,
        guest_size: GuestPageSize::Size4K,
        rights: Rights::empty(),
        scope: Scope::Pcid,
    };

    #[inline(always)]
    fn origin(&self) -> Option<Origin> {
        Some(Origin::of(self.guest_size))
    }
}

/// Hints for each kind of access.
const HINTS: usize = 64;

/// The index of the second level among the plans; the first levels have the indexes of their [`side`].
const SECOND: usize = 3;

/// The translations that one logical processor has cached.
#[derive(Debug)]
pub struct Tlb {
    arrays: Vec<Array<Translation>>,
    level1: [Vec<Probe>; 3],
    level2: Vec<Probe>,
    /// The arrays before this one are of the first levels.
    first_of_level2: usize,
    /// The arrays of the second level that include the first levels.
    inclusive: SmallVec<[usize; 8]>,
    /// By level, then by page size.
    plans: [[Plan; 3]; 4],
    /// Where pages were found lately in the first levels under the current tag, by the low bits of the page number.
    hints: Box<[[Hint; HINTS]; 3]>,
    structures: StructureCaches<Structure>,
    nested: Nested,
    ept_structures: StructureCaches<EptStructure>,
    tags: Tags,
    current: CurrentTags,
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
        let data = level::build(&geometry.level1_data, &mut arrays);
        let store = if geometry.level1_store.is_empty() {
            data.clone()
        } else {
            level::build(&geometry.level1_store, &mut arrays)
        };
        let instruction = level::build(&geometry.level1_instruction, &mut arrays);
        let first_of_level2 = arrays.len();
        let level2 = level::build(&geometry.level2, &mut arrays);
        let inclusive = (first_of_level2..).zip(&geometry.level2).filter(|(_, shape)| shape.inclusive);
        let mut tlb = Self {
            arrays,
            plans: [&data, &store, &instruction, &level2].map(|probes| Plan::all(probes)),
            level1: [data, store, instruction],
            level2,
            first_of_level2,
            inclusive: inclusive.map(|(array, _)| array).collect(),
            hints: Box::new([[Hint::NONE; HINTS]; 3]),
            structures: StructureCaches::new(&geometry.structures),
            nested: Nested::new(&geometry.guest_physical),
            ept_structures: StructureCaches::new(&geometry.ept_structures),
            tags: Tags::default(),
            current: CurrentTags::default(),
            space: Space::default(),
            clock: 1,
            losses: 0,
        };
        tlb.refresh_tags();
        Ok(tlb)
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
            let array = &self.arrays[probe.index()];
            array.slot_of(probe.region(), address, self.current.translations).map(|slot| (probe, slot))
        })?;
        let array = &mut self.arrays[probe.index()];
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
            let array = &mut self.arrays[probe.index()];
            let slot = array.slot_of(probe.region(), address, self.current.translations)?;
            Some(*array.touch(slot, self.clock))
        });
        let Some(translation) = held else { return (Lookup::Miss, None) };
        let found = hit(Level::L2, &translation, requirement);
        let evicted = match found {
            Lookup::Hit { .. } => self.insert_into(side(kind), address, &translation),
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
            .find_map(|probe| {
                let array = &self.arrays[probe.index()];
                array
                    .slot_of(probe.region(), address, self.current.translations)
                    .map(|slot| *array.peek(slot))
            })
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
        self.clock += 1;
        // The second level first: what it evicts from the first levels is not the new entry.
        let second = self.insert_into(SECOND, address, &translation);
        let first = self.insert_into(side(kind), address, &translation);
        [first, second]
    }

    #[inline]
    fn insert_into(
        &mut self,
        level: usize,
        address: LinearAddress,
        translation: &Translation,
    ) -> Option<Evicted> {
        let plan = &self.plans[level][translation.size as usize];
        let piece;
        let translation = if plan.size == translation.size {
            translation
        } else {
            piece = translation.narrowed(address, plan.size);
            &piece
        };
        let tag = match translation.scope {
            Scope::Pcid => self.current.translations.own,
            Scope::Global => self.current.translations.global,
        };
        let region = Region::page(plan.size);
        let candidate = |array: usize| self.arrays[array].candidate(region, address, tag, &self.tags);
        let (array, way) = plan.place(candidate, |way| way.rank)?;
        let key = Key::new(address.0, region, tag);
        let evicted = self.arrays[array].replace(way, translation, key, self.clock, &mut self.tags)?;
        let (tag, address) = (evicted.tag(), LinearAddress(evicted.address()));
        let mut region = self.arrays[array].region(evicted);
        if self.inclusive.contains(&array) {
            region = self.drop_from_level1(address, region, tag);
        }
        Some(Evicted { tag, address, size: region.page_size() })
    }

    /// Drops from the first levels what an inclusive second level has lost; returns the largest region dropped.
    #[inline(never)]
    fn drop_from_level1(&mut self, address: LinearAddress, lost: Region, tag: Tag) -> Region {
        let arrays = self.arrays[..self.first_of_level2].iter_mut();
        arrays.map(|array| array.drop_overlapping(address, lost, tag, &mut self.tags)).fold(lost, Region::max)
    }

    /// Whether translations with a tag are used in `space`.
    pub(crate) fn is_used_in(&self, tag: Tag, space: Space) -> bool {
        self.tags.meaning(tag).is_none_or(|meaning| meaning.translates_in(space))
    }

    /// Number of translations that a lookup under some tag can still find.
    #[must_use]
    pub fn entries(&self) -> u64 {
        let mut held = Dropped::default();
        self.tags.occupied().for_each(|(meaning, entries)| held.add(meaning, entries));
        held.entries
    }

    /// Drops the translations of an address that the current tag finds; tells the size of the page around it beyond
    /// which nothing was dropped.
    pub(crate) fn drop_current(&mut self, address: LinearAddress) -> PageSize {
        let TagPair { own, global } = self.current.translations;
        let mut lost = Lost::default();
        for array in &mut self.arrays {
            for tag in [own, global] {
                lost.add(array.drop_address(address, tag, &mut self.tags));
            }
        }
        lost.reach()
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
