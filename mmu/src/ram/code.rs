//! The pages of RAM that hold decoded code.

use isa::address::PAGE_SIZE;

/// Whether marking a page changed anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CodeMark {
    /// The page was not marked before.
    New,
    /// The page was marked already.
    Known,
}

/// A bit for each page, and how often one was set.
#[derive(Default)]
pub(super) struct CodePages {
    words: Vec<u64>,
    marks: u64,
}

impl CodePages {
    pub(super) fn new(bytes: u64) -> Self {
        Self { words: vec![0; bytes.div_ceil(PAGE_SIZE * 64) as usize], marks: 0 }
    }

    #[inline]
    pub(super) fn contains(&self, page: u64) -> bool {
        self.words.get((page / 64) as usize).is_some_and(|word| word >> (page % 64) & 1 == 1)
    }

    /// How often a page was marked that was not.
    #[inline]
    pub(super) const fn marks(&self) -> u64 {
        self.marks
    }

    pub(super) fn insert(&mut self, page: u64) -> CodeMark {
        if self.contains(page) {
            return CodeMark::Known;
        }
        if let Some(word) = self.words.get_mut((page / 64) as usize) {
            *word |= 1 << (page % 64);
            self.marks += 1;
        }
        CodeMark::New
    }

    pub(super) fn remove(&mut self, page: u64) {
        if let Some(word) = self.words.get_mut((page / 64) as usize) {
            *word &= !(1 << (page % 64));
        }
    }
}
