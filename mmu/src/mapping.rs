//! What a processor may have cached, as the manual names it (SDM 31.4): the classes of mappings and their tags.

use crate::context::Context;
use crate::translation::{PageSize, Scope, Translation};
use isa::address::{GuestPhysicalAddress, HostPhysicalAddress, LinearAddress};
use serde::{Deserialize, Serialize};

/// The classes of cached mappings (SDM 31.4.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// From linear addresses, made while EPT was not in use.
    Linear,
    /// From guest-physical addresses, by EPT alone.
    GuestPhysical,
    /// From linear addresses, by guest paging and EPT together.
    Combined,
}

/// The tag of a mapping from linear addresses, and the key under which one is looked up (SDM 31.4.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Space {
    /// The VPID; 0 outside VMX non-root operation and where "enable VPID" is 0.
    pub vpid: u16,
    /// The PCID; 0 where CR4.PCIDE is 0.
    pub pcid: u16,
    /// The EPTRTA, EPTP bits 51:12 and nothing else of the EPTP, for combined mappings; `None` for linear ones.
    pub ept: Option<HostPhysicalAddress>,
    /// The tag word of the profile `extended`; 0 in `strict`.
    pub word: u32,
}

impl Space {
    /// The key that accesses in `context` use.
    #[must_use]
    pub fn of(context: &Context) -> Self {
        let ept = context.ept.map(|ept| ept.eptrta());
        Self { vpid: context.vpid, pcid: context.pcid, ept, word: context.tag_word }
    }

    /// Whether global translations of one space are used in the other.
    #[must_use]
    pub fn shares_globals(self, other: Self) -> bool {
        self.vpid == other.vpid && self.ept == other.ept && self.word == other.word
    }

    /// The class of mappings that are cached under this tag.
    #[must_use]
    pub const fn class(self) -> Class {
        if self.ept.is_some() { Class::Combined } else { Class::Linear }
    }
}

/// One cached mapping, whatever structure of the processor holds it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mapping {
    /// A TLB entry: linear or combined.
    Translation {
        /// Its tag. The PCID of a global one is 0 and means nothing.
        space: Space,
        /// The translation, with its scope.
        translation: Translation,
    },
    /// An entry of the paging-structure caches: linear or combined.
    Structure {
        /// Its tag.
        space: Space,
        /// The level of the entry that it stands for: 5 for a PML5E, down to 2 for a PDE.
        level: u8,
        /// The first linear address that it is used for.
        linear: LinearAddress,
        /// The table that the entry references.
        table: HostPhysicalAddress,
    },
    /// A guest-physical translation.
    GuestPhysical {
        /// The EPTRTA.
        ept: HostPhysicalAddress,
        /// Start of the guest-physical page.
        guest_physical: GuestPhysicalAddress,
        /// Start of the host-physical page.
        host_physical: HostPhysicalAddress,
        /// The size of the page.
        size: PageSize,
    },
    /// An entry of the EPT paging-structure caches.
    EptStructure {
        /// The EPTRTA.
        ept: HostPhysicalAddress,
        /// The level of the EPT entry that it stands for: 5 for an EPT PML5E, down to 2 for an EPT PDE.
        level: u8,
        /// The first guest-physical address that it is used for.
        guest_physical: GuestPhysicalAddress,
        /// The table that the entry references.
        table: HostPhysicalAddress,
    },
}

impl Mapping {
    /// Its class.
    #[must_use]
    pub const fn class(&self) -> Class {
        match self {
            Self::Translation { space, .. } | Self::Structure { space, .. } => space.class(),
            Self::GuestPhysical { .. } | Self::EptStructure { .. } => Class::GuestPhysical,
        }
    }

    /// The EPTRTA that it was made through, if any.
    #[must_use]
    pub const fn ept(&self) -> Option<HostPhysicalAddress> {
        match self {
            Self::Translation { space, .. } | Self::Structure { space, .. } => space.ept,
            Self::GuestPhysical { ept, .. } | Self::EptStructure { ept, .. } => Some(*ept),
        }
    }

    /// Whether it is a global translation.
    #[must_use]
    pub fn is_global(&self) -> bool {
        matches!(self, Self::Translation { translation, .. } if translation.scope == Scope::Global)
    }
}
