//! The experiment that tags were invented for: a guest that leaves for its monitor again and again.
//!
//! In each round the guest touches its pages and executes an instruction that exits; the monitor touches its own; every
//! so many rounds the guest's kernel loads CR3. Without tags each transition flushes, so that every page misses in
//! every round. With tags nothing misses after the first round but what a load of CR3 has to remove, and that
//! never concerns the monitor's pages.
//!
//! # Example
//!
//! ```
//! use timing::processor::Processor;
//! use vmxsim::compare::{Bench, Rounds, compare_on, named};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let rounds = Rounds::default();
//! let processor = Processor::named("skylake")?;
//! let bench = Bench::new(processor, rounds.monitor_pages)?;
//! let strategies = named(&["flush-on-transition".to_owned(), "vpid".to_owned()])?;
//! let result = compare_on(&mut rounds.script(), &strategies, &bench, |_| ())?;
//! let walks = Rounds::walks(&result.strategies[0]);
//! assert_eq!(walks[1..], [96; 99]);
//! let walks = Rounds::walks(&result.strategies[1]);
//! assert_eq!(walks[1..12], [0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0]);
//! # Ok(())
//! # }
//! ```

use super::result::StrategyResult;
use super::run::Blocks;
use super::work::{
    Access, Block, Change, Edit, Editor, Event, ExitCause, FIRST_FRAME, GuestSpec, ProcessSpec, Topology,
};
use isa::address::{AccessKind, GuestPhysicalAddress, HostPhysicalAddress, LinearAddress, PAGE_SIZE};
use mmu::PageSize;
use mmu::tables::PagePermissions;

/// The experiment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rounds {
    /// How many rounds.
    pub rounds: u32,
    /// Pages that the guest touches in each.
    pub guest_pages: u32,
    /// Pages that the monitor touches in each.
    pub monitor_pages: u32,
    /// Rounds from one load of CR3 to the next.
    pub reload_every: u32,
}

impl Default for Rounds {
    /// 100 rounds of 64 pages and 32, with a load of CR3 after every tenth.
    fn default() -> Self {
        Self { rounds: 100, guest_pages: 64, monitor_pages: 32, reload_every: 10 }
    }
}

/// The first page of the guest's program.
const PAGES: LinearAddress = LinearAddress(0x40_0000);

impl Rounds {
    /// The rounds as work: the first block makes the pages, and then each round is one.
    #[must_use]
    pub fn script(&self) -> Blocks {
        let guests = vec![GuestSpec { name: "guest".to_owned() }];
        let processes = vec![ProcessSpec { name: "program".to_owned(), guest: 0, number: 0 }];
        let topology = Topology { processors: 1, guests, processes };
        let rounds = (0..self.rounds).map(|round| self.round(round));
        Blocks { topology, blocks: [self.pages()].into_iter().chain(rounds).collect() }
    }

    /// The walks of each round.
    #[must_use]
    pub fn walks(result: &StrategyResult) -> Vec<u64> {
        result.occupancy.windows(2).map(|pair| pair[1].walks - pair[0].walks).collect()
    }

    fn pages(&self) -> Block {
        let dispatch = Event::Dispatch { processor: 0, process: 0 };
        let made = (0..self.guest_pages).flat_map(|page| page_edits(u64::from(page)));
        Block { events: [dispatch].into_iter().chain(made).collect(), ..Block::default() }
    }

    fn round(&self, round: u32) -> Block {
        let page = |page: u32| Access {
            address: PAGES.add(u64::from(page) * PAGE_SIZE),
            bytes: 8,
            kind: AccessKind::Read,
            instructions: 1,
        };
        let mut events = vec![
            Event::Run { processor: 0, accesses: 0..self.guest_pages },
            Event::Exit { processor: 0, cause: ExitCause::Rate },
        ];
        if (round + 1).is_multiple_of(self.reload_every) {
            events.push(Event::Reload { processor: 0 });
        }
        let accesses = (0..self.guest_pages).map(page).collect();
        Block { accesses, events, instructions: u64::from(self.guest_pages) }
    }
}

/// What makes a page: the monitor gives the frame, the kernel maps it.
fn page_edits(page: u64) -> [Event; 2] {
    let offset = page * PAGE_SIZE;
    let frame = GuestPhysicalAddress(FIRST_FRAME + offset);
    let host = HostPhysicalAddress(Topology::guest_base(0) + frame.0);
    let edit = |id, by, change| Event::Edit(Edit { id, last: true, processor: 0, by, process: 0, change });
    let size = PageSize::Size4K;
    let permissions = PagePermissions::USER | PagePermissions::WRITE;
    [
        edit(2 * page, Editor::Monitor, Change::MapHost { guest_physical: frame, size, frame: host }),
        edit(2 * page + 1, Editor::Kernel, Change::Map { page: PAGES.add(offset), size, frame, permissions }),
    ]
}
