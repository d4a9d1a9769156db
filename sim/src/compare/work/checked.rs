//! A small memory of what the tables permit, so that most accesses need no look at them.

use isa::address::AccessKind;

/// Pages that it remembers, a power of two.
const PAGES: usize = 1024;

/// What every page permits at least, once it is known.
const MAPPED: u64 = 1;
/// And this, where it can be written.
const WRITABLE: u64 = 2;

/// What both tables permit for a process, by page; direct-mapped.
pub(super) struct Checked(Box<[u64; PAGES]>);

impl Default for Checked {
    fn default() -> Self {
        Self(Box::new([0; PAGES]))
    }
}

impl Checked {
    /// Whether this access to the page is known to be permitted.
    #[inline]
    pub(super) fn permits(&self, page: u64, kind: AccessKind) -> bool {
        let known = self.0[page as usize % PAGES];
        let writable = known == page << 2 | MAPPED | WRITABLE;
        writable || kind != AccessKind::Write && known == page << 2 | MAPPED
    }

    pub(super) fn note(&mut self, page: u64, permits: Permits) {
        let writable = if permits == Permits::All { WRITABLE } else { 0 };
        self.0[page as usize % PAGES] = page << 2 | MAPPED | writable;
    }

    pub(super) fn forget(&mut self) {
        self.0.fill(0);
    }
}

/// What the tables of guest and monitor permit together for a page that both map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Permits {
    All,
    NoWrites,
}
