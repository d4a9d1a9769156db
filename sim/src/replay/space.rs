//! The address space of a replayed program: RAM, page tables, and EPT when it runs as a guest.
//!
//! | guest-physical | what |
//! |---|---|
//! | 0 to 1 GByte | frames of the program's page tables |
//! | from 1 GByte on | its pages, in the order in which it first touches them |
//!
//! As a guest this lies in host-physical memory from 1 GByte on, and below are the frames of EPT; natively the two
//! address spaces coincide.

use super::options::{Levels, ReplayOptions, RunAs};
use isa::address::{GuestPhysicalAddress, HostPhysicalAddress, LinearAddress, PAGE_SIZE};
use mmu::ept::{EptControls, EptLevels, EptPermissions};
use mmu::ram::AccessError;
use mmu::tables::{EptTables, FrameAllocator, Home, PagePermissions, PageTables, TablesError};
use mmu::tlb::{Globals, Invalidation, Pcids, Structures};
use mmu::{Context, PageSize, PagingMode, Ram};
use rustc_hash::FxHashMap;
use traces::Permissions;

const GBYTE: u64 = 1 << 30;
/// Frames in the GByte below the pages.
const TABLE_FRAMES: u64 = GBYTE / PAGE_SIZE - 1;
/// Where the program's pages start in guest-physical memory.
const PAGES_START: u64 = GBYTE;
/// The VPID of the guest.
const GUEST_VPID: u16 = 1;

/// A page could not be given to the program.
#[derive(Debug, thiserror::Error)]
pub enum SpaceError {
    /// Guest RAM is used up.
    #[error(
        "the trace touches more memory than the {bytes} bytes of guest RAM: page {page} does not fit (see --memory)"
    )]
    Full {
        /// The page that does not fit.
        page: LinearAddress,
        /// Bytes of RAM.
        bytes: u64,
    },
    /// The page tables refuse it.
    #[error("cannot map {page}: {source}")]
    Tables {
        /// The page.
        page: LinearAddress,
        /// Why.
        source: TablesError,
    },
    /// An access to a page that is mapped with all permissions is refused.
    #[error("cannot access {at}: {fault}")]
    Access {
        /// The address.
        at: LinearAddress,
        /// Why.
        fault: mmu::Fault,
    },
    /// RAM refuses it.
    #[error(transparent)]
    Ram(#[from] AccessError),
}

/// An entry with other permissions than before, and what became invalid by it.
pub(super) struct Edited {
    pub(super) entry: EditedEntry,
    pub(super) invalidation: Invalidation,
}

/// An entry that maps a page, before and after.
#[derive(Clone, Copy)]
pub(super) struct EditedEntry {
    pub(super) entry: HostPhysicalAddress,
    pub(super) size: PageSize,
    pub(super) old: u64,
    pub(super) new: u64,
}

#[derive(Clone, Copy)]
struct Mapping {
    to: HostPhysicalAddress,
    permissions: PagePermissions,
}

/// Page tables and where each page is. RAM itself belongs to the processor.
pub(super) struct AddressSpace {
    tables: PageTables,
    ept: Option<EptTables>,
    context: Context,
    pages: FxHashMap<u64, Mapping>,
    size: PageSize,
    host_size: PageSize,
    /// What is added to a guest-physical address to find it in RAM.
    offset: u64,
    /// The next free guest-physical address.
    next: u64,
    /// Up to where EPT maps.
    ept_end: u64,
    end: u64,
}

impl AddressSpace {
    /// An empty address space.
    pub(super) fn new(ram: &Ram, options: &ReplayOptions) -> Result<Self, TablesError> {
        let mode = match options.guest_levels {
            Levels::Four => PagingMode::FourLevel,
            Levels::Five => PagingMode::FiveLevel,
        };
        let (ept, home, offset, ept_end) = match options.run_as {
            RunAs::Native => (None, Home::Identity, 0, u64::MAX),
            RunAs::Guest => {
                let tables = new_ept(ram, options)?;
                let home = Home::Ept(tables.context());
                (Some(tables), home, GBYTE, PAGES_START)
            }
        };
        let frames = FrameAllocator::new(GuestPhysicalAddress(PAGE_SIZE), TABLE_FRAMES);
        let tables = PageTables::new(ram, mode, frames, home)?;
        let context = Context {
            cr3: tables.root(),
            vpid: if ept.is_some() { GUEST_VPID } else { 0 },
            ept: ept.as_ref().map(EptTables::context),
            ..Context::user(mode)
        };
        Ok(Self {
            tables,
            ept,
            context,
            pages: FxHashMap::default(),
            size: options.guest_pages,
            host_size: options.host_pages,
            offset,
            next: PAGES_START,
            ept_end,
            end: ram.bytes().saturating_sub(offset),
        })
    }

    /// The translation context that belongs to it.
    pub(super) fn context(&self) -> Context {
        self.context
    }

    /// Starts over with an empty address space in fresh frames (execve).
    pub(super) fn restart(&mut self, ram: &Ram) -> Result<(), TablesError> {
        let home = match &self.ept {
            Some(ept) => Home::Ept(ept.context()),
            None => Home::Identity,
        };
        let frames = self.tables.frames().clone();
        self.tables = PageTables::new(ram, self.context.mode, frames, home)?;
        self.context.cr3 = self.tables.root();
        self.pages.clear();
        Ok(())
    }

    /// Where a linear address is in RAM, if its page is mapped.
    pub(super) fn locate(&self, at: LinearAddress) -> Option<HostPhysicalAddress> {
        let mapping = self.pages.get(&(at.0 >> self.size.shift()))?;
        Some(mapping.to.add(at.0 & self.size.offset_mask()))
    }

    /// Makes the page around `at` accessible with these permissions and returns what that has changed.
    ///
    /// With pages larger than 4 KByte a page has the permissions of all 4-KByte pages in it together.
    pub(super) fn map(
        &mut self,
        ram: &Ram,
        at: LinearAddress,
        permissions: Permissions,
    ) -> Result<Option<Edited>, SpaceError> {
        let page = LinearAddress(at.0 & !self.size.offset_mask());
        let wanted = page_permissions(permissions);
        match self.pages.get(&(at.0 >> self.size.shift())).copied() {
            None => self.map_new(ram, page, wanted).map(|()| None),
            Some(mapping) => self.widen(ram, page, mapping, wanted),
        }
    }

    fn map_new(&mut self, ram: &Ram, page: LinearAddress, wanted: PagePermissions) -> Result<(), SpaceError> {
        let bytes = self.size.bytes();
        let guest = GuestPhysicalAddress(self.next.next_multiple_of(bytes));
        if guest.0 + bytes > self.end {
            return Err(SpaceError::Full { page, bytes: self.end });
        }
        let error = |source| SpaceError::Tables { page, source };
        self.extend_ept(ram, guest.0 + bytes).map_err(error)?;
        self.tables.map(ram, page, guest, bytes, self.size, wanted).map_err(error)?;
        self.next = guest.0 + bytes;
        let to = HostPhysicalAddress(guest.0 + self.offset);
        self.pages.insert(page.0 >> self.size.shift(), Mapping { to, permissions: wanted });
        Ok(())
    }

    fn extend_ept(&mut self, ram: &Ram, end: u64) -> Result<(), TablesError> {
        let Some(ept) = &mut self.ept else { return Ok(()) };
        let step = self.host_size.bytes();
        while self.ept_end < end {
            let from = GuestPhysicalAddress(self.ept_end);
            let to = HostPhysicalAddress(self.ept_end + self.offset);
            ept.map(ram, from, to, step, self.host_size, EVERYTHING)?;
            self.ept_end += step;
        }
        Ok(())
    }

    fn widen(
        &mut self,
        ram: &Ram,
        page: LinearAddress,
        mapping: Mapping,
        wanted: PagePermissions,
    ) -> Result<Option<Edited>, SpaceError> {
        let permissions =
            if self.size == PageSize::Size4K { wanted } else { union(mapping.permissions, wanted) };
        if permissions == mapping.permissions {
            return Ok(None);
        }
        let error = |source| SpaceError::Tables { page, source };
        let leaf = self.tables.leaf(ram, page).map_err(error)?;
        let leaf = leaf.ok_or_else(|| error(TablesError::NotMapped { address: page.0 }))?;
        self.tables.protect(ram, page, self.size.bytes(), self.size, permissions).map_err(error)?;
        let new = ram.read(leaf.entry)?;
        self.pages.insert(page.0 >> self.size.shift(), Mapping { permissions, ..mapping });
        let invalidation = Invalidation::Address {
            vpid: self.context.vpid,
            pcids: Pcids::One(self.context.pcid),
            globals: Globals::Drop,
            structures: Structures::All,
            address: page,
        };
        let entry = EditedEntry { entry: leaf.entry, size: leaf.size, old: leaf.value, new };
        Ok(Some(Edited { entry, invalidation }))
    }
}

const EVERYTHING: EptPermissions =
    EptPermissions::READ.union(EptPermissions::WRITE).union(EptPermissions::EXECUTE);

fn new_ept(ram: &Ram, options: &ReplayOptions) -> Result<EptTables, TablesError> {
    let levels = match options.host_levels {
        Levels::Four => EptLevels::Four,
        Levels::Five => EptLevels::Five,
    };
    let frames = FrameAllocator::new(HostPhysicalAddress(PAGE_SIZE), TABLE_FRAMES);
    let mut ept = EptTables::new(ram, levels, frames)?;
    debug_assert!(!ept.context().controls.contains(EptControls::ACCESSED_DIRTY));
    let (from, to) = (GuestPhysicalAddress(0), HostPhysicalAddress(GBYTE));
    ept.map(ram, from, to, PAGES_START, options.host_pages, EVERYTHING)?;
    Ok(ept)
}

/// x86 has no page that can be executed or written and not read.
fn page_permissions(permissions: Permissions) -> PagePermissions {
    let mut bits = PagePermissions::USER;
    bits.set(PagePermissions::WRITE, permissions.contains(Permissions::WRITE));
    bits.set(PagePermissions::EXECUTE_DISABLE, !permissions.contains(Permissions::EXECUTE));
    bits
}

fn union(a: PagePermissions, b: PagePermissions) -> PagePermissions {
    let mut bits = a | b;
    bits.set(PagePermissions::EXECUTE_DISABLE, (a & b).contains(PagePermissions::EXECUTE_DISABLE));
    bits
}
