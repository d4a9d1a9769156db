//! Named processors: caches, memory, TLB and core as data, each value with its source.
//!
//! A processor is a TOML file. The shipped ones lie in `sim/processors`; [`Processor::named`] knows them by name and
//! [`Processor::from_toml`] reads another. A file is refused as a whole, with the key and the value, if anything in it
//! is unknown, missing, out of range or without a source.
//!
//! ```toml
//! name = "example"
//! description = "What it stands for"
//!
//! [core]
//! issue-width = 4                    # instructions a cycle when nothing stalls, 1 to 8
//!
//! [tlb]                              # the geometry of the TLB, as crate `mmu` reads it
//! level1_data = [{ page_sizes = ["4K"], sets = 16, ways = 4 }]
//!
//! [tlb-latency]
//! l2-hit = 9                         # cycles that a lookup in the L2 TLB adds
//!
//! [caches]
//! line = 64                          # bytes; no other size is supported
//! l1i = { kib = 32, ways = 8, latency = 4 }      # latency in cycles, from load to use
//! l1d = { kib = 32, ways = 8, latency = 4 }
//! l2 = { kib = 256, ways = 4, latency = 12 }
//! l3 = { kib = 6144, ways = 12, latency = 45 }
//!
//! [memory]
//! latency = 169                      # cycles, the way through all caches included
//!
//! [walkers]                          # may be left out; the first model runs one walk at a time
//! count = 2
//!
//! [operations]                       # cycles; see crate::operations, which lists them all
//! vm-exit = 531
//! invlpg = 186
//!
//! [[source]]                         # as many as needed; the longest key that covers a value is its source
//! keys = ["tlb", "caches", "memory.latency"]
//! basis = "measured"                 # read, measured, derived, recalled or assumed
//! text = "where it was published"
//! ```
//!
//! A file may say `base = "skylake"` and then only what differs, with its own sources: tables are merged key by key,
//! arrays and values replaced. What it does not mention keeps the value and the source of the base.
//!
//! ```
//! use timing::processor::Processor;
//!
//! let text = r#"
//!     base = "skylake"
//!     name = "slow-ipi"
//!     description = "Skylake with slow interrupts"
//!
//!     [operations]
//!     ipi-receive = 9000
//!
//!     [[source]]
//!     keys = ["operations"]
//!     basis = "assumed"
//!     text = "To see what it does."
//! "#;
//! let (slow, skylake) = (Processor::from_toml(text, "slow.toml")?, Processor::named("skylake").unwrap());
//! assert_eq!(slow.operations().ipi_receive(), 9000);
//! assert_eq!(slow.operations().invlpg(), skylake.operations().invlpg());
//! # Ok::<(), timing::processor::ProcessorError>(())
//! ```

mod base;
mod check;
mod error;
mod file;
mod shipped;
mod source;

use std::io::Read;
use std::path::Path;

pub use error::{Problem, ProcessorError, SelectError, UnknownProcessor};
pub use source::{Basis, Fact, Source};

pub(crate) use check::Checker;

use crate::operations::OperationCosts;

/// Bytes in a cache line; no other size is supported.
pub const LINE_SIZE: u64 = 64;

/// The most bytes of a processor file.
const LARGEST_FILE: u64 = 1 << 20;

/// A processor whose values have been checked.
#[derive(Clone, PartialEq, Debug)]
pub struct Processor {
    file: String,
    name: String,
    description: String,
    issue_width: u32,
    tlb: toml::Table,
    l2_tlb_latency: u64,
    caches: Caches,
    memory_latency: u64,
    walkers: Option<u32>,
    operations: OperationCosts,
    facts: Vec<Fact>,
}

impl Processor {
    /// The shipped processor of this name.
    ///
    /// # Errors
    ///
    /// [`UnknownProcessor`], with the names that exist.
    pub fn named(name: &str) -> Result<Self, UnknownProcessor> {
        shipped::find(name)
    }

    /// The names of the shipped processors.
    pub fn known() -> impl Iterator<Item = &'static str> {
        shipped::names()
    }

    /// The shipped processor of this name, or the processor of a file whose path ends in `.toml`.
    ///
    /// # Errors
    ///
    /// [`SelectError`]: there is no such name, or the file cannot be read or is refused.
    ///
    /// ```
    /// use timing::processor::{Processor, SelectError};
    /// assert_eq!(Processor::select("zen4").map(|processor| processor.name().to_owned())?, "zen4");
    /// assert!(matches!(Processor::select("none.toml"), Err(SelectError::Read { .. })));
    /// # Ok::<(), SelectError>(())
    /// ```
    pub fn select(name_or_path: &str) -> Result<Self, SelectError> {
        let path = Path::new(name_or_path);
        if path.extension().is_none_or(|extension| extension != "toml") {
            return Ok(Self::named(name_or_path)?);
        }
        let read = |reason| SelectError::Read { file: path.to_owned(), reason };
        let mut text = String::new();
        let file = std::fs::File::open(path).map_err(read)?;
        file.take(LARGEST_FILE + 1).read_to_string(&mut text).map_err(read)?;
        if text.len() as u64 > LARGEST_FILE {
            let reason = format!("larger than the {LARGEST_FILE} bytes that a processor file may have");
            return Err(read(std::io::Error::new(std::io::ErrorKind::FileTooLarge, reason)));
        }
        Ok(Self::from_toml(&text, name_or_path)?)
    }

    /// Reads a processor file. `file` names it in errors and is not opened.
    ///
    /// # Errors
    ///
    /// [`ProcessorError`] says which key is wrong, with its value, or where the text is not what is expected.
    pub fn from_toml(text: &str, file: &str) -> Result<Self, ProcessorError> {
        file::read(text, file)
    }

    /// The file that described it, as its reader gave it.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The short name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which processor was described.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Instructions a cycle when nothing stalls, 1 to 8.
    #[must_use]
    pub const fn issue_width(&self) -> u32 {
        self.issue_width
    }

    /// The `[tlb]` section as it stands in the file: the geometry that crate `mmu` reads.
    ///
    /// Only its sources and the ranges of `sets` and `ways` have been checked.
    #[must_use]
    pub const fn tlb(&self) -> &toml::Table {
        &self.tlb
    }

    /// Cycles that a lookup in the L2 TLB adds.
    #[must_use]
    pub const fn l2_tlb_latency(&self) -> u64 {
        self.l2_tlb_latency
    }

    /// The caches.
    #[must_use]
    pub const fn caches(&self) -> &Caches {
        &self.caches
    }

    /// Cycles of an access that memory serves, from load to use.
    #[must_use]
    pub const fn memory_latency(&self) -> u64 {
        self.memory_latency
    }

    /// How many page walks can be under way at once, where known. The first model runs one at a time.
    #[must_use]
    pub const fn walkers(&self) -> Option<u32> {
        self.walkers
    }

    /// What transitions, invalidations, interrupts and faults cost.
    #[must_use]
    pub const fn operations(&self) -> &OperationCosts {
        &self.operations
    }

    /// Every value with its key and source, in the order of their keys.
    #[must_use]
    pub fn facts(&self) -> &[Fact] {
        &self.facts
    }
}

/// The caches of a processor core.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caches {
    l1i: CacheGeometry,
    l1d: CacheGeometry,
    l2: CacheGeometry,
    l3: CacheGeometry,
}

impl Caches {
    /// The L1 instruction cache.
    #[must_use]
    pub const fn l1i(&self) -> &CacheGeometry {
        &self.l1i
    }

    /// The L1 data cache.
    #[must_use]
    pub const fn l1d(&self) -> &CacheGeometry {
        &self.l1d
    }

    /// The L2 cache.
    #[must_use]
    pub const fn l2(&self) -> &CacheGeometry {
        &self.l2
    }

    /// The L3 cache, or the part of it that serves the core.
    #[must_use]
    pub const fn l3(&self) -> &CacheGeometry {
        &self.l3
    }
}

/// Size and latency of a cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CacheGeometry {
    sets: u64,
    ways: u32,
    latency: u64,
}

impl CacheGeometry {
    /// A cache of `kib` KBytes (1 to 2^20) in `ways` ways (1 to 64) whose hits take `latency` cycles (1 to 100,000).
    ///
    /// The number of sets follows and need not be a power of two.
    ///
    /// # Errors
    ///
    /// The key (`kib`, `ways` or `latency`) with its value and what is wrong with it.
    pub fn new(kib: u64, ways: u64, latency: u64) -> Result<Self, (&'static str, u64, Problem)> {
        check::cache(kib, ways, latency)
    }

    /// The number of sets.
    #[must_use]
    pub const fn sets(&self) -> u64 {
        self.sets
    }

    /// The lines of a set.
    #[must_use]
    pub const fn ways(&self) -> u32 {
        self.ways
    }

    /// Cycles of a hit, from load to use.
    #[must_use]
    pub const fn latency(&self) -> u64 {
        self.latency
    }
}
