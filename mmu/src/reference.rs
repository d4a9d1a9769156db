//! The memory references of a walk, in order.

use isa::address::HostPhysicalAddress;
use serde::{Deserialize, Serialize};

/// Whose paging structure a reference of a walk reads.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    /// A paging structure of the guest, or of native paging.
    Guest,
    /// An EPT paging structure.
    Ept,
}

/// One read of a paging-structure entry by a walk.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Reference {
    /// Whose structure.
    pub dimension: Dimension,
    /// 5 for a PML5E or EPT PML5E, down to 1 for a PTE.
    pub level: u8,
    /// Where the entry is.
    pub host_physical: HostPhysicalAddress,
}

/// Who wants to know the references of a walk.
///
/// `()` takes no note and costs nothing; a `Vec` keeps all. Writes of accessed and dirty flags are no references of
/// the walk and are not reported.
pub trait ReferenceLog {
    /// Takes note of the next reference.
    fn record(&mut self, reference: Reference);

    /// Takes note of references that a cached entry spared.
    #[inline(always)]
    fn spared(&mut self, _: Cached) {}
}

/// A kind of entry that spares a walk some of its references.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Cached {
    /// A paging-structure-cache entry, linear or combined: the walk begins below it.
    Structure,
    /// A guest-physical mapping: the address needs no walk of EPT.
    GuestPhysical,
    /// A guest-physical paging-structure-cache entry: the walk of EPT begins below it.
    EptStructure,
}

impl ReferenceLog for () {
    #[inline(always)]
    fn record(&mut self, _: Reference) {}
}

impl ReferenceLog for Vec<Reference> {
    #[inline]
    fn record(&mut self, reference: Reference) {
        self.push(reference);
    }
}
