//! The walk of EPT paging structures.

use super::{
    ADDRESS, DIRTY, Dirty, EptAccess, EptContext, EptControls, EptLevels, EptMapping, EptMisconfiguration,
    EptMisconfigurationReason, EptPermissions, EptViolation,
};
use crate::fault::Fault;
use crate::ram::Ram;
use crate::reference::{Cached, Dimension, Reference, ReferenceLog};
use crate::translation::PageSize;
use crate::walk::{EptStructure, FlagUpdates, Keeps, Notes, Reliance, WalkCaches};
use isa::address::{GuestPhysicalAddress, HostPhysicalAddress};

const MAPS_PAGE: u64 = 1 << 7;
const ACCESSED: u64 = 1 << 8;

/// Translates a guest-physical address.
///
/// Flags that the access must set are added to `updates`; the walk itself writes nothing.
///
/// # Errors
///
/// [`Fault::EptViolation`], [`Fault::EptMisconfiguration`], and [`Fault::OutsideRam`] for an entry outside RAM.
pub fn translate<L: ReferenceLog>(
    ram: &Ram,
    ept: &EptContext,
    physical_address_width: u8,
    address: GuestPhysicalAddress,
    access: EptAccess,
    log: &mut L,
    updates: &mut FlagUpdates,
) -> Result<EptMapping, Fault> {
    let mut notes = Notes { updates: core::mem::take(updates), ..Notes::default() };
    let caches = &mut ();
    let walk = EptWalk { ram, ept, physical_address_width, address, access, caches, log, notes: &mut notes };
    let found = walk.run();
    *updates = notes.updates;
    found
}

/// One walk: of `address` for `access`, by `ept`, from the lowest cached structure on.
pub(crate) struct EptWalk<'a, C, L> {
    pub(crate) ram: &'a Ram,
    pub(crate) ept: &'a EptContext,
    pub(crate) physical_address_width: u8,
    pub(crate) address: GuestPhysicalAddress,
    pub(crate) access: EptAccess,
    pub(crate) caches: &'a mut C,
    pub(crate) log: &'a mut L,
    pub(crate) notes: &'a mut Notes,
}

impl<C: WalkCaches, L: ReferenceLog> EptWalk<'_, C, L> {
    #[inline(never)]
    pub(crate) fn run(mut self) -> Result<EptMapping, Fault> {
        if self.ept.levels == EptLevels::Four && self.address.0 >> 48 != 0 {
            return Err(self.violation(EptPermissions::empty()));
        }
        let high = address_bits_from(self.physical_address_width);
        let keeps = self.caches.keeps();
        let EptStructure { level, table, mut permissions } = self.start();
        let (mut level, mut table) = (level - 1, table.0);
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
                return self.finish(entry, size, permissions, keeps);
            }
            table = entry & ADDRESS;
            if keeps.contains(Keeps::EPT_STRUCTURES) {
                let structure = EptStructure { level, table: HostPhysicalAddress(table), permissions };
                self.notes.learned.ept_structures.push((self.address, structure));
            }
            level -= 1;
        }
    }

    /// The entry that references the first table to read; the EPTP counts as one.
    #[inline]
    fn start(&mut self) -> EptStructure {
        let level = self.ept.levels.count() + 1;
        match self.caches.ept_structure(self.address) {
            Some(structure) if structure.level < level => {
                self.notes.reliance = Reliance::Caches;
                self.log.spared(Cached::EptStructure);
                structure
            }
            _ => {
                let table = HostPhysicalAddress(self.ept.root.0 & ADDRESS);
                EptStructure { level, table, permissions: EptPermissions::all() }
            }
        }
    }

    #[inline]
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
            self.notes.updates.push_ept(at, wanted, self.address);
        }
    }

    #[inline]
    fn finish(
        self,
        entry: u64,
        size: PageSize,
        permissions: EptPermissions,
        keeps: Keeps,
    ) -> Result<EptMapping, Fault> {
        if !permissions.contains(self.access.needs) {
            return Err(self.violation(self.ept.meaningful(permissions)));
        }
        let flags = self.ept.controls.contains(EptControls::ACCESSED_DIRTY);
        let clear = flags && entry & DIRTY == 0 && !self.access.needs.contains(EptPermissions::WRITE);
        let mapping = EptMapping {
            host_physical: HostPhysicalAddress(entry & ADDRESS & !size.offset_mask()),
            size,
            permissions,
            dirty: if clear { Dirty::Clear } else { Dirty::Set },
        };
        if keeps.contains(Keeps::GUEST_PHYSICAL) {
            self.notes.learned.guest_physical.push((self.address, mapping));
        }
        Ok(mapping)
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
