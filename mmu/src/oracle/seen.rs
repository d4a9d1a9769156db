//! Translations that were right when they were used.

use crate::mapping::Space;
use crate::translation::{PageSize, Scope, Translation};
use isa::address::{HostPhysicalAddress, LinearAddress};
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

/// Translations that are remembered of one page of one tag.
const SIGHTS_OF_A_PAGE: usize = 4;

/// A translation that was right.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sight {
    pub(super) translation: Translation,
    /// The last event before which it was seen right.
    pub(super) clock: u64,
    /// The same in instructions.
    pub(super) at: u64,
}

/// For each page of each tag, the translations that were right.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pages: FxHashMap<(Space, LinearAddress, PageSize), SmallVec<[Sight; 1]>>,
    spaces: FxHashSet<Space>,
}

impl Seen {
    pub(super) fn note(&mut self, space: Space, sight: Sight) {
        let translation = sight.translation;
        if !self.spaces.contains(&space) {
            self.spaces.insert(space);
        }
        let sights = self.pages.entry((space, translation.linear, translation.size)).or_default();
        if let Some(known) =
            sights.iter_mut().find(|known| known.translation.host_physical == translation.host_physical)
        {
            *known = sight;
        } else {
            if sights.len() >= SIGHTS_OF_A_PAGE {
                sights.remove(0);
            }
            sights.push(sight);
        }
    }

    /// The translation of `address` to `host` that was right under a tag.
    pub(super) fn find(
        &self,
        space: Space,
        address: LinearAddress,
        host: HostPhysicalAddress,
    ) -> Option<&Sight> {
        PageSize::ALL.iter().find_map(|&size| {
            let page = LinearAddress(address.0 & !size.offset_mask());
            let sights = self.pages.get(&(space, page, size))?;
            sights.iter().find(|sight| sight.translation.host(address) == host)
        })
    }

    /// The same for a global translation of another PCID.
    pub(super) fn find_global(
        &self,
        space: Space,
        address: LinearAddress,
        host: HostPhysicalAddress,
    ) -> Option<(Space, &Sight)> {
        let found = self.elsewhere(space, address, host).filter(|(other, _)| other.shares_globals(space));
        found.into_iter().find(|(_, sight)| sight.translation.scope == Scope::Global)
    }

    /// The other tags under which the translation was right.
    pub(super) fn elsewhere(
        &self,
        space: Space,
        address: LinearAddress,
        host: HostPhysicalAddress,
    ) -> impl Iterator<Item = (Space, &Sight)> {
        let others = self.spaces.iter().filter(move |&&other| other != space);
        others.filter_map(move |&other| Some((other, self.find(other, address, host)?)))
    }
}
