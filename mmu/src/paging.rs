//! Translation of linear addresses by 4-level and 5-level paging (SDM 5.5.4), alone or over EPT.
//!
//! The walk follows the manual's order: at each level the entry's own address is translated by EPT when that is in
//! use, the entry is read, P is looked at, then the reserved bits. When the page is known the access rights are
//! determined (5.6.1), then EPT is asked for the page itself (31.3.3.3). Only when everything is permitted are the
//! accessed and dirty flags (5.8) due, and they are returned rather than written.

use crate::context::{Context, Controls, PagingMode, Privilege};
use crate::ept::{
    self, Dirty, EptAccess, EptContext, EptControls, EptMapping, EptPermissions, EptTarget, GuestPage,
};
use crate::fault::{Fault, PageFault, PageFaultCode, PageFaultReason};
use crate::ram::Ram;
use crate::reference::{Dimension, Reference, ReferenceLog};
use crate::translation::{PageSize, Rights, Scope, Translation};
use crate::walk::{FlagUpdates, Walk};
use isa::address::{AccessKind, GuestPhysicalAddress, HostPhysicalAddress, LinearAddress};

/// An entry of a guest paging structure (SDM tables 5-14 to 5-20).
#[derive(Clone, Copy)]
struct Entry(u64);

impl Entry {
    const PRESENT: u64 = 1 << 0;
    const WRITE: u64 = 1 << 1;
    const USER: u64 = 1 << 2;
    const ACCESSED: u64 = 1 << 5;
    const DIRTY: u64 = 1 << 6;
    const MAPS_PAGE: u64 = 1 << 7;
    const GLOBAL: u64 = 1 << 8;
    const EXECUTE_DISABLE: u64 = 1 << 63;
    const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

    const fn has(self, bits: u64) -> bool {
        self.0 & bits == bits
    }

    const fn page_size(self, level: u8) -> Option<PageSize> {
        match level {
            1 => Some(PageSize::Size4K),
            2 if self.has(Self::MAPS_PAGE) => Some(PageSize::Size2M),
            3 if self.has(Self::MAPS_PAGE) => Some(PageSize::Size1G),
            _ => None,
        }
    }

    fn rights(self) -> Rights {
        let mut rights = Rights::empty();
        rights.set(Rights::WRITE, self.has(Self::WRITE));
        rights.set(Rights::USER, self.has(Self::USER));
        rights.set(Rights::EXECUTE, !self.has(Self::EXECUTE_DISABLE));
        rights
    }

    /// Whether the entry is present and nothing in it needs a closer look.
    #[inline(always)]
    const fn is_plain(self, level: u8, always_reserved: u64) -> bool {
        let large = if level == 1 { 0 } else { Self::MAPS_PAGE };
        self.0 & (always_reserved | large | Self::PRESENT) == Self::PRESENT
    }

    /// The bits that must be 0 in a present entry of this level.
    fn reserved_bits(self, level: u8, context: &Context) -> u64 {
        always_reserved(context)
            | match level {
                5 | 4 => Self::MAPS_PAGE,
                3 if !context.controls.contains(Controls::PAGES_1G) => Self::MAPS_PAGE,
                3 if self.has(Self::MAPS_PAGE) => 0x3fff_e000,
                2 if self.has(Self::MAPS_PAGE) => 0x001f_e000,
                _ => 0,
            }
    }
}

/// The bits that are reserved in every entry.
const fn always_reserved(context: &Context) -> u64 {
    let nxe = context.controls.contains(Controls::EXECUTE_DISABLE);
    ept::address_bits_from(context.physical_address_width) | if nxe { 0 } else { Entry::EXECUTE_DISABLE }
}

/// Translates `address` for an access of `kind`; reads the tables and writes nothing.
///
/// # Errors
///
/// Any [`Fault`] but [`Fault::CodePage`].
pub fn walk<L: ReferenceLog>(
    ram: &Ram,
    context: &Context,
    address: LinearAddress,
    kind: AccessKind,
    log: &mut L,
) -> Result<Walk, Fault> {
    let mut updates = FlagUpdates::default();
    let translation = walk_into(ram, context, address, kind, log, &mut updates)?;
    Ok(Walk { translation, updates })
}

/// As [`walk()`], with the flags to set in `updates`.
#[inline]
pub(crate) fn walk_into<L: ReferenceLog>(
    ram: &Ram,
    context: &Context,
    address: LinearAddress,
    kind: AccessKind,
    log: &mut L,
    updates: &mut FlagUpdates,
) -> Result<Translation, Fault> {
    if !context.mode.is_canonical(address) {
        return Err(Fault::NonCanonical { address });
    }
    updates.clear();
    let walker = Walker { ram, context, address, kind, log, updates };
    match context.mode {
        PagingMode::None => walker.without_paging(),
        PagingMode::Pae | PagingMode::FourLevel | PagingMode::FiveLevel => walker.through_tables(),
    }
}

/// An entry that the walk used.
#[derive(Clone, Copy)]
struct Used {
    guest_physical: GuestPhysicalAddress,
    host_physical: HostPhysicalAddress,
    ept_permissions: EptPermissions,
    entry: Entry,
}

struct Walker<'a, L> {
    ram: &'a Ram,
    context: &'a Context,
    address: LinearAddress,
    kind: AccessKind,
    log: &'a mut L,
    updates: &'a mut FlagUpdates,
}

impl<L: ReferenceLog> Walker<'_, L> {
    fn without_paging(self) -> Result<Translation, Fault> {
        let rights = Rights::WRITE | Rights::USER | Rights::EXECUTE | Rights::DIRTY;
        let page = GuestPhysicalAddress(self.address.0);
        self.finish(page, None, rights, Scope::Pcid)
    }

    #[inline]
    fn through_tables(mut self) -> Result<Translation, Fault> {
        let always_reserved = always_reserved(self.context);
        let mut common = Entry(u64::MAX);
        let mut execute_disable = 0;
        let mut table = self.context.cr3.0 & Entry::ADDRESS;
        let mut level = self.context.mode.levels();
        let (leaf, size) = loop {
            let entry = self.read_entry(GuestPhysicalAddress(table), level)?.entry;
            if !entry.is_plain(level, always_reserved) {
                self.check_entry(entry, level)?;
            }
            common.0 &= entry.0;
            execute_disable |= entry.0;
            if let Some(size) = entry.page_size(level) {
                break (entry, size);
            }
            table = entry.0 & Entry::ADDRESS;
            level -= 1;
        };
        let mut rights =
            Entry(common.0 & !Entry::EXECUTE_DISABLE | execute_disable & Entry::EXECUTE_DISABLE).rights();
        self.check_rights(rights)?;
        let write = self.kind == AccessKind::Write;
        if !common.has(Entry::ACCESSED) || (write && !leaf.has(Entry::DIRTY)) {
            self.note_flags(level)?;
        }
        rights.set(Rights::DIRTY, write || leaf.has(Entry::DIRTY));
        let global = leaf.has(Entry::GLOBAL) && self.context.controls.contains(Controls::GLOBAL_PAGES);
        let frame = leaf.0 & Entry::ADDRESS & !size.offset_mask();
        let page = GuestPhysicalAddress(frame | self.address.0 & size.offset_mask());
        self.finish(page, Some(size), rights, if global { Scope::Global } else { Scope::Pcid })
    }

    /// Reads the entry of `table` that the address selects.
    #[inline]
    fn read_entry(&mut self, table: GuestPhysicalAddress, level: u8) -> Result<Used, Fault> {
        let guest_physical = table.add(8 * (self.address.0 >> (3 + 9 * level) & 0x1ff));
        let (host_physical, ept_permissions) = match &self.context.ept {
            None => (guest_physical.without_ept(), EptPermissions::all()),
            Some(ept) => {
                let mapping = self.through_ept(ept, guest_physical, structure_access(ept))?;
                (mapping.host(guest_physical), mapping.permissions)
            }
        };
        self.log.record(Reference { dimension: Dimension::Guest, level, host_physical });
        let entry = Entry(self.ram.read::<u64>(host_physical)?);
        Ok(Used { guest_physical, host_physical, ept_permissions, entry })
    }

    #[cold]
    fn check_entry(&self, entry: Entry, level: u8) -> Result<(), Fault> {
        if !entry.has(Entry::PRESENT) {
            return Err(self.page_fault(PageFaultReason::NotPresent { level }));
        }
        if entry.0 & entry.reserved_bits(level, self.context) != 0 {
            return Err(self.page_fault(PageFaultReason::ReservedBit { level }));
        }
        Ok(())
    }

    /// SDM 5.6.1, "Determination of Access Rights".
    #[inline]
    fn check_rights(&self, rights: Rights) -> Result<(), Fault> {
        let user_address = rights.contains(Rights::USER);
        let user_access = self.context.privilege == Privilege::User;
        if user_access && !user_address {
            return Err(self.page_fault(PageFaultReason::SupervisorAddress));
        }
        if !user_access && user_address && self.context.refuses_user_pages(self.kind) {
            return Err(self.page_fault(match self.kind {
                AccessKind::Execute => PageFaultReason::Smep,
                AccessKind::Read | AccessKind::Write => PageFaultReason::Smap,
            }));
        }
        let protected = user_access || self.context.controls.contains(Controls::WRITE_PROTECT);
        match self.kind {
            AccessKind::Write if protected && !rights.contains(Rights::WRITE) => {
                Err(self.page_fault(PageFaultReason::NotWritable))
            }
            AccessKind::Execute if !rights.contains(Rights::EXECUTE) => {
                Err(self.page_fault(PageFaultReason::ExecuteDisabled))
            }
            _ => Ok(()),
        }
    }

    /// Notes the accessed flags of the entries down to `last` and the dirty flag of that (SDM 5.8). Setting one is a
    /// write to guest-physical memory: where EPT has no flags of its own, the structures may be readable only.
    #[cold]
    fn note_flags(&mut self, last: u8) -> Result<(), Fault> {
        let mut table = self.context.cr3.0 & Entry::ADDRESS;
        for level in (last..=self.context.mode.levels()).rev() {
            // The same entries once more: few accesses come here, and none reports these reads.
            let (ram, context, address, kind) = (self.ram, self.context, self.address, self.kind);
            let mut again = Walker { ram, context, address, kind, log: &mut (), updates: self.updates };
            let used = again.read_entry(GuestPhysicalAddress(table), level)?;
            let writes_page = level == last && self.kind == AccessKind::Write;
            let wanted = if writes_page { Entry::ACCESSED | Entry::DIRTY } else { Entry::ACCESSED };
            if !used.entry.has(wanted) {
                self.note_flag(used, wanted)?;
            }
            table = used.entry.0 & Entry::ADDRESS;
        }
        Ok(())
    }

    fn note_flag(&mut self, used: Used, bits: u64) -> Result<(), Fault> {
        if !used.ept_permissions.contains(EptPermissions::WRITE) {
            return Err(Fault::EptViolation(ept::EptViolation {
                guest_physical: used.guest_physical,
                linear: Some(self.address),
                access: EptPermissions::WRITE,
                permissions: used.ept_permissions,
                target: EptTarget::PagingStructure,
            }));
        }
        self.updates.push(used.host_physical, bits);
        Ok(())
    }

    /// Asks EPT for the page itself. `guest_size` is `None` without paging.
    #[inline]
    fn finish(
        mut self,
        page: GuestPhysicalAddress,
        guest_size: Option<PageSize>,
        mut rights: Rights,
        scope: Scope,
    ) -> Result<Translation, Fault> {
        let (host, ept_size) = match &self.context.ept {
            None => {
                rights |= Rights::EPT_READ | Rights::EPT_WRITE | Rights::EPT_EXECUTE;
                (page.without_ept(), None)
            }
            Some(ept) => {
                let mapping = self.through_ept(ept, page, final_access(ept, self.kind, rights))?;
                rights = with_ept(rights, ept, &mapping);
                (mapping.host(page), Some(mapping.size))
            }
        };
        let guest_size = guest_size.or(ept_size).unwrap_or(PageSize::Size4K);
        let size = ept_size.map_or(guest_size, |ept_size| ept_size.min(guest_size));
        let mask = !size.offset_mask();
        Ok(Translation {
            linear: LinearAddress(self.address.0 & mask),
            host_physical: HostPhysicalAddress(host.0 & mask),
            size,
            guest_size,
            rights,
            scope,
        })
    }

    fn through_ept(
        &mut self,
        ept: &EptContext,
        address: GuestPhysicalAddress,
        (needs, target): (EptPermissions, EptTarget),
    ) -> Result<EptMapping, Fault> {
        let access = EptAccess { needs, target, linear: Some(self.address) };
        let width = self.context.physical_address_width;
        ept::translate(self.ram, ept, width, address, access, self.log, self.updates)
    }

    #[cold]
    fn page_fault(&self, reason: PageFaultReason) -> Fault {
        let mut code = reason.code();
        let tells_fetch = self.context.controls.intersects(Controls::EXECUTE_DISABLE | Controls::SMEP);
        code.set(PageFaultCode::WRITE, self.kind == AccessKind::Write);
        code.set(PageFaultCode::USER, self.context.privilege == Privilege::User);
        code.set(PageFaultCode::INSTRUCTION, self.kind == AccessKind::Execute && tells_fetch);
        Fault::Page(PageFault { address: self.address, code, reason })
    }
}

/// A guest paging-structure access is a read, and a write too when EPT has accessed and dirty flags (SDM 31.3.3.2).
fn structure_access(ept: &EptContext) -> (EptPermissions, EptTarget) {
    let needs = if ept.controls.contains(EptControls::ACCESSED_DIRTY) {
        EptPermissions::READ | EptPermissions::WRITE
    } else {
        EptPermissions::READ
    };
    (needs, EptTarget::PagingStructure)
}

fn final_access(ept: &EptContext, kind: AccessKind, rights: Rights) -> (EptPermissions, EptTarget) {
    let needs = match kind {
        AccessKind::Read => EptPermissions::READ,
        AccessKind::Write => EptPermissions::WRITE,
        AccessKind::Execute => execute_permission(ept, rights),
    };
    (needs, EptTarget::Final(GuestPage { rights }))
}

/// The bit that permits fetches: under mode-based execute control it depends on the address (SDM 31.3.3.2).
fn execute_permission(ept: &EptContext, rights: Rights) -> EptPermissions {
    if ept.controls.contains(EptControls::MODE_BASED_EXECUTE) && rights.contains(Rights::USER) {
        EptPermissions::USER_EXECUTE
    } else {
        EptPermissions::EXECUTE
    }
}

fn with_ept(mut rights: Rights, ept: &EptContext, mapping: &EptMapping) -> Rights {
    let has = |permission| mapping.permissions.contains(permission);
    rights.set(Rights::EPT_READ, has(EptPermissions::READ));
    rights.set(Rights::EPT_WRITE, has(EptPermissions::WRITE));
    rights.set(Rights::EPT_EXECUTE, has(execute_permission(ept, rights)));
    if mapping.dirty == Dirty::Clear {
        rights -= Rights::DIRTY;
    }
    rights
}
