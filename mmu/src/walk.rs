//! What a walk has found and has yet to write.

use crate::ept::{EptMapping, EptPermissions};
use crate::fault::Fault;
use crate::ram::Ram;
use crate::translation::Translation;
use isa::address::{GuestPhysicalAddress, HostPhysicalAddress, LinearAddress};
use smallvec::SmallVec;

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

/// What a walk asks of a processor's caches, and what it puts there once it has succeeded and set its flags.
///
/// Lookups and insertions are under the current tag. `()` caches nothing.
pub trait WalkCaches {
    /// The deepest cached structure entry for the address.
    fn structure(&mut self, address: LinearAddress) -> Option<Structure>;

    /// The cached guest-physical mapping of a page, whatever its permissions: the walk decides.
    fn guest_physical(&mut self, address: GuestPhysicalAddress) -> Option<EptMapping>;

    /// The deepest cached EPT structure entry for the address.
    fn ept_structure(&mut self, address: GuestPhysicalAddress) -> Option<EptStructure>;

    /// Forgets a guest-physical mapping whose permissions or dirty flag did not suffice.
    fn forget_guest_physical(&mut self, address: GuestPhysicalAddress);

    /// Caches the structure entry that the walk of an address used.
    fn insert_structure(&mut self, address: LinearAddress, structure: Structure);

    /// Caches the guest-physical mapping of an address.
    fn insert_guest_physical(&mut self, address: GuestPhysicalAddress, mapping: EptMapping);

    /// Caches the EPT structure entry that the walk of an address used.
    fn insert_ept_structure(&mut self, address: GuestPhysicalAddress, structure: EptStructure);
}

impl WalkCaches for () {
    fn structure(&mut self, _: LinearAddress) -> Option<Structure> {
        None
    }

    fn guest_physical(&mut self, _: GuestPhysicalAddress) -> Option<EptMapping> {
        None
    }

    fn ept_structure(&mut self, _: GuestPhysicalAddress) -> Option<EptStructure> {
        None
    }

    fn forget_guest_physical(&mut self, _: GuestPhysicalAddress) {}

    fn insert_structure(&mut self, _: LinearAddress, _: Structure) {}

    fn insert_guest_physical(&mut self, _: GuestPhysicalAddress, _: EptMapping) {}

    fn insert_ept_structure(&mut self, _: GuestPhysicalAddress, _: EptStructure) {}
}

/// An entry of the paging-structure caches for linear addresses (SDM 5.10.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Structure {
    /// The level of the entry that it stands for: 5 for a PML5E, down to 2 for a PDE.
    pub level: u8,
    /// The table that the entry references.
    pub table: HostPhysicalAddress,
    /// The same table's guest-physical address.
    pub guest_table: GuestPhysicalAddress,
    /// R/W and U/S, the AND of the entries so far, and XD, the OR, at their positions in an entry.
    pub common: u64,
    /// What EPT permits for the table's page.
    pub ept_permissions: EptPermissions,
}

/// An entry of the EPT paging-structure caches (SDM 31.4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EptStructure {
    /// The level of the EPT entry that it stands for: 5 for an EPT PML5E, down to 2 for an EPT PDE.
    pub level: u8,
    /// The table that the entry references.
    pub table: HostPhysicalAddress,
    /// The permissions common to the entries so far.
    pub permissions: EptPermissions,
}
