//! Views: one fast map and one epoch for each combination of tag and access rights that was current lately.
//!
//! Changes between user and supervisor, or between VMX root and non-root operation, bring back the fast map that was
//! left, less what has been dropped in the meantime.

use super::ContextChange;
use crate::context::PagingMode;
use crate::fast::FastMap;
use crate::mapping::Space;
use crate::tlb::{Evicted, Invalidation, Tlb};
use crate::translation::{PageSize, Requirement};
use crate::translator::{Translator, Watcher};
use core::ptr::NonNull;
use isa::address::{AccessKind, LinearAddress};

/// Views that are kept beside the current one.
const PARKED: usize = 5;

/// Everything that the answers of a fast map depend on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct View {
    space: Space,
    mode: PagingMode,
    pub(super) read: Requirement,
    pub(super) write: Requirement,
    execute: Requirement,
}

impl View {
    pub(super) fn of(translator: &Translator) -> Self {
        Self {
            space: Space::of(translator.context()),
            mode: translator.context().mode,
            read: translator.requirement(AccessKind::Read),
            write: translator.requirement(AccessKind::Write),
            execute: translator.requirement(AccessKind::Execute),
        }
    }
}

struct Parked {
    view: View,
    fast: FastMap,
    epoch: u64,
    left: u64,
}

/// The current view and those left lately.
pub(super) struct Views {
    pub(super) fast: FastMap,
    pub(super) epoch: u64,
    pub(super) view: View,
    parked: Vec<Parked>,
    epochs: u64,
    clock: u64,
}

impl Views {
    pub(super) fn new(view: View) -> Self {
        Self { fast: FastMap::default(), epoch: 1, view, parked: Vec::new(), epochs: 1, clock: 0 }
    }

    /// Makes `view` current.
    pub(super) fn select(&mut self, view: View) -> ContextChange {
        if view == self.view {
            return ContextChange::None;
        }
        self.clock += 1;
        let index = self.take_parked(view);
        let next = &mut self.parked[index];
        core::mem::swap(&mut next.view, &mut self.view);
        core::mem::swap(&mut next.fast, &mut self.fast);
        core::mem::swap(&mut next.epoch, &mut self.epoch);
        next.left = self.clock;
        ContextChange::Translations
    }

    /// The index of the parked view, made anew when it is not there.
    fn take_parked(&mut self, view: View) -> usize {
        if let Some(index) = self.parked.iter().position(|parked| parked.view == view) {
            return index;
        }
        self.epochs += 1;
        let epoch = self.epochs;
        if self.parked.len() < PARKED {
            self.parked.push(Parked { view, fast: FastMap::default(), epoch, left: 0 });
            return self.parked.len() - 1;
        }
        let oldest = (0..PARKED).min_by_key(|&index| self.parked[index].left).unwrap_or(0);
        let parked = &mut self.parked[oldest];
        parked.fast.clear();
        parked.view = view;
        parked.epoch = epoch;
        oldest
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        self.each(|_, fast, epoch, epochs| {
            fast.clear();
            *epochs += 1;
            *epoch = *epochs;
        });
    }

    /// Makes a page miss for writes in every view.
    pub(super) fn forbid_writes(&mut self, host: NonNull<u8>) {
        self.each(|_, fast, _, _| fast.forbid_writes(host));
    }

    #[inline]
    fn each(&mut self, mut action: impl FnMut(&View, &mut FastMap, &mut u64, &mut u64)) {
        let Self { fast, epoch, view, parked, epochs, .. } = self;
        action(view, fast, epoch, epochs);
        for Parked { view, fast, epoch, .. } in parked {
            action(view, fast, epoch, epochs);
        }
    }
}

/// The fast maps are subsets of what the TLB holds.
impl Watcher for Views {
    /// Fetches may go on: nothing was invalidated.
    #[inline]
    fn evicted(&mut self, evicted: Evicted, tlb: &Tlb) {
        let Evicted { tag, address, size } = evicted;
        self.each(|view, fast, _, _| {
            if fast.may_hold(address, size) && tlb.is_used_in(tag, view.space) {
                fast.forget(address, size);
            }
        });
    }

    /// Fetches may go on.
    fn forgotten(&mut self, address: LinearAddress, reach: PageSize) {
        let space = self.view.space;
        self.each(|view, fast, _, _| {
            if view.space.shares_globals(space) {
                fast.forget(address, reach);
            }
        });
    }

    fn invalidated(&mut self, invalidation: Invalidation, reach: PageSize) {
        self.each(|view, fast, epoch, epochs| {
            if !invalidation.covers_space(view.space) {
                return;
            }
            match invalidation.address() {
                Some(address) => fast.forget(address, reach),
                None => fast.clear(),
            }
            *epochs += 1;
            *epoch = *epochs;
        });
    }
}

/// The views of an observed memory, whose fast maps are empty: only their epochs change.
pub(super) struct Epochs<'a>(pub(super) &'a mut Views);

impl Watcher for Epochs<'_> {
    #[inline(always)]
    fn evicted(&mut self, _: Evicted, _: &Tlb) {}

    #[inline(always)]
    fn forgotten(&mut self, _: LinearAddress, _: PageSize) {}

    fn invalidated(&mut self, invalidation: Invalidation, reach: PageSize) {
        self.0.invalidated(invalidation, reach);
    }
}
