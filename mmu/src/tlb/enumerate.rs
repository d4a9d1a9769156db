//! What is cached, one by one and in numbers.

use super::Tlb;
use super::array::{Array, Entry};
use super::invalidate::{Extent, Invalidation};
use super::key::Region;
use super::meaning::TagMeaning;
use super::tags::Tags;
use crate::ept::EptMapping;
use crate::mapping::Mapping;
use crate::translation::Translation;
use crate::walk::{EptStructure, Structure};
use isa::address::{GuestPhysicalAddress, LinearAddress};

/// An entry that can be told as a [`Mapping`].
trait Told: Entry {
    /// The entry with what its key says; `None` for a tag of another store, which no entry has.
    fn told(&self, meaning: TagMeaning, address: Self::Address, region: Region) -> Option<Mapping>;
}

impl Told for Translation {
    fn told(&self, meaning: TagMeaning, _: LinearAddress, _: Region) -> Option<Mapping> {
        let space = meaning.space()?;
        Some(Mapping::Translation { space, translation: *self })
    }
}

impl Told for Structure {
    fn told(&self, meaning: TagMeaning, linear: LinearAddress, _: Region) -> Option<Mapping> {
        let space = meaning.space()?;
        Some(Mapping::Structure { space, level: self.level, linear, table: self.table })
    }
}

impl Told for EptMapping {
    fn told(
        &self,
        meaning: TagMeaning,
        guest_physical: GuestPhysicalAddress,
        region: Region,
    ) -> Option<Mapping> {
        let ept = meaning.ept()?;
        let (host_physical, size) = (self.host_physical, region.page_size());
        Some(Mapping::GuestPhysical { ept, guest_physical, host_physical, size })
    }
}

impl Told for EptStructure {
    fn told(&self, meaning: TagMeaning, guest_physical: GuestPhysicalAddress, _: Region) -> Option<Mapping> {
        let ept = meaning.ept()?;
        Some(Mapping::EptStructure { ept, level: self.level, guest_physical, table: self.table })
    }
}

/// Which entries are wanted.
#[derive(Clone, Copy)]
enum Wanted<'a> {
    All,
    Covered(&'a Invalidation),
}

impl Tlb {
    /// Tells every entry that a lookup under some tag can still find; one that several levels hold, once for each.
    pub fn for_each_mapping(&self, tell: impl FnMut(Mapping)) {
        self.enumerate(Wanted::All, tell);
    }

    /// Tells exactly the entries that [`invalidate`](Self::invalidate) would remove, and removes none.
    pub fn for_each_covered(&self, invalidation: &Invalidation, tell: impl FnMut(Mapping)) {
        self.enumerate(Wanted::Covered(invalidation), tell);
    }

    /// The tags that entries have, each with the number of its entries, in the order of the tags.
    #[must_use]
    pub fn occupancy(&self) -> Vec<(TagMeaning, u64)> {
        let mut occupied: Vec<_> = self.tags.occupied().collect();
        occupied.sort_unstable();
        occupied
    }

    fn enumerate(&self, wanted: Wanted<'_>, mut tell: impl FnMut(Mapping)) {
        let (linear, guest_physical) = match wanted {
            Wanted::All => (None, None),
            Wanted::Covered(by) => (by.address(), by.guest_physical_address()),
        };
        for array in &self.arrays {
            each(array, &self.tags, wanted, linear, &mut tell);
        }
        for (_, array) in &self.structures.levels {
            each(array, &self.tags, wanted, linear, &mut tell);
        }
        for array in &self.nested.arrays {
            each(array, &self.tags, wanted, guest_physical, &mut tell);
        }
        for (_, array) in &self.ept_structures.levels {
            each(array, &self.tags, wanted, guest_physical, &mut tell);
        }
    }
}

/// Tells the wanted entries of an array. `around` is the address of the invalidation.
fn each<E: Told>(
    array: &Array<E>,
    tags: &Tags,
    wanted: Wanted<'_>,
    around: Option<E::Address>,
    tell: &mut impl FnMut(Mapping),
) {
    for (slot, tag, address, region) in array.slots() {
        let Some(meaning) = tags.meaning(tag) else { continue };
        let extent = match wanted {
            Wanted::All => Extent::Everything,
            Wanted::Covered(by) => by.extent(meaning),
        };
        let told = match extent {
            Extent::Nothing => false,
            Extent::Everything => true,
            Extent::Address => around.is_some_and(|around| array.is_around(slot, around)),
        };
        if told && let Some(mapping) = array.peek(slot).told(meaning, address, region) {
            tell(mapping);
        }
    }
}
