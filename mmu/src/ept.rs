//! Translation of guest-physical addresses by EPT (SDM 31.3).
//!
//! The steps and their order are those of 31.3.2 and 31.3.3.3: at each level first *present*, then *malformed*;
//! the access rights are looked at when the whole address is known, so that a misconfiguration at level 1 wins over
//! a missing permission at level 4.

use crate::fault::Fault;
use crate::ram::Ram;
use crate::reference::{Dimension, Reference, ReferenceLog};
use crate::translation::PageSize;
use crate::walk::FlagUpdates;
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

const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const MAPS_PAGE: u64 = 1 << 7;
const ACCESSED: u64 = 1 << 8;
const DIRTY: u64 = 1 << 9;

/// Translates a guest-physical address.
///
/// Flags that the access must set are added to `updates`; the walk itself writes nothing.
///
/// # Errors
///
/// [`Fault::EptViolation`], [`Fault::EptMisconfiguration`], and [`Fault::OutsideRam`] for an entry outside RAM.
#[inline]
pub fn translate<L: ReferenceLog>(
    ram: &Ram,
    ept: &EptContext,
    physical_address_width: u8,
    address: GuestPhysicalAddress,
    access: EptAccess,
    log: &mut L,
    updates: &mut FlagUpdates,
) -> Result<EptMapping, Fault> {
    EptWalk { ram, ept, physical_address_width, address, access, log, updates }.run()
}

struct EptWalk<'a, L> {
    ram: &'a Ram,
    ept: &'a EptContext,
    physical_address_width: u8,
    address: GuestPhysicalAddress,
    access: EptAccess,
    log: &'a mut L,
    updates: &'a mut FlagUpdates,
}

impl<L: ReferenceLog> EptWalk<'_, L> {
    fn run(mut self) -> Result<EptMapping, Fault> {
        if self.ept.levels == EptLevels::Four && self.address.0 >> 48 != 0 {
            return Err(self.violation(EptPermissions::empty()));
        }
        let high = address_bits_from(self.physical_address_width);
        let mut permissions = EptPermissions::all();
        let mut table = self.ept.root.0 & ADDRESS;
        let mut level = self.ept.levels.count();
        loop {
            let at = HostPhysicalAddress(table + 8 * (self.address.0 >> (3 + 9 * level) & 0x1ff));
            self.log.record(Reference { dimension: Dimension::Ept, level, host_physical: at });
            let entry = self.ram.read::<u64>(at)?;
            // A readable entry that references a table and has no reserved bit needs no closer look.
            if level == 1 || entry & (high | 0xf9) != 1 {
                self.check_entry(entry, level)?;
            }
            permissions &= EptPermissions::from_bits_truncate(entry as u16);
            let leaf = page_size(entry, level);
            self.note_flags(at, entry, leaf.is_some());
            if let Some(size) = leaf {
                return self.finish(entry, size, permissions);
            }
            table = entry & ADDRESS;
            level -= 1;
        }
    }

    fn check_entry(&self, entry: u64, level: u8) -> Result<(), Fault> {
        if !self.is_present(entry) {
            return Err(self.violation(EptPermissions::empty()));
        }
        match self.malformed(entry, level) {
            Some(reason) => Err(self.misconfiguration(entry, level, reason)),
            None => Ok(()),
        }
    }

    fn is_present(&self, entry: u64) -> bool {
        let mode_based = self.ept.controls.contains(EptControls::MODE_BASED_EXECUTE);
        entry & 7 != 0 || (mode_based && entry & 1 << 10 != 0)
    }

    fn malformed(&self, entry: u64, level: u8) -> Option<EptMisconfigurationReason> {
        use EptMisconfigurationReason as Reason;
        let mode_based = self.ept.controls.contains(EptControls::MODE_BASED_EXECUTE);
        let executes = entry & 1 << 2 != 0 || (mode_based && entry & 1 << 10 != 0);
        if entry & 0b11 == 0b10 {
            Some(Reason::WriteWithoutRead)
        } else if entry & 1 == 0 && executes && !self.ept.controls.contains(EptControls::EXECUTE_ONLY) {
            Some(Reason::ExecuteOnlyUnsupported)
        } else if entry & self.reserved_bits(entry, level) != 0 {
            Some(Reason::ReservedBit)
        } else if page_size(entry, level).is_some() && matches!(entry >> 3 & 7, 2 | 3 | 7) {
            Some(Reason::MemoryType)
        } else {
            None
        }
    }

    /// SDM tables 31-1 to 31-7.
    fn reserved_bits(&self, entry: u64, level: u8) -> u64 {
        let high = address_bits_from(self.physical_address_width);
        let large = entry & MAPS_PAGE != 0;
        high | match level {
            5 | 4 => 0xf8,
            3 if large && self.ept.controls.contains(EptControls::PAGES_1G) => 0x3fff_f000,
            2 if large && self.ept.controls.contains(EptControls::PAGES_2M) => 0x001f_f000,
            3 | 2 => 0xf8,
            _ => 0,
        }
    }

    fn note_flags(&mut self, at: HostPhysicalAddress, entry: u64, leaf: bool) {
        if !self.ept.controls.contains(EptControls::ACCESSED_DIRTY) {
            return;
        }
        let writes = self.access.needs.contains(EptPermissions::WRITE);
        let wanted = if leaf && writes { ACCESSED | DIRTY } else { ACCESSED };
        if entry & wanted != wanted {
            self.updates.push(at, wanted);
        }
    }

    fn finish(self, entry: u64, size: PageSize, permissions: EptPermissions) -> Result<EptMapping, Fault> {
        let permissions = self.meaningful(permissions);
        if !permissions.contains(self.access.needs) {
            return Err(self.violation(permissions));
        }
        let flags = self.ept.controls.contains(EptControls::ACCESSED_DIRTY);
        let clear = flags && entry & DIRTY == 0 && !self.access.needs.contains(EptPermissions::WRITE);
        Ok(EptMapping {
            host_physical: HostPhysicalAddress(entry & ADDRESS & !size.offset_mask()),
            size,
            permissions,
            dirty: if clear { Dirty::Clear } else { Dirty::Set },
        })
    }

    /// Without mode-based execute control bit 10 is ignored and bit 2 speaks for all fetches.
    fn meaningful(&self, permissions: EptPermissions) -> EptPermissions {
        if self.ept.controls.contains(EptControls::MODE_BASED_EXECUTE) {
            permissions
        } else {
            permissions - EptPermissions::USER_EXECUTE
        }
    }

    #[cold]
    fn violation(&self, permissions: EptPermissions) -> Fault {
        Fault::EptViolation(EptViolation {
            guest_physical: self.address,
            linear: self.access.linear,
            access: self.access.needs,
            permissions,
            target: self.access.target,
        })
    }

    #[cold]
    fn misconfiguration(&self, entry: u64, level: u8, reason: EptMisconfigurationReason) -> Fault {
        Fault::EptMisconfiguration(EptMisconfiguration {
            guest_physical: self.address,
            linear: self.access.linear,
            level,
            entry,
            reason,
        })
    }
}

/// The size of the page that a present entry maps, if it maps one.
const fn page_size(entry: u64, level: u8) -> Option<PageSize> {
    match level {
        1 => Some(PageSize::Size4K),
        2 if entry & MAPS_PAGE != 0 => Some(PageSize::Size2M),
        3 if entry & MAPS_PAGE != 0 => Some(PageSize::Size1G),
        _ => None,
    }
}

/// Bits 51 to `width` of an entry, which are reserved on a processor whose MAXPHYADDR is `width`.
pub(crate) const fn address_bits_from(width: u8) -> u64 {
    if width >= 52 { 0 } else { (1 << 52) - (1 << width) }
}
