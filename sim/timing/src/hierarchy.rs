//! The caches of one processor core and the memory behind them.
//!
//! Two first-level caches (instructions, data), a second level for both and a third. A miss fills every level that it
//! passed (write-allocate). The levels are independent: an outer one may drop a line that an inner one still holds
//! (neither inclusive nor exclusive). A dirty line that is replaced makes the next outer level's copy dirty; where that
//! level has none it goes further out and in the end to memory, without being allocated on the way.
//!
//! Not modelled: other cores, prefetchers, bandwidth, the write buffer, the non-inclusive victim L3 of Skylake-X and of
//! AMD processors, and the invalidation of instruction lines that a store changes. Writing back costs no time.

use isa::address::{AccessKind, HostPhysicalAddress};
use serde::Serialize;

use crate::cache::{Cache, Line, Lookup, State};
use crate::processor::Processor;

/// What served an access.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ServedBy {
    /// The L1 instruction or data cache.
    L1,
    /// The L2 cache.
    L2,
    /// The L3 cache.
    L3,
    /// Memory.
    Memory,
}

/// The outcome of an access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Served {
    /// What served it.
    pub by: ServedBy,
    /// Its latency in cycles, that of an L1 hit included.
    pub latency: u64,
}

/// Latencies in cycles, from L1 to memory, as [`ServedBy`] numbers them.
type Latencies = [u64; 4];

/// The caches of one core.
#[derive(Clone, Debug)]
pub struct Hierarchy {
    l1i: Cache,
    l1d: Cache,
    outer: Outer,
    fetch: Latencies,
    data: Latencies,
}

/// The levels that instructions and data share.
#[derive(Clone, Debug)]
struct Outer {
    l2: Cache,
    l3: Cache,
    written_to_memory: u64,
}

impl Hierarchy {
    /// The empty caches of a processor.
    #[must_use]
    pub fn new(processor: &Processor) -> Self {
        let caches = processor.caches();
        let behind_l1 = |l1| [l1, caches.l2().latency(), caches.l3().latency(), processor.memory_latency()];
        Self {
            l1i: Cache::new(caches.l1i()),
            l1d: Cache::new(caches.l1d()),
            outer: Outer { l2: Cache::new(caches.l2()), l3: Cache::new(caches.l3()), written_to_memory: 0 },
            fetch: behind_l1(caches.l1i().latency()),
            data: behind_l1(caches.l1d().latency()),
        }
    }

    /// Accesses the line that holds an address, and says what served it and how long that took.
    ///
    /// Instruction fetches go through the L1 instruction cache, everything else through the L1 data cache.
    #[inline]
    pub fn access(&mut self, address: HostPhysicalAddress, kind: AccessKind) -> Served {
        self.access_line(Line::of(address), kind)
    }

    /// [`access`](Self::access) for a line.
    #[inline]
    pub fn access_line(&mut self, line: Line, kind: AccessKind) -> Served {
        let (l1, latencies, state) = match kind {
            AccessKind::Execute => (&mut self.l1i, &self.fetch, State::Clean),
            AccessKind::Read => (&mut self.l1d, &self.data, State::Clean),
            AccessKind::Write => (&mut self.l1d, &self.data, State::Dirty),
        };
        let by = match l1.access(line, state) {
            Lookup::Hit => ServedBy::L1,
            Lookup::Miss => self.outer.refill(l1, line, state),
        };
        Served { by, latency: latencies[by as usize] }
    }

    /// The latency of a hit in the L1 cache that an access of this kind goes through, in cycles.
    #[inline]
    #[must_use]
    pub const fn l1_latency(&self, kind: AccessKind) -> u64 {
        match kind {
            AccessKind::Execute => self.fetch[0],
            AccessKind::Read | AccessKind::Write => self.data[0],
        }
    }

    /// How many dirty lines have gone to memory.
    #[must_use]
    pub const fn written_to_memory(&self) -> u64 {
        self.outer.written_to_memory
    }
}

impl Outer {
    /// Finds a line that an L1 cache lacks and fills every level that lacked it, the outermost first.
    #[cold]
    fn refill(&mut self, l1: &mut Cache, line: Line, state: State) -> ServedBy {
        let by = self.find(line);
        if by == ServedBy::Memory
            && let Some(victim) = self.l3.fill(line, State::Clean)
        {
            self.write_back(victim, ServedBy::Memory);
        }
        if by >= ServedBy::L3
            && let Some(victim) = self.l2.fill(line, State::Clean)
        {
            self.write_back(victim, ServedBy::L3);
        }
        if let Some(victim) = l1.fill(line, state) {
            self.write_back(victim, ServedBy::L2);
        }
        by
    }

    fn find(&mut self, line: Line) -> ServedBy {
        if self.l2.access(line, State::Clean) == Lookup::Hit {
            ServedBy::L2
        } else if self.l3.access(line, State::Clean) == Lookup::Hit {
            ServedBy::L3
        } else {
            ServedBy::Memory
        }
    }

    /// Gives a dirty line to the first level from `to` outwards that holds it, or to memory.
    fn write_back(&mut self, line: Line, to: ServedBy) {
        let kept = (to <= ServedBy::L2 && self.l2.write_back(line) == Lookup::Hit)
            || (to <= ServedBy::L3 && self.l3.write_back(line) == Lookup::Hit);
        if !kept {
            self.written_to_memory += 1;
        }
    }
}
