//! Translations that were right when a walk found them.

use crate::mapping::Space;
use crate::translation::{PageSize, Scope, Translation};
use isa::address::{HostPhysicalAddress, LinearAddress};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

/// Translations that are remembered of one page of one tag.
const SIGHTS_OF_A_PAGE: usize = 4;

/// A translation that was right.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sight {
    pub(super) translation: Translation,
    /// The last event before a walk found it.
    pub(super) clock: u64,
    /// The same in instructions.
    pub(super) at: u64,
}

/// For each page of each tag, the translations that were right.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pages: FxHashMap<Key, SmallVec<[Sight; 1]>>,
    spaces: FxHashMap<Space, u32>,
}

/// A page, its size in the low bits, and the number of a tag.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Key(u64, u32);

impl Key {
    const fn new(space: u32, address: LinearAddress, size: PageSize) -> Self {
        Self(address.0 & !size.offset_mask() | size as u64, space)
    }
}

impl Seen {
    pub(super) fn note(&mut self, space: Space, sight: Sight) {
        let translation = &sight.translation;
        let next = self.spaces.len() as u32;
        let number = *self.spaces.entry(space).or_insert(next);
        let key = Key::new(number, translation.linear, translation.size);
        let sights = self.pages.entry(key).or_default();
        let host = translation.host_physical;
        if let Some(known) = sights.iter_mut().find(|known| known.translation.host_physical == host) {
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
        let number = *self.spaces.get(&space)?;
        PageSize::ALL.iter().find_map(|&size| {
            let sights = self.pages.get(&Key::new(number, address, size))?;
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
        let others = self.spaces.keys().filter(move |&&other| other != space);
        others.filter_map(move |&other| Some((other, self.find(other, address, host)?)))
    }
}
