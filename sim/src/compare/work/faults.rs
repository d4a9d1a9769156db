//! What stands in the way of an access, and how kernel and monitor remove it.

use super::GuestPages;
use super::checked::Permits;
use super::event::{Change, Editor, Remap};
use super::pages::{Page, State};
use super::stage::{Refused, Stage};
use isa::address::{AccessKind, GuestPhysicalAddress, HostPhysicalAddress, LinearAddress};
use mmu::PageSize;
use mmu::tables::PagePermissions;

/// Why the tables refuse an access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Obstacle {
    /// The page is not mapped.
    NotMapped,
    /// The page was made read-only.
    ReadOnly(Page),
    /// The page is shared.
    Shared(Page),
    /// EPT does not map the guest-physical page.
    NotBacked(Page),
    /// EPT permits no writes to the guest-physical page.
    Cut(Page),
}

/// What an entry permits in this state.
pub(super) const fn permissions(state: State) -> PagePermissions {
    match state {
        State::Writable => PagePermissions::USER.union(PagePermissions::WRITE),
        State::ReadOnly | State::Shared => PagePermissions::USER,
    }
}

/// The edit that gives a page another frame.
pub(super) const fn remap(page: Page, frame: u64, state: State, why: Remap) -> Change {
    let (size, frame) = (page.size(), GuestPhysicalAddress(frame));
    Change::Remap { page: LinearAddress(page.start()), size, frame, permissions: permissions(state), why }
}

/// The edit that gives a page what it permits in this state.
pub(super) const fn protect(page: Page, state: State) -> Change {
    let (size, permissions) = (page.size(), permissions(state));
    Change::Protect { page: LinearAddress(page.start()), size, permissions }
}

impl Stage {
    /// What refuses an access of the running process, or what both tables permit.
    pub(super) fn obstacle(&self, address: LinearAddress, kind: AccessKind) -> Result<Permits, Obstacle> {
        let process = &self.processes[usize::from(self.process)];
        let page = self.page(address).ok_or(Obstacle::NotMapped)?;
        let mapped = process.pages.get(page).ok_or(Obstacle::NotMapped)?;
        let write = kind == AccessKind::Write;
        match mapped.state {
            State::ReadOnly if write => return Err(Obstacle::ReadOnly(page)),
            State::Shared if write => return Err(Obstacle::Shared(page)),
            _ => {}
        }
        let guest_physical = mapped.frame + (address.0 & page.size().offset_mask());
        let host = Page::holding(guest_physical, self.host_pages);
        let backed = self.guests[process.guest].pages.get(host).ok_or(Obstacle::NotBacked(host))?;
        if write && backed.state != State::Writable {
            return Err(Obstacle::Cut(host));
        }
        let all = mapped.state == State::Writable && backed.state == State::Writable;
        Ok(if all { Permits::All } else { Permits::NoWrites })
    }

    /// The guest-physical page that EPT maps for an address of a mapped page of the running process.
    pub(super) fn host_page(&self, page: Page, address: LinearAddress) -> Option<Page> {
        let process = &self.processes[usize::from(self.process)];
        let frame = process.pages.get(page)?.frame;
        let host = Page::holding(frame + (address.0 & page.size().offset_mask()), self.host_pages);
        self.guests[process.guest].pages.get(host).map(|_| host)
    }

    /// Kernel or monitor edits its tables, so that the obstacle is gone.
    pub(super) fn remove(&mut self, obstacle: Obstacle, address: LinearAddress) -> Result<(), Refused> {
        match obstacle {
            Obstacle::NotMapped => self.map(address)?,
            Obstacle::ReadOnly(page) => {
                self.space().set_state(page, State::Writable);
                self.kernel(protect(page, State::Writable));
            }
            Obstacle::Shared(page) => self.unshare(page, address)?,
            Obstacle::NotBacked(page) => self.back(page.start()),
            Obstacle::Cut(page) => {
                let guest = self.guest();
                self.guests[guest].pages.set_state(page, State::Writable);
                let guest_physical = GuestPhysicalAddress(page.start());
                self.monitor(Change::RestoreHost { guest_physical, size: page.size() });
            }
        }
        Ok(())
    }

    fn kernel(&mut self, change: Change) {
        self.edits(Editor::Kernel, self.processor, std::iter::once(change));
    }

    fn monitor(&mut self, change: Change) {
        self.edits(Editor::Monitor, self.processor, std::iter::once(change));
    }

    /// The pages of the running process.
    pub(super) fn space(&mut self) -> &mut super::pages::Pages {
        &mut self.processes[usize::from(self.process)].pages
    }

    /// The guest of the running process.
    pub(super) fn guest(&self) -> usize {
        self.processes[usize::from(self.process)].guest
    }

    /// A frame of the guest of the running process.
    pub(super) fn frame(&mut self, size: PageSize) -> Result<u64, Refused> {
        let guest = self.guest();
        self.guests[guest].frames.take(size).ok_or(Refused::Memory { guest })
    }

    /// Lets EPT map the page that holds a guest-physical address, if it does not.
    pub(super) fn back(&mut self, guest_physical: u64) {
        let page = Page::holding(guest_physical, self.host_pages);
        let guest = self.guest();
        let Self { guests, .. } = self;
        if guests[guest].pages.get(page).is_some() {
            return;
        }
        let frame = guests[guest].base + page.start();
        guests[guest].pages.insert(page, frame);
        let guest_physical = GuestPhysicalAddress(page.start());
        self.monitor(Change::MapHost {
            guest_physical,
            size: page.size(),
            frame: HostPhysicalAddress(frame),
        });
    }

    /// Maps the page that holds `address`, which is not mapped.
    fn map(&mut self, address: LinearAddress) -> Result<(), Refused> {
        let GuestPages::Transparent(most) = self.guest_pages else {
            return self.map_page(Page::holding(address.0, self.guest_pages.sizes()[0]), address, Vec::new());
        };
        let region = Page::holding(address.0, PageSize::Size2M);
        let regions = &mut self.processes[usize::from(self.process)].regions;
        let mapped = regions.entry(region.start()).or_default();
        *mapped += 1;
        if *mapped <= most {
            return self.map_page(Page::holding(address.0, PageSize::Size4K), address, Vec::new());
        }
        regions.remove(&region.start());
        let within = region.start()..region.start() + PageSize::Size2M.bytes();
        let small = self.space().within(within).collect();
        self.map_page(region, address, small)
    }

    /// Maps `page` in the place of `smaller` ones.
    fn map_page(&mut self, page: Page, address: LinearAddress, smaller: Vec<Page>) -> Result<(), Refused> {
        let (size, frame) = (page.size(), self.frame(page.size())?);
        self.back(frame + (address.0 & size.offset_mask()));
        let map = Change::Map {
            page: LinearAddress(page.start()),
            size,
            frame: GuestPhysicalAddress(frame),
            permissions: permissions(State::Writable),
        };
        let changes: Vec<Change> = smaller.iter().map(|page| unmap(*page)).chain([map]).collect();
        self.edits(Editor::Kernel, self.processor, changes.into_iter());
        smaller.into_iter().for_each(|page| self.release(page));
        self.space().insert(page, frame);
        Ok(())
    }

    /// A page that is mapped no more gives its frame back.
    pub(super) fn release(&mut self, page: Page) {
        let guest = self.guest();
        if let Some(mapped) = self.space().remove(page) {
            self.guests[guest].frames.give(page.size(), mapped.frame);
        }
        self.doubt(guest);
    }

    fn unshare(&mut self, page: Page, address: LinearAddress) -> Result<(), Refused> {
        let frame = self.frame(page.size())?;
        self.back(frame + (address.0 & page.size().offset_mask()));
        self.kernel(remap(page, frame, State::Writable, Remap::CopyOnWrite));
        self.space().set_state(page, State::Writable);
        self.move_to(page, frame);
        Ok(())
    }

    /// A page has another frame and gives the one that it had back.
    pub(super) fn move_to(&mut self, page: Page, frame: u64) {
        let guest = self.guest();
        if let Some(before) = self.space().set_frame(page, frame) {
            self.guests[guest].frames.give(page.size(), before);
        }
        self.doubt(guest);
    }
}

/// The edit that unmaps a page.
pub(super) const fn unmap(page: Page) -> Change {
    Change::Unmap { page: LinearAddress(page.start()), size: page.size() }
}
