//! Translation of guest-physical addresses by EPT (SDM 31.3).
//!
//! The steps and their order are those of 31.3.2 and 31.3.3.3: at each level first *present*, then *malformed*;
//! the access rights are looked at when the whole address is known, so that a misconfiguration at level 1 wins over
//! a missing permission at level 4.

mod walk;

pub use walk::translate;

pub(crate) use walk::{EptWalk, address_bits_from};

use crate::translation::PageSize;
use isa::address::{GuestPhysicalAddress, HostPhysicalAddress, LinearAddress};
use serde::{Deserialize, Serialize};

/// The number of levels of an EPT walk (EPTP bits 5:3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EptLevels {
    /// Four levels: guest-physical bits 47:0 are translated.
    Four,
    /// Five levels: guest-physical bits 56:0 are translated.
    Five,
}

impl EptLevels {
    /// The level of the root table.
    #[must_use]
    pub const fn count(self) -> u8 {
        match self {
            Self::Four => 4,
            Self::Five => 5,
        }
    }
}

bitflags::bitflags! {
    /// What an EPTP, the VM-execution controls and the processor's capabilities choose for EPT walks.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
    pub struct EptControls: u8 {
        /// EPTP bit 6: accessed and dirty flags are used, and guest paging-structure accesses count as writes.
        const ACCESSED_DIRTY = 1 << 0;
        /// The control "mode-based execute control for EPT": bit 10 permits fetches from user-mode addresses.
        const MODE_BASED_EXECUTE = 1 << 1;
        /// IA32_VMX_EPT_VPID_CAP bit 0: execute-only translations exist.
        const EXECUTE_ONLY = 1 << 2;
        /// IA32_VMX_EPT_VPID_CAP bit 16: 2-MByte pages exist.
        const PAGES_2M = 1 << 3;
        /// IA32_VMX_EPT_VPID_CAP bit 17: 1-GByte pages exist.
        const PAGES_1G = 1 << 4;
    }
}

/// Which EPT paging structures translate guest-physical addresses, and how.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct EptContext {
    /// EPTP bits 51:12: the root table.
    pub root: HostPhysicalAddress,
    /// Bits 51:12 of the EPTP that tags what is cached, when that is another: in SEAM, translations by the shared
    /// EPTP are tagged with the private one (SDM 31.4.2).
    pub tagged_with: Option<HostPhysicalAddress>,
    /// EPTP bits 5:3.
    pub levels: EptLevels,
    /// The rest.
    pub controls: EptControls,
}

impl EptContext {
    /// A context with 4 levels, all page sizes and execute-only translations, without accessed and dirty flags.
    #[must_use]
    pub fn four_level(root: HostPhysicalAddress) -> Self {
        Self {
            root,
            tagged_with: None,
            levels: EptLevels::Four,
            controls: EptControls::EXECUTE_ONLY | EptControls::PAGES_2M | EptControls::PAGES_1G,
        }
    }

    /// Without mode-based execute control bit 10 is ignored and bit 2 speaks for all fetches.
    pub(crate) fn meaningful(&self, permissions: EptPermissions) -> EptPermissions {
        if self.controls.contains(EptControls::MODE_BASED_EXECUTE) {
            permissions
        } else {
            permissions - EptPermissions::USER_EXECUTE
        }
    }

    /// The EPTRTA: bits 51:12 of the EPTP that tags what is cached (SDM 31.4.2).
    #[inline]
    #[must_use]
    pub fn eptrta(&self) -> HostPhysicalAddress {
        HostPhysicalAddress(self.tagged_with.unwrap_or(self.root).0 & ADDRESS)
    }
}

bitflags::bitflags! {
    /// The permission bits of an EPT entry, at their positions in it.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
    pub struct EptPermissions: u16 {
        /// Bit 0: reads.
        const READ = 1 << 0;
        /// Bit 1: writes.
        const WRITE = 1 << 1;
        /// Bit 2: fetches, from supervisor-mode addresses only when mode-based execute control is on.
        const EXECUTE = 1 << 2;
        /// Bit 10: fetches from user-mode addresses when mode-based execute control is on.
        const USER_EXECUTE = 1 << 10;
    }
}

/// What a guest-physical address was wanted for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EptTarget {
    /// The translation of the linear address itself; exit qualification bit 8 is 1.
    Final(GuestPage),
    /// A guest paging-structure entry, read or updated by the walk; exit qualification bit 8 is 0.
    PagingStructure,
    /// An access without a linear address; exit qualification bit 7 is 0.
    Physical,
}

/// What guest paging says of the page, for exit qualification bits 11:9 (SDM table 30-7).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct GuestPage {
    /// Bit 9 (user-mode address), bit 10 (writable) and, inverted, bit 11 (execute-disable).
    pub rights: crate::translation::Rights,
}

/// One access to a guest-physical address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct EptAccess {
    /// Every permission that the access needs.
    pub needs: EptPermissions,
    /// What for.
    pub target: EptTarget,
    /// The linear address whose access led here.
    pub linear: Option<LinearAddress>,
}

/// An access that EPT does not permit (SDM 31.3.3.2), with everything that the exit qualification tells.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct EptViolation {
    /// The address whose translation failed.
    pub guest_physical: GuestPhysicalAddress,
    /// The linear address; valid when present.
    pub linear: Option<LinearAddress>,
    /// What the access needed: exit qualification bits 2:0. USER_EXECUTE is a fetch too.
    pub access: EptPermissions,
    /// The permissions common to all entries: exit qualification bits 5:3 and 6; empty when an entry was not
    /// present or the address is too wide.
    pub permissions: EptPermissions,
    /// What the address was wanted for.
    pub target: EptTarget,
}

/// A present EPT entry that is malformed (SDM 31.3.3.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct EptMisconfiguration {
    /// The address whose translation failed.
    pub guest_physical: GuestPhysicalAddress,
    /// The linear address whose access led here.
    pub linear: Option<LinearAddress>,
    /// Level of the entry: 5 for an EPT PML5E, down to 1.
    pub level: u8,
    /// The entry.
    pub entry: u64,
    /// Which rule it breaks.
    pub reason: EptMisconfigurationReason,
}

/// The rules of SDM 31.3.3.1 that a present entry can break.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EptMisconfigurationReason {
    /// Bit 1 without bit 0.
    WriteWithoutRead,
    /// Bit 2, or bit 10 under mode-based execute control, without bit 0, and no execute-only translations.
    ExecuteOnlyUnsupported,
    /// A bit that is reserved for the level and kind of entry.
    ReservedBit,
    /// A memory type of 2, 3 or 7 in an entry that maps a page.
    MemoryType,
}

/// What EPT says of a guest-physical address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct EptMapping {
    /// Start of the host-physical page, of [`size`](Self::size) bytes.
    pub host_physical: HostPhysicalAddress,
    /// The size of the EPT page.
    pub size: PageSize,
    /// The permissions common to all entries, as the bits are.
    pub permissions: EptPermissions,
    /// Whether a write need not set the dirty flag any more.
    pub dirty: Dirty,
}

impl EptMapping {
    /// Whether an access with these needs has nothing to ask of the tables.
    #[inline]
    pub(crate) fn suffices(&self, needs: EptPermissions) -> bool {
        let clean = self.dirty == Dirty::Clear && needs.contains(EptPermissions::WRITE);
        self.permissions.contains(needs) && !clean
    }

    /// The host-physical address of a guest-physical address in the page.
    #[inline(always)]
    #[must_use]
    pub const fn host(&self, address: GuestPhysicalAddress) -> HostPhysicalAddress {
        HostPhysicalAddress(self.host_physical.0 | (address.0 & self.size.offset_mask()))
    }
}

/// Whether the dirty flag of a page is set, or will be when the walk is committed, or does not exist.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Dirty {
    /// A write has nothing to set.
    Set,
    /// A write must set the flag.
    Clear,
}

/// Bits 51:12 of an EPTP or an EPT entry.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
/// The dirty flag of an EPT entry that maps a page.
pub(crate) const DIRTY: u64 = 1 << 9;
