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
