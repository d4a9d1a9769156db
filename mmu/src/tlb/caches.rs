//! What a walk asks of the caches, and what it puts there.

use super::Tlb;
use super::tags::Tag;
use crate::ept::EptMapping;
use crate::walk::{EptStructure, Keeps, Structure, WalkCaches};
use isa::address::{GuestPhysicalAddress, LinearAddress};

impl WalkCaches for Tlb {
    #[inline]
    fn keeps(&self) -> Keeps {
        let mut keeps = Keeps::empty();
        keeps.set(Keeps::STRUCTURES, self.current.structures != Tag::NONE);
        keeps.set(Keeps::GUEST_PHYSICAL, self.current.guest_physical != Tag::NONE);
        keeps.set(Keeps::EPT_STRUCTURES, self.current.ept_structures != Tag::NONE);
        keeps
    }

    #[inline(always)]
    fn structure(&mut self, address: LinearAddress) -> Option<Structure> {
        if self.current.structures == Tag::NONE { None } else { self.find_structure(address) }
    }

    #[inline(always)]
    fn guest_physical(&mut self, address: GuestPhysicalAddress) -> Option<EptMapping> {
        if self.current.guest_physical == Tag::NONE { None } else { self.find_guest_physical(address) }
    }

    #[inline(always)]
    fn ept_structure(&mut self, address: GuestPhysicalAddress) -> Option<EptStructure> {
        if self.current.ept_structures == Tag::NONE { None } else { self.find_ept_structure(address) }
    }

    fn forget_structures(&mut self, address: LinearAddress) {
        self.structures.drop_address(address, &[self.current.structures], &mut self.tags);
    }

    fn forget_ept_structures(&mut self, address: GuestPhysicalAddress) {
        self.ept_structures.drop_address(address, &[self.current.ept_structures], &mut self.tags);
    }

    fn forget_guest_physical(&mut self, address: GuestPhysicalAddress) {
        self.nested.forget(address, self.current.guest_physical, &mut self.tags);
    }

    fn insert_structure(&mut self, address: LinearAddress, structure: Structure) {
        self.clock += 1;
        let Self { structures, current, clock, tags, .. } = self;
        if current.structures != Tag::NONE {
            structures.insert(address, structure.level, structure, current.structures, *clock, tags);
        }
    }

    fn insert_guest_physical(&mut self, address: GuestPhysicalAddress, mapping: EptMapping) {
        self.clock += 1;
        let Self { nested, current, clock, tags, .. } = self;
        if current.guest_physical != Tag::NONE {
            nested.insert(address, mapping, current.guest_physical, *clock, tags);
        }
    }

    fn insert_ept_structure(&mut self, address: GuestPhysicalAddress, structure: EptStructure) {
        self.clock += 1;
        let Self { ept_structures, current, clock, tags, .. } = self;
        if current.ept_structures != Tag::NONE {
            ept_structures.insert(address, structure.level, structure, current.ept_structures, *clock, tags);
        }
    }
}

impl Tlb {
    fn find_structure(&mut self, address: LinearAddress) -> Option<Structure> {
        self.clock += 1;
        self.structures.deepest(address, self.current.structures, self.clock)
    }

    fn find_guest_physical(&mut self, address: GuestPhysicalAddress) -> Option<EptMapping> {
        self.clock += 1;
        self.nested.find(address, self.current.guest_physical, self.clock)
    }

    fn find_ept_structure(&mut self, address: GuestPhysicalAddress) -> Option<EptStructure> {
        self.clock += 1;
        self.ept_structures.deepest(address, self.current.ept_structures, self.clock)
    }
}
