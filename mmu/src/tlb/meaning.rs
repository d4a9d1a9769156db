//! What tags stand for.

use crate::mapping::Space;
use isa::address::HostPhysicalAddress;

/// What entries are cached under: everything that an invalidation tells entries apart by, but their address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TagMeaning {
    /// Linear or combined translations of one PCID.
    Pcid(Space),
    /// Linear or combined translations that are global, of every PCID.
    Global {
        /// The VPID.
        vpid: u16,
        /// The EPTRTA, for combined mappings.
        ept: Option<HostPhysicalAddress>,
        /// The tag word.
        word: u32,
    },
    /// Entries of the paging-structure caches for linear addresses, of one PCID.
    Structures(Space),
    /// Guest-physical translations.
    GuestPhysical {
        /// The EPTRTA.
        ept: HostPhysicalAddress,
    },
    /// Entries of the paging-structure caches for guest-physical addresses.
    EptStructures {
        /// The EPTRTA.
        ept: HostPhysicalAddress,
    },
}

/// The stores that the entries of a tag are in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Store {
    Translations,
    Structures,
    GuestPhysical,
    EptStructures,
}

impl TagMeaning {
    /// Global translations beside those of a space.
    #[must_use]
    pub const fn globals_of(space: Space) -> Self {
        let Space { vpid, ept, word, .. } = space;
        Self::Global { vpid, ept, word }
    }

    /// The tag as a [`Space`], with PCID 0 for global translations; `None` for guest-physical mappings, which have
    /// neither VPID nor PCID.
    #[must_use]
    pub const fn space(self) -> Option<Space> {
        match self {
            Self::Pcid(space) | Self::Structures(space) => Some(space),
            Self::Global { vpid, ept, word } => Some(Space { vpid, pcid: 0, ept, word }),
            Self::GuestPhysical { .. } | Self::EptStructures { .. } => None,
        }
    }

    /// The EPTRTA.
    #[must_use]
    pub const fn ept(self) -> Option<HostPhysicalAddress> {
        match self {
            Self::Pcid(Space { ept, .. }) | Self::Structures(Space { ept, .. }) => ept,
            Self::Global { ept, .. } => ept,
            Self::GuestPhysical { ept } | Self::EptStructures { ept } => Some(ept),
        }
    }

    /// Whether translations with this meaning are used in `space`.
    pub(crate) fn translates_in(self, space: Space) -> bool {
        self == Self::Pcid(space) || self == Self::globals_of(space)
    }

    pub(super) const fn store(self) -> Store {
        match self {
            Self::Pcid(_) | Self::Global { .. } => Store::Translations,
            Self::Structures(_) => Store::Structures,
            Self::GuestPhysical { .. } => Store::GuestPhysical,
            Self::EptStructures { .. } => Store::EptStructures,
        }
    }

    /// In how many groups a tag is at most.
    pub(super) const GROUPS: usize = 2;

    /// The groups of a tag, those of each kind at the same place.
    #[inline]
    pub(super) fn groups(self) -> impl Iterator<Item = Group> {
        let (first, ept) = match self {
            Self::Pcid(Space { vpid, ept, .. })
            | Self::Structures(Space { vpid, ept, .. })
            | Self::Global { vpid, ept, .. } => (Group::Vpid(vpid), ept),
            Self::GuestPhysical { ept } | Self::EptStructures { ept } => {
                (Group::GuestPhysical(ept), Some(ept))
            }
        };
        core::iter::once(first).chain(ept.map(Group::EptRoot))
    }
}

/// Tags that an invalidation covers together or not at all, as far as it names a group.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Group {
    /// Linear and combined mappings of a VPID.
    Vpid(u16),
    /// Guest-physical mappings of an EPTRTA.
    GuestPhysical(HostPhysicalAddress),
    /// Guest-physical and combined mappings of an EPTRTA.
    EptRoot(HostPhysicalAddress),
}
