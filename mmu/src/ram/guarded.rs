//! The pages of RAM that are not written like others: those that hold decoded code, and those of ROMs.

use super::layout::{MemoryKind, MemoryRange};
use isa::address::PAGE_SIZE;

/// Whether marking a page changed anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CodeMark {
    /// The page was not marked before.
    New,
    /// The page was marked already.
    Known,
}

/// Pages, a bit each.
#[derive(Default)]
struct Pages(Vec<u64>);

impl Pages {
    fn new(end: u64) -> Self {
        Self(vec![0; end.div_ceil(PAGE_SIZE * 64) as usize])
    }

    #[inline(always)]
    fn contains(&self, page: u64) -> bool {
        self.0.get((page / 64) as usize).is_some_and(|word| word >> (page % 64) & 1 == 1)
    }

    fn insert(&mut self, page: u64) {
        if let Some(word) = self.0.get_mut((page / 64) as usize) {
            *word |= 1 << (page % 64);
        }
    }

    fn remove(&mut self, page: u64) {
        if let Some(word) = self.0.get_mut((page / 64) as usize) {
            *word &= !(1 << (page % 64));
        }
    }
}

/// What a write to a page does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Writing {
    /// Writes.
    Allowed,
    /// Nothing.
    Ignored,
    /// It is refused: there is decoded code of the page.
    Refused,
}

/// The pages to which writes are not simply made.
#[derive(Default)]
pub(super) struct GuardedPages {
    /// Those of the other two: one look tells that a page is none.
    guarded: Pages,
    code: Pages,
    read_only: Pages,
    /// How often a page became one that holds code.
    marks: u64,
}

impl GuardedPages {
    pub(super) fn new(ranges: &[MemoryRange], end: u64) -> Self {
        let mut pages =
            Self { guarded: Pages::new(end), code: Pages::new(end), read_only: Pages::default(), marks: 0 };
        for range in ranges.iter().filter(|range| range.kind == MemoryKind::ReadOnly) {
            if pages.read_only.0.is_empty() {
                pages.read_only = Pages::new(end);
            }
            for page in range.pages() {
                pages.read_only.insert(page);
                pages.guarded.insert(page);
            }
        }
        pages
    }

    /// Whether writes to a page are not simply made.
    #[inline(always)]
    pub(super) fn contains(&self, page: u64) -> bool {
        self.guarded.contains(page)
    }

    /// What a write to a page does.
    pub(super) fn writing(&self, page: u64) -> Writing {
        if self.read_only.contains(page) {
            Writing::Ignored
        } else if self.code.contains(page) {
            Writing::Refused
        } else {
            Writing::Allowed
        }
    }

    pub(super) fn holds_code(&self, page: u64) -> bool {
        self.code.contains(page)
    }

    /// How often a page was marked that was not.
    pub(super) const fn marks(&self) -> u64 {
        self.marks
    }

    pub(super) fn mark_code(&mut self, page: u64) -> CodeMark {
        if self.code.contains(page) {
            return CodeMark::Known;
        }
        self.code.insert(page);
        self.guarded.insert(page);
        self.marks += 1;
        CodeMark::New
    }

    pub(super) fn unmark_code(&mut self, page: u64) {
        self.code.remove(page);
        if !self.read_only.contains(page) {
            self.guarded.remove(page);
        }
    }
}
