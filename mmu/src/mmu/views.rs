//! Views: one fast map and one epoch for each combination of tag and access rights that was current lately.
//!
//! Changes between user and supervisor, or between VMX root and non-root operation, bring back the fast map that was
//! left, less what has been dropped in the meantime.
//!
//! While a processor waits for its turn it has no RAM, and an empty map answers in place of that of the current view.

use super::ContextChange;
use super::fetches::{Fetches, NotedFetches, STALE};
use crate::context::PagingMode;
use crate::fast::FastMap;
use crate::mapping::Space;
use crate::ram::{Backing, Ram};
use crate::tlb::{Evicted, Invalidation, Tlb};
use crate::translation::{PageSize, Requirement};
use crate::translator::{Translator, Watcher};
use isa::address::{AccessKind, HostPhysicalAddress, LinearAddress};
use std::sync::Arc;

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
    fetches: Fetches,
    left: u64,
}

/// Whether the processor has RAM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Turn {
    Running,
    Waiting,
}

/// The current view and those left lately.
pub(super) struct Views {
    /// What answers accesses: the map of the current view while the processor runs, an empty one while it waits.
    pub(super) fast: FastMap,
    /// The map of the current view while the processor waits, an empty one while it runs.
    resting: FastMap,
    turn: Turn,
    /// The memory of the last turn: all maps lead into it.
    home: Option<Arc<Backing>>,
    /// Marks of code pages that the maps know of.
    marks: u64,
    pub(super) fetches: Fetches,
    pub(super) view: View,
    parked: Vec<Parked>,
    /// The last number of [`home`](Self::home), while the processor runs.
    epochs: u64,
    clock: u64,
    noting: NotedFetches,
}

impl Views {
    /// Views of a processor that waits for its first turn.
    pub(super) fn new(view: View, noting: NotedFetches) -> Self {
        Self {
            fast: FastMap::default(),
            resting: FastMap::default(),
            turn: Turn::Waiting,
            home: None,
            marks: 0,
            fetches: Fetches::new(noting),
            noting,
            view,
            parked: Vec::new(),
            epochs: 0,
            clock: 0,
        }
    }

    /// Takes note of what happened to the code pages of `ram` since the last turn, and lets the maps answer again.
    pub(super) fn begin_turn(&mut self, ram: &mut Ram) {
        if !ram.is_behind(self.home.as_ref()) {
            self.home = ram.keep_alive();
            self.clear();
        } else if self.marks != ram.code_marks() {
            self.each(|_, fast, _| fast.forbid_guarded_writes(ram));
        }
        self.marks = ram.code_marks();
        self.epochs = *ram.epochs();
        core::mem::swap(&mut self.fast, &mut self.resting);
        self.turn = Turn::Running;
        self.renew_stale();
    }

    /// Puts the maps away, before `ram` is handed on.
    pub(super) fn end_turn(&mut self, ram: &mut Ram) {
        if self.turn == Turn::Running {
            core::mem::swap(&mut self.fast, &mut self.resting);
            self.turn = Turn::Waiting;
            *ram.epochs() = self.epochs;
        }
    }

    /// Makes `view` current.
    pub(super) fn select(&mut self, view: View) -> ContextChange {
        if view == self.view {
            return ContextChange::None;
        }
        self.clock += 1;
        let index = self.take_parked(view);
        let fast = match self.turn {
            Turn::Running => &mut self.fast,
            Turn::Waiting => &mut self.resting,
        };
        let next = &mut self.parked[index];
        core::mem::swap(&mut next.view, &mut self.view);
        core::mem::swap(&mut next.fast, fast);
        core::mem::swap(&mut next.fetches, &mut self.fetches);
        next.left = self.clock;
        self.renew_stale();
        ContextChange::Translations
    }

    /// Gives the current view an epoch that no view of this RAM has had, if it needs one.
    fn renew_stale(&mut self) {
        if self.fetches.epoch == STALE && self.turn == Turn::Running {
            self.epochs += 1;
            self.fetches.epoch = self.epochs;
        }
    }

    /// The index of the parked view, made anew when it is not there.
    fn take_parked(&mut self, view: View) -> usize {
        if let Some(index) = self.parked.iter().position(|parked| parked.view == view) {
            return index;
        }
        if self.parked.len() < PARKED {
            let (fast, fetches) = (FastMap::default(), Fetches::new(self.noting));
            self.parked.push(Parked { view, fast, fetches, left: 0 });
            return self.parked.len() - 1;
        }
        let oldest = (0..PARKED).min_by_key(|&index| self.parked[index].left).unwrap_or(0);
        let parked = &mut self.parked[oldest];
        parked.fast.clear();
        parked.view = view;
        parked.fetches.expire();
        oldest
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        self.each(|_, fast, fetches| {
            fast.clear();
            fetches.expire();
        });
        self.renew_stale();
    }

    /// Makes a page that was marked as holding code miss for writes in every view.
    pub(super) fn marked(&mut self, ram: &Ram, page: HostPhysicalAddress) {
        self.marks = ram.code_marks();
        if let Some(host) = ram.host_pointer(page) {
            self.each(|_, fast, _| fast.forbid_writes(host));
        }
    }

    #[inline]
    fn each(&mut self, mut action: impl FnMut(&View, &mut FastMap, &mut Fetches)) {
        let Self { fast, resting, turn, fetches, view, parked, .. } = self;
        action(view, if *turn == Turn::Running { fast } else { resting }, fetches);
        for Parked { view, fast, fetches, .. } in parked {
            action(view, fast, fetches);
        }
    }
}

/// The fast maps are subsets of what the TLB holds.
impl Watcher for Views {
    /// Fetches may go on: nothing was invalidated.
    #[inline]
    fn evicted(&mut self, evicted: Evicted, tlb: &Tlb) {
        let Evicted { tag, address, size } = evicted;
        self.each(|view, fast, _| {
            if fast.may_hold(address, size) && tlb.is_used_in(tag, view.space) {
                fast.forget(address, size);
            }
        });
    }

    /// Fetches may go on.
    fn forgotten(&mut self, address: LinearAddress, reach: PageSize) {
        let space = self.view.space;
        self.each(|view, fast, _| {
            if view.space.shares_globals(space) {
                fast.forget(address, reach);
            }
        });
    }

    fn invalidated(&mut self, invalidation: Invalidation, reach: PageSize) {
        let address = invalidation.address();
        self.each(|view, fast, fetches| match address {
            Some(address) => {
                let concerned = fast.may_hold(address, reach) || fetches.may_use(address);
                if concerned && invalidation.covers_space(view.space) {
                    fast.forget(address, reach);
                    fetches.expire_around(address);
                }
            }
            None if invalidation.covers_space(view.space) => {
                fast.clear();
                fetches.expire();
            }
            None => {}
        });
        self.renew_stale();
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
