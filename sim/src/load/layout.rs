//! Puts pieces into RAM: each inside it, none over another.

use super::error::{Place, Problem, Refusal};
use super::memory::{MemoryMap, RegionKind};
use super::{Loaded, Piece, Start};
use isa::address::HostPhysicalAddress;
use std::collections::BTreeMap;

/// Which RAM a piece may lie in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ram {
    /// What the memory map calls usable.
    Usable,
    /// That and what is reserved for firmware.
    Any,
}

/// From which end free RAM is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Direction {
    Up,
    Down,
}

/// Where free RAM is looked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Window {
    /// The lowest address.
    pub(super) from: u64,
    /// The address behind the highest.
    pub(super) below: u64,
    /// A power of two.
    pub(super) align: u64,
    pub(super) direction: Direction,
}

impl Window {
    /// Conventional memory for what a protocol hands over: above the vectors and the data of firmware, in whole
    /// paragraphs.
    pub(super) const LOW: Self = Self { from: 0x6000, below: 0x9_0000, align: 16, direction: Direction::Up };

    /// The same, in whole pages.
    pub(super) const LOW_PAGES: Self = Self { align: 0x1000, ..Self::LOW };
}

/// Something that lies in RAM.
struct Taken {
    end: u64,
    what: Place,
}

/// RAM being filled.
pub(super) struct Layout<'a> {
    map: &'a MemoryMap,
    pieces: Vec<Piece>,
    /// By start.
    taken: BTreeMap<u64, Taken>,
}

impl<'a> Layout<'a> {
    pub(super) fn new(map: &'a MemoryMap) -> Self {
        Self { map, pieces: Vec::new(), taken: BTreeMap::new() }
    }

    /// What has been placed, with how it starts.
    pub(super) fn started(self, start: Start) -> Loaded {
        Loaded { pieces: self.pieces, start }
    }

    /// What lies in any of `start` to `end`.
    fn in_the_way(&self, start: u64, end: u64) -> Option<(u64, &Taken)> {
        let last = self.taken.range(..end).next_back();
        last.filter(|(_, taken)| taken.end > start).map(|(at, taken)| (*at, taken))
    }

    /// Takes `bytes` from `address` for `what`, with no piece of its own.
    pub(super) fn reserve(&mut self, what: Place, address: u64, bytes: u64, ram: Ram) -> Result<(), Refusal> {
        let at = HostPhysicalAddress(address);
        let inside = match ram {
            Ram::Usable => self.map.usable(address, bytes),
            Ram::Any => self.map.is_ram(address, bytes),
        };
        if !inside {
            return Err(what.refused(Problem::OutsideRam { address: at, bytes, ram: self.map.in_words() }));
        }
        if bytes == 0 {
            return Ok(());
        }
        let end = address + bytes;
        if let Some((start, other)) = self.in_the_way(address, end) {
            let (other, start) = (other.what.clone(), HostPhysicalAddress(start));
            return Err(what.refused(Problem::Overlap { address: at, bytes, other, at: start }));
        }
        self.taken.insert(address, Taken { end, what });
        Ok(())
    }

    /// Puts `bytes` at `address`, followed by `zeros` bytes of 0.
    pub(super) fn place(
        &mut self,
        what: Place,
        address: u64,
        bytes: &[u8],
        zeros: u64,
        ram: Ram,
    ) -> Result<(), Refusal> {
        // A sum beyond 2^64 is outside RAM as well.
        let whole = (bytes.len() as u64).saturating_add(zeros);
        self.reserve(what, address, whole, ram)?;
        self.push(address, bytes.to_vec(), zeros);
        Ok(())
    }

    /// Puts bytes into room that [`Layout::reserve`] or [`Layout::room`] took.
    pub(super) fn push(&mut self, address: u64, bytes: Vec<u8>, zeros: u64) {
        if !bytes.is_empty() || zeros > 0 {
            self.pieces.push(Piece { address: HostPhysicalAddress(address), bytes, zeros });
        }
    }

    /// Puts `bytes` where there is room in `window`, and returns where.
    pub(super) fn put(&mut self, what: Place, bytes: &[u8], window: Window) -> Result<u64, Refusal> {
        let address = self.room(what, bytes.len() as u64, window)?;
        self.push(address, bytes.to_vec(), 0);
        Ok(address)
    }

    /// Takes room for `bytes` in `window`, and returns where.
    pub(super) fn room(&mut self, what: Place, bytes: u64, window: Window) -> Result<u64, Refusal> {
        // What is empty has an address too.
        let size = bytes.max(1);
        let usable = self.map.regions().iter().filter(|region| region.kind == RegionKind::Usable);
        let banks = usable.map(|region| (region.start.0.max(window.from), region.end().min(window.below)));
        let found = match window.direction {
            Direction::Up => {
                banks.into_iter().find_map(|(from, to)| self.lowest(from, to, size, window.align))
            }
            Direction::Down => banks.rev().find_map(|(from, to)| self.highest(from, to, size, window.align)),
        };
        let Some(address) = found else {
            let Window { from, below, .. } = window;
            return Err(what.refused(Problem::NoRoom { bytes, from, below, ram: self.map.in_words() }));
        };
        self.reserve(what, address, size, Ram::Usable)?;
        Ok(address)
    }

    fn lowest(&self, from: u64, to: u64, bytes: u64, align: u64) -> Option<u64> {
        let mut start = from.checked_next_multiple_of(align)?;
        loop {
            let end = start.checked_add(bytes).filter(|end| *end <= to)?;
            let Some((_, taken)) = self.in_the_way(start, end) else { return Some(start) };
            start = taken.end.checked_next_multiple_of(align)?;
        }
    }

    fn highest(&self, from: u64, to: u64, bytes: u64, align: u64) -> Option<u64> {
        let mut below = to;
        loop {
            let start = below.checked_sub(bytes)? & !(align - 1);
            if start < from {
                return None;
            }
            let Some((at, _)) = self.in_the_way(start, start + bytes) else { return Some(start) };
            below = at;
        }
    }
}
