//! What the work is made from.

use super::error::WorkError;
use mmu::PageSize;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Everything that decides what the work is. Equal options give equal work.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct WorkOptions {
    /// The traces; each is a process, and they are dealt to the guests in turn.
    pub traces: Vec<PathBuf>,
    /// Logical processors.
    pub processors: u8,
    /// Guests.
    pub guests: u16,
    /// Threads of each process; each runs the whole trace.
    pub threads: u16,
    /// Instructions until the next thread has its turn on a processor.
    pub quantum: u64,
    /// When processors leave their guests.
    pub exits: Exits,
    /// Changes of the tables beside those that first touches bring.
    pub churn: Churn,
    /// Pages of the guests' kernels.
    pub guest_pages: GuestPages,
    /// Pages of EPT.
    pub host_pages: PageSize,
    /// Whether fetches in a row from one cache line are one access.
    pub fetches: Fetches,
    /// Most instructions of each thread.
    pub limit: Option<u64>,
    /// Chooses the pages and the moments of churn.
    pub seed: u64,
}

/// When processors leave their guests, besides faults.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Exits {
    /// At system calls, which only traces of the project's own format show.
    pub system_calls: bool,
    /// Once in so many instructions of a processor, at a moment that the seed chooses.
    pub every: Option<u64>,
    /// At every so many instructions of a processor.
    pub timer: Option<u64>,
}

/// Changes of the tables, each as actions per million instructions of all processors together.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Churn {
    /// Pages are unmapped; they come back with other frames when they are touched.
    pub unmap: f64,
    /// Pages are made read-only; they become writable when they are written.
    pub protect: f64,
    /// Pages are shared; they get other frames when they are written.
    pub copy_on_write: f64,
    /// Pages get other frames.
    pub migrate: f64,
    /// Guest-physical pages get other frames.
    pub host_migrate: f64,
    /// EPT no more permits writes to guest-physical pages; it does when they are written.
    pub host_cut: f64,
    /// Pages of one action.
    pub batch: u32,
}

/// Which pages a guest's kernel uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum GuestPages {
    /// 4 KByte.
    #[default]
    #[serde(rename = "4K")]
    Size4K,
    /// 2 MByte.
    #[serde(rename = "2M")]
    Size2M,
    /// 1 GByte.
    #[serde(rename = "1G")]
    Size1G,
    /// 4 KByte, until more than so many pages of a 2-MByte region are mapped: then the region becomes one page.
    #[serde(rename = "transparent")]
    Transparent(u16),
}

/// Which fetches are accesses of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fetches {
    /// Those from another cache line than the fetch before. To TLBs and caches the others say nothing new, as long as
    /// nothing but fetches takes entries from the first level for fetches: a second level that includes it does.
    #[default]
    PerLine,
    /// Those of every instruction.
    Each,
}

impl Default for WorkOptions {
    fn default() -> Self {
        Self {
            traces: Vec::new(),
            processors: 2,
            guests: 2,
            threads: 1,
            quantum: 20_000,
            exits: Exits::default(),
            churn: Churn::default(),
            guest_pages: GuestPages::default(),
            host_pages: PageSize::Size4K,
            fetches: Fetches::default(),
            limit: None,
            seed: 1,
        }
    }
}

impl Default for Exits {
    fn default() -> Self {
        Self { system_calls: true, every: None, timer: None }
    }
}

impl Default for Churn {
    fn default() -> Self {
        Self {
            unmap: 0.0,
            protect: 0.0,
            copy_on_write: 0.0,
            migrate: 0.0,
            host_migrate: 0.0,
            host_cut: 0.0,
            batch: 1,
        }
    }
}

/// The most of what [`WorkOptions`] can ask for.
const MOST_PROCESSORS: u8 = 64;
const MOST_GUESTS: u16 = 64;
const MOST_TRACES: usize = 1024;
const MOST_THREADS: u16 = 64;
const MOST_BATCH: u32 = 1 << 16;
/// More actions than instructions have no moment to happen.
const MOST_ACTIONS: f64 = 1e6;

impl WorkOptions {
    /// Checks every field.
    ///
    /// # Errors
    ///
    /// [`WorkError::Option`] names the first field that cannot be.
    pub fn validate(&self) -> Result<(), WorkError> {
        let within = |field, value: u64, most: u64| {
            let fits = (1..=most).contains(&value);
            if fits { Ok(()) } else { Err(WorkError::option(field, value, format!("1 to {most}"))) }
        };
        within("traces", self.traces.len() as u64, MOST_TRACES as u64)?;
        within("processors", self.processors.into(), MOST_PROCESSORS.into())?;
        within("guests", self.guests.into(), MOST_GUESTS.into())?;
        within("threads", self.threads.into(), MOST_THREADS.into())?;
        within("quantum", self.quantum, u64::MAX)?;
        within("exits.every", self.exits.every.unwrap_or(1), u64::MAX)?;
        within("exits.timer", self.exits.timer.unwrap_or(1), u64::MAX)?;
        within("limit", self.limit.unwrap_or(1), u64::MAX)?;
        if let GuestPages::Transparent(pages) = self.guest_pages
            && pages >= 512
        {
            return Err(WorkError::option("guest-pages.transparent", pages, "0 to 511"));
        }
        self.churn.validate()
    }
}

impl Churn {
    fn validate(&self) -> Result<(), WorkError> {
        for (field, rate) in [
            ("churn.unmap", self.unmap),
            ("churn.protect", self.protect),
            ("churn.copy-on-write", self.copy_on_write),
            ("churn.migrate", self.migrate),
            ("churn.host-migrate", self.host_migrate),
            ("churn.host-cut", self.host_cut),
        ] {
            if !(0.0..=MOST_ACTIONS).contains(&rate) {
                return Err(WorkError::option(field, rate, format!("0 to {MOST_ACTIONS}")));
            }
        }
        if !(1..=MOST_BATCH).contains(&self.batch) {
            return Err(WorkError::option("churn.batch", self.batch, format!("1 to {MOST_BATCH}")));
        }
        Ok(())
    }
}
