//! Which pages the translations of fetches were used for, so that an invalidation elsewhere lets fetches go on.

use crate::translation::GuestPageSize;
use isa::address::LinearAddress;

/// An epoch that no view has when it is used: it gets a new one before.
pub(super) const STALE: u64 = 0;

/// Bits of the set of pages.
const BITS: usize = 1 << 13;

/// Whether all translations of fetches are [noted](Fetches::note).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NotedFetches {
    /// They are.
    All,
    /// They are not: any invalidation may be of one.
    Nothing,
}

/// The epoch of the fetches of one view, and a superset of the pages that fetches were translated for in it.
pub(super) struct Fetches {
    pub(super) epoch: u64,
    noting: NotedFetches,
    pages: Box<[u64; BITS / 64]>,
    is_empty: bool,
}

impl Fetches {
    pub(super) fn new(noting: NotedFetches) -> Self {
        Self { epoch: STALE, noting, pages: Box::new([0; BITS / 64]), is_empty: true }
    }

    /// Takes note of a translation that was used for a fetch, of a page of some size in the guest's tables.
    #[inline]
    pub(super) fn note(&mut self, address: LinearAddress, size: GuestPageSize) {
        let bit = bit(address, size);
        self.pages[bit / 64] |= 1 << (bit % 64);
        self.is_empty = false;
    }

    /// Translations of any address may differ from now on.
    pub(super) fn expire(&mut self) {
        self.epoch = STALE;
        if !self.is_empty {
            self.pages.fill(0);
            self.is_empty = true;
        }
    }

    /// Translations of the page around an address may differ from now on.
    pub(super) fn expire_around(&mut self, address: LinearAddress) {
        if self.may_use(address) {
            self.expire();
        }
    }

    /// Whether a fetch may have used a translation of a page around an address.
    #[inline]
    pub(super) fn may_use(&self, address: LinearAddress) -> bool {
        let is_noted = |size| {
            let bit = bit(address, size);
            self.pages[bit / 64] >> (bit % 64) & 1 != 0
        };
        match self.noting {
            NotedFetches::Nothing => true,
            NotedFetches::All => !self.is_empty && GuestPageSize::ALL.into_iter().any(is_noted),
        }
    }
}

/// The bit of a page; several pages share one.
#[inline]
const fn bit(address: LinearAddress, size: GuestPageSize) -> usize {
    let page = address.0 >> size.shift() ^ (size.shift() as u64) << 56;
    (page.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - BITS.trailing_zeros())) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_ends_with_an_invalidation_in_a_page_of_its_fetches_and_with_no_other() {
        for size in GuestPageSize::ALL {
            let page = LinearAddress(0xffff_8000_4000_0000);
            let mut fetches = Fetches { epoch: 7, ..Fetches::new(NotedFetches::All) };
            fetches.note(page.add(5), size);
            fetches.expire_around(page.add(size.bytes()));
            fetches.expire_around(LinearAddress(page.0 - 1));
            assert_eq!(fetches.epoch, 7, "{size:?}");
            fetches.expire_around(page.add(size.bytes() - 1));
            assert_eq!(fetches.epoch, STALE, "{size:?}");
            fetches.epoch = 8;
            fetches.expire_around(page);
            assert_eq!(fetches.epoch, 8, "{size:?}: the next epoch begins without pages");
        }
    }

    #[test]
    fn where_fetches_are_not_noted_any_invalidation_ends_the_epoch() {
        let mut fetches = Fetches { epoch: 7, ..Fetches::new(NotedFetches::Nothing) };
        fetches.expire_around(LinearAddress(0));
        assert_eq!(fetches.epoch, STALE);
    }
}
