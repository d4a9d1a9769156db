//! Walks through what the tables held before.

use super::change::{Change, ChangeId};
use super::history::History;
use crate::ram::Ram;
use crate::reference::Reference;
use crate::walk::EntryWidth;
use core::ops::ControlFlow;
use isa::address::HostPhysicalAddress;
use smallvec::SmallVec;

/// Changes that one explanation may need.
pub(super) type Chosen = SmallVec<[ChangeId; 4]>;

/// Most changes that one explanation may need: a large page can be moved under a table that was replaced, in both
/// dimensions.
const DEPTH: usize = 4;
/// Most walks of one search.
const WALKS: u32 = 256;

/// An old value that stands in memory for the length of one walk.
///
/// RAM belongs to one thread and the oracle runs nothing in between, so nobody sees it; what stood there is put back.
struct Past<'a> {
    ram: &'a Ram,
    entry: HostPhysicalAddress,
    width: EntryWidth,
    now: u64,
}

impl<'a> Past<'a> {
    fn put(ram: &'a Ram, change: &Change) -> Option<Self> {
        let (entry, width) = (change.entry, change.width());
        let now = width.read(ram, entry).ok()?;
        width.write(ram, entry, change.old).ok()?;
        Some(Self { ram, entry, width, now })
    }
}

impl Drop for Past<'_> {
    fn drop(&mut self) {
        // What could be written a moment ago can be written again.
        let _ = self.width.write(self.ram, self.entry, self.now);
    }
}

/// Makes a walk, notes its references, and is told the changes that are undone; breaks when it has seen enough.
pub(super) type Attempt<'a> = dyn FnMut(&mut Vec<Reference>, &[ChangeId]) -> ControlFlow<()> + 'a;

/// Makes a walk with the tables as they are, then with old values of the entries that it reads, alone and together.
/// `undone` is a change that is undone without an entry.
pub(super) fn search(
    ram: &Ram,
    history: &History,
    undone: Option<ChangeId>,
    attempt: &mut Attempt<'_>,
) -> ControlFlow<()> {
    let chosen = undone.into_iter().collect();
    Search { ram, history, attempt, chosen, walks: WALKS }.walk(0)
}

struct Search<'a, 'b, 'c> {
    ram: &'a Ram,
    history: &'a History,
    attempt: &'b mut Attempt<'c>,
    chosen: Chosen,
    walks: u32,
}

impl Search<'_, '_, '_> {
    /// Walks, then undoes one more change among the references from `first` on. What an earlier entry leads to is
    /// looked at when that entry is undone.
    fn walk(&mut self, first: usize) -> ControlFlow<()> {
        let Some(left) = self.walks.checked_sub(1) else { return ControlFlow::Continue(()) };
        self.walks = left;
        let mut references = Vec::new();
        (self.attempt)(&mut references, &self.chosen)?;
        if self.chosen.len() >= DEPTH {
            return ControlFlow::Continue(());
        }
        for (position, reference) in references.iter().enumerate().skip(first) {
            self.undo(reference.host_physical, position + 1)?;
        }
        ControlFlow::Continue(())
    }

    fn undo(&mut self, entry: HostPhysicalAddress, next: usize) -> ControlFlow<()> {
        if self.is_undone(entry) {
            return ControlFlow::Continue(());
        }
        let history = self.history;
        for (id, record) in history.of_entry(entry) {
            let Some(_past) = Past::put(self.ram, &record.change) else { continue };
            self.chosen.push(id);
            let flow = self.walk(next);
            self.chosen.pop();
            flow?;
        }
        ControlFlow::Continue(())
    }

    fn is_undone(&self, entry: HostPhysicalAddress) -> bool {
        let undoes = |id: &ChangeId| self.history.get(*id).is_some_and(|record| record.change.entry == entry);
        self.chosen.iter().any(undoes)
    }
}
