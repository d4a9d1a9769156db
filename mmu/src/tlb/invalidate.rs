//! Invalidation: which entries an operation removes, as a value.

use super::Tlb;
use super::tags::{TagMeaning, TagSpace};
use isa::address::{HostPhysicalAddress, LinearAddress};
use serde::{Deserialize, Serialize};

/// Whether global translations are removed too.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Globals {
    /// They stay.
    Keep,
    /// They go, whatever their PCID.
    Drop,
}

/// Which PCIDs an invalidation covers. Global translations have none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pcids {
    /// One PCID.
    One(u16),
    /// All PCIDs.
    All,
}

/// The entries that an operation must remove (SDM 5.10.4.1, 31.4.3.1).
///
/// | Operation | Invalidation |
/// |---|---|
/// | INVLPG | `Address { One(current), Drop }` |
/// | INVPCID type 0 | `Address { One(pcid), Keep }` |
/// | INVPCID type 1, MOV to CR3 | `Vpid { One(pcid), Keep }` |
/// | INVPCID type 2, change of CR0.PG or CR4.PGE | `Vpid { All, Drop }` |
/// | INVPCID type 3 | `Vpid { All, Keep }` |
/// | INVVPID type 0 | `Address { All, Drop }` |
/// | INVVPID type 1, VM entry and VM exit with VPID 0 | `Vpid { All, Drop }` |
/// | INVVPID type 2 | `NonzeroVpids` |
/// | INVVPID type 3 | `Vpid { All, Keep }` |
/// | INVEPT type 1, type 2 | `EptRoot`, `EptRoots` |
///
/// Operations by VPID cover translations of every EPTRTA, and those made without EPT.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Invalidation {
    /// Translations of the page around a linear address, all pieces of a large page among them.
    Address {
        /// The VPID.
        vpid: u16,
        /// Which PCIDs.
        pcids: Pcids,
        /// Whether a global page goes too.
        globals: Globals,
        /// The address.
        address: LinearAddress,
    },
    /// All translations of a VPID and some PCIDs.
    Vpid {
        /// The VPID.
        vpid: u16,
        /// Which PCIDs.
        pcids: Pcids,
        /// Whether global pages go too.
        globals: Globals,
    },
    /// All translations of all VPIDs but 0000H.
    NonzeroVpids,
    /// All translations made through one EPT root, whatever the low bits of the EPTP.
    EptRoot {
        /// EPTP bits 51:12.
        root: HostPhysicalAddress,
    },
    /// All translations made through EPT.
    EptRoots,
    /// All translations.
    Everything,
}

/// How many entries an invalidation removed, counting each level.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Dropped {
    /// The number.
    pub entries: u64,
}

impl Invalidation {
    /// Whether a translation that is used in `space` may be covered.
    pub(crate) fn covers_space(&self, space: TagSpace) -> bool {
        let TagSpace { vpid, ept, .. } = space;
        self.covers(TagMeaning::Pcid(space)) || self.covers(TagMeaning::Global { vpid, ept })
    }

    /// Whether translations with this tag are covered, as far as the tag decides.
    pub(super) fn covers(&self, meaning: TagMeaning) -> bool {
        match *self {
            Self::Address { vpid, pcids, globals, .. } | Self::Vpid { vpid, pcids, globals } => {
                meaning.vpid() == vpid && covers_pcid(meaning, pcids, globals)
            }
            Self::NonzeroVpids => meaning.vpid() != 0,
            Self::EptRoot { root } => meaning.ept() == Some(root.page()),
            Self::EptRoots => meaning.ept().is_some(),
            Self::Everything => true,
        }
    }
}

fn covers_pcid(meaning: TagMeaning, pcids: Pcids, globals: Globals) -> bool {
    match (meaning, pcids) {
        (TagMeaning::Global { .. }, _) => globals == Globals::Drop,
        (TagMeaning::Pcid(TagSpace { pcid, .. }), Pcids::One(one)) => pcid == one,
        (TagMeaning::Pcid(_), Pcids::All) => true,
    }
}

impl Tlb {
    /// Removes the entries that `invalidation` covers, and no others.
    pub fn invalidate(&mut self, invalidation: Invalidation) -> Dropped {
        let entries = match invalidation {
            Invalidation::Address { address, .. } => self.drop_address(invalidation, address),
            _ => self.tags.retire(|meaning| invalidation.covers(meaning)),
        };
        self.refresh_tags();
        Dropped { entries }
    }

    fn drop_address(&mut self, invalidation: Invalidation, address: LinearAddress) -> u64 {
        let tags = self.tags.matching(|meaning| invalidation.covers(meaning));
        let mut dropped = 0;
        for array in &mut self.arrays {
            for &tag in &tags {
                dropped += array.drop_page(address, tag, &mut self.tags);
            }
            dropped += array.drop_pieces(address, &tags, &mut self.tags);
        }
        dropped
    }
}
