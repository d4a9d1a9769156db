//! The address spaces of a comparison: page tables of processes, EPT of guests, and the monitor's own.
//!
//! | host-physical | what |
//! |---|---|
//! | 0 to 1 GByte | the monitor: its page tables and its pages |
//! | from 1 GByte on, 1 GByte each | frames of each guest's EPT |
//! | from 64 GByte on, 64 GByte each | guest-physical memory of each guest: 1 GByte for page tables, then pages |
//!
//! Only tables are ever read or written: a comparison moves no data.

use super::work::{Change, Edit, FIRST_FRAME, Topology};
use isa::address::{GuestPhysicalAddress, HostPhysicalAddress, LinearAddress, PAGE_SIZE};
use mmu::ept::{EptContext, EptLevels, EptPermissions};
use mmu::tables::{EptTables, FrameAllocator, Home, Leaf, PagePermissions, PageTables, TablesError};
use mmu::{PageSize, PagingMode, Ram};

const GBYTE: u64 = 1 << 30;
/// Frames of page tables that EPT maps at a time.
const FRAMES_AT_A_TIME: u64 = 512;
/// Frames that one page may need for its tables.
const FRAMES_OF_A_PAGE: u64 = 5;
/// Where the monitor's pages start in its linear addresses.
const MONITOR_PAGES: LinearAddress = LinearAddress(0xffff_8000_0000_0000);
/// Where they are.
const MONITOR_FRAMES: GuestPhysicalAddress = GuestPhysicalAddress(512 << 20);
/// The most guests that the host-physical layout has room for.
pub(crate) const MOST_GUESTS: usize = 62;

const EVERYTHING: EptPermissions =
    EptPermissions::READ.union(EptPermissions::WRITE).union(EptPermissions::EXECUTE);

/// A guest: its EPT, and where its memory is.
pub(super) struct Guest {
    ept: EptTables,
    /// Its number.
    number: u16,
}

/// A process of a guest.
pub(super) struct Process {
    pub(super) guest: usize,
    /// Its place among the processes of the guest.
    pub(super) number: u16,
    tables: PageTables,
    /// Up to where EPT maps the frames of its tables.
    mapped: u64,
    /// Where its frames end.
    end: u64,
}

/// What an edit did to one entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    /// Where the entry is.
    pub(super) entry: HostPhysicalAddress,
    /// Its level.
    pub(super) level: u8,
    /// What it was.
    pub(super) old: u64,
    /// What it is now.
    pub(super) new: u64,
}

impl Guest {
    pub(super) fn new(ram: &Ram, number: u16) -> Result<Self, TablesError> {
        let start = HostPhysicalAddress((u64::from(number) + 1) * GBYTE);
        let frames = FrameAllocator::new(start, GBYTE / PAGE_SIZE);
        Ok(Self { ept: EptTables::new(ram, EptLevels::Four, frames)?, number })
    }

    pub(super) fn context(&self) -> EptContext {
        self.ept.context()
    }

    /// The EPTP: write-back tables of four levels.
    pub(super) fn eptp(&self) -> u64 {
        self.context().root.0 | 3 << 3 | 6
    }

    /// Maps the next frames of page tables from a guest-physical address on; where they end.
    fn map_tables(&mut self, ram: &Ram, from: u64) -> Result<u64, TablesError> {
        let to = HostPhysicalAddress(Topology::guest_base(self.number) + from);
        let bytes = FRAMES_AT_A_TIME * PAGE_SIZE;
        self.ept.map(ram, GuestPhysicalAddress(from), to, bytes, PageSize::Size4K, EVERYTHING)?;
        Ok(from + bytes)
    }

    fn change(
        &mut self,
        ram: &Ram,
        page: GuestPhysicalAddress,
        change: impl Fn(u64) -> u64,
    ) -> Result<Written, TablesError> {
        let leaf = self.ept.leaf(ram, page)?.ok_or(TablesError::NotMapped { address: page.0 })?;
        rewrite(ram, leaf, change)
    }
}

impl Process {
    /// An empty address space whose tables take frames of the part of the guest's GByte that belongs to `number`.
    pub(super) fn new(
        ram: &Ram,
        guests: &mut [Guest],
        guest: usize,
        number: u16,
        of: u64,
    ) -> Result<Self, TablesError> {
        let share = (FIRST_FRAME / PAGE_SIZE / of.max(1)) & !(FRAMES_AT_A_TIME - 1);
        let start = u64::from(number) * share * PAGE_SIZE;
        let owner = &mut guests[guest];
        let mapped = owner.map_tables(ram, start)?;
        // The first frame of guest-physical memory stays free: no table is at address 0.
        let frames = FrameAllocator::new(GuestPhysicalAddress(start + PAGE_SIZE), share - 1);
        let home = Home::Ept(owner.context());
        let tables = PageTables::new(ram, PagingMode::FourLevel, frames, home)?;
        Ok(Self { guest, number, tables, mapped, end: start + share * PAGE_SIZE })
    }

    /// CR3 bits 51:12.
    pub(super) fn root(&self) -> u64 {
        self.tables.root().0
    }

    /// Sees to it that EPT maps the frames that the tables may take next.
    fn reserve(&mut self, ram: &Ram, guest: &mut Guest) -> Result<(), TablesError> {
        let needed = self.tables.frames().next_frame().0 + FRAMES_OF_A_PAGE * PAGE_SIZE;
        while self.mapped < needed.min(self.end) {
            self.mapped = guest.map_tables(ram, self.mapped)?;
        }
        Ok(())
    }
}

/// Makes an edit.
pub(super) fn apply(
    ram: &Ram,
    guests: &mut [Guest],
    processes: &mut [Process],
    edit: &Edit,
) -> Result<Written, TablesError> {
    let process = &mut processes[usize::from(edit.process)];
    let guest = &mut guests[process.guest];
    match edit.change {
        Change::Map { page, size, frame, permissions } => {
            process.reserve(ram, guest)?;
            process.tables.map(ram, page, frame, size.bytes(), size, permissions)?;
            made(process.tables.leaf(ram, page)?, page.0)
        }
        Change::Unmap { page, .. } => process.change(ram, page, |_| 0),
        Change::Protect { page, permissions, .. } => {
            process.change(ram, page, |old| old & !PERMISSIONS | permissions.bits())
        }
        Change::Remap { page, size, frame, permissions, .. } => process.change(ram, page, |old| {
            let address = ADDRESS & !size.offset_mask();
            old & !PERMISSIONS & !address | frame.0 & address | permissions.bits()
        }),
        Change::MapHost { guest_physical, size, frame } => {
            guest.ept.map(ram, guest_physical, frame, size.bytes(), size, EVERYTHING)?;
            made(guest.ept.leaf(ram, guest_physical)?, guest_physical.0)
        }
        Change::MigrateHost { guest_physical, size, frame } => {
            let address = ADDRESS & !size.offset_mask();
            guest.change(ram, guest_physical, |old| old & !address | frame.0 & address)
        }
        Change::CutHost { guest_physical, .. } => guest.change(ram, guest_physical, |old| old & !EPT_WRITE),
        Change::RestoreHost { guest_physical, .. } => {
            guest.change(ram, guest_physical, |old| old | EPT_WRITE)
        }
    }
}

impl Process {
    fn change(
        &mut self,
        ram: &Ram,
        page: LinearAddress,
        change: impl Fn(u64) -> u64,
    ) -> Result<Written, TablesError> {
        let leaf = self.tables.leaf(ram, page)?.ok_or(TablesError::NotMapped { address: page.0 })?;
        rewrite(ram, leaf, change)
    }
}

/// The address in an entry of either kind of tables.
pub(super) const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const EPT_WRITE: u64 = EptPermissions::WRITE.bits() as u64;
/// What a change of protection sets: rights, and not the flags that hardware writes.
const PERMISSIONS: u64 = PagePermissions::WRITE.bits()
    | PagePermissions::USER.bits()
    | PagePermissions::GLOBAL.bits()
    | PagePermissions::EXECUTE_DISABLE.bits();

fn made(leaf: Option<Leaf>, address: u64) -> Result<Written, TablesError> {
    let leaf = leaf.ok_or(TablesError::NotMapped { address })?;
    Ok(Written { entry: leaf.entry, level: leaf.size as u8 + 1, old: 0, new: leaf.value })
}

fn rewrite(ram: &Ram, leaf: Leaf, change: impl Fn(u64) -> u64) -> Result<Written, TablesError> {
    let new = change(leaf.value);
    ram.write(leaf.entry, new)?;
    Ok(Written { entry: leaf.entry, level: leaf.size as u8 + 1, old: leaf.value, new })
}

/// The monitor's own address space.
pub(super) struct Monitor {
    tables: PageTables,
}

impl Monitor {
    /// An address space with `pages` pages.
    pub(super) fn new(ram: &Ram, pages: u32) -> Result<Self, TablesError> {
        let frames = FrameAllocator::new(GuestPhysicalAddress(PAGE_SIZE), MONITOR_FRAMES.0 / PAGE_SIZE - 1);
        let mut tables = PageTables::new(ram, PagingMode::FourLevel, frames, Home::Identity)?;
        let bytes = u64::from(pages) * PAGE_SIZE;
        let permissions = PagePermissions::WRITE;
        tables.map(ram, MONITOR_PAGES, MONITOR_FRAMES, bytes, PageSize::Size4K, permissions)?;
        Ok(Self { tables })
    }

    pub(super) fn root(&self) -> u64 {
        self.tables.root().0
    }

    /// The linear address of a page.
    pub(super) fn page(number: u32) -> LinearAddress {
        MONITOR_PAGES.add(u64::from(number) * PAGE_SIZE)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::compare::work::{Editor, GUEST_MEMORY};

    #[test]
    fn the_tables_of_each_process_of_a_guest_may_grow() {
        let ram = Ram::new(2 * GUEST_MEMORY).unwrap();
        let mut guests = vec![Guest::new(&ram, 0).unwrap()];
        let mut processes: Vec<Process> =
            (0..2).map(|number| Process::new(&ram, &mut guests, 0, number, 2).unwrap()).collect();
        // Each page is in a 2-MByte region of its own and needs a table: more than EPT maps at a time.
        for region in 0..3 * FRAMES_AT_A_TIME {
            for process in 0..2 {
                let change = Change::Map {
                    page: LinearAddress(region << 21),
                    size: PageSize::Size4K,
                    frame: GuestPhysicalAddress(FIRST_FRAME),
                    permissions: PagePermissions::USER,
                };
                let edit = Edit { id: 0, last: true, processor: 0, by: Editor::Kernel, process, change };
                let written = apply(&ram, &mut guests, &mut processes, &edit).unwrap();
                assert_eq!(written.new, FIRST_FRAME | 0b101);
            }
        }
    }
}
