//! Whether a processor has performed what a change requires.

use super::change::{Change, What};
use super::history::Record;
use super::processor::Processor;
use crate::mapping::{Mapping, Space};
use crate::operation::Performed;
use crate::rules::{self, Rule};
use crate::tlb::Invalidation;
use crate::translation::{PageSize, Translation};
use isa::address::{GuestPhysicalAddress, HostPhysicalAddress, LinearAddress};
use smallvec::{SmallVec, smallvec};

/// Mappings that must be gone together.
type Stage = SmallVec<[Mapping; 4]>;

/// The rule by which a processor may no longer use an old translation, if it has performed an operation since the
/// change that demands this.
///
/// What the translation can be made from again has to go before it, or with it: first the entries of the EPT
/// paging-structure caches, then the guest-physical translations, then the entries of the paging-structure caches for
/// linear addresses, then the translation.
pub(super) fn settled(
    processor: &Processor,
    record: &Record,
    space: Space,
    translation: &Translation,
) -> Option<&'static Rule> {
    let mut stages = stages(&record.change, space, translation);
    stages.retain(|stage| !stage.is_empty());
    let mut left = stages.as_slice();
    for performed in processor.operations_since(record.since) {
        while let [stage, rest @ ..] = left {
            let Some(rule) = demands_all(performed, stage) else { break };
            left = rest;
            if left.is_empty() {
                return Some(rule);
            }
        }
    }
    None
}

/// The rule by which an operation removes all mappings of a stage.
fn demands_all(performed: &Performed, stage: &Stage) -> Option<&'static Rule> {
    let mut rule = None;
    for mapping in stage {
        rule = Some(rules::required(performed, mapping)?);
        if !is_of_word(performed, mapping) {
            return None;
        }
    }
    rule
}

/// Whether an operation is about mappings with this tag word. In the profile `extended` it is so by the words of its
/// invalidations alone, and switching the word removes nothing.
fn is_of_word(performed: &Performed, mapping: &Mapping) -> bool {
    let (Mapping::Translation { space, .. } | Mapping::Structure { space, .. }) = mapping else {
        return true;
    };
    let words = || {
        performed.invalidations.iter().filter_map(|invalidation| match *invalidation {
            Invalidation::Word { word, compare, .. } => Some((space.word ^ word) & compare == 0),
            _ => None,
        })
    };
    let strict = performed.before.tag_word == 0 && performed.after.tag_word == 0 && words().next().is_none();
    strict || words().any(|covered| covered)
}

fn stages(change: &Change, space: Space, translation: &Translation) -> SmallVec<[Stage; 4]> {
    let own: Stage = smallvec![Mapping::Translation { space, translation: *translation }];
    match change.what {
        What::GuestEntry { .. } if !change.had_table() => smallvec![own],
        What::GuestEntry { .. } => smallvec![structures(space, translation, change.level), own],
        What::Binding { .. } => smallvec![structures(space, translation, 5), own],
        What::EptEntry { ept, page, .. } => {
            let ept = ept.root.page();
            let guest_physical: Stage = smallvec![guest_physical(ept, page)];
            let mut stages = smallvec![guest_physical, structures(space, translation, 5), own];
            if change.had_table() {
                stages.insert(0, ept_structures(ept, page, change.level));
            }
            stages
        }
    }
}

/// The entries of paging-structure caches that a walk for the translation can begin at, from `highest` down.
fn structures(space: Space, translation: &Translation, highest: u8) -> Stage {
    let lowest = translation.guest_size.level() + 1;
    let structure = |level: u8| {
        let linear = LinearAddress(translation.linear.0 >> shift(level) << shift(level));
        Mapping::Structure { space, level, linear, table: HostPhysicalAddress(0) }
    };
    (lowest..=highest).map(structure).collect()
}

fn guest_physical(ept: HostPhysicalAddress, page: GuestPhysicalAddress) -> Mapping {
    let host_physical = HostPhysicalAddress(0);
    Mapping::GuestPhysical { ept, guest_physical: page, host_physical, size: PageSize::Size4K }
}

fn ept_structures(ept: HostPhysicalAddress, page: GuestPhysicalAddress, highest: u8) -> Stage {
    let structure = |level: u8| {
        let guest_physical = GuestPhysicalAddress(page.0 >> shift(level) << shift(level));
        Mapping::EptStructure { ept, level, guest_physical, table: HostPhysicalAddress(0) }
    };
    (2..=highest).map(structure).collect()
}

/// Address bits below those that select an entry of this level.
const fn shift(level: u8) -> u32 {
    3 + 9 * level as u32
}
