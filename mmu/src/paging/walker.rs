//! The walk of guest paging structures.

use super::entry::Entry;
use super::format::Format;
use crate::context::{Context, Controls, PagingMode};
use crate::ept::{
    Dirty, EptAccess, EptContext, EptControls, EptMapping, EptPermissions, EptTarget, EptViolation, EptWalk,
    GuestPage,
};
use crate::fault::{Fault, PageFaultReason};
use crate::ram::Ram;
use crate::reference::{Cached, Dimension, Reference, ReferenceLog};
use crate::translation::{GuestPageSize, Rights, Scope, Translation};
use crate::walk::{Keeps, Notes, Recall, Reliance, Structure, WalkCaches};
use isa::address::{AccessKind, GuestPhysicalAddress, HostPhysicalAddress, LinearAddress};

/// A table that the walk reads.
#[derive(Clone, Copy)]
struct Table {
    guest_physical: GuestPhysicalAddress,
    /// Where it is and what EPT permits for its page, when a cache told.
    found: Option<(HostPhysicalAddress, EptPermissions)>,
}

impl Table {
    #[inline(always)]
    const fn referenced_by<F: Format>(entry: u64) -> Self {
        Self { guest_physical: GuestPhysicalAddress(entry & F::ADDRESS), found: None }
    }
}

/// Where a walk starts.
#[derive(Clone, Copy)]
struct Start {
    /// The first table to read.
    table: Table,
    /// The level of its entries.
    level: u8,
    /// What the entries above permit.
    rights: Rights,
}

/// An entry that the walk used.
#[derive(Clone, Copy)]
struct Used {
    guest_physical: GuestPhysicalAddress,
    host_physical: HostPhysicalAddress,
    ept_permissions: EptPermissions,
    entry: Entry,
}

/// R/W, U/S and XD of all entries together.
#[derive(Clone, Copy)]
struct Common {
    and: u64,
    or: u64,
}

impl Common {
    /// Of entries that permit this much and are accessed.
    #[inline]
    const fn of(rights: Rights) -> Self {
        let write = if rights.contains(Rights::WRITE) { 0 } else { Entry::WRITE };
        let user = if rights.contains(Rights::USER) { 0 } else { Entry::USER };
        let or = if rights.contains(Rights::EXECUTE) { 0 } else { Entry::EXECUTE_DISABLE };
        Self { and: !(write | user), or }
    }

    #[inline(always)]
    const fn with(self, entry: Entry) -> Self {
        Self { and: self.and & entry.0, or: self.or | entry.0 }
    }

    fn rights(self) -> Rights {
        Entry(self.and & !Entry::EXECUTE_DISABLE | self.or & Entry::EXECUTE_DISABLE).rights()
    }
}

/// One walk: of `address` for an access of `kind`, from the lowest cached structure on.
pub(super) struct Walker<'a, C, L> {
    pub(super) ram: &'a Ram,
    pub(super) context: &'a Context,
    pub(super) address: LinearAddress,
    pub(super) kind: AccessKind,
    pub(super) caches: &'a mut C,
    pub(super) log: &'a mut L,
    pub(super) notes: &'a mut Notes,
}

impl<C: WalkCaches, L: ReferenceLog> Walker<'_, C, L> {
    pub(super) fn without_paging(self) -> Result<Translation, Fault> {
        let rights = Rights::WRITE | Rights::USER | Rights::EXECUTE | Rights::DIRTY | Rights::NO_KEY;
        let page = GuestPhysicalAddress(self.address.0);
        self.finish(page, None, rights, Scope::Pcid)
    }

    #[inline]
    pub(super) fn through_tables<F: Format>(mut self) -> Result<Translation, Fault> {
        let always_reserved = F::always_reserved(self.context);
        let start = self.start::<F>()?;
        let Start { mut table, mut level, rights } = start;
        let mut common = Common::of(rights);
        let (leaf, size) = loop {
            let used = self.read_entry::<F>(table, level)?;
            if level != start.level {
                self.learn::<F>(&used, table.guest_physical, level + 1, common);
            }
            let entry = used.entry;
            if !entry.is_plain(level, always_reserved) {
                self.check_entry::<F>(entry, level)?;
            }
            common = common.with(entry);
            if let Some(size) = F::page_size(entry, level, self.context) {
                break (entry, size);
            }
            table = Table::referenced_by::<F>(entry.0);
            level -= 1;
        };
        let mut rights = common.rights().with_key(F::key(leaf));
        self.check_rights(rights)?;
        let write = self.kind == AccessKind::Write;
        if common.and & Entry::ACCESSED == 0 || (write && !leaf.has(Entry::DIRTY)) {
            self.note_flags::<F>(start, level)?;
        }
        rights.set(Rights::DIRTY, write || leaf.has(Entry::DIRTY));
        let global = leaf.has(Entry::GLOBAL) && self.context.controls.contains(Controls::GLOBAL_PAGES);
        let page = GuestPhysicalAddress(F::frame(leaf, size) | self.address.0 & size.offset_mask());
        self.finish(page, Some(size), rights, if global { Scope::Global } else { Scope::Pcid })
    }

    /// The first table to read: that of a cached structure entry, or else that of CR3 or of a PDPTE register.
    #[inline]
    fn start<F: Format>(&mut self) -> Result<Start, Fault> {
        let levels = self.context.mode.levels();
        let level = if self.context.mode == PagingMode::Pae { levels - 1 } else { levels };
        if let Some(structure) = self.caches.structure(self.address)
            && structure.level <= level
            && structure.width == F::WIDTH
        {
            self.notes.reliance = Reliance::Caches;
            self.log.spared(Cached::Structure);
            let found = Some((structure.table, structure.ept_permissions));
            let table = Table { guest_physical: structure.guest_table, found };
            return Ok(Start { table, level: structure.level - 1, rights: structure.rights });
        }
        let references = match self.context.mode {
            PagingMode::Pae => self.pdpte(levels)?,
            _ => self.context.cr3.0,
        };
        let rights = Rights::WRITE | Rights::USER | Rights::EXECUTE;
        Ok(Start { table: Table::referenced_by::<F>(references), level, rights })
    }

    /// The PDPTE register that the address selects (SDM 5.4.1).
    fn pdpte(&self, level: u8) -> Result<u64, Fault> {
        let pdpte = self.context.pdptes[(self.address.0 >> 30 & 3) as usize];
        if Entry(pdpte).has(Entry::PRESENT) {
            Ok(pdpte)
        } else {
            Err(self.page_fault(PageFaultReason::NotPresent { level }))
        }
    }

    /// Takes note of the entry of `level` that referenced the table of `used`.
    #[inline]
    fn learn<F: Format>(
        &mut self,
        used: &Used,
        guest_table: GuestPhysicalAddress,
        level: u8,
        common: Common,
    ) {
        if self.caches.keeps().contains(Keeps::STRUCTURES) {
            self.notes.learned.structures.push(Structure {
                level,
                width: F::WIDTH,
                table: used.host_physical.page(),
                guest_table,
                rights: common.rights(),
                ept_permissions: used.ept_permissions,
            });
        }
    }

    /// Reads the entry of `table` that the address selects.
    #[inline]
    fn read_entry<F: Format>(&mut self, table: Table, level: u8) -> Result<Used, Fault> {
        let offset = F::offset(self.address, level);
        let guest_physical = table.guest_physical.add(offset);
        let (host_physical, ept_permissions) = match (table.found, &self.context.ept) {
            (Some((host, permissions)), _) => (host.add(offset), permissions),
            (None, None) => (guest_physical.without_ept(), EptPermissions::all()),
            (None, Some(ept)) => {
                let mapping = self.through_ept(ept, guest_physical, structure_access(ept))?;
                (mapping.host(guest_physical), mapping.permissions)
            }
        };
        self.log.record(Reference { dimension: Dimension::Guest, level, host_physical });
        let entry = F::read(self.ram, host_physical)?;
        Ok(Used { guest_physical, host_physical, ept_permissions, entry })
    }

    #[cold]
    fn check_entry<F: Format>(&self, entry: Entry, level: u8) -> Result<(), Fault> {
        if !entry.has(Entry::PRESENT) {
            return Err(self.page_fault(PageFaultReason::NotPresent { level }));
        }
        if entry.0 & F::reserved_bits(entry, level, self.context) != 0 {
            return Err(self.page_fault(PageFaultReason::ReservedBit { level }));
        }
        Ok(())
    }

    /// Notes the accessed flags of the entries from `start` to `last` and the dirty flag of that (SDM 5.8). Entries
    /// above a cached one were accessed when it was cached, and are left alone. Setting a flag is a write to
    /// guest-physical memory: where EPT has no flags of its own, the structures may be readable only.
    #[cold]
    fn note_flags<F: Format>(&mut self, start: Start, last: u8) -> Result<(), Fault> {
        let mut table = start.table;
        for level in (last..=start.level).rev() {
            // The same entries once more: few accesses come here, and none reports these reads.
            let (ram, context, address, kind) = (self.ram, self.context, self.address, self.kind);
            let (caches, log, notes) = (&mut Recall(self.caches), &mut (), &mut *self.notes);
            let mut walker = Walker { ram, context, address, kind, caches, log, notes };
            let used = walker.read_entry::<F>(table, level)?;
            let writes_page = level == last && self.kind == AccessKind::Write;
            let wanted = if writes_page { Entry::ACCESSED | Entry::DIRTY } else { Entry::ACCESSED };
            if !used.entry.has(wanted) {
                self.note_flag(used, wanted)?;
            }
            table = Table::referenced_by::<F>(used.entry.0);
        }
        Ok(())
    }

    fn note_flag(&mut self, used: Used, bits: u64) -> Result<(), Fault> {
        if let Some(ept) = &self.context.ept
            && !used.ept_permissions.contains(EptPermissions::WRITE)
        {
            return Err(Fault::EptViolation(EptViolation {
                guest_physical: used.guest_physical,
                linear: Some(self.address),
                access: EptPermissions::WRITE,
                permissions: ept.meaningful(used.ept_permissions),
                target: EptTarget::PagingStructure,
            }));
        }
        self.notes.updates.push(used.host_physical, bits);
        Ok(())
    }

    /// Asks EPT for the page itself. `guest_size` is `None` without paging.
    #[inline]
    fn finish(
        mut self,
        page: GuestPhysicalAddress,
        guest_size: Option<GuestPageSize>,
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
        let guest_size = guest_size.or(ept_size.map(GuestPageSize::from)).unwrap_or(GuestPageSize::Size4K);
        let cached = guest_size.cached();
        let size = ept_size.map_or(cached, |ept_size| ept_size.min(cached));
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

    #[inline]
    fn through_ept(
        &mut self,
        ept: &EptContext,
        address: GuestPhysicalAddress,
        (needs, target): (EptPermissions, EptTarget),
    ) -> Result<EptMapping, Fault> {
        if let Some(mapping) = self.caches.guest_physical(address) {
            if mapping.suffices(needs) {
                self.notes.reliance = Reliance::Caches;
                self.log.spared(Cached::GuestPhysical);
                return Ok(mapping);
            }
            self.caches.forget_guest_physical(address);
        }
        let walk = EptWalk {
            ram: self.ram,
            ept,
            physical_address_width: self.context.physical_address_width,
            address,
            access: EptAccess { needs, target, linear: Some(self.address) },
            caches: &mut *self.caches,
            log: &mut *self.log,
            notes: &mut *self.notes,
        };
        walk.run()
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
    let rights = rights - (Rights::KEY | Rights::NO_KEY);
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
