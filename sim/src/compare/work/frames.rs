//! Frames of physical memory, guest or host.

use mmu::PageSize;
use std::collections::VecDeque;

/// How many frames rest before one is used again: time enough for a correct kernel to have invalidated, and short
/// enough that a translation that was forgotten soon shows somebody else's memory.
const REST: usize = 32;

/// A region from which frames are taken in order, and given back.
pub(super) struct Frames {
    next: u64,
    end: u64,
    /// The rest of a 2-MByte piece from which 4-KByte frames are taken.
    small: std::ops::Range<u64>,
    /// Frames that were given back, the oldest first, by size.
    resting: [VecDeque<u64>; 3],
}

impl Frames {
    /// Takes frames from `region`.
    pub(super) fn new(region: std::ops::Range<u64>) -> Self {
        Self { next: region.start, end: region.end, small: 0..0, resting: Default::default() }
    }

    /// A frame; nothing when the region is used up.
    pub(super) fn take(&mut self, size: PageSize) -> Option<u64> {
        let resting = &mut self.resting[size as usize];
        if resting.len() > REST {
            return resting.pop_front();
        }
        if size != PageSize::Size4K {
            return self.carve(size);
        }
        if self.small.is_empty() {
            let start = self.carve(PageSize::Size2M)?;
            self.small = start..start + PageSize::Size2M.bytes();
        }
        let frame = self.small.start;
        self.small.start += size.bytes();
        Some(frame)
    }

    fn carve(&mut self, size: PageSize) -> Option<u64> {
        let start = self.next.next_multiple_of(size.bytes());
        let end = start.checked_add(size.bytes()).filter(|end| *end <= self.end)?;
        self.next = end;
        Some(start)
    }

    /// Gives a frame back.
    pub(super) fn give(&mut self, size: PageSize, frame: u64) {
        self.resting[size as usize].push_back(frame);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use PageSize::{Size2M, Size4K};

    #[test]
    fn frames_come_in_order_aligned_and_never_twice_until_the_region_is_used_up() {
        let mut frames = Frames::new(0x20_1000..0x80_1000);
        assert_eq!(frames.take(Size4K), Some(0x40_0000));
        assert_eq!(frames.take(Size2M), Some(0x60_0000));
        assert_eq!(frames.take(Size4K), Some(0x40_1000));
        assert_eq!(frames.take(Size2M), None);
        assert_eq!(std::iter::from_fn(|| frames.take(Size4K)).count(), 510);
    }

    #[test]
    fn a_frame_that_was_given_back_rests_and_is_used_again() {
        let mut frames = Frames::new(0..1 << 30);
        for _ in 0..=REST {
            let frame = frames.take(Size4K).unwrap();
            frames.give(Size4K, frame);
        }
        assert_eq!(frames.take(Size4K), Some(0));
        assert_eq!(frames.take(Size4K), Some((REST as u64 + 1) << 12));
    }
}
