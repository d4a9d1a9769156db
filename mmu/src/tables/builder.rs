//! The builders.

use super::{FrameAllocator, PagePermissions, PhysicalAddress, TablesError, pages_of};
use crate::context::PagingMode;
use crate::ept::{self, EptAccess, EptContext, EptControls, EptLevels, EptPermissions, EptTarget};
use crate::ram::Ram;
use crate::translation::PageSize;
use crate::walk::FlagUpdates;
use isa::address::{GuestPhysicalAddress, HostPhysicalAddress, LinearAddress};

const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const MAPS_PAGE: u64 = 1 << 7;
/// Present, writable, user-mode: an entry of guest paging that leaves the decision to the last level.
const GUEST_TABLE: u64 = 0b111;
/// Present: a PDPTE of PAE paging has no other bits.
const PDPTE: u64 = 0b001;
/// Readable, writable, executable from both modes: the same for EPT.
const EPT_TABLE: u64 = 1 << 10 | 0b111;
/// Write-back memory in an EPT entry that maps a page.
const WRITE_BACK: u64 = 6 << 3;

/// Where in host-physical memory the guest-physical frames of page tables are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Home {
    /// At the same address: no EPT, or EPT that maps to itself.
    Identity,
    /// Where EPT says.
    Ept(EptContext),
}

impl Home {
    fn of(&self, ram: &Ram, address: GuestPhysicalAddress) -> Result<HostPhysicalAddress, TablesError> {
        let ept = match self {
            Self::Identity => return Ok(address.without_ept()),
            Self::Ept(ept) => EptContext { controls: ept.controls - EptControls::ACCESSED_DIRTY, ..*ept },
        };
        let access = EptAccess { needs: EptPermissions::empty(), target: EptTarget::Physical, linear: None };
        ept::translate(ram, &ept, 52, address, access, &mut (), &mut FlagUpdates::default())
            .map(|mapping| mapping.host(address))
            .map_err(|_| TablesError::NoHome(address))
    }
}

/// The entry that maps a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leaf {
    /// Where the entry is.
    pub entry: HostPhysicalAddress,
    /// Its value.
    pub value: u64,
    /// The size of the page.
    pub size: PageSize,
}

/// Tables of PAE, 4-level or 5-level paging.
#[derive(Clone, Debug)]
pub struct PageTables {
    mode: PagingMode,
    home: Home,
    root: GuestPhysicalAddress,
    frames: FrameAllocator<GuestPhysicalAddress>,
}

impl PageTables {
    /// Empty tables.
    ///
    /// # Errors
    ///
    /// [`TablesError::NoTables`] for a mode without tables, and those of taking and clearing a frame.
    pub fn new(
        ram: &Ram,
        mode: PagingMode,
        mut frames: FrameAllocator<GuestPhysicalAddress>,
        home: Home,
    ) -> Result<Self, TablesError> {
        if matches!(mode, PagingMode::None | PagingMode::ThirtyTwoBit) {
            return Err(TablesError::NoTables(mode));
        }
        let root = frames.allocate()?;
        clear(ram, home.of(ram, root)?)?;
        Ok(Self { mode, home, root, frames })
    }

    /// The root table: CR3 bits 51:12. Under PAE paging, the PDPTE registers must be loaded from it.
    #[must_use]
    pub const fn root(&self) -> GuestPhysicalAddress {
        self.root
    }

    /// The frames that are left.
    pub const fn frames(&mut self) -> &mut FrameAllocator<GuestPhysicalAddress> {
        &mut self.frames
    }

    /// Maps `bytes` bytes at `address` to `to`, in pages of `size`.
    ///
    /// # Errors
    ///
    /// Any [`TablesError`]; the pages before the one in question are mapped.
    pub fn map(
        &mut self,
        ram: &Ram,
        address: LinearAddress,
        to: GuestPhysicalAddress,
        bytes: u64,
        size: PageSize,
        permissions: PagePermissions,
    ) -> Result<(), TablesError> {
        self.check_range(address, bytes)?;
        if self.mode == PagingMode::Pae && size == PageSize::Size1G {
            return Err(TablesError::NoPages { mode: self.mode, size });
        }
        let value = page_entry(permissions, size);
        for page in 0..pages_of(address, to.0, bytes, size)? {
            let offset = page << size.shift();
            self.descent(ram).insert(address.0 + offset, size, (to.0 + offset) | value)?;
        }
        Ok(())
    }

    /// Unmaps the pages of `size` in a range; all must be mapped. Tables that become empty stay.
    ///
    /// # Errors
    ///
    /// Any [`TablesError`]; the pages before the one in question are unmapped.
    pub fn unmap(
        &mut self,
        ram: &Ram,
        address: LinearAddress,
        bytes: u64,
        size: PageSize,
    ) -> Result<(), TablesError> {
        self.change(ram, address, bytes, size, |_| 0)
    }

    /// Changes what the pages of `size` in a range permit; all must be mapped.
    ///
    /// # Errors
    ///
    /// Any [`TablesError`]; the pages before the one in question are changed.
    pub fn protect(
        &mut self,
        ram: &Ram,
        address: LinearAddress,
        bytes: u64,
        size: PageSize,
        permissions: PagePermissions,
    ) -> Result<(), TablesError> {
        let value = page_entry(permissions, size);
        self.change(ram, address, bytes, size, |old| old & ADDRESS & !size.offset_mask() | value)
    }

    /// The entry that maps `address`, if one does.
    ///
    /// # Errors
    ///
    /// Those of reading the tables.
    pub fn leaf(&mut self, ram: &Ram, address: LinearAddress) -> Result<Option<Leaf>, TablesError> {
        self.descent(ram).leaf(address.0)
    }

    fn change(
        &mut self,
        ram: &Ram,
        address: LinearAddress,
        bytes: u64,
        size: PageSize,
        change: impl Fn(u64) -> u64,
    ) -> Result<(), TablesError> {
        self.check_range(address, bytes)?;
        for page in 0..pages_of(address, 0, bytes, size)? {
            let at = address.0 + (page << size.shift());
            let leaf = self.descent(ram).leaf(at)?.ok_or(TablesError::NotMapped { address: at })?;
            if leaf.size != size {
                return Err(TablesError::OtherSize { address: at, level: leaf.size as u8 + 1 });
            }
            ram.write(leaf.entry, change(leaf.value))?;
        }
        Ok(())
    }

    fn check_range(&self, address: LinearAddress, bytes: u64) -> Result<(), TablesError> {
        let error = TablesError::Range { address: address.0, bytes };
        let last = address.0.checked_add(bytes.saturating_sub(1)).map(LinearAddress);
        match last {
            Some(last) if self.mode.is_canonical(address) && self.mode.is_canonical(last) => Ok(()),
            _ => Err(error),
        }
    }

    fn descent<'a>(&'a mut self, ram: &'a Ram) -> Descent<'a, GuestPhysicalAddress> {
        Descent {
            ram,
            root: self.root,
            levels: self.mode.levels(),
            root_bits: if self.mode == PagingMode::Pae { PDPTE } else { GUEST_TABLE },
            table_bits: GUEST_TABLE,
            present: 1,
            home: self.home,
            frames: &mut self.frames,
        }
    }
}

/// Tables of 4-level or 5-level EPT.
#[derive(Clone, Debug)]
pub struct EptTables {
    levels: EptLevels,
    root: HostPhysicalAddress,
    frames: FrameAllocator<HostPhysicalAddress>,
}

impl EptTables {
    /// Empty tables.
    ///
    /// # Errors
    ///
    /// Those of taking and clearing a frame.
    pub fn new(
        ram: &Ram,
        levels: EptLevels,
        mut frames: FrameAllocator<HostPhysicalAddress>,
    ) -> Result<Self, TablesError> {
        let root = frames.allocate()?;
        clear(ram, root)?;
        Ok(Self { levels, root, frames })
    }

    /// A context for these tables, with all page sizes and execute-only translations.
    #[must_use]
    pub fn context(&self) -> EptContext {
        EptContext { levels: self.levels, ..EptContext::four_level(self.root) }
    }

    /// The frames that are left.
    pub const fn frames(&mut self) -> &mut FrameAllocator<HostPhysicalAddress> {
        &mut self.frames
    }

    /// Maps `bytes` bytes at `address` to `to` as write-back memory, in pages of `size`.
    ///
    /// # Errors
    ///
    /// Any [`TablesError`]; the pages before the one in question are mapped.
    pub fn map(
        &mut self,
        ram: &Ram,
        address: GuestPhysicalAddress,
        to: HostPhysicalAddress,
        bytes: u64,
        size: PageSize,
        permissions: EptPermissions,
    ) -> Result<(), TablesError> {
        let width = if self.levels == EptLevels::Four { 48 } else { 52 };
        let end = address.0.checked_add(bytes).filter(|&end| end <= 1 << width);
        end.ok_or(TablesError::Range { address: address.0, bytes })?;
        let large = if size == PageSize::Size4K { 0 } else { MAPS_PAGE };
        let value = u64::from(permissions.bits()) | WRITE_BACK | large;
        for page in 0..pages_of(LinearAddress(address.0), to.0, bytes, size)? {
            let offset = page << size.shift();
            self.descent(ram).insert(address.0 + offset, size, (to.0 + offset) | value)?;
        }
        Ok(())
    }

    /// The entry that maps `address`, if one does.
    ///
    /// # Errors
    ///
    /// Those of reading the tables.
    pub fn leaf(&mut self, ram: &Ram, address: GuestPhysicalAddress) -> Result<Option<Leaf>, TablesError> {
        self.descent(ram).leaf(address.0)
    }

    fn descent<'a>(&'a mut self, ram: &'a Ram) -> Descent<'a, HostPhysicalAddress> {
        Descent {
            ram,
            root: self.root,
            levels: self.levels.count(),
            root_bits: EPT_TABLE,
            table_bits: EPT_TABLE,
            present: 0b111,
            home: Home::Identity,
            frames: &mut self.frames,
        }
    }
}

/// One way down the tables.
struct Descent<'a, A> {
    ram: &'a Ram,
    root: A,
    levels: u8,
    /// The bits beside the address in an entry of the root table that references a table.
    root_bits: u64,
    /// The same for the other tables.
    table_bits: u64,
    /// Any of these bits makes an entry present.
    present: u64,
    home: Home,
    frames: &'a mut FrameAllocator<A>,
}

impl<A: PhysicalAddress> Descent<'_, A> {
    /// Writes the entry of a page that is not mapped, making tables on the way. Where a table without entries is in
    /// its place, the page takes that, and the frame of the table can be used again.
    fn insert(&mut self, address: u64, size: PageSize, value: u64) -> Result<(), TablesError> {
        let last = size as u8 + 1;
        let mut table = self.root;
        for level in (last + 1..=self.levels).rev() {
            let (at, entry) = self.entry(table, address, level)?;
            if entry & self.present == 0 {
                table =
                    self.new_table(at, if level == self.levels { self.root_bits } else { self.table_bits })?;
            } else if entry & MAPS_PAGE != 0 {
                return Err(TablesError::Mapped { address, level });
            } else {
                table = A::from_value(entry & ADDRESS);
            }
        }
        let (at, entry) = self.entry(table, address, last)?;
        if entry & self.present != 0 {
            if last == 1 || entry & MAPS_PAGE != 0 || !self.is_empty(A::from_value(entry & ADDRESS))? {
                return Err(TablesError::Mapped { address, level: last });
            }
            self.frames.release(A::from_value(entry & ADDRESS));
        }
        Ok(self.ram.write(at, value)?)
    }

    fn leaf(&self, address: u64) -> Result<Option<Leaf>, TablesError> {
        let mut table = self.root;
        for level in (1..=self.levels).rev() {
            let (entry, value) = self.entry(table, address, level)?;
            if value & self.present == 0 {
                return Ok(None);
            }
            let size = match level {
                1 => Some(PageSize::Size4K),
                2 if value & MAPS_PAGE != 0 => Some(PageSize::Size2M),
                3 if value & MAPS_PAGE != 0 => Some(PageSize::Size1G),
                _ => None,
            };
            if let Some(size) = size {
                return Ok(Some(Leaf { entry, value, size }));
            }
            table = A::from_value(value & ADDRESS);
        }
        Ok(None)
    }

    fn entry(&self, table: A, address: u64, level: u8) -> Result<(HostPhysicalAddress, u64), TablesError> {
        let at = self.host(table)?.add(8 * (address >> (3 + 9 * level) & 0x1ff));
        Ok((at, self.ram.read(at)?))
    }

    fn is_empty(&self, table: A) -> Result<bool, TablesError> {
        let at = self.host(table)?;
        for index in 0..512 {
            if self.ram.read::<u64>(at.add(8 * index))? & self.present != 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn new_table(&mut self, at: HostPhysicalAddress, bits: u64) -> Result<A, TablesError> {
        let table = self.frames.allocate()?;
        clear(self.ram, self.host(table)?)?;
        self.ram.write(at, table.value() | bits)?;
        Ok(table)
    }

    fn host(&self, table: A) -> Result<HostPhysicalAddress, TablesError> {
        self.home.of(self.ram, GuestPhysicalAddress(table.value()))
    }
}

fn page_entry(permissions: PagePermissions, size: PageSize) -> u64 {
    let large = if size == PageSize::Size4K { 0 } else { MAPS_PAGE };
    permissions.bits() | large | 1
}

fn clear(ram: &Ram, page: HostPhysicalAddress) -> Result<(), TablesError> {
    Ok(ram.fill(page, 0_u64, 512)?)
}
