//! What the oracle knows of one logical processor.

use super::Verdict;
use super::change::ChangeId;
use super::memo::View;
use crate::context::Context;
use crate::mapping::Space;
use crate::operation::{Operation, Performed};
use crate::translation::{PageSize, Scope, Translation};
use isa::address::{AccessKind, HostPhysicalAddress, LinearAddress};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

/// Former paging structures of a tag that are remembered.
const FORMER: usize = 8;
/// Operations that are kept at least.
const OPERATIONS: usize = 256;

/// One logical processor.
#[derive(Debug, Default)]
pub(super) struct Processor {
    /// The context of its last access, and the number of that.
    pub(super) context: Option<Context>,
    pub(super) view: View,
    /// The last event before its last access.
    pub(super) clock: u64,
    /// What its tags stand for.
    bound: FxHashMap<Space, Bound>,
    /// Operations performed, each with the event that it was.
    log: Vec<(u64, Performed)>,
    /// Length of `log` at which it is cleaned up.
    log_limit: usize,
    /// Valid translations that were dropped and not refilled yet.
    pub(super) dropped: FxHashMap<Place, Translation>,
    /// Verdicts on stale translations since the last event.
    stale: FxHashMap<Stale, Judged>,
    stale_clock: u64,
    /// Number of remembered changes from which on the TLB is looked through.
    pub(super) sweep_limit: usize,
}

/// What a tag stands for on one processor.
#[derive(Clone, Debug)]
struct Bound {
    context: Context,
    /// The last event before the last access under it.
    left: u64,
    /// What it stood for before, each with the change that ended it.
    former: SmallVec<[(Context, ChangeId); 1]>,
}

/// Where a translation is cached: a tag and a page. Global translations are in one place for all PCIDs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Place {
    space: Space,
    scope: Scope,
    page: LinearAddress,
    size: PageSize,
}

impl Place {
    pub(super) fn of(space: Space, translation: &Translation) -> Self {
        let Translation { linear: page, size, scope, .. } = *translation;
        let pcid = if scope == Scope::Global { 0 } else { space.pcid };
        Self { space: Space { pcid, ..space }, scope, page, size }
    }
}

/// A stale translation in use.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Stale {
    pub(super) view: View,
    pub(super) page: u64,
    pub(super) host: HostPhysicalAddress,
    pub(super) kind: AccessKind,
}

/// What was ruled on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judged {
    pub(super) verdict: Verdict,
    /// The number of the finding, if it was kept.
    pub(super) finding: Option<usize>,
}

/// A tag that turns out to stand for other paging structures than before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rebound {
    pub(super) space: Space,
    pub(super) old: Context,
    /// The last event before the last access under the old ones.
    pub(super) since: u64,
}

impl Processor {
    /// Makes a context the current one.
    pub(super) fn enter(&mut self, context: &Context, view: View) -> Option<Rebound> {
        if let Some(old) = self.context.replace(*context)
            && let Some(bound) = self.bound.get_mut(&Space::of(&old))
        {
            bound.left = self.clock;
        }
        self.view = view;
        let space = Space::of(context);
        let Some(bound) = self.bound.get_mut(&space) else {
            let bound = Bound { context: *context, left: 0, former: SmallVec::new() };
            self.bound.insert(space, bound);
            return None;
        };
        let old = core::mem::replace(&mut bound.context, *context);
        (!same_structures(&old, context)).then_some(Rebound { space, old, since: bound.left })
    }

    /// Remembers what a tag stood for; returns a change that need not be remembered any more.
    pub(super) fn remember(&mut self, rebound: &Rebound, ended_by: ChangeId) -> Option<ChangeId> {
        let former = &mut self.bound.get_mut(&rebound.space)?.former;
        let same = former.iter().position(|(context, _)| same_structures(context, &rebound.old));
        let out = same.or((former.len() >= FORMER).then_some(0)).map(|place| former.remove(place).1);
        former.push((rebound.old, ended_by));
        out
    }

    /// What a tag stood for, each with the change that ended it.
    pub(super) fn former(&self, space: Space) -> &[(Context, ChangeId)] {
        self.bound.get(&space).map_or(&[], |bound| &bound.former)
    }

    /// The context in which a tag was last used.
    pub(super) fn context_of(&self, space: Space) -> Option<Context> {
        self.bound.get(&space).map(|bound| bound.context)
    }

    /// A context in which some EPT was last used.
    pub(super) fn context_with(&self, ept: HostPhysicalAddress) -> Option<Context> {
        let uses = |context: &&Context| context.ept.is_some_and(|used| used.root.page() == ept.page());
        let current = self.context.as_ref().filter(uses);
        current.or_else(|| self.bound.values().map(|bound| &bound.context).find(uses)).copied()
    }

    /// The last event before the last access under a tag that is not the current one.
    pub(super) fn left(&self, space: Space) -> u64 {
        self.bound.get(&space).map_or(0, |bound| bound.left)
    }

    /// Takes note of an operation. `oldest` is the event after which operations are of interest.
    pub(super) fn performed(&mut self, clock: u64, performed: &Performed, oldest: Option<u64>) {
        if self.log.len() >= self.log_limit.max(OPERATIONS) {
            self.forget_operations(oldest.unwrap_or(clock));
        }
        self.log.push((clock, performed.clone()));
    }

    /// Forgets operations from before `oldest`, and of equal ones all but the last.
    fn forget_operations(&mut self, oldest: u64) {
        let mut kept: Vec<(u64, Performed)> = Vec::new();
        let mut known = rustc_hash::FxHashSet::default();
        for (clock, performed) in self.log.drain(..).rev().take_while(|(clock, _)| *clock > oldest) {
            if known.insert((performed.operation, performed.before, performed.after)) {
                kept.push((clock, performed));
            }
        }
        kept.reverse();
        self.log = kept;
        self.log_limit = 2 * self.log.len();
    }

    /// The operations after an event.
    pub(super) fn operations_since(&self, clock: u64) -> impl DoubleEndedIterator<Item = &Performed> {
        let first = self.log.partition_point(|(at, _)| *at <= clock);
        self.log[first..].iter().map(|(_, performed)| performed)
    }

    /// The operation that made other paging structures current.
    pub(super) fn switched_by(&self, since: u64) -> &'static str {
        let name = |performed: &Performed| match performed.operation {
            Operation::MovToCr3(_) => Some("MOV to CR3"),
            Operation::MovToCr0(_) => Some("MOV to CR0"),
            Operation::TaskSwitch { .. } => Some("a task switch"),
            Operation::VmEntry(_) | Operation::SmmReturn(_) => Some("VM entry"),
            Operation::VmExit(_) | Operation::SmmVmExit(_) | Operation::SmmActivate(_) => Some("VM exit"),
            Operation::Rsm(_) => Some("RSM"),
            _ => None,
        };
        self.operations_since(since).rev().find_map(name).unwrap_or("a load of CR3")
    }

    /// What was ruled on a stale translation, if nothing has happened since.
    pub(super) fn repeated(&self, clock: u64, stale: &Stale) -> Option<Judged> {
        if clock == self.stale_clock { self.stale.get(stale).copied() } else { None }
    }

    pub(super) fn judged(&mut self, clock: u64, stale: Stale, judged: Judged) {
        if clock != self.stale_clock {
            self.stale.clear();
            self.stale_clock = clock;
        }
        self.stale.insert(stale, judged);
    }
}

/// Whether two contexts of a tag use the same paging structures in the same way.
fn same_structures(one: &Context, other: &Context) -> bool {
    let levels = |context: &Context| context.ept.map(|ept| ept.levels);
    one.mode == other.mode
        && one.cr3 == other.cr3
        && one.pdptes == other.pdptes
        && levels(one) == levels(other)
}
