//! Invalidation: which entries an operation removes, as a value.

use super::Tlb;
use super::tags::TagMeaning;
use crate::mapping::Space;
use isa::address::{GuestPhysicalAddress, HostPhysicalAddress, LinearAddress};
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

/// Which paging-structure-cache entries an invalidation by address covers, under the tags that it covers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Structures {
    /// Those that would be used for the address.
    OfAddress,
    /// All, whatever their address.
    All,
}

/// The entries that an operation must remove (SDM 5.10.4.1, 31.4.3.1).
///
/// | Operation | Invalidation |
/// |---|---|
/// | INVLPG | `Address { One(current), Drop, All }` |
/// | INVPCID type 0 | `Address { One(pcid), Keep, All }` |
/// | page fault | `Address { One(current), Drop, OfAddress }` |
/// | INVPCID type 1, MOV to CR3 | `Vpid { One(pcid), Keep }` |
/// | INVPCID type 2, change of CR0.PG or CR4.PGE | `Vpid { All, Drop }` |
/// | INVPCID type 3 | `Vpid { All, Keep }` |
/// | INVVPID type 0 | `Address { All, Drop, OfAddress }` |
/// | INVVPID type 1, VM entry and VM exit with VPID 0 | `Vpid { All, Drop }` |
/// | INVVPID type 2 | `NonzeroVpids` |
/// | INVVPID type 3 | `Vpid { All, Keep }` |
/// | INVEPT type 1, type 2 | `EptRoot`, `EptRoots` |
/// | EPT violation | `GuestPhysical` and, for a linear address, `Combined` |
/// | RSM, VM entry that returns from SMM | `Vpids` |
///
/// Operations by VPID cover linear and combined mappings, of every EPTRTA, and no guest-physical ones. All cover
/// paging-structure caches along with the TLB.
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
        /// Which paging-structure-cache entries go too.
        structures: Structures,
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
    /// All linear and combined mappings of all VPIDs but 0000H.
    NonzeroVpids,
    /// All linear and combined mappings.
    Vpids,
    /// The combined mappings, global ones among them, that a linear address would use under one tag.
    Combined {
        /// The tag.
        space: Space,
        /// The address.
        address: LinearAddress,
    },
    /// The guest-physical mappings that a guest-physical address would use.
    GuestPhysical {
        /// EPTP bits 51:12.
        root: HostPhysicalAddress,
        /// The address.
        address: GuestPhysicalAddress,
    },
    /// All guest-physical and combined mappings of one EPTRTA, whatever the low bits of the EPTP.
    EptRoot {
        /// EPTP bits 51:12.
        root: HostPhysicalAddress,
    },
    /// All guest-physical and combined mappings.
    EptRoots,
    /// Linear and combined mappings by tag word (profile `extended`): those whose word equals `word` in the bits of
    /// `compare`, of one page or all.
    Word {
        /// The word.
        word: u32,
        /// The bits that count.
        compare: u32,
        /// Whether global pages go too.
        globals: Globals,
        /// The page, with all paging-structure-cache entries of the tags; `None` for all pages.
        address: Option<LinearAddress>,
    },
    /// All mappings of all classes.
    Everything,
}

/// How many entries an invalidation removed, counting each level.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Dropped {
    /// Linear and combined translations.
    pub entries: u64,
    /// Entries of the linear and combined paging-structure caches.
    pub structures: u64,
    /// Guest-physical mappings, of the nested TLB and the EPT paging-structure caches.
    pub guest_physical: u64,
}

impl Invalidation {
    /// Whether a translation that is used in `space` may be covered.
    pub(crate) fn covers_space(&self, space: Space) -> bool {
        let Space { vpid, ept, word, .. } = space;
        self.covers(TagMeaning::Pcid(space)) || self.covers(TagMeaning::Global { vpid, ept, word })
    }

    /// The linear address of an invalidation that covers one page.
    pub(crate) const fn address(&self) -> Option<LinearAddress> {
        match *self {
            Self::Address { address, .. } | Self::Combined { address, .. } => Some(address),
            Self::Word { address, .. } => address,
            _ => None,
        }
    }

    /// Whether translations with this tag are covered, as far as the tag decides.
    pub(super) fn covers(&self, meaning: TagMeaning) -> bool {
        match *self {
            Self::Address { vpid, pcids, globals, .. } | Self::Vpid { vpid, pcids, globals } => {
                meaning.vpid() == vpid && covers_pcid(meaning, pcids, globals)
            }
            Self::NonzeroVpids => meaning.vpid() != 0,
            Self::Vpids => true,
            Self::Combined { space, .. } => meaning.includes(space),
            Self::GuestPhysical { .. } => false,
            Self::Word { word, compare, globals, .. } => {
                (meaning.word() ^ word) & compare == 0
                    && (globals == Globals::Drop || !matches!(meaning, TagMeaning::Global { .. }))
            }
            Self::EptRoot { root } => meaning.ept() == Some(root.page()),
            Self::EptRoots => meaning.ept().is_some(),
            Self::Everything => true,
        }
    }
}

fn covers_pcid(meaning: TagMeaning, pcids: Pcids, globals: Globals) -> bool {
    match (meaning, pcids) {
        (TagMeaning::Global { .. }, _) => globals == Globals::Drop,
        (TagMeaning::Pcid(Space { pcid, .. }), Pcids::One(one)) => pcid == one,
        (TagMeaning::Pcid(_), Pcids::All) => true,
    }
}

impl Tlb {
    /// Removes the entries that `invalidation` covers, and no others.
    pub fn invalidate(&mut self, invalidation: Invalidation) -> Dropped {
        let entries = match invalidation.address() {
            Some(address) => self.drop_address(invalidation, address),
            None => self.tags.retire(|meaning| invalidation.covers(meaning)),
        };
        self.refresh_tags();
        Dropped { entries, ..Dropped::default() }
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
