//! Paging-structure caches: one array for the entries of each level.

use super::array::{Array, Entry};
use super::geometry::StructureGeometry;
use super::key::{Key, Origin, Region};
use super::meaning::Store;
use super::tags::{Presence, Tag, Tags};
use crate::ept::EptPermissions;
use crate::translation::{GuestPageSize, Rights};
use crate::walk::{EntryWidth, EptStructure, Structure};
use isa::address::{GuestPhysicalAddress, HostPhysicalAddress, LinearAddress};

impl Entry for Structure {
    type Address = LinearAddress;

    const STORE: Store = Store::Structures;

    const NOTHING: Self = Self {
        level: 0,
        width: EntryWidth::Eight,
        table: HostPhysicalAddress(0),
        guest_table: GuestPhysicalAddress(0),
        rights: Rights::empty(),
        ept_permissions: EptPermissions::empty(),
    };

    fn origin(&self) -> Option<Origin> {
        (self.width == EntryWidth::Four).then_some(Origin::of(GuestPageSize::Size4M))
    }
}

impl Entry for EptStructure {
    type Address = GuestPhysicalAddress;

    const STORE: Store = Store::EptStructures;

    const NOTHING: Self =
        Self { level: 0, table: HostPhysicalAddress(0), permissions: EptPermissions::empty() };

    fn origin(&self) -> Option<Origin> {
        None
    }
}

/// The caches of one kind of address.
#[derive(Debug)]
pub(super) struct StructureCaches<E> {
    /// With what an entry controls, the smallest first.
    pub(super) levels: Vec<(Region, Array<E>)>,
}

impl<E: Entry> StructureCaches<E> {
    pub(super) fn new(geometry: &StructureGeometry) -> Self {
        let build = |(level, shape)| {
            let region = Region::structure(level);
            (region, Array::of_structures(shape, region))
        };
        Self { levels: geometry.levels().map(build).collect() }
    }

    pub(super) const fn presence(&self) -> Presence {
        if self.levels.is_empty() { Presence::Absent } else { Presence::Present }
    }

    /// The entry for an address that spares the most of a walk.
    #[inline]
    pub(super) fn deepest(&mut self, address: E::Address, tag: Tag, clock: u64) -> Option<E> {
        self.levels.iter_mut().find_map(|(region, array)| {
            let slot = array.slot_under(*region, address, tag)?;
            Some(*array.touch(slot, clock))
        })
    }

    /// Caches an entry of a level, if there is a cache for it.
    pub(super) fn insert(
        &mut self,
        address: E::Address,
        level: u8,
        entry: E,
        tag: Tag,
        clock: u64,
        tags: &mut Tags,
    ) {
        let Some((region, array)) = self.levels.iter_mut().find(|(region, _)| region.level() == level) else {
            return;
        };
        let way = array.candidate(*region, address, tag, tags);
        let key = Key::new(super::key::Address::bits(address), *region, tag);
        array.replace(way, &entry, key, clock, tags);
    }

    /// Drops the entries of every level for an address under the listed tags; returns how many.
    pub(super) fn drop_address(&mut self, address: E::Address, listed: &[Tag], tags: &mut Tags) -> u64 {
        let mut dropped = 0;
        for (_, array) in &mut self.levels {
            for &tag in listed {
                dropped += array.drop_address(address, tag, tags).entries;
            }
            dropped += array.drop_pieces(address, listed, tags).entries;
        }
        dropped
    }
}
