//! The judgement on invalidations: what they have removed, and what that was good for.

use super::processor::{Place, Processor};
use super::{Use, fresh};
use crate::context::{Context, Privilege};
use crate::mapping::{Mapping, Space};
use crate::operation::Performed;
use crate::ram::Ram;
use crate::translation::{PageSize, Rights, Translation};
use core::ops::AddAssign;
use isa::address::HostPhysicalAddress;
use rustc_hash::FxHashSet;
use serde::Serialize;

/// What the mappings that an operation covers were, each counted once, however many levels of the TLB hold it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Judgement {
    /// Those that were stale and could have been used.
    pub stale: u64,
    /// Those that were what a fresh walk finds.
    pub valid: u64,
}

impl AddAssign for Judgement {
    fn add_assign(&mut self, other: Self) {
        self.stale += other.stale;
        self.valid += other.valid;
    }
}

/// What is told apart among covered mappings: copies in other levels and for other kinds of access are the same.
#[derive(PartialEq, Eq, Hash)]
enum Told {
    Translation(Place, HostPhysicalAddress),
    Other(Mapping),
}

/// Judges covered mappings, and remembers the valid translations among them.
pub(super) fn judge(
    ram: &Ram,
    processor: &mut Processor,
    performed: &Performed,
    covered: &[Mapping],
) -> Judgement {
    let mut told = FxHashSet::default();
    let mut judgement = Judgement::default();
    for mapping in covered {
        let key = match mapping {
            Mapping::Translation { space, translation } => {
                Told::Translation(Place::of(*space, translation), translation.host_physical)
            }
            other => Told::Other(*other),
        };
        if told.insert(key) {
            judgement += judge_one(ram, processor, performed, mapping);
        }
    }
    judgement
}

fn judge_one(ram: &Ram, processor: &mut Processor, performed: &Performed, mapping: &Mapping) -> Judgement {
    let context = processor.context_for(mapping, performed);
    let valid = context.is_some_and(|context| fresh::is_valid(ram, &context, mapping));
    if !valid {
        return Judgement { stale: 1, valid: 0 };
    }
    if let Mapping::Translation { space, translation } = mapping {
        processor.dropped.insert(Place::of(*space, translation), *translation);
    }
    Judgement { stale: 0, valid: 1 }
}

impl Processor {
    /// The context in which a mapping would be used after an operation.
    fn context_for(&self, mapping: &Mapping, performed: &Performed) -> Option<Context> {
        let after = performed.after.space();
        let context = performed.after.context(Privilege::Supervisor);
        let current = match mapping {
            Mapping::Translation { space, .. } if mapping.is_global() => space.shares_globals(after),
            Mapping::Translation { space, .. } | Mapping::Structure { space, .. } => *space == after,
            Mapping::GuestPhysical { ept, .. } | Mapping::EptStructure { ept, .. } => after.ept == Some(*ept),
        };
        if current {
            // Controls that the registers do not tell are as they were.
            let known = self.context_of(after).unwrap_or(context);
            return Some(Context { mode: context.mode, cr3: context.cr3, pdptes: context.pdptes, ..known });
        }
        self.usual_context(mapping)
    }

    /// The context in which a mapping was used last.
    pub(super) fn usual_context(&self, mapping: &Mapping) -> Option<Context> {
        match *mapping {
            Mapping::Translation { space, .. } | Mapping::Structure { space, .. } => self.context_of(space),
            Mapping::GuestPhysical { ept, .. } | Mapping::EptStructure { ept, .. } => self.context_with(ept),
        }
    }

    /// Counts the dropped translations that a walk has brought back unchanged.
    pub(super) fn refilled(&mut self, space: Space, used: &Use, found: &Translation) -> u64 {
        if self.dropped.is_empty() {
            return 0;
        }
        let sizes = PageSize::ALL.into_iter().filter(|&size| size <= found.size);
        let pieces = sizes.map(|size| found.narrowed(used.address, size));
        let mut refills = 0;
        for piece in pieces {
            let dropped = self.dropped.remove(&Place::of(space, &piece));
            refills += u64::from(dropped.is_some_and(|dropped| is_alike(&dropped, &piece)));
        }
        refills
    }
}

/// Whether two translations differ in nothing but the dirty flag.
fn is_alike(one: &Translation, other: &Translation) -> bool {
    let but_dirty = |translation: &Translation| Translation {
        rights: translation.rights - Rights::DIRTY,
        ..*translation
    };
    but_dirty(one) == but_dirty(other)
}
