//! What the hardware tags cached translations with, as one model.

use serde::Serialize;

/// A tag policy: what tells translations of different address spaces apart, and so what a transition must flush.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TagPolicy {
    /// Nothing: "enable VPID" is 0, CR4.PCIDE is 0.
    None,
    /// Guest or host: every guest has the same VPID, and another guest's entries are flushed before an entry.
    ModeBit,
    /// A tag word (profile `extended`): the monitor sets the bits of the guest, the guest those of the address space.
    TagWord,
    /// A VPID for each guest; CR4.PCIDE is 0.
    Vpid,
    /// A VPID for each guest and a PCID for each address space.
    VpidPcid,
}

impl TagPolicy {
    /// The VPID of a guest, where there are VPIDs.
    pub(super) fn vpid(self, guest: usize) -> Option<u16> {
        match self {
            Self::None | Self::TagWord => None,
            Self::ModeBit => Some(1),
            Self::Vpid | Self::VpidPcid => u16::try_from(guest + 1).ok(),
        }
    }

    /// Whether CR4.PCIDE is 1 in guests.
    pub(super) const fn has_pcids(self) -> bool {
        matches!(self, Self::VpidPcid)
    }
}
