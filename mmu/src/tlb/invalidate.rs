//! Invalidation: which entries an operation removes, as a value.

use super::Tlb;
use super::array::Lost;
use super::meaning::{Group, Store, TagMeaning};
use super::tags::Tag;
use crate::mapping::Space;
use crate::translation::PageSize;
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

/// What of the entries of one tag an invalidation covers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Extent {
    /// None.
    Nothing,
    /// Those that are used for the address of the invalidation, and the other pieces of the page around it.
    Address,
    /// All.
    Everything,
}

impl Dropped {
    /// Counts entries of a tag.
    pub(super) const fn add(&mut self, meaning: TagMeaning, entries: u64) {
        match meaning.store() {
            Store::Translations => self.entries += entries,
            Store::Structures => self.structures += entries,
            Store::GuestPhysical | Store::EptStructures => self.guest_physical += entries,
        }
    }
}

impl Invalidation {
    /// Whether a translation that is used in `space` may be covered.
    pub(crate) fn covers_space(&self, space: Space) -> bool {
        let used = [TagMeaning::Pcid(space), TagMeaning::globals_of(space)];
        used.into_iter().any(|meaning| self.extent(meaning) != Extent::Nothing)
    }

    /// The linear address of an invalidation that covers one page.
    pub(crate) const fn address(&self) -> Option<LinearAddress> {
        match *self {
            Self::Address { address, .. } | Self::Combined { address, .. } => Some(address),
            Self::Word { address, .. } => address,
            _ => None,
        }
    }

    /// The guest-physical address of an invalidation that covers one page.
    pub(super) const fn guest_physical_address(&self) -> Option<GuestPhysicalAddress> {
        match *self {
            Self::GuestPhysical { address, .. } => Some(address),
            _ => None,
        }
    }

    /// The only tags that can be covered, where the invalidation names them.
    pub(super) const fn group(&self) -> Option<Group> {
        match *self {
            Self::Address { vpid, .. } | Self::Vpid { vpid, .. } => Some(Group::Vpid(vpid)),
            Self::Combined { space, .. } => Some(Group::Vpid(space.vpid)),
            Self::GuestPhysical { root, .. } => Some(Group::GuestPhysical(eptrta(root))),
            Self::EptRoot { root } => Some(Group::EptRoot(eptrta(root))),
            _ => None,
        }
    }

    /// What of the entries of a tag is covered.
    pub(super) fn extent(&self, meaning: TagMeaning) -> Extent {
        if !self.covers(meaning) {
            return Extent::Nothing;
        }
        let structures = meaning.store() == Store::Structures;
        match self {
            Self::Address { structures: Structures::All, .. } | Self::Word { .. } if structures => {
                Extent::Everything
            }
            Self::Address { .. } | Self::Combined { .. } | Self::GuestPhysical { .. } => Extent::Address,
            Self::Word { address: Some(_), .. } => Extent::Address,
            _ => Extent::Everything,
        }
    }

    /// Whether entries of a tag may be covered.
    fn covers(&self, meaning: TagMeaning) -> bool {
        match *self {
            Self::Everything => true,
            Self::EptRoots => meaning.ept().is_some(),
            Self::EptRoot { root } => meaning.ept() == Some(eptrta(root)),
            Self::GuestPhysical { root, .. } => {
                meaning.space().is_none() && meaning.ept() == Some(eptrta(root))
            }
            _ => meaning.space().is_some_and(|space| self.covers_linear(meaning, space)),
        }
    }

    /// Whether linear or combined mappings of a tag may be covered.
    fn covers_linear(&self, meaning: TagMeaning, space: Space) -> bool {
        match *self {
            Self::Address { vpid, pcids, globals, .. } | Self::Vpid { vpid, pcids, globals } => {
                space.vpid == vpid && covers_pcid(meaning, pcids, globals)
            }
            Self::NonzeroVpids => space.vpid != 0,
            Self::Combined { space, .. } => {
                space.ept.is_some()
                    && (meaning.translates_in(space) || meaning == TagMeaning::Structures(space))
            }
            Self::Word { word, compare, globals, .. } => {
                (space.word ^ word) & compare == 0
                    && (globals == Globals::Drop || !matches!(meaning, TagMeaning::Global { .. }))
            }
            _ => true,
        }
    }
}

fn covers_pcid(meaning: TagMeaning, pcids: Pcids, globals: Globals) -> bool {
    match (meaning.space(), pcids) {
        _ if matches!(meaning, TagMeaning::Global { .. }) => globals == Globals::Drop,
        (Some(space), Pcids::One(pcid)) => space.pcid == pcid,
        (_, Pcids::One(_)) => false,
        (_, Pcids::All) => true,
    }
}

/// EPTP bits 51:12.
pub(super) const fn eptrta(root: HostPhysicalAddress) -> HostPhysicalAddress {
    HostPhysicalAddress(root.0 & 0x000f_ffff_ffff_f000)
}

impl Tlb {
    /// Removes the entries that `invalidation` covers, and no others.
    pub fn invalidate(&mut self, invalidation: Invalidation) -> Dropped {
        self.invalidate_reaching(invalidation).0
    }

    /// The same; tells of an invalidation of an address also the size of the page around it beyond which no translation
    /// was removed.
    pub(crate) fn invalidate_reaching(&mut self, invalidation: Invalidation) -> (Dropped, PageSize) {
        let (mut dropped, around) = self.tags.invalidate(&invalidation, self.current);
        let mut reach = PageSize::Size4K;
        if let Some(address) = invalidation.address() {
            let lost = self.drop_translations(address, &around.translations);
            dropped.entries += lost.entries;
            reach = lost.reach();
            dropped.structures += self.structures.drop_address(address, &around.structures, &mut self.tags);
        }
        if let Some(address) = invalidation.guest_physical_address() {
            let Self { nested, ept_structures, tags, .. } = self;
            dropped.guest_physical += nested.drop_address(address, &around.guest_physical, tags);
            dropped.guest_physical += ept_structures.drop_address(address, &around.ept_structures, tags);
        }
        if !self.tags.are_live(self.current) {
            self.refresh_tags();
        }
        (dropped, reach)
    }

    fn drop_translations(&mut self, address: LinearAddress, tags: &[Tag]) -> Lost {
        let mut lost = Lost::default();
        for array in &mut self.arrays {
            for &tag in tags {
                lost.add(array.drop_address(address, tag, &mut self.tags));
            }
            lost.add(array.drop_pieces(address, tags, &mut self.tags));
        }
        lost
    }
}
