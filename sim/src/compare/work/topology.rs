//! Processors, guests and processes of the work.

use serde::{Deserialize, Serialize};

/// What the work runs on; the same for every strategy.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Topology {
    /// Logical processors. Every guest has a virtual processor on each.
    pub processors: u8,
    /// The guests.
    pub guests: Vec<GuestSpec>,
    /// The processes of all guests.
    pub processes: Vec<ProcessSpec>,
}

/// A guest.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct GuestSpec {
    /// Its name in results.
    pub name: String,
}

/// A process: an address space with its threads.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// Its name in results.
    pub name: String,
    /// Its guest, an index into [`Topology::guests`].
    pub guest: u16,
    /// Its place among the processes of its guest, from 0; identifiers of address spaces are made from it.
    pub number: u16,
}

/// Bytes of host-physical memory for one guest; also the alignment of its base.
pub const GUEST_MEMORY: u64 = 64 << 30;

/// The lowest guest-physical address of a frame that a process uses; page tables are below.
pub const FIRST_FRAME: u64 = 1 << 30;

impl Topology {
    /// The host-physical address of guest-physical address 0 of a guest, before pages migrate.
    #[must_use]
    pub const fn guest_base(guest: u16) -> u64 {
        (guest as u64 + 1) * GUEST_MEMORY
    }

    /// Bytes of host-physical memory that the work may name: room for tables below the first guest, the guests, and
    /// the region into which pages of guests migrate.
    #[must_use]
    pub fn host_memory(&self) -> u64 {
        (self.guests.len() as u64 + 2) * GUEST_MEMORY
    }
}
