//! Which memory the processors have under MONITOR (SDM Vol. 3A, 10.10.4).
//!
//! A monitored page is marked as pages with decoded code are, so that the first store to it by anyone is seen. It ends
//! the wait of whoever monitors a line of that page: the manual allows that a wait ends for no reason.

use isa::address::HostPhysicalAddress;
use std::cell::Cell;

/// The monitored page of each processor.
pub(super) struct Monitors(Vec<Cell<Option<HostPhysicalAddress>>>);

impl Monitors {
    pub(super) fn new(processors: u32) -> Self {
        Self((0..processors).map(|_| Cell::new(None)).collect())
    }

    /// A processor monitors a page from now on, or nothing.
    pub(super) fn arm(&self, processor: u32, page: Option<HostPhysicalAddress>) {
        if let Some(monitored) = self.0.get(processor as usize) {
            monitored.set(page);
        }
    }

    /// Whether a processor monitors a page that nobody has written since.
    pub(super) fn is_armed(&self, processor: u32) -> bool {
        self.0.get(processor as usize).is_some_and(|monitored| monitored.get().is_some())
    }

    /// Someone writes to a page.
    pub(super) fn written(&self, page: HostPhysicalAddress) {
        for monitored in self.0.iter().filter(|monitored| monitored.get() == Some(page)) {
            monitored.set(None);
        }
    }
}
