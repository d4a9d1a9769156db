//! What a walk may insert into the caches.

use super::caches::{EptStructure, Structure, WalkCaches};
use crate::ept::EptMapping;
use isa::address::{GuestPhysicalAddress, LinearAddress};

/// Entries that a walk has read and that caches may keep once it has succeeded.
///
/// They are no use to the walk itself: what it learns serves the walks after it.
#[derive(Debug, Default)]
pub(crate) struct Learned {
    pub(crate) structures: Vec<Structure>,
    pub(crate) guest_physical: Vec<(GuestPhysicalAddress, EptMapping)>,
    pub(crate) ept_structures: Vec<(GuestPhysicalAddress, EptStructure)>,
}

impl Learned {
    #[inline]
    pub(super) fn clear(&mut self) {
        self.structures.clear();
        self.guest_physical.clear();
        self.ept_structures.clear();
    }

    /// Inserts everything that the walk of an address has learned.
    #[inline]
    pub(crate) fn insert_into<C: WalkCaches>(&self, caches: &mut C, address: LinearAddress) {
        for &structure in &self.structures {
            caches.insert_structure(address, structure);
        }
        for &(guest_physical, mapping) in &self.guest_physical {
            caches.insert_guest_physical(guest_physical, mapping);
        }
        for &(guest_physical, structure) in &self.ept_structures {
            caches.insert_ept_structure(guest_physical, structure);
        }
    }
}
