//! Invalidation strategies: what kernels and monitors do when a table has changed.
//!
//! Each is a module against one interface: it is told what was edited and who is about to run, and it answers with
//! operations of the machine, which cost what they cost. What the hardware tags entries with is a choice of its own,
//! [`TagPolicy`]. [`KNOWN`] lists the combinations that have a name.

mod coherent;
mod deferred;
mod eager;
mod lazy;
mod recycle;

use super::machine::Machine;
use super::result::Standing;
use super::tags::TagPolicy;
use super::work::Editor;
use isa::address::{GuestPhysicalAddress, HostPhysicalAddress, LinearAddress};
use mmu::oracle::ChangeId;
use serde::{Deserialize, Serialize};

/// Where cached translations may be stale.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Page {
    /// A page of a process, by linear address.
    Linear(LinearAddress),
    /// A page of a guest.
    GuestPhysical {
        /// Its guest-physical address.
        address: GuestPhysicalAddress,
        /// The host-physical page that it was.
        was: HostPhysicalAddress,
        /// Its size.
        bytes: u64,
    },
}

/// The edits of one action of a kernel or of the monitor that took something away.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    /// The processor on which it was done.
    pub(crate) processor: usize,
    /// Who did it.
    pub(crate) by: Editor,
    /// The process whose tables they are.
    pub(crate) process: usize,
    /// Its guest.
    pub(crate) guest: usize,
    /// The pages.
    pub(crate) pages: Vec<Page>,
    /// What the oracle calls them.
    pub(crate) changes: Vec<ChangeId>,
}

/// How to load the address space of a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Load {
    /// The PCID, where the hardware has them.
    pub(crate) pcid: u16,
    /// Whether the load keeps what is cached under it (bit 63 of the source).
    pub(crate) cached: Cached,
}

/// What happens to cached translations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cached {
    /// They stay.
    Kept,
    /// They go.
    Dropped,
}

/// A strategy at work.
pub(crate) trait Strategy: Send {
    /// Entries have been changed so that cached copies permit what the tables no longer do.
    fn edited(&mut self, machine: &mut Machine, batch: Batch);

    /// `processor` is in root operation and about to enter `guest`.
    fn entering(&mut self, _: &mut Machine, _processor: usize, _guest: usize) {}

    /// `processor` is about to go on with what it has loaded: after a VM entry, or after a scheduler tick.
    fn resuming(&mut self, _: &mut Machine, _processor: usize) {}

    /// `processor` loads the address space of `process`.
    fn load(&mut self, machine: &mut Machine, _processor: usize, process: usize) -> Load {
        Load { pcid: machine.own_pcid(process), cached: Cached::Kept }
    }
}

/// How much is removed for an edit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reach {
    /// Everything.
    All,
    /// The address space, or the guest.
    Context,
    /// Page by page while there are at most so many, then the address space.
    Pages {
        /// So many.
        ceiling: u32,
    },
}

impl Reach {
    /// Removes on one processor what a batch made stale.
    pub(crate) fn remove(self, machine: &mut Machine, processor: usize, batch: &Batch) {
        match (batch.by, self) {
            (_, Self::All) => machine.invalidate_everything(processor, batch),
            (Editor::Monitor, _) => machine.invalidate_guest(processor, batch.guest),
            (Editor::Kernel, Self::Pages { ceiling }) if batch.pages.len() <= ceiling as usize => {
                for page in &batch.pages {
                    if let Page::Linear(address) = *page {
                        machine.invalidate_page(processor, batch.process, address);
                    }
                }
            }
            (Editor::Kernel, _) => machine.invalidate_process(processor, batch.process),
        }
    }
}

/// What a comparison may choose about strategies.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct StrategyOptions {
    /// Pages of one edit up to which they are invalidated one by one.
    pub threshold: u32,
    /// PCIDs that tag recycling has for each guest on each processor.
    pub pcids: u16,
    /// Bits of the tag word (profile `extended`), those that a guest may alter among them.
    pub tag_bits: u8,
}

impl Default for StrategyOptions {
    /// Linux' ceiling of 33 pages, all PCIDs but 0, and a word of 12 bits.
    fn default() -> Self {
        Self { threshold: 33, pcids: 4095, tag_bits: 12 }
    }
}

/// A combination of hardware and software that has a name.
pub struct Known {
    /// The name.
    pub name: &'static str,
    /// What it is, in one sentence.
    pub says: &'static str,
    /// What the hardware tags entries with.
    pub(crate) tags: TagPolicy,
    pub(crate) build: fn(&StrategyOptions) -> Box<dyn Strategy>,
    /// What it is for.
    pub standing: Standing,
    /// Whether a comparison includes it unless told otherwise.
    pub default: bool,
}

fn per_address(options: &StrategyOptions) -> Reach {
    Reach::Pages { ceiling: options.threshold }
}

fn eager(options: &StrategyOptions) -> Box<dyn Strategy> {
    Box::new(eager::Eager { reach: per_address(options), targets: eager::Targets::Holders })
}

/// Every strategy that has a name; the first is what others are relative to.
pub const KNOWN: &[Known] = &[
    Known {
        name: "flush-on-transition",
        says: "no tags: every VM entry, VM exit and CR3 load flushes",
        tags: TagPolicy::None,
        build: eager,
        standing: Standing::Strategy,
        default: true,
    },
    Known {
        name: "mode-bit",
        says: "one bit tells guest from host: a change of guest and every CR3 load flush",
        tags: TagPolicy::ModeBit,
        build: eager,
        standing: Standing::Strategy,
        default: true,
    },
    Known {
        name: "tag-word",
        says: "a tag word with masks, which guests extend by address spaces (profile extended)",
        tags: TagPolicy::TagWord,
        build: eager,
        standing: Standing::Strategy,
        default: true,
    },
    Known {
        name: "vpid",
        says: "VPID without PCID: every CR3 load flushes",
        tags: TagPolicy::Vpid,
        build: eager,
        standing: Standing::Strategy,
        default: true,
    },
    Known {
        name: "flush-all",
        says: "VPID and PCID; each edit flushes everything on every processor",
        tags: TagPolicy::VpidPcid,
        build: |_| Box::new(eager::Eager { reach: Reach::All, targets: eager::Targets::Everyone }),
        standing: Standing::Strategy,
        default: true,
    },
    Known {
        name: "flush-context",
        says: "VPID and PCID; each edit flushes the address space where it may be cached",
        tags: TagPolicy::VpidPcid,
        build: |_| Box::new(eager::Eager { reach: Reach::Context, targets: eager::Targets::Holders }),
        standing: Standing::Strategy,
        default: true,
    },
    Known {
        name: "ipi-all",
        says: "VPID and PCID; page by page up to the threshold, by IPI to every processor",
        tags: TagPolicy::VpidPcid,
        build: |options| {
            Box::new(eager::Eager { reach: per_address(options), targets: eager::Targets::Everyone })
        },
        standing: Standing::Strategy,
        default: true,
    },
    Known {
        name: "per-address",
        says: "VPID and PCID; page by page up to the threshold, by IPI where it may be cached",
        tags: TagPolicy::VpidPcid,
        build: eager,
        standing: Standing::Strategy,
        default: true,
    },
    Known {
        name: "lazy",
        says: "as per-address, but processors that run something else flush when they come back",
        tags: TagPolicy::VpidPcid,
        build: |options| Box::new(lazy::Lazy::new(per_address(options))),
        standing: Standing::Strategy,
        default: true,
    },
    Known {
        name: "deferred",
        says: "no IPIs: other processors flush at their next entry or tick, and frames are held back until then",
        tags: TagPolicy::VpidPcid,
        build: |options| Box::new(deferred::Deferred::new(per_address(options))),
        standing: Standing::Strategy,
        default: true,
    },
    Known {
        name: "recycle",
        says: "each edit gives the address space a new PCID; one flush when they are used up",
        tags: TagPolicy::VpidPcid,
        build: |options| Box::new(recycle::Recycle::new(options.pcids)),
        standing: Standing::Strategy,
        default: true,
    },
    Known {
        name: "coherent",
        says: "hardware removes exactly what an edit made stale, at no cost: the bound",
        tags: TagPolicy::VpidPcid,
        build: |_| Box::new(coherent::Coherent),
        standing: Standing::Bound,
        default: true,
    },
    Known {
        name: "local-only",
        says: "broken on purpose: the other processors are never told",
        tags: TagPolicy::VpidPcid,
        build: |options| {
            Box::new(eager::Eager { reach: per_address(options), targets: eager::Targets::Itself })
        },
        standing: Standing::Broken,
        default: false,
    },
];
