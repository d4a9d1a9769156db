//! What a walk asks of the caches.

use crate::ept::{EptMapping, EptPermissions};
use crate::ram::{AccessError, Ram};
use crate::translation::Rights;
use isa::address::{GuestPhysicalAddress, HostPhysicalAddress, LinearAddress};

bitflags::bitflags! {
    /// What a processor keeps of walks beside translations.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct Keeps: u8 {
        /// Entries that reference paging structures.
        const STRUCTURES = 1 << 0;
        /// Mappings of guest-physical pages.
        const GUEST_PHYSICAL = 1 << 1;
        /// EPT entries that reference EPT paging structures.
        const EPT_STRUCTURES = 1 << 2;
    }
}

/// What a processor keeps of earlier walks to shorten later ones (SDM 5.10.3, 31.4.1), under the current tag.
///
/// A lookup gives what was inserted, or a piece of it, for as long as no invalidation covers it: software that
/// changes a table without an invalidation gets the old one. Which entries suffice for an access the walk decides.
pub trait WalkCaches {
    /// What is worth inserting.
    fn keeps(&self) -> Keeps;
    /// The cached structure entry of the lowest level for an address: linear without EPT, combined with it.
    fn structure(&mut self, address: LinearAddress) -> Option<Structure>;
    /// The cached mapping of the guest-physical page around an address, whatever its permissions.
    fn guest_physical(&mut self, address: GuestPhysicalAddress) -> Option<EptMapping>;
    /// The cached EPT structure entry of the lowest level for an address.
    fn ept_structure(&mut self, address: GuestPhysicalAddress) -> Option<EptStructure>;
    /// Forgets the cached structure entries of all levels for an address.
    fn forget_structures(&mut self, address: LinearAddress);
    /// Forgets the cached mapping of the guest-physical page around an address.
    fn forget_guest_physical(&mut self, address: GuestPhysicalAddress);
    /// Forgets the cached EPT structure entries of all levels for an address.
    fn forget_ept_structures(&mut self, address: GuestPhysicalAddress);
    /// Keeps a structure entry, in place of one for the same addresses and level.
    fn insert_structure(&mut self, address: LinearAddress, structure: Structure);
    /// Keeps the mapping of a guest-physical page.
    fn insert_guest_physical(&mut self, address: GuestPhysicalAddress, mapping: EptMapping);
    /// Keeps an EPT structure entry, in place of one for the same addresses and level.
    fn insert_ept_structure(&mut self, address: GuestPhysicalAddress, structure: EptStructure);
}

/// The width of the entries of guest paging structures.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum EntryWidth {
    /// 4 bytes: 32-bit paging.
    Four,
    /// 8 bytes.
    Eight,
}

impl EntryWidth {
    /// Reads an entry.
    pub(crate) fn read(self, ram: &Ram, at: HostPhysicalAddress) -> Result<u64, AccessError> {
        match self {
            Self::Four => ram.read::<u32>(at).map(u64::from),
            Self::Eight => ram.read(at),
        }
    }

    /// Writes an entry.
    pub(crate) fn write(self, ram: &Ram, at: HostPhysicalAddress, entry: u64) -> Result<(), AccessError> {
        match self {
            Self::Four => ram.write(at, entry as u32),
            Self::Eight => ram.write(at, entry),
        }
    }
}

/// A cached entry that references a paging structure.
///
/// A PDE of 32-bit paging controls 4 MByte; what is cached is one for each half.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Structure {
    /// The level of the entry that it stands for: 5 for a PML5E, down to 2 for a PDE.
    pub level: u8,
    /// The width of the entry, and of those in the table. A walk under another paging mode does not use it.
    pub width: EntryWidth,
    /// Where the table is that the entry references.
    pub table: HostPhysicalAddress,
    /// The address of the table before EPT.
    pub guest_table: GuestPhysicalAddress,
    /// What the entry and those above it permit: WRITE, USER and EXECUTE.
    pub rights: Rights,
    /// The permissions of the page that holds the table; all without EPT.
    pub ept_permissions: EptPermissions,
}

/// A cached EPT entry that references an EPT paging structure.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct EptStructure {
    /// The level of the entry that it stands for: 5 for an EPT PML5E, down to 2 for an EPT PDE.
    pub level: u8,
    /// Where the table is that the entry references.
    pub table: HostPhysicalAddress,
    /// The permissions of the entry and those above it, as the bits are.
    pub permissions: EptPermissions,
}

/// Nothing is kept: every walk is a whole one.
impl WalkCaches for () {
    #[inline(always)]
    fn keeps(&self) -> Keeps {
        Keeps::empty()
    }
    #[inline(always)]
    fn structure(&mut self, _: LinearAddress) -> Option<Structure> {
        None
    }
    #[inline(always)]
    fn guest_physical(&mut self, _: GuestPhysicalAddress) -> Option<EptMapping> {
        None
    }
    #[inline(always)]
    fn ept_structure(&mut self, _: GuestPhysicalAddress) -> Option<EptStructure> {
        None
    }
    #[inline(always)]
    fn forget_structures(&mut self, _: LinearAddress) {}
    #[inline(always)]
    fn forget_guest_physical(&mut self, _: GuestPhysicalAddress) {}
    #[inline(always)]
    fn forget_ept_structures(&mut self, _: GuestPhysicalAddress) {}
    #[inline(always)]
    fn insert_structure(&mut self, _: LinearAddress, _: Structure) {}
    #[inline(always)]
    fn insert_guest_physical(&mut self, _: GuestPhysicalAddress, _: EptMapping) {}
    #[inline(always)]
    fn insert_ept_structure(&mut self, _: GuestPhysicalAddress, _: EptStructure) {}
}

/// Forgets what it is asked for: for a walk from the root whose findings replace what was cached on its way.
#[derive(Debug)]
pub(crate) struct Fresh<'a, C>(pub(crate) &'a mut C);

impl<C: WalkCaches> WalkCaches for Fresh<'_, C> {
    fn keeps(&self) -> Keeps {
        self.0.keeps()
    }
    fn structure(&mut self, address: LinearAddress) -> Option<Structure> {
        self.0.forget_structures(address);
        None
    }
    fn guest_physical(&mut self, address: GuestPhysicalAddress) -> Option<EptMapping> {
        self.0.forget_guest_physical(address);
        None
    }
    fn ept_structure(&mut self, address: GuestPhysicalAddress) -> Option<EptStructure> {
        self.0.forget_ept_structures(address);
        None
    }
    fn forget_structures(&mut self, address: LinearAddress) {
        self.0.forget_structures(address);
    }
    fn forget_guest_physical(&mut self, address: GuestPhysicalAddress) {
        self.0.forget_guest_physical(address);
    }
    fn forget_ept_structures(&mut self, address: GuestPhysicalAddress) {
        self.0.forget_ept_structures(address);
    }
    fn insert_structure(&mut self, address: LinearAddress, structure: Structure) {
        self.0.insert_structure(address, structure);
    }
    fn insert_guest_physical(&mut self, address: GuestPhysicalAddress, mapping: EptMapping) {
        self.0.insert_guest_physical(address, mapping);
    }
    fn insert_ept_structure(&mut self, address: GuestPhysicalAddress, structure: EptStructure) {
        self.0.insert_ept_structure(address, structure);
    }
}

/// Answers as before and keeps nothing more: for reading once more what a walk has read.
#[derive(Debug)]
pub(crate) struct Recall<'a, C>(pub(crate) &'a mut C);

impl<C: WalkCaches> WalkCaches for Recall<'_, C> {
    fn keeps(&self) -> Keeps {
        Keeps::empty()
    }
    fn structure(&mut self, address: LinearAddress) -> Option<Structure> {
        self.0.structure(address)
    }
    fn guest_physical(&mut self, address: GuestPhysicalAddress) -> Option<EptMapping> {
        self.0.guest_physical(address)
    }
    fn ept_structure(&mut self, address: GuestPhysicalAddress) -> Option<EptStructure> {
        self.0.ept_structure(address)
    }
    fn forget_structures(&mut self, address: LinearAddress) {
        self.0.forget_structures(address);
    }
    fn forget_guest_physical(&mut self, address: GuestPhysicalAddress) {
        self.0.forget_guest_physical(address);
    }
    fn forget_ept_structures(&mut self, address: GuestPhysicalAddress) {
        self.0.forget_ept_structures(address);
    }
    fn insert_structure(&mut self, _: LinearAddress, _: Structure) {}
    fn insert_guest_physical(&mut self, _: GuestPhysicalAddress, _: EptMapping) {}
    fn insert_ept_structure(&mut self, _: GuestPhysicalAddress, _: EptStructure) {}
}
