//! The oracle: rechecks each translation that is used, and judges each invalidation.
//!
//! It is a sanitizer for authors of kernels and hypervisors. It looks on and takes no time: it changes no counter, no
//! TLB, and no memory but for the moment in which it walks tables as they were.
//!
//! A *change* is an edit of a paging-structure entry, of a guest or of EPT, or the binding of a tag to another root: a
//! PCID that is given to another CR3, a VPID to another guest. It has three moments:
//!
//! 1. *made*: the entry is written.
//! 2. *completed*: software relies on it. `munmap` has returned, the frame may be used again.
//!    The caller says so with [`Oracle::completed`]; a binding is complete at once.
//! 3. *settled*, on each processor: an operation was performed there which required the old mappings to be gone
//!    ([`rules`](crate::rules)).
//!
//! A translation that equals a fresh walk in everything that matters to the access is coherent. Any other is stale:
//!
//! | the old translation is used | it is |
//! |---|---|
//! | before the change completes | *in the window*: permitted, either one may be used (SDM 5.10.4.4) |
//! | after that, and not settled on this processor | *missing*: software omitted an invalidation |
//! | after it was settled on this processor | *incoherent*: the processor broke a rule |
//! | and no change explains it | *incoherent* as well, or *missing* when it was right once: an unknown writer |
//!
//! An invalidation is *required* when some mapping that it covers was stale, *redundant* when none was, and
//! *over-broad* by each valid mapping that a walk then finds again.
//!
//! Software that changes tables by plain stores that nobody reports is followed all the same, by the last row.
//! Operations are remembered some thousands back on each processor: what was settled before counts as not settled.
//!
//! # Example
//!
//! A kernel unmaps a page and forgets INVLPG:
//!
//! ```
//! use isa::address::{AccessKind, GuestPhysicalAddress, LinearAddress};
//! use mmu::oracle::{Actor, Change, Oracle, What};
//! use mmu::tables::{FrameAllocator, Home, PagePermissions, PageTables};
//! use mmu::translator::Translator;
//! use mmu::{Context, Geometry, PageSize, PagingMode, Ram};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let ram = Ram::new(16 << 20)?;
//! let frames = FrameAllocator::new(GuestPhysicalAddress(0x10_0000), 64);
//! let mut tables = PageTables::new(&ram, PagingMode::FourLevel, frames, Home::Identity)?;
//! let (page, frame) = (LinearAddress(0x40_0000), GuestPhysicalAddress(0x20_0000));
//! tables.map(&ram, page, frame, 0x1000, PageSize::Size4K, PagePermissions::USER)?;
//! let context = Context { cr3: tables.root(), ..Context::user(PagingMode::FourLevel) };
//! let mut translator = Translator::new(&Geometry::functional())?;
//! translator.set_context(context);
//! let mut oracle = Oracle::new(1);
//!
//! let found = translator.translate(&ram, page, AccessKind::Read, &mut ())?;
//! oracle.used(&ram, 0, &context, page, AccessKind::Read, &found, 1);
//! let leaf = tables.leaf(&ram, page)?.ok_or("mapped")?;
//! tables.unmap(&ram, page, 0x1000, PageSize::Size4K)?;
//! let change = oracle.changed(Change {
//!     by: Actor { processor: 0, who: "munmap".into() },
//!     at: 2,
//!     what: What::GuestEntry { context, page, size: 0x1000 },
//!     entry: leaf.entry,
//!     level: 1,
//!     old: leaf.value,
//!     new: 0,
//! });
//! oracle.completed(change);
//!
//! let found = translator.translate(&ram, page, AccessKind::Read, &mut ())?;
//! oracle.used(&ram, 0, &context, page, AccessKind::Read, &found, 3);
//! assert_eq!(oracle.summary().missing, 1);
//! assert!(oracle.findings()[0].to_string().contains("Needed there: INVLPG 0x400000 under PCID 0"));
//! # Ok(())
//! # }
//! ```

mod change;
mod finding;
mod history;
mod judge;
mod memo;
mod past;

pub use change::{Actor, Change, ChangeId, What};
pub use finding::{Finding, FindingCause, Tables};

use crate::context::Context;
use crate::ept::EptContext;
use crate::mapping::{Mapping, Space};
use crate::mmu::Hit;
use crate::operation::Performed;
use crate::paging;
use crate::ram::Ram;
use crate::reference::{Dimension, Reference};
use crate::tlb::Tlb;
use crate::translation::Translation;
use crate::translator::Found;
use crate::walk::Walk;
use history::{History, Progress};
use isa::address::{AccessKind, HostPhysicalAddress, LinearAddress};
use judge::Standing;
use memo::{EntryKind, Memo, View};
use rustc_hash::FxHashMap;
use serde::Serialize;

/// Findings that are kept in full.
const FINDINGS: usize = 64;

/// Counts of what the oracle has seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Summary {
    /// Invalidating operations that removed something stale.
    pub required: u64,
    /// Invalidating operations that removed nothing stale.
    pub redundant: u64,
    /// Valid mappings that invalidations removed.
    pub valid_dropped: u64,
    /// Those of them that a walk then found again.
    pub over_broad: u64,
    /// Stale translations used before their change was complete.
    pub in_window: u64,
    /// Stale translations used for want of an invalidation.
    pub missing: u64,
    /// Translations used that a processor should not have had.
    pub incoherent: u64,
}

/// What an invalidation removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Judgement {
    /// Stale mappings.
    pub stale: u64,
    /// Valid mappings.
    pub valid: u64,
}

/// How a use was, the better first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Verdict {
    /// As the tables are.
    Coherent,
    /// Stale, and permitted.
    InWindow,
    /// Stale for want of an invalidation.
    Missing,
    /// Not to be had by any right.
    Incoherent,
}

/// A use of a translation.
#[derive(Clone, Copy, Debug)]
struct Used {
    address: LinearAddress,
    kind: AccessKind,
    host_physical: HostPhysicalAddress,
    hit: Hit,
    at: u64,
}

/// A page of a tag on a processor.
type CachedPage = (usize, Space, LinearAddress);

/// Looks on and judges; see the [module](self).
#[derive(Debug)]
pub struct Oracle {
    history: History,
    memo: Memo,
    views: FxHashMap<Context, View>,
    /// The context of the use before on each processor, which most often is that of the next.
    last: Vec<Option<(Context, View)>>,
    /// The context in which each tag was last used.
    contexts: FxHashMap<Space, Context>,
    epts: FxHashMap<HostPhysicalAddress, EptContext>,
    /// Valid translations that an invalidation has removed and no walk has found since.
    dropped: FxHashMap<CachedPage, Translation>,
    /// Where walks have found pages, by tag.
    walked: FxHashMap<(Space, u64), u64>,
    summary: Summary,
    findings: Vec<Finding>,
}

impl Oracle {
    /// An oracle for so many logical processors.
    #[must_use]
    pub fn new(processors: usize) -> Self {
        Self {
            history: History::new(processors),
            memo: Memo::default(),
            views: FxHashMap::default(),
            last: vec![None; processors],
            contexts: FxHashMap::default(),
            epts: FxHashMap::default(),
            dropped: FxHashMap::default(),
            walked: FxHashMap::default(),
            summary: Summary::default(),
            findings: Vec::new(),
        }
    }

    /// What has been counted.
    #[must_use]
    pub const fn summary(&self) -> Summary {
        self.summary
    }

    /// The first uses that should not have been, one for each cause and processor.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// An entry has been changed: to be called right after the store.
    pub fn changed(&mut self, change: Change) -> ChangeId {
        self.memo.forget_entry(change.entry);
        self.history.edited(change)
    }

    /// Something was stored at a host-physical address, perhaps in a table. Only needed where software changes tables
    /// by stores that nobody reports as a [`Change`].
    #[inline]
    pub fn stored(&mut self, address: HostPhysicalAddress) {
        if self.memo.is_table(address) {
            self.memo.forget_stored(address);
        }
    }

    /// Software relies on a change from now on.
    pub fn completed(&mut self, change: ChangeId) {
        self.history.completed(change);
    }

    /// A processor performs an operation; to be called before its TLB is invalidated.
    pub fn performing(&mut self, ram: &Ram, processor: usize, performed: &Performed, tlb: &Tlb) -> Judgement {
        self.bind(processor, performed);
        if performed.invalidations.is_empty() {
            return Judgement::default();
        }
        let mut judgement = Judgement::default();
        let mut covered = Vec::new();
        for invalidation in &performed.invalidations {
            tlb.for_each_covered(invalidation, |mapping| covered.push(mapping));
        }
        for mapping in covered {
            match self.standing(ram, &mapping) {
                Standing::Stale => judgement.stale += 1,
                Standing::Valid => {
                    judgement.valid += 1;
                    self.note_dropped(processor, &mapping);
                }
            }
        }
        self.summary.valid_dropped += judgement.valid;
        let count =
            if judgement.stale > 0 { &mut self.summary.required } else { &mut self.summary.redundant };
        *count += 1;
        judgement
    }

    /// A translation was used; to be called after each, and after the flags of its walk are set.
    #[inline]
    pub fn used(
        &mut self,
        ram: &Ram,
        processor: usize,
        context: &Context,
        address: LinearAddress,
        kind: AccessKind,
        found: &Found,
        at: u64,
    ) -> Verdict {
        let view = match &self.last[processor] {
            Some((last, view)) if last == context => *view,
            _ => self.view(processor, context),
        };
        let host_physical = found.translation.host(address);
        let used = Used { address, kind, host_physical, hit: found.hit, at };
        if used.hit == Hit::Walk {
            self.note_walk(processor, context, &used, &found.translation);
        }
        if self.memo.confirms(view, &used) {
            return Verdict::Coherent;
        }
        self.check(ram, processor, context, view, &used)
    }

    #[cold]
    fn view(&mut self, processor: usize, context: &Context) -> View {
        let next = View(self.views.len() as u32);
        let view = *self.views.entry(*context).or_insert(next);
        self.last[processor] = Some((*context, view));
        self.contexts.insert(Space::of(context), *context);
        if let Some(ept) = context.ept {
            self.epts.insert(ept.root.page(), ept);
        }
        view
    }

    /// A walk has found what an invalidation had removed, or something new.
    fn note_walk(&mut self, processor: usize, context: &Context, used: &Used, translation: &Translation) {
        let space = Space::of(context);
        self.walked.insert((space, used.address.page().0), used.host_physical.page().0);
        if self.dropped.is_empty() {
            return;
        }
        if let Some(before) = self.dropped.remove(&(processor, space, translation.linear)) {
            let same = (before.host_physical, before.size) == (translation.host_physical, translation.size);
            self.summary.over_broad += u64::from(same);
        }
    }

    fn note_dropped(&mut self, processor: usize, mapping: &Mapping) {
        if let Mapping::Translation { space, translation } = *mapping {
            self.dropped.insert((processor, space, translation.linear), translation);
        }
    }

    /// Takes an operation in, with what the current tag stands for from then on.
    fn bind(&mut self, processor: usize, performed: &Performed) {
        let space = performed.after.space();
        let cr3 = |registers: &crate::operation::Registers| registers.context(crate::Privilege::User).cr3.0;
        let old = self.history.root(processor, space).map_or(0, |root| root.0);
        self.history.performed(processor, performed, || Change {
            by: Actor { processor, who: "software".into() },
            at: 0,
            what: What::Binding { space },
            entry: HostPhysicalAddress(0),
            level: 0,
            old,
            new: cr3(&performed.after),
        });
    }

    #[cold]
    fn check(&mut self, ram: &Ram, processor: usize, context: &Context, view: View, used: &Used) -> Verdict {
        let mut references: Vec<Reference> = Vec::new();
        let tables = match paging::walk(ram, context, used.address, used.kind, &mut references) {
            Ok(walk) => agrees(&walk, used),
            Err(fault) => Some(Tables::Refuse(fault)),
        };
        let Some(tables) = tables else {
            self.memo.fill(view, used, entries(&references));
            return Verdict::Coherent;
        };
        let (verdict, cause) = self.blame(ram, processor, context, used);
        match verdict {
            Verdict::Coherent => {}
            Verdict::InWindow => self.summary.in_window += 1,
            Verdict::Missing => self.summary.missing += 1,
            Verdict::Incoherent => self.summary.incoherent += 1,
        }
        if let Some(cause) = cause {
            self.report(processor, context, used, tables, cause);
        }
        verdict
    }

    /// Why a translation was used that is not that of the tables.
    fn blame(
        &self,
        ram: &Ram,
        processor: usize,
        context: &Context,
        used: &Used,
    ) -> (Verdict, Option<FindingCause>) {
        let mapping = mapping_of(context, used);
        let explanations = past::explanations(ram, &self.history, processor, context, used);
        let judged = explanations.into_iter().map(|record| {
            match self.history.demanded(processor, &mapping, record.made) {
                Some(rule) => (Verdict::Incoherent, Some(FindingCause::Kept(record.change.clone(), rule))),
                None if record.progress == Progress::Made => (Verdict::InWindow, None),
                None => (Verdict::Missing, Some(FindingCause::Missing(record.change.clone()))),
            }
        });
        // In doubt for the processor, and for software.
        judged.min_by_key(|(verdict, _)| *verdict).unwrap_or_else(|| self.unexplained(context, used))
    }

    fn unexplained(&self, context: &Context, used: &Used) -> (Verdict, Option<FindingCause>) {
        let page = (Space::of(context), used.address.page().0);
        if self.walked.get(&page) == Some(&used.host_physical.page().0) {
            (Verdict::Missing, Some(FindingCause::Unknown))
        } else {
            (Verdict::Incoherent, Some(FindingCause::Never))
        }
    }

    fn report(
        &mut self,
        processor: usize,
        context: &Context,
        used: &Used,
        tables: Tables,
        cause: FindingCause,
    ) {
        let page = used.address.page();
        let same = |finding: &&mut Finding| {
            finding.processor == processor
                && finding.address.page() == page
                && core::mem::discriminant(&finding.cause) == core::mem::discriminant(&cause)
        };
        if let Some(finding) = self.findings.iter_mut().find(same) {
            finding.uses += 1;
        } else if self.findings.len() < FINDINGS {
            let Used { address, kind, host_physical, at, .. } = *used;
            let space = Space::of(context);
            self.findings.push(Finding {
                processor,
                at,
                space,
                address,
                kind,
                host_physical,
                tables,
                cause,
                uses: 1,
            });
        }
    }
}

/// How the tables differ from a use, if they do.
fn agrees(walk: &Walk, used: &Used) -> Option<Tables> {
    const DIRTY: u64 = 1 << 6;
    const EPT_DIRTY: u64 = 1 << 9;
    let host = walk.translation.host(used.address);
    if host != used.host_physical {
        return Some(Tables::Elsewhere(host));
    }
    let updates = walk.updates.as_slice();
    let guest = updates.iter().any(|update| update.bits & DIRTY != 0);
    let ept = updates.last().is_some_and(|update| update.bits & EPT_DIRTY != 0);
    (used.kind == AccessKind::Write && (guest || ept)).then_some(Tables::Clean)
}

/// The mapping through which a use may have gone: a page of 4 KByte, of the tag.
fn mapping_of(context: &Context, used: &Used) -> Mapping {
    use crate::translation::{PageSize, Rights, Scope};
    let translation = Translation {
        linear: used.address.page(),
        host_physical: used.host_physical.page(),
        size: PageSize::Size4K,
        guest_size: PageSize::Size4K,
        rights: Rights::all(),
        scope: Scope::Pcid,
    };
    Mapping::Translation { space: Space::of(context), translation }
}

/// The entries that a walk has read: the last of either dimension maps the page, others serve many.
fn entries(references: &[Reference]) -> impl Iterator<Item = (u64, EntryKind)> {
    let last = |dimension| references.iter().rposition(|reference| reference.dimension == dimension);
    let leaves = [last(Dimension::Guest), last(Dimension::Ept)];
    references.iter().enumerate().map(move |(index, reference)| {
        let leaf = leaves.contains(&Some(index));
        (reference.host_physical.0, if leaf { EntryKind::Leaf } else { EntryKind::Shared })
    })
}
