//! Changes of the tables that nobody's access asked for.

use super::event::{Change, Editor, Remap};
use super::faults::{protect, remap, unmap};
use super::moments::Moments;
use super::options::Churn;
use super::pages::{Choice, Page, State};
use super::random::Random;
use super::stage::{Refused, Stage};
use isa::address::{GuestPhysicalAddress, HostPhysicalAddress};

/// What churn does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Action {
    Unmap,
    Protect,
    Share,
    Migrate,
    HostMigrate,
    HostCut,
}

/// When churn does what, and to which pages.
pub(super) struct Churning {
    moments: [(Action, Moments); 6],
    batch: u32,
    processors: u8,
    random: Random,
    chosen: Vec<Page>,
}

impl Churning {
    pub(super) fn new(churn: &Churn, processors: u8, seed: u64) -> Self {
        use Action as A;
        let moments = [
            (A::Unmap, churn.unmap),
            (A::Protect, churn.protect),
            (A::Share, churn.copy_on_write),
            (A::Migrate, churn.migrate),
            (A::HostMigrate, churn.host_migrate),
            (A::HostCut, churn.host_cut),
        ];
        let moments = moments
            .map(|(action, rate)| (action, Moments::per_million(rate, Random::new(seed, 1 + action as u64))));
        let random = Random::new(seed, 0);
        Self { moments, batch: churn.batch, processors, random, chosen: Vec::new() }
    }

    /// The number of instructions after which something is due.
    pub(super) fn next(&self) -> u64 {
        self.moments.iter().map(|(_, moments)| moments.next()).min().unwrap_or(u64::MAX)
    }

    /// Does what is due after `now` instructions, to the process whose turn it is.
    pub(super) fn act(&mut self, now: u64, stage: &mut Stage) -> Result<(), Refused> {
        for index in 0..self.moments.len() {
            while self.moments[index].1.is_due(now) {
                self.do_once(self.moments[index].0, stage)?;
            }
        }
        Ok(())
    }

    fn do_once(&mut self, action: Action, stage: &mut Stage) -> Result<(), Refused> {
        let choice = match action {
            Action::Unmap | Action::Migrate | Action::HostMigrate => Choice::Any,
            Action::Protect | Action::Share | Action::HostCut => Choice::Writable,
        };
        let guest = stage.guest();
        let pages = match action {
            Action::HostMigrate | Action::HostCut => &stage.guests[guest].pages,
            _ => &*stage.space(),
        };
        pages.choose(&mut self.random, choice, self.batch, &mut self.chosen);
        match action {
            Action::Unmap => stage.unmap(&self.chosen),
            Action::Protect => stage.take_writes(&self.chosen, State::ReadOnly),
            Action::Share => stage.take_writes(&self.chosen, State::Shared),
            Action::Migrate => stage.migrate(&self.chosen)?,
            Action::HostMigrate => stage.migrate_host(self.processor(), &self.chosen)?,
            Action::HostCut => stage.cut_host(self.processor(), &self.chosen),
        }
        stage.doubt(guest);
        Ok(())
    }

    /// The monitor works on any processor.
    fn processor(&mut self) -> u8 {
        self.random.below(self.processors.into()) as u8
    }
}

impl Stage {
    /// The kernel unmaps pages of the running process.
    pub(super) fn unmap(&mut self, pages: &[Page]) {
        self.edits(Editor::Kernel, self.processor, pages.iter().map(|page| unmap(*page)));
        for page in pages {
            self.release(*page);
            self.leave_region(*page);
        }
    }

    fn leave_region(&mut self, page: Page) {
        let region = page.start() & !mmu::PageSize::Size2M.offset_mask();
        if let Some(mapped) = self.processes[usize::from(self.process)].regions.get_mut(&region) {
            *mapped -= 1;
        }
    }

    /// The kernel makes writable pages of the running process read-only or shared.
    pub(super) fn take_writes(&mut self, pages: &[Page], state: State) {
        pages.iter().for_each(|page| self.space().set_state(*page, state));
        self.edits(Editor::Kernel, self.processor, pages.iter().map(|page| protect(*page, state)));
    }

    /// The kernel moves pages of the running process to other frames.
    pub(super) fn migrate(&mut self, pages: &[Page]) -> Result<(), Refused> {
        let mut changes = Vec::with_capacity(pages.len());
        for page in pages {
            let frame = self.frame(page.size())?;
            self.back(frame);
            let state = self.space().get(*page).map_or(State::ReadOnly, |mapped| mapped.state);
            changes.push((*page, frame, remap(*page, frame, state, Remap::Migration)));
        }
        self.edits(Editor::Kernel, self.processor, changes.iter().map(|(_, _, change)| *change));
        changes.into_iter().for_each(|(page, frame, _)| self.move_to(page, frame));
        Ok(())
    }

    /// The monitor moves guest-physical pages to other frames.
    pub(super) fn migrate_host(&mut self, processor: u8, pages: &[Page]) -> Result<(), Refused> {
        let guest = self.guest();
        let mut changes = Vec::with_capacity(pages.len());
        for page in pages {
            let frame = self.elsewhere.take(page.size()).ok_or(Refused::Memory { guest })?;
            if let Some(before) = self.guests[guest].pages.set_frame(*page, frame) {
                self.elsewhere.give(page.size(), before);
            }
            changes.push(Change::MigrateHost {
                guest_physical: GuestPhysicalAddress(page.start()),
                size: page.size(),
                frame: HostPhysicalAddress(frame),
            });
        }
        self.edits(Editor::Monitor, processor, changes.into_iter());
        Ok(())
    }

    /// The monitor takes the permission to write guest-physical pages.
    pub(super) fn cut_host(&mut self, processor: u8, pages: &[Page]) {
        let guest = self.guest();
        pages.iter().for_each(|page| self.guests[guest].pages.set_state(*page, State::ReadOnly));
        let cut = |page: &Page| Change::CutHost {
            guest_physical: GuestPhysicalAddress(page.start()),
            size: page.size(),
        };
        self.edits(Editor::Monitor, processor, pages.iter().map(cut));
    }
}
