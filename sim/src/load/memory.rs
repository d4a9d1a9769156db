//! RAM as an image sees it, and what a loader puts there.

use super::LoadError;
use core::fmt;

/// A range of physical addresses, the end excluded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    /// The first address.
    pub start: u64,
    /// The first address behind it.
    pub end: u64,
}

impl Range {
    /// `bytes` bytes at `start`, unless that is beyond the end of addresses.
    #[must_use]
    pub fn at(start: u64, bytes: u64) -> Option<Self> {
        start.checked_add(bytes).map(|end| Self { start, end })
    }

    const fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    const fn holds(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}-{:#x}", self.start, self.end.wrapping_sub(1))
    }
}

/// Where there is RAM that an image may use.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MemoryMap {
    /// The ranges, ascending.
    pub ranges: Vec<Range>,
}

/// The end of conventional memory.
const CONVENTIONAL: u64 = 0x9_fc00;
/// Where memory goes on behind the ROMs.
const HIGH: u64 = 0x10_0000;
/// Where RAM below 4 GiB ends at most: devices have their registers above.
const DEVICES: u64 = 0xc000_0000;

impl MemoryMap {
    /// The map of a PC with so many bytes of RAM: conventional memory, memory above 1 MiB, and above 4 GiB what does not
    /// fit below 3 GiB.
    #[must_use]
    pub fn of_pc(bytes: u64) -> Self {
        let below = bytes.min(DEVICES);
        let above = bytes - below;
        let ranges = [
            Range { start: 0, end: CONVENTIONAL.min(below) },
            Range { start: HIGH, end: below },
            Range { start: 1 << 32, end: (1 << 32) + above },
        ];
        Self { ranges: ranges.into_iter().filter(|range| range.start < range.end).collect() }
    }

    fn holds(&self, range: Range) -> bool {
        self.ranges.iter().any(|ram| ram.holds(range))
    }
}

impl fmt::Display for MemoryMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ranges: Vec<_> = self.ranges.iter().map(ToString::to_string).collect();
        f.write_str(&ranges.join(", "))
    }
}

/// Bytes in memory, followed by zeros.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Piece {
    /// What it is, for errors.
    pub what: String,
    /// Where it is.
    pub range: Range,
    /// Its content; what is behind it up to the end of the range is 0.
    pub bytes: Vec<u8>,
}

/// The pieces placed so far.
pub(super) struct Layout<'a> {
    map: &'a MemoryMap,
    pub(super) pieces: Vec<Piece>,
}

impl<'a> Layout<'a> {
    pub(super) const fn new(map: &'a MemoryMap) -> Self {
        Self { map, pieces: Vec::new() }
    }

    /// Places a piece at a fixed address; `size` counts the zeros behind it.
    pub(super) fn place(
        &mut self,
        what: String,
        start: u64,
        bytes: Vec<u8>,
        size: u64,
    ) -> Result<(), LoadError> {
        let end = start.saturating_add(size.max(bytes.len() as u64));
        let range = Range { start, end };
        if !self.map.holds(range) {
            return Err(LoadError::OutsideRam { what, range, ram: self.map.to_string() });
        }
        if let Some(other) = self.pieces.iter().find(|piece| piece.range.overlaps(range)) {
            return Err(LoadError::Overlap { one: what, at: range, other: other.what.clone() });
        }
        self.pieces.push(Piece { what, range, bytes });
        Ok(())
    }

    /// Places a piece on a page behind everything else above 1 MiB and below 4 GiB, and says where.
    pub(super) fn append(&mut self, what: &str, bytes: Vec<u8>) -> Result<u64, LoadError> {
        let end = self.pieces.iter().map(|piece| piece.range.end).max().unwrap_or(0).max(HIGH);
        let start = end.next_multiple_of(4096);
        let size = bytes.len() as u64;
        let fits = Range::at(start, size).is_some_and(|range| range.end <= 1 << 32 && self.map.holds(range));
        if !fits {
            return Err(LoadError::NoRoom { what: what.to_owned(), bytes: size });
        }
        self.place(what.to_owned(), start, bytes, size)?;
        Ok(start)
    }
}
