//! The events that a processor took last, for whoever asks why it died.

use isa::event::Event;

/// How many are kept.
const KEPT: usize = 16;

/// An event as it was delivered or refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Taken {
    /// The event.
    pub event: Event,
    /// The selector and the offset of the code that it met.
    pub at: (u16, u64),
    /// The address that CR2 received, of a page fault.
    pub address: Option<u64>,
    /// Whether its delivery failed, so that another event followed from it.
    pub failed: bool,
}

/// The last events, oldest first.
#[derive(Clone, Default, Debug)]
pub struct History {
    taken: std::collections::VecDeque<Taken>,
}

impl History {
    pub(super) fn note(&mut self, taken: Taken) {
        if self.taken.len() == KEPT {
            self.taken.pop_front();
        }
        self.taken.push_back(taken);
    }

    /// The event noted last has not reached its handler.
    pub(super) fn last_failed(&mut self) {
        if let Some(last) = self.taken.back_mut() {
            last.failed = true;
        }
    }

    /// The events, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Taken> {
        self.taken.iter()
    }
}
