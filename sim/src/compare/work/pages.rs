//! The pages of one address space, linear or guest-physical, and what they permit.

use super::random::Random;
use mmu::PageSize;
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;

/// A page: its first address and its size.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Page(u64);

impl Page {
    /// The page of `size` that holds `address`.
    pub(super) const fn holding(address: u64, size: PageSize) -> Self {
        Self(address & !size.offset_mask() | size as u64)
    }

    pub(super) const fn start(self) -> u64 {
        self.0 & !0xfff
    }

    pub(super) const fn size(self) -> PageSize {
        PageSize::ALL[(self.0 & 3) as usize]
    }
}

/// What a page permits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// Everything.
    Writable,
    /// No writes, until one is tried.
    ReadOnly,
    /// No writes; the first one gets a frame of its own.
    Shared,
}

/// Where a page is and what it permits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mapped {
    pub(super) frame: u64,
    pub(super) state: State,
    /// Its place in the list.
    slot: u32,
}

/// Which pages may be chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Choice {
    Any,
    Writable,
}

/// The mapped pages.
#[derive(Default)]
pub(super) struct Pages {
    pages: FxHashMap<Page, Mapped>,
    order: BTreeSet<Page>,
    /// The same pages to choose from: first those that are writable.
    list: Vec<Page>,
    writable: usize,
}

/// How many pages are looked at for one that is chosen.
const LOOKS: usize = 8;

impl Pages {
    pub(super) fn get(&self, page: Page) -> Option<&Mapped> {
        self.pages.get(&page)
    }

    /// Maps a page that is not mapped.
    pub(super) fn insert(&mut self, page: Page, frame: u64) {
        let slot = self.list.len() as u32;
        self.list.push(page);
        self.order.insert(page);
        self.pages.insert(page, Mapped { frame, state: State::ReadOnly, slot });
        self.set_state(page, State::Writable);
    }

    /// Unmaps a page; what it was.
    pub(super) fn remove(&mut self, page: Page) -> Option<Mapped> {
        self.set_state(page, State::ReadOnly);
        let mapped = self.pages.remove(&page)?;
        self.order.remove(&page);
        self.swap(mapped.slot as usize, self.list.len() - 1);
        self.list.pop();
        Some(mapped)
    }

    /// Gives a mapped page another frame; the one that it had.
    pub(super) fn set_frame(&mut self, page: Page, frame: u64) -> Option<u64> {
        self.pages.get_mut(&page).map(|mapped| std::mem::replace(&mut mapped.frame, frame))
    }

    /// Changes what a mapped page permits.
    pub(super) fn set_state(&mut self, page: Page, state: State) {
        let Some(mapped) = self.pages.get_mut(&page) else { return };
        let (slot, before) = (mapped.slot as usize, mapped.state);
        mapped.state = state;
        match (before == State::Writable, state == State::Writable) {
            (false, true) => {
                self.swap(slot, self.writable);
                self.writable += 1;
            }
            (true, false) => {
                self.writable -= 1;
                self.swap(slot, self.writable);
            }
            _ => {}
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.list.swap(a, b);
        for slot in [a, b] {
            if let Some(mapped) = self.pages.get_mut(&self.list[slot]) {
                mapped.slot = slot as u32;
            }
        }
    }

    /// The mapped pages that start in a range, in order.
    pub(super) fn within(&self, range: std::ops::Range<u64>) -> impl Iterator<Item = Page> + '_ {
        self.order.range(Page(range.start)..Page(range.end)).copied()
    }

    /// Chooses a page at random and those after it, at most `count` and in the order of addresses; a few that may not
    /// be chosen are passed over.
    pub(super) fn choose(&self, random: &mut Random, choice: Choice, count: u32, chosen: &mut Vec<Page>) {
        chosen.clear();
        let among = if choice == Choice::Writable { self.writable } else { self.list.len() };
        let Some(&first) = self.list[..among].get(random.below(among as u64) as usize) else { return };
        let count = among.min(count as usize);
        let around = self.order.range(first..).chain(self.order.range(..first));
        let fits = |page: &&Page| {
            choice == Choice::Any || self.get(**page).is_some_and(|mapped| mapped.state == State::Writable)
        };
        chosen.extend(around.take(count * LOOKS).filter(fits).take(count));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Toggle(u64),
        State(u64, u8),
        Choose(u64, u32),
    }

    fn state(n: u8) -> State {
        [State::Writable, State::ReadOnly, State::Shared][usize::from(n)]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0u64..16).prop_map(Step::Toggle),
            (0u64..16, 0u8..3).prop_map(|(page, state)| Step::State(page, state)),
            (any::<u64>(), 1u32..5).prop_map(|(seed, count)| Step::Choose(seed, count)),
        ]
    }

    fn check(pages: &Pages, model: &BTreeMap<Page, (u64, State)>) {
        assert_eq!(pages.list.len(), model.len());
        for (slot, page) in pages.list.iter().enumerate() {
            let mapped = pages.get(*page).unwrap();
            assert_eq!((mapped.slot as usize, (mapped.frame, mapped.state)), (slot, model[page]));
            assert_eq!(slot < pages.writable, mapped.state == State::Writable);
        }
        assert!(pages.within(0..u64::MAX).eq(model.keys().copied()));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn pages_are_those_of_a_plain_map_and_choices_fit(steps in prop::collection::vec(step(), 0..60)) {
            let (mut pages, mut model) = (Pages::default(), BTreeMap::new());
            for step in steps {
                match step {
                    Step::Toggle(n) => {
                        let page = Page::holding(n << 12, PageSize::Size4K);
                        if let Some((frame, _)) = model.remove(&page) {
                            prop_assert_eq!(pages.remove(page).unwrap().frame, frame);
                        } else {
                            model.insert(page, (n, State::Writable));
                            pages.insert(page, n);
                        }
                    }
                    Step::State(n, to) => {
                        let page = Page::holding(n << 12, PageSize::Size4K);
                        pages.set_state(page, state(to));
                        model.entry(page).and_modify(|entry| entry.1 = state(to));
                    }
                    Step::Choose(seed, count) => {
                        let mut chosen = Vec::new();
                        for choice in [Choice::Any, Choice::Writable] {
                            pages.choose(&mut Random::new(seed, 0), choice, count, &mut chosen);
                            let fits = |s: State| choice == Choice::Any || s == State::Writable;
                            let able = model.values().filter(|(_, state)| fits(*state)).count();
                            prop_assert_eq!(chosen.is_empty(), able == 0);
                            prop_assert!(chosen.len() <= able.min(count as usize));
                            prop_assert!(chosen.iter().all(|page| fits(model[page].1)));
                            if choice == Choice::Any {
                                prop_assert_eq!(chosen.len(), able.min(count as usize));
                            }
                        }
                    }
                }
                check(&pages, &model);
            }
        }
    }
}
