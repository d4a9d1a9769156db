//! The oracle: an untimed sanitizer for authors of hypervisors and kernels.
//!
//! Software that changes its paging structures has to see to it that no processor goes on using what it has cached
//! (SDM 5.10.4, 31.4.3). A TLB as lazy as hardware lets a forgotten invalidation show; the oracle says what it was. It
//! is told of changes, operations and uses, and changes no counter, no TLB and no memory.
//!
//! # What it goes by
//!
//! A *change* is an edit of a paging-structure entry, of the guest or of EPT, that maps a page or references a table;
//! or the binding of a tag to other paging structures: a PCID that is used again for another CR3 by a load with bit 63
//! set, a VPID that is given to another guest. It has three moments:
//!
//! - It is *made*, by the store.
//! - It is *completed* when software relies on it: `munmap` has returned, the frame may be used again. The caller says
//!   so by [`Oracle::completed`]. The binding of a tag is complete at once.
//! - It is *settled* on a processor when operations were performed there that require the old mappings to be gone:
//!   [`rules::required`](crate::rules::required) decides.
//!
//! A translation that is used and equals a fresh [walk](crate::paging::walk) in everything that matters for the access
//! is [coherent](Verdict::Coherent): the walk permits the access, leads to the same host-physical address, and, for a
//! write, the dirty flags are set in memory. Any other is stale, and explained by the changes without which a walk would
//! find it:
//!
//! | Used | Verdict |
//! |---|---|
//! | before the change is completed, not settled here | [`Verdict::InWindow`]: either translation may be used (SDM 5.10.4.4) |
//! | after it is completed, not settled here | [`Verdict::Missing`]: software has forgotten an invalidation |
//! | after it is settled here, or explained by nothing | [`Verdict::Incoherent`]: the processor broke a rule |
//!
//! The last two are [`Finding`]s. A translation that no change explains but that was right once was changed by an unknown
//! writer: guests write their tables with plain stores. A store that is told as a use is taken note of; whether software
//! relies on it nobody says, so that such a finding may be of a window that is still open.
//!
//! Each operation that invalidates is judged by the mappings that it covered. It is *required* if one of them was stale,
//! and else *redundant*. Valid translations that it dropped and that the same processor found again unchanged by a walk
//! make it *over-broad*, by their number.
//!
//! # Memory
//!
//! It grows with the pages and paging-structure entries in use and not with time: a change is forgotten when no processor
//! holds anything old of it, which is seen in the TLBs themselves.
//!
//! # Not modelled
//!
//! One walk that takes an entry of EPT for an address of a table from before a change and the same entry for the page
//! itself from after it; rights in entries of paging-structure caches, when invalidations are judged; accessed flags.
//!
//! # Example
//!
//! ```
//! use isa::address::{AccessKind, GuestPhysicalAddress, HostPhysicalAddress, LinearAddress};
//! use mmu::oracle::{Actor, Change, Oracle, Verdict, What};
//! use mmu::{tables::*, translator::Translator, Context, Geometry, PageSize, PagingMode, Ram};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let ram = Ram::new(16 << 20)?;
//! let frames = FrameAllocator::new(GuestPhysicalAddress(0x10_0000), 64);
//! let mut tables = PageTables::new(&ram, PagingMode::FourLevel, frames, Home::Identity)?;
//! let page = LinearAddress(0x40_0000);
//! tables.map(&ram, page, GuestPhysicalAddress(0x20_0000), 0x1000, PageSize::Size4K, PagePermissions::USER)?;
//! let context = Context { cr3: tables.root(), ..Context::user(PagingMode::FourLevel) };
//! let mut processor = Translator::new(&Geometry::functional())?;
//! processor.set_context(context);
//!
//! let mut oracle = Oracle::new(1);
//! let found = processor.translate(&ram, page, AccessKind::Read, &mut ())?;
//! assert_eq!(oracle.used(&ram, 0, &context, page, AccessKind::Read, &found, 1), Verdict::Coherent);
//!
//! let leaf = tables.leaf(&ram, page)?.ok_or("not mapped")?;
//! tables.unmap(&ram, page, 0x1000, PageSize::Size4K)?;
//! let id = oracle.changed(Change {
//!     by: Actor { processor: 0, who: "munmap".into() },
//!     at: 2,
//!     what: What::GuestEntry { context, page, size: 0x1000 },
//!     entry: leaf.entry,
//!     level: 1,
//!     old: leaf.value,
//!     new: 0,
//! });
//! oracle.completed(id); // and no INVLPG
//!
//! let found = processor.translate(&ram, page, AccessKind::Read, &mut ())?;
//! assert_eq!(oracle.used(&ram, 0, &context, page, AccessKind::Read, &found, 3), Verdict::Missing);
//! println!("{}", oracle.findings()[0]);
//! # Ok(())
//! # }
//! ```

mod change;
mod explain;
mod finding;
mod fresh;
mod history;
mod invalidation;
mod memo;
mod past;
mod processor;
mod remedy;
mod seen;
mod settle;
mod sweep;
mod uses;
mod verdict;

pub use change::{Actor, Change, ChangeId, What};
pub use finding::{Finding, KEPT, Origin};
pub use invalidation::Judgement;
pub use verdict::{Summary, Use, Verdict};

use crate::context::Context;
use crate::operation::Performed;
use crate::ram::Ram;
use crate::reference::Reference;
use crate::tlb::Tlb;
use crate::translator::{Found, Hit};
use finding::Findings;
use history::{History, Processors};
use isa::address::{AccessKind, HostPhysicalAddress, LinearAddress};
use memo::{Memo, View};
use processor::Processor;
use rustc_hash::{FxHashMap, FxHashSet};
use seen::Seen;
use sweep::Sweep;

/// Remembered changes from which on it is looked whether some can be forgotten.
const CHANGES: usize = 256;

/// The oracle of a machine with one or more logical processors.
#[derive(Debug)]
pub struct Oracle {
    processors: Vec<Processor>,
    memo: Memo,
    views: FxHashMap<Context, View>,
    history: History,
    seen: Seen,
    findings: Findings,
    summary: Summary,
    /// Changes, completions and operations so far.
    clock: u64,
    /// A buffer.
    references: Vec<Reference>,
}

impl Oracle {
    /// An oracle for logical processors 0 to `processors` - 1.
    #[must_use]
    pub fn new(processors: usize) -> Self {
        let processors = core::iter::repeat_with(Processor::default).take(processors).collect();
        Self {
            processors,
            memo: Memo::default(),
            views: FxHashMap::default(),
            history: History::default(),
            seen: Seen::default(),
            findings: Findings::default(),
            summary: Summary::default(),
            clock: 0,
            references: Vec::new(),
        }
    }

    /// Takes note of an edit of an entry. To be called right after the store, with what stood there before it.
    pub fn changed(&mut self, change: Change) -> ChangeId {
        self.clock += 1;
        self.memo.forget_entry(change.entry);
        let mut holders = Processors::default();
        for (number, processor) in self.processors.iter().enumerate() {
            if processor.context.is_some() {
                holders.insert(number);
            }
        }
        self.history.edited(change, self.clock, holders)
    }

    /// Takes note of a store that nobody tells as a change and no processor as a use, and that may be to a table.
    #[inline]
    pub fn stored(&mut self, address: HostPhysicalAddress) {
        if self.memo.is_table(address) {
            self.memo.forget_stored(address);
        }
    }

    /// Takes note that software relies on a change.
    pub fn completed(&mut self, change: ChangeId) {
        self.clock += 1;
        self.history.completed(change);
    }

    /// Judges an operation. To be called when the registers of the processor have changed and nothing has been
    /// removed from `tlb` yet.
    pub fn performing(&mut self, ram: &Ram, processor: usize, performed: &Performed, tlb: &Tlb) -> Judgement {
        self.clock += 1;
        let (clock, oldest) = (self.clock, self.history.oldest());
        self.processor(processor).performed(clock, performed, oldest);
        let mut covered = Vec::new();
        for invalidation in &performed.invalidations {
            tlb.for_each_covered(invalidation, |mapping| covered.push(mapping));
        }
        let judgement = invalidation::judge(ram, &mut self.processors[processor], performed, &covered);
        self.count(performed, judgement);
        if self.history.len() >= self.processors[processor].sweep_limit.max(CHANGES) {
            self.sweep(ram, processor, tlb);
        }
        judgement
    }

    fn count(&mut self, performed: &Performed, judgement: Judgement) {
        if !performed.invalidations.is_empty() {
            let useful = u64::from(judgement.stale > 0);
            self.summary.required += useful;
            self.summary.redundant += 1 - useful;
            self.summary.valid_dropped += judgement.valid;
        }
    }

    /// Forgets the changes of which no processor holds anything old, as far as this processor is concerned.
    fn sweep(&mut self, ram: &Ram, processor: usize, tlb: &Tlb) {
        let (history, number) = (&self.history, processor);
        let processor = &self.processors[number];
        let mut sweep = Sweep { ram, history, processor, held: FxHashSet::default() };
        tlb.for_each_mapping(|mapping| sweep.look_at(&mapping));
        let held = sweep.held;
        self.history.keep_only(number, &held);
        self.processors[number].sweep_limit = 2 * self.history.len();
    }

    /// The findings, the first ones in full. What has the same cause is one finding.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        self.findings.as_slice()
    }

    /// The counts.
    #[must_use]
    pub const fn summary(&self) -> Summary {
        self.summary
    }

    /// Changes that are remembered because some processor may hold something old of them.
    #[must_use]
    pub fn changes(&self) -> usize {
        self.history.len()
    }

    /// Rules on the use of a translation at instruction `at`. To be called after each translation, and for a write
    /// before the store itself.
    #[inline]
    #[expect(
        clippy::too_many_arguments,
        reason = "an access is all of this, and one per access is no place for more"
    )]
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
        self.reported(ram, processor, context, &Use::of(address, kind, found, at))
    }

    /// The same for a use that somebody else tells.
    #[inline]
    pub fn reported(&mut self, ram: &Ram, processor: usize, context: &Context, used: &Use) -> Verdict {
        if let Some(state) = self.processors.get_mut(processor)
            && state.context.as_ref() == Some(context)
            && used.hit != Hit::Walk
            && self.memo.confirms(state.view, used)
        {
            state.clock = self.clock;
            if used.kind == AccessKind::Write {
                self.stored(used.host_physical);
            }
            return Verdict::Coherent;
        }
        self.used_anew(ram, processor, context, used)
    }

    fn processor(&mut self, number: usize) -> &mut Processor {
        if number >= self.processors.len() {
            self.processors.resize_with(number + 1, Processor::default);
        }
        &mut self.processors[number]
    }
}
