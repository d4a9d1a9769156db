//! The TLB of guest-physical mappings.

use super::array::{Array, Entry};
use super::geometry::ArrayGeometry;
use super::key::{Key, Origin, Region};
use super::level::{self, Plan, Probe};
use super::meaning::Store;
use super::tags::{Presence, Tag, Tags};
use crate::ept::{Dirty, EptMapping, EptPermissions};
use crate::translation::PageSize;
use isa::address::{GuestPhysicalAddress, HostPhysicalAddress};

/// The host-physical address is that of the start of the entry's page; the size is that of the EPT page, of which the
/// entry may be a piece.
impl Entry for EptMapping {
    type Address = GuestPhysicalAddress;

    const STORE: Store = Store::GuestPhysical;

    const NOTHING: Self = Self {
        host_physical: HostPhysicalAddress(0),
        size: PageSize::Size4K,
        permissions: EptPermissions::empty(),
        dirty: Dirty::Clear,
    };

    fn origin(&self) -> Option<Origin> {
        Some(Origin::of(self.size.into()))
    }
}

/// The arrays of guest-physical mappings.
#[derive(Debug)]
pub(super) struct Nested {
    pub(super) arrays: Vec<Array<EptMapping>>,
    probes: Vec<Probe>,
    plans: [Plan; 3],
}

impl Nested {
    pub(super) fn new(geometry: &[ArrayGeometry]) -> Self {
        let mut arrays = Vec::new();
        let probes = level::build(geometry, &mut arrays);
        let plans = Plan::all(&probes);
        Self { arrays, probes, plans }
    }

    pub(super) const fn presence(&self) -> Presence {
        if self.arrays.is_empty() { Presence::Absent } else { Presence::Present }
    }

    /// The mapping of the page around an address, of the size of the entry.
    #[inline]
    pub(super) fn find(&mut self, address: GuestPhysicalAddress, tag: Tag, clock: u64) -> Option<EptMapping> {
        self.probes.iter().find_map(|probe| {
            let array = &mut self.arrays[probe.index()];
            let slot = array.slot_under(probe.region(), address, tag)?;
            let found = *array.touch(slot, clock);
            Some(EptMapping { size: probe.size, ..found })
        })
    }

    /// Caches the mapping of an address, in a piece around the address where no array holds its size.
    pub(super) fn insert(
        &mut self,
        address: GuestPhysicalAddress,
        mapping: EptMapping,
        tag: Tag,
        clock: u64,
        tags: &mut Tags,
    ) {
        let plan = &self.plans[mapping.size as usize];
        let region = Region::page(plan.size);
        let candidate = |array: usize| self.arrays[array].candidate(region, address, tag, tags);
        let Some((array, way)) = plan.place(candidate, |way| way.rank) else { return };
        let start = HostPhysicalAddress(mapping.host(address).0 & !plan.size.offset_mask());
        let entry = EptMapping { host_physical: start, ..mapping };
        let key = Key::new(address.0, region, tag);
        self.arrays[array].replace(way, &entry, key, clock, tags);
    }

    /// Drops the entries that one tag finds for an address.
    pub(super) fn forget(&mut self, address: GuestPhysicalAddress, tag: Tag, tags: &mut Tags) {
        for array in &mut self.arrays {
            array.drop_address(address, tag, tags);
        }
    }

    /// Drops the entries around an address under the listed tags; returns how many.
    pub(super) fn drop_address(
        &mut self,
        address: GuestPhysicalAddress,
        listed: &[Tag],
        tags: &mut Tags,
    ) -> u64 {
        let mut dropped = 0;
        for array in &mut self.arrays {
            for &tag in listed {
                dropped += array.drop_address(address, tag, tags).entries;
            }
            dropped += array.drop_pieces(address, listed, tags).entries;
        }
        dropped
    }
}
