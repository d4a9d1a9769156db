//! The stream of work: accesses, and what happens between them.

use isa::address::{AccessKind, GuestPhysicalAddress, HostPhysicalAddress, LinearAddress};
use mmu::PageSize;
use mmu::tables::PagePermissions;
use std::ops::Range;

/// A memory access within one 4-KByte page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    /// The lowest linear address; of fetches in a row from one cache line, that of the first.
    pub address: LinearAddress,
    /// How many bytes; of fetches in a row from one cache line, those of the first.
    pub bytes: u16,
    /// What it does.
    pub kind: AccessKind,
    /// How many instructions begin with it: 0 for data and for the rest of an instruction that crosses a cache line,
    /// more than 1 for fetches in a row from one cache line.
    pub instructions: u8,
}

/// One thing that happens, on one logical processor.
///
/// The events of all processors stand in one order; what a processor does between two of its own events is in
/// [`Event::Run`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The processor runs this process from now on.
    Dispatch {
        /// The processor.
        processor: u8,
        /// The process, an index into [`Topology::processes`](super::Topology::processes).
        process: u16,
    },
    /// The process that the processor runs makes these accesses. All of them are permitted by the tables as the edits
    /// so far left them.
    Run {
        /// The processor.
        processor: u8,
        /// Indices into [`Block::accesses`].
        accesses: Range<u32>,
    },
    /// A VM exit and the VM entry after it.
    Exit {
        /// The processor.
        processor: u8,
        /// Why.
        cause: ExitCause,
    },
    /// The kernel loads CR3 once more with what it holds, and asks to keep nothing of what is cached.
    Reload {
        /// The processor.
        processor: u8,
    },
    /// An access that the tables refuse. Kernel or monitor answers with the edits that follow; then the access is made
    /// again, at the start of a later [`Event::Run`].
    Fault {
        /// The processor.
        processor: u8,
        /// The process that it runs.
        process: u16,
        /// The linear address.
        address: LinearAddress,
        /// The access.
        kind: AccessKind,
    },
    /// An edit of the tables.
    Edit(Edit),
}

/// Why a processor leaves its guest, besides faults.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ExitCause {
    /// The program called its kernel.
    SystemCall,
    /// Something of the guest's own, at a given mean rate.
    Rate,
    /// The monitor's timer.
    Timer,
}

/// An edit of one entry of the tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Edit {
    /// The action that the edit is part of; counts from 0 over the whole work. Edits of one action stand together.
    pub id: u64,
    /// Whether it is the last edit of its action, after which invalidation is due.
    pub last: bool,
    /// The processor that makes it.
    pub processor: u8,
    /// Whose tables they are.
    pub by: Editor,
    /// The process whose tables change; for edits of the monitor some process of the guest whose EPT changes.
    pub process: u16,
    /// What changes.
    pub change: Change,
}

/// Whose tables change.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Editor {
    /// The guest's kernel changes the paging structures of a process.
    Kernel,
    /// The monitor changes EPT.
    Monitor,
}

/// A change of one entry that maps a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// A page that was not mapped is mapped. Where a 2-MByte page takes the place of 4-KByte pages, these were
    /// unmapped by edits of the same action, and the page table that held them is empty.
    Map {
        /// Start of the page.
        page: LinearAddress,
        /// Its size.
        size: PageSize,
        /// Start of the guest-physical frame.
        frame: GuestPhysicalAddress,
        /// What it permits.
        permissions: PagePermissions,
    },
    /// A mapped page is mapped no more.
    Unmap {
        /// Start of the page.
        page: LinearAddress,
        /// Its size.
        size: PageSize,
    },
    /// A mapped page permits something else; the frame stays.
    Protect {
        /// Start of the page.
        page: LinearAddress,
        /// Its size.
        size: PageSize,
        /// What it permits now.
        permissions: PagePermissions,
    },
    /// A mapped page gets another frame.
    Remap {
        /// Start of the page.
        page: LinearAddress,
        /// Its size.
        size: PageSize,
        /// Start of the new frame.
        frame: GuestPhysicalAddress,
        /// What it permits now.
        permissions: PagePermissions,
        /// Why.
        why: Remap,
    },
    /// A guest-physical page that EPT did not map is mapped, with all permissions.
    MapHost {
        /// Start of the page.
        guest_physical: GuestPhysicalAddress,
        /// Its size.
        size: PageSize,
        /// Start of the host-physical frame.
        frame: HostPhysicalAddress,
    },
    /// A guest-physical page gets another frame; the permissions stay.
    MigrateHost {
        /// Start of the page.
        guest_physical: GuestPhysicalAddress,
        /// Its size.
        size: PageSize,
        /// Start of the new frame.
        frame: HostPhysicalAddress,
    },
    /// EPT permits writes to a guest-physical page no more.
    CutHost {
        /// Start of the page.
        guest_physical: GuestPhysicalAddress,
        /// Its size.
        size: PageSize,
    },
    /// EPT permits writes to a guest-physical page again.
    RestoreHost {
        /// Start of the page.
        guest_physical: GuestPhysicalAddress,
        /// Its size.
        size: PageSize,
    },
}

/// Why a page gets another frame.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Remap {
    /// A write to a page that was shared until now.
    CopyOnWrite,
    /// The kernel moves it, for locality or to make room for larger pages.
    Migration,
}

/// A part of the work: plain data, which several readers may share.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Block {
    /// The accesses of all runs.
    pub accesses: Vec<Access>,
    /// What happens, in order.
    pub events: Vec<Event>,
    /// Instructions that begin in this block.
    pub instructions: u64,
}

impl Block {
    /// Forgets the content and keeps the memory.
    pub fn clear(&mut self) {
        self.accesses.clear();
        self.events.clear();
        self.instructions = 0;
    }
}
