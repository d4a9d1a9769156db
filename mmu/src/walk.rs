//! What a walk starts from, what it has found and has yet to write.

use crate::ept::{EptMapping, EptPermissions};
use crate::fault::Fault;
use crate::ram::Ram;
use crate::translation::{Rights, Translation};
use isa::address::{GuestPhysicalAddress, HostPhysicalAddress, LinearAddress};
use smallvec::SmallVec;

/// What a processor keeps of earlier walks to shorten later ones (SDM 5.10.3, 31.4.1), under the current tag.
///
/// A lookup gives what was inserted, or a piece of it, for as long as no invalidation covers it: software that
/// changes a table without an invalidation gets the old one. Which entries suffice for an access the walk decides.
pub trait WalkCaches {
    /// Whether there is anything to insert into.
    const KEEPS: bool = true;

    /// The cached structure entry of the lowest level for an address: linear without EPT, combined with it.
    fn structure(&mut self, address: LinearAddress) -> Option<Structure>;
    /// The cached mapping of the guest-physical page around an address, whatever its permissions.
    fn guest_physical(&mut self, address: GuestPhysicalAddress) -> Option<EptMapping>;
    /// The cached EPT structure entry of the lowest level for an address.
    fn ept_structure(&mut self, address: GuestPhysicalAddress) -> Option<EptStructure>;
    /// Forgets the cached mapping of the guest-physical page around an address, which did not suffice.
    fn forget_guest_physical(&mut self, address: GuestPhysicalAddress);
    /// Keeps a structure entry, in place of one for the same addresses and level.
    fn insert_structure(&mut self, address: LinearAddress, structure: Structure);
    /// Keeps the mapping of a guest-physical page.
    fn insert_guest_physical(&mut self, address: GuestPhysicalAddress, mapping: EptMapping);
    /// Keeps an EPT structure entry, in place of one for the same addresses and level.
    fn insert_ept_structure(&mut self, address: GuestPhysicalAddress, structure: EptStructure);
}

/// Nothing is kept: every walk is a whole one.
impl WalkCaches for () {
    const KEEPS: bool = false;

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
    fn forget_guest_physical(&mut self, _: GuestPhysicalAddress) {}
    #[inline(always)]
    fn insert_structure(&mut self, _: LinearAddress, _: Structure) {}
    #[inline(always)]
    fn insert_guest_physical(&mut self, _: GuestPhysicalAddress, _: EptMapping) {}
    #[inline(always)]
    fn insert_ept_structure(&mut self, _: GuestPhysicalAddress, _: EptStructure) {}
}

/// A cached entry that references a paging structure.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Structure {
    /// The level of the entry that it stands for: 5 for a PML5E, down to 2 for a PDE.
    pub level: u8,
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

/// Accessed and dirty flags that a walk must set, kept until the whole access is known to be permitted.
///
/// The SDM lets a processor set accessed flags for an access that then faults (5.8); this one sets none.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FlagUpdates(SmallVec<[FlagUpdate; 8]>);

/// Bits to set in one paging-structure entry.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FlagUpdate {
    /// Where the entry is.
    pub entry: HostPhysicalAddress,
    /// The bits.
    pub bits: u64,
}

impl FlagUpdates {
    /// The updates, in the order of the walk.
    #[must_use]
    pub fn as_slice(&self) -> &[FlagUpdate] {
        &self.0
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn push(&mut self, entry: HostPhysicalAddress, bits: u64) {
        self.0.push(FlagUpdate { entry, bits });
    }

    /// Sets the flags in memory: all, or none on an error.
    ///
    /// # Errors
    ///
    /// [`Fault::CodePage`] when an entry is on a page that holds decoded code.
    #[inline]
    pub fn commit(&self, ram: &Ram) -> Result<(), Fault> {
        if self.0.is_empty() { Ok(()) } else { self.commit_all(ram) }
    }

    #[cold]
    fn commit_all(&self, ram: &Ram) -> Result<(), Fault> {
        for update in &self.0 {
            ram.refuse_code(update.entry, 8)?;
        }
        for update in &self.0 {
            let entry = ram.read::<u64>(update.entry)?;
            ram.write(update.entry, entry | update.bits)?;
        }
        Ok(())
    }
}

/// A walk that permits its access.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Walk {
    /// What it found.
    pub translation: Translation,
    /// The flags to set before the access is made or the translation is cached.
    pub updates: FlagUpdates,
}
