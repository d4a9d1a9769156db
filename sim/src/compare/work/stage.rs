//! The block that is being made, and the state of all tables that decides which accesses fault.

use super::checked::Checked;
use super::event::{Access, Block, Change, Edit, Editor, Event};
use super::frames::Frames;
use super::pages::{Page, Pages};
use super::topology::{FIRST_FRAME, GUEST_MEMORY, Topology};
use super::{Fetches, GuestPages, WorkError};
use isa::address::{AccessKind, LinearAddress, PAGE_SIZE};
use mmu::PageSize;
use rustc_hash::FxHashMap;
use std::path::PathBuf;
use traces::{Touch, TouchKind};

/// A block is full when it has so many accesses or events.
pub(super) const FULL: usize = 1 << 16;

/// Bytes of a cache line: the next fetch from the same one says nothing new to caches and TLBs.
const LINE: u64 = 64;

/// No line.
const NONE: u64 = u64::MAX;

/// The address space of a process.
pub(super) struct Process {
    pub(super) guest: usize,
    pub(super) pages: Pages,
    /// Mapped 4-KByte pages of 2-MByte regions, where regions may become one page.
    pub(super) regions: FxHashMap<u64, u16>,
    /// What needs no second look.
    checked: Checked,
}

/// The memory of a guest.
pub(super) struct Guest {
    pub(super) frames: Frames,
    /// EPT.
    pub(super) pages: Pages,
    pub(super) base: u64,
}

/// Why an access cannot be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refused {
    /// The address is not canonical.
    Address(LinearAddress),
    /// The guest has no frame left.
    Memory { guest: usize },
}

impl Refused {
    pub(super) fn of(self, trace: PathBuf, instruction: u64) -> WorkError {
        match self {
            Self::Address(address) => WorkError::Address { trace, instruction, address },
            Self::Memory { guest } => {
                WorkError::Memory { guest: guest as u16, bytes: GUEST_MEMORY - FIRST_FRAME }
            }
        }
    }
}

/// How far [`Stage::play`] came.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Played {
    pub(super) touches: usize,
    pub(super) instructions: u64,
    /// The last instruction called the kernel.
    pub(super) system_call: bool,
}

pub(super) struct Stage {
    block: Block,
    pub(super) processes: Vec<Process>,
    pub(super) guests: Vec<Guest>,
    /// Where pages of guests migrate to.
    pub(super) elsewhere: Frames,
    pub(super) guest_pages: GuestPages,
    pub(super) host_pages: PageSize,
    pub(super) fetches: Fetches,
    /// The next action.
    action: u64,
    /// Who runs now.
    pub(super) processor: u8,
    pub(super) process: u16,
    run: u32,
    /// The cache line of the last fetch of this run, and its access.
    line: u64,
    fetch: usize,
}

impl Stage {
    pub(super) fn new(topology: &Topology, guest_pages: GuestPages, host_pages: PageSize) -> Self {
        let guest = |guest| Guest {
            frames: Frames::new(FIRST_FRAME..GUEST_MEMORY),
            pages: Pages::default(),
            base: Topology::guest_base(guest),
        };
        let process = |guest: u16| Process {
            guest: guest.into(),
            pages: Pages::default(),
            regions: FxHashMap::default(),
            checked: Checked::default(),
        };
        let guests = topology.guests.len() as u16;
        let elsewhere = Topology::guest_base(guests);
        Self {
            block: Block::default(),
            processes: topology.processes.iter().map(|spec| process(spec.guest)).collect(),
            guests: (0..guests).map(guest).collect(),
            elsewhere: Frames::new(elsewhere..elsewhere + GUEST_MEMORY),
            guest_pages,
            host_pages,
            fetches: Fetches::PerLine,
            action: 0,
            processor: 0,
            process: 0,
            run: 0,
            line: NONE,
            fetch: 0,
        }
    }

    /// Whether the block should be handed on.
    pub(super) fn is_full(&self) -> bool {
        self.block.accesses.len().max(self.block.events.len()) >= FULL
    }

    /// The block so far; the next one begins in the memory of `recycled`.
    pub(super) fn take(&mut self, mut recycled: Block) -> Block {
        self.close_run();
        recycled.clear();
        self.run = 0;
        std::mem::replace(&mut self.block, recycled)
    }

    /// Instructions in the block so far, the one that is refused among them.
    pub(super) const fn instructions(&self) -> u64 {
        self.block.instructions
    }

    /// `processor` goes on with `process`; whether it is another one than before is the caller's to know.
    pub(super) fn turn(&mut self, processor: u8, process: u16) {
        self.close_run();
        (self.processor, self.process) = (processor, process);
    }

    pub(super) fn event(&mut self, event: Event) {
        self.close_run();
        self.block.events.push(event);
    }

    /// The edits of one action, in order.
    pub(super) fn edits(
        &mut self,
        by: Editor,
        processor: u8,
        changes: impl ExactSizeIterator<Item = Change>,
    ) {
        let (id, process, count) = (self.action, self.process, changes.len());
        for (change, left) in changes.zip((0..count).rev()) {
            self.event(Event::Edit(Edit { id, last: left == 0, processor, by, process, change }));
        }
        self.action += u64::from(count != 0);
    }

    fn close_run(&mut self) {
        let end = self.block.accesses.len() as u32;
        if end != self.run {
            self.block.events.push(Event::Run { processor: self.processor, accesses: self.run..end });
            self.run = end;
        }
        self.line = NONE;
    }

    /// The process whose turn it is makes the accesses of at most `most` whole instructions, until after a system
    /// call or until the block is full.
    pub(super) fn play(&mut self, touches: &[Touch], mut most: u64) -> Result<Played, Refused> {
        let mut played = Played { touches: touches.len(), ..Played::default() };
        for (index, touch) in touches.iter().enumerate() {
            match touch.kind {
                TouchKind::Load => self.data(touch, AccessKind::Read)?,
                TouchKind::Store => self.data(touch, AccessKind::Write)?,
                TouchKind::Fetch | TouchKind::FetchOfSystemCall => {
                    if played.instructions == most || self.block.accesses.len() >= FULL {
                        played.touches = index;
                        break;
                    }
                    played.instructions += 1;
                    if touch.kind == TouchKind::FetchOfSystemCall {
                        played.system_call = true;
                        most = played.instructions;
                    }
                    self.begin_instruction();
                    self.instruction(touch)?;
                }
            }
        }
        Ok(played)
    }

    #[inline]
    pub(super) const fn begin_instruction(&mut self) {
        self.block.instructions += 1;
    }

    #[inline]
    fn instruction(&mut self, touch: &Touch) -> Result<(), Refused> {
        let (first, length) = (touch.address.0, u64::from(touch.bytes.max(1)));
        let here = LINE - first % LINE;
        self.fetch(touch.address, length.min(here) as u16, 1)?;
        if length <= here {
            return Ok(());
        }
        // At most 15 bytes: one more line.
        self.fetch(touch.address.add(here), (length - here).min(LINE) as u16, 0)
    }

    #[inline]
    fn fetch(&mut self, address: LinearAddress, bytes: u16, instructions: u8) -> Result<(), Refused> {
        if address.0 / LINE == self.line
            && let Some(last) = self.block.accesses.get_mut(self.fetch)
            && let Some(sum) = last.instructions.checked_add(instructions)
        {
            last.instructions = sum;
            return Ok(());
        }
        self.access(Access { address, bytes, kind: AccessKind::Execute, instructions })?;
        self.line = if self.fetches == Fetches::PerLine { address.0 / LINE } else { NONE };
        self.fetch = self.block.accesses.len() - 1;
        Ok(())
    }

    /// An access of unknown size is one byte.
    #[inline]
    fn data(&mut self, touch: &Touch, kind: AccessKind) -> Result<(), Refused> {
        let (mut address, mut left) = (touch.address, touch.bytes.max(1));
        loop {
            let here = left.min(PAGE_SIZE as u32 - address.page_offset() as u32);
            self.access(Access { address, bytes: here as u16, kind, instructions: 0 })?;
            left -= here;
            if left == 0 {
                return Ok(());
            }
            address = address.add(here.into());
        }
    }

    /// Adds an access, after what it takes to permit it.
    #[inline]
    pub(super) fn access(&mut self, access: Access) -> Result<(), Refused> {
        let process = &self.processes[usize::from(self.process)];
        if !process.checked.permits(access.address.page_number(), access.kind) {
            self.permit(access.address, access.kind)?;
        }
        self.block.accesses.push(access);
        Ok(())
    }

    #[cold]
    fn permit(&mut self, address: LinearAddress, kind: AccessKind) -> Result<(), Refused> {
        if (address.0 << 16).cast_signed() >> 16 != address.0.cast_signed() {
            return Err(Refused::Address(address));
        }
        let state = loop {
            match self.obstacle(address, kind) {
                Ok(state) => break state,
                Err(obstacle) => {
                    let (processor, process) = (self.processor, self.process);
                    self.event(Event::Fault { processor, process, address, kind });
                    self.remove(obstacle, address)?;
                }
            }
        };
        self.processes[usize::from(self.process)].checked.note(address.page_number(), state);
        Ok(())
    }

    /// Pages whose mapping or permissions changed must be looked at again.
    pub(super) fn doubt(&mut self, guest: usize) {
        let of_guest = self.processes.iter_mut().filter(|process| process.guest == guest);
        of_guest.for_each(|process| process.checked.forget());
    }

    /// The mapped page of the running process that holds `address`.
    pub(super) fn page(&self, address: LinearAddress) -> Option<Page> {
        let pages = &self.processes[usize::from(self.process)].pages;
        let holding = |size: &PageSize| Page::holding(address.0, *size);
        self.guest_pages.sizes().iter().map(holding).find(|page| pages.get(*page).is_some())
    }
}

impl GuestPages {
    /// The sizes that pages may have.
    pub(super) const fn sizes(self) -> &'static [PageSize] {
        match self {
            Self::Size4K => &[PageSize::Size4K],
            Self::Size2M => &[PageSize::Size2M],
            Self::Size1G => &[PageSize::Size1G],
            Self::Transparent(_) => &[PageSize::Size4K, PageSize::Size2M],
        }
    }
}
