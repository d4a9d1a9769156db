//! Work that is written down step by step, for exact experiments.

use super::error::WorkError;
use super::event::{Access, Block, Event, ExitCause};
use super::options::GuestPages;
use super::pages::{Page, State};
use super::stage::Stage;
use super::topology::Topology;
use isa::address::{AccessKind, LinearAddress, PAGE_SIZE};
use mmu::PageSize;
use std::path::PathBuf;

/// Builds a [`Block`] from steps. Pages come into being when they are first touched, as in [`Work`](super::Work).
///
/// # Example
///
/// Ten rounds over 64 pages with an exit after each, and then CR3 loaded again:
///
/// ```
/// use isa::address::{AccessKind, LinearAddress};
/// use vmxsim::compare::work::{ExitCause, GuestSpec, ProcessSpec, Script, Topology};
///
/// # fn main() -> Result<(), vmxsim::compare::work::WorkError> {
/// let (guests, processes) = (vec![GuestSpec::default()], vec![ProcessSpec::default()]);
/// let mut script = Script::new(&Topology { processors: 1, guests, processes });
/// script.dispatch(0, 0)?;
/// for _ in 0..10 {
///     script.touch(0, LinearAddress(0x40_0000), 64, AccessKind::Read)?;
///     script.exit(0, ExitCause::Rate)?.reload(0)?;
/// }
/// assert_eq!(script.finish().accesses.len(), 640);
/// # Ok(())
/// # }
/// ```
pub struct Script {
    stage: Stage,
    /// What each processor runs.
    current: Vec<Option<u16>>,
}

impl Script {
    /// An empty script, with pages of 4 KByte in guests and EPT.
    #[must_use]
    pub fn new(topology: &Topology) -> Self {
        Self::with_pages(topology, GuestPages::Size4K, PageSize::Size4K)
    }

    /// An empty script with other pages.
    #[must_use]
    pub fn with_pages(topology: &Topology, guest_pages: GuestPages, host_pages: PageSize) -> Self {
        let current = vec![None; usize::from(topology.processors)];
        Self { stage: Stage::new(topology, guest_pages, host_pages), current }
    }

    /// `processor` runs `process` from now on.
    ///
    /// # Errors
    ///
    /// [`WorkError::Option`] when there is no such processor or process.
    pub fn dispatch(&mut self, processor: u8, process: u16) -> Result<&mut Self, WorkError> {
        if usize::from(process) >= self.stage.processes.len() {
            let expected = format!("a process below {}", self.stage.processes.len());
            return Err(WorkError::option("process", process, expected));
        }
        let processors = self.current.len();
        let Some(current) = self.current.get_mut(usize::from(processor)) else {
            return Err(WorkError::option("processor", processor, format!("a processor below {processors}")));
        };
        *current = Some(process);
        self.stage.turn(processor, process);
        self.stage.event(Event::Dispatch { processor, process });
        Ok(self)
    }

    /// The process that `processor` runs makes one access of a byte to each of `pages` 4-KByte pages, from `first` on;
    /// fetches are instructions.
    ///
    /// # Errors
    ///
    /// [`WorkError`] when the processor runs nothing, or when the pages cannot be.
    pub fn touch(
        &mut self,
        processor: u8,
        first: LinearAddress,
        pages: u64,
        kind: AccessKind,
    ) -> Result<&mut Self, WorkError> {
        self.turn(processor)?;
        let instructions = u8::from(kind == AccessKind::Execute);
        for page in 0..pages {
            if instructions != 0 {
                self.stage.begin_instruction();
            }
            let address = first.add(page * PAGE_SIZE);
            let access = Access { address, bytes: 1, kind, instructions };
            self.stage.access(access).map_err(|refused| refused.of(PathBuf::from("script"), page))?;
        }
        Ok(self)
    }

    /// A VM exit of `processor` and the VM entry after it.
    ///
    /// # Errors
    ///
    /// [`WorkError::Option`] when the processor runs nothing.
    pub fn exit(&mut self, processor: u8, cause: ExitCause) -> Result<&mut Self, WorkError> {
        self.turn(processor)?;
        self.stage.event(Event::Exit { processor, cause });
        Ok(self)
    }

    /// The kernel of what `processor` runs loads CR3 again.
    ///
    /// # Errors
    ///
    /// [`WorkError::Option`] when the processor runs nothing.
    pub fn reload(&mut self, processor: u8) -> Result<&mut Self, WorkError> {
        self.turn(processor)?;
        self.stage.event(Event::Reload { processor });
        Ok(self)
    }

    /// The kernel unmaps the page that holds `address`, of the process that `processor` runs.
    ///
    /// # Errors
    ///
    /// [`WorkError::Option`] when the processor runs nothing or the page is not mapped.
    pub fn unmap(&mut self, processor: u8, address: LinearAddress) -> Result<&mut Self, WorkError> {
        let page = self.page(processor, address)?;
        self.stage.unmap(&[page]);
        Ok(self.changed())
    }

    /// The kernel makes the page read-only; it becomes writable when it is written.
    ///
    /// # Errors
    ///
    /// As [`Script::unmap`].
    pub fn protect(&mut self, processor: u8, address: LinearAddress) -> Result<&mut Self, WorkError> {
        let page = self.page(processor, address)?;
        self.stage.take_writes(&[page], State::ReadOnly);
        Ok(self.changed())
    }

    /// The kernel shares the page; it gets another frame when it is written.
    ///
    /// # Errors
    ///
    /// As [`Script::unmap`].
    pub fn share(&mut self, processor: u8, address: LinearAddress) -> Result<&mut Self, WorkError> {
        let page = self.page(processor, address)?;
        self.stage.take_writes(&[page], State::Shared);
        Ok(self.changed())
    }

    /// The kernel moves the page to another frame.
    ///
    /// # Errors
    ///
    /// As [`Script::unmap`].
    pub fn migrate(&mut self, processor: u8, address: LinearAddress) -> Result<&mut Self, WorkError> {
        let page = self.page(processor, address)?;
        self.stage.migrate(&[page]).map_err(|refused| refused.of(PathBuf::from("script"), 0))?;
        Ok(self.changed())
    }

    /// The monitor moves the guest-physical page that holds `address` of the process that `processor` runs.
    ///
    /// # Errors
    ///
    /// As [`Script::unmap`].
    pub fn migrate_host(&mut self, processor: u8, address: LinearAddress) -> Result<&mut Self, WorkError> {
        let page = self.host_page(processor, address)?;
        let moved = self.stage.migrate_host(processor, &[page]);
        moved.map_err(|refused| refused.of(PathBuf::from("script"), 0))?;
        Ok(self.changed())
    }

    /// The monitor takes the permission to write that guest-physical page, until it is written.
    ///
    /// # Errors
    ///
    /// As [`Script::unmap`].
    pub fn cut_host(&mut self, processor: u8, address: LinearAddress) -> Result<&mut Self, WorkError> {
        let page = self.host_page(processor, address)?;
        self.stage.cut_host(processor, &[page]);
        Ok(self.changed())
    }

    /// The block of all steps so far; the script goes on with an empty one.
    pub fn finish(&mut self) -> Block {
        self.stage.take(Block::default())
    }

    /// The processor goes on with what it runs.
    fn turn(&mut self, processor: u8) -> Result<(), WorkError> {
        let current = self.current.get(usize::from(processor)).copied().flatten();
        let process = current
            .ok_or_else(|| WorkError::option("processor", processor, "a processor that runs a process"))?;
        if (self.stage.processor, self.stage.process) != (processor, process) {
            self.stage.turn(processor, process);
        }
        Ok(())
    }

    fn page(&mut self, processor: u8, address: LinearAddress) -> Result<Page, WorkError> {
        self.turn(processor)?;
        let page = self.stage.page(address);
        page.ok_or_else(|| WorkError::option("address", address, "an address that is mapped"))
    }

    fn host_page(&mut self, processor: u8, address: LinearAddress) -> Result<Page, WorkError> {
        let page = self.page(processor, address)?;
        let host = self.stage.host_page(page, address);
        host.ok_or_else(|| WorkError::option("address", address, "an address that is mapped"))
    }

    /// After an edit that takes something away.
    fn changed(&mut self) -> &mut Self {
        let guest = self.stage.guest();
        self.stage.doubt(guest);
        self
    }
}
