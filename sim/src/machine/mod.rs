//! A whole PC: processors that take turns over one memory, and everything around them.
//!
//! A [`Machine`] is made from [`MachineOptions`] and an image. [`Machine::run`] gives each processor a slice of
//! simulated time in a fixed order, so that the same machine does the same twice. Within its slice a processor runs
//! decoded code until the platform's next event, then takes what is due, by the priorities in one table.
//!
//! 1. [`options`]: what a machine consists of;
//! 2. `clock`, `surroundings`: time and devices as a running processor sees them;
//! 3. `pending`: what is due before an instruction, as a table;
//! 4. `logical`: the life of one processor; `reset`: how it begins; `assemble`: how the machine does;
//! 5. [`report`], [`history`]: what came of it, and why.

mod assemble;
mod clock;
pub mod console;
mod death;
mod debugging;
mod error;
mod features;
mod firmware;
mod guest;
pub mod history;
pub mod hypercall;
mod logical;
mod management;
mod monitor;
pub mod options;
mod pending;
pub mod report;
mod reset;
mod surroundings;
pub mod symbols;
mod waiting;

pub use assemble::OnReset;
pub use error::MachineError;
pub use hypercall::Hypercalls;
pub use options::MachineOptions;

use crate::load::Loaded;
use assemble::{Beginning, Past};
use isa::engine::CodeCache;
use isa::system::Activity;
use logical::{Core, Logical};
use mmu::Ram;
use platform::{Platform, Time};
use report::{RunReport, StopKind, StopReport, TlbReport};
use std::cell::RefCell;
use std::rc::Rc;
use symbols::Symbols;

/// Simulated time between two looks at the user, when nothing else asks for a look.
const LONGEST_SLICE: u64 = 1 << 20;

/// A PC.
pub struct Machine {
    processors: Vec<Logical>,
    code: CodeCache<Core>,
    platform: Rc<RefCell<Platform>>,
    ram: Ram,
    time: Time,
    quantum: u64,
    /// What it begins again with when the guest asks for a reset.
    beginning: Option<Rc<Beginning>>,
    past: Past,
    symbols: Symbols,
}

/// How far a run is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// Instructions of all processors.
    pub instructions: u64,
    /// What the first processor does: the name of its mode, or why it executes nothing.
    pub mode: &'static str,
}

/// Whether a run is to go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Go {
    /// It is.
    On,
    /// It is to end, for this reason.
    End(StopKind),
}

impl Machine {
    /// A machine with an image in its memory. What its serial port sends goes to `sink`.
    ///
    /// # Errors
    ///
    /// [`MachineError`]: options that do not go together, or an image outside RAM.
    pub fn new(
        options: &MachineOptions,
        loaded: &Loaded,
        sink: platform::SerialSink,
    ) -> Result<Self, MachineError> {
        let model = Rc::new(options.model()?);
        let platform = Platform::new(&options.platform(&model), sink)?;
        let ram = assemble::ram(options, platform.options(), loaded)?;
        let platform = Rc::new(RefCell::new(platform));
        let processors = assemble::processors(options, &platform, &model, &loaded.start)?;
        let beginning = match options.on_reset {
            OnReset::Stop => None,
            OnReset::Restart => {
                Some(Rc::new(Beginning { options: options.clone(), model, loaded: loaded.clone() }))
            }
        };
        Ok(Self {
            processors,
            code: CodeCache::new(),
            platform,
            ram,
            time: Time(0),
            quantum: options.quantum,
            beginning,
            past: Past::default(),
            symbols: Symbols::default(),
        })
    }

    /// Runs until something ends the run. `look` is asked now and then.
    pub fn run(
        &mut self,
        limit: Option<u64>,
        mut look: impl FnMut(&mut Platform, Standing) -> Go,
    ) -> RunReport {
        let started = std::time::Instant::now();
        let stop = loop {
            let done = self.instructions();
            let standing = Standing { instructions: done, mode: self.processors[0].mode() };
            if let Go::End(reason) = look(&mut self.platform.borrow_mut(), standing) {
                break StopReport::of(reason);
            }
            if let Some(stop) = self.stop(limit) {
                match (stop.kind, self.beginning.clone()) {
                    (StopKind::Reset, Some(beginning)) if self.restart(&beginning).is_ok() => continue,
                    _ => break stop,
                }
            }
            self.slice(limit.map_or(u64::MAX, |limit| limit - done));
        };
        self.report(stop, started.elapsed().as_secs_f64())
    }

    /// Names addresses from now on where the machine tells of them.
    pub fn set_symbols(&mut self, symbols: Symbols) {
        self.symbols = symbols;
    }

    /// Instructions of all processors.
    #[must_use]
    pub fn instructions(&self) -> u64 {
        self.processors.iter().map(|logical| logical.instructions).sum()
    }

    /// Ticks since the machine was first switched on.
    fn cycles(&self) -> u64 {
        let now = self.processors.iter().map(|logical| logical.now().0).max().unwrap_or(0);
        self.past.cycles + now
    }

    /// Gives each processor its turn.
    fn slice(&mut self, most: u64) {
        let until = Time(self.time.0.saturating_add(self.length().min(most.max(1))));
        for logical in &mut self.processors {
            logical.core.memory.begin_turn(core::mem::take(&mut self.ram));
            logical.live(&mut self.code, until);
            self.ram = logical.core.memory.end_turn();
        }
        self.time = until;
    }

    /// How long the next slice is. While all processors rest it reaches to what wakes one.
    fn length(&self) -> u64 {
        if self.processors.iter().all(Logical::rests) {
            let next = self.next_event();
            return next.map_or(self.quantum, |next| next.since(self.time)).max(self.quantum);
        }
        if self.processors.len() == 1 { LONGEST_SLICE } else { self.quantum }
    }

    /// The next moment at which something may happen while all processors rest.
    fn next_event(&self) -> Option<Time> {
        let timers = self.processors.iter().filter_map(Logical::timer_deadline);
        timers.chain(self.platform.borrow().next_event()).min()
    }

    /// Why the run is over, if it is.
    fn stop(&self, limit: Option<u64>) -> Option<StopReport> {
        if let Some(stopped) = self.platform.borrow().stop() {
            return Some(stopped.stop.into());
        }
        if let Some(dead) = self.processors.iter().position(|p| p.activity() == Activity::Shutdown) {
            return Some(StopReport { processor: Some(dead), ..StopReport::of(StopKind::TripleFault) });
        }
        if limit.is_some_and(|limit| self.instructions() >= limit) {
            return Some(StopReport::of(StopKind::Limit));
        }
        let nothing_comes = self.next_event().is_none();
        let is_over = if nothing_comes { Logical::waits } else { Logical::waits_for_good };
        self.processors.iter().all(is_over).then(|| StopReport::of(StopKind::Halt))
    }

    /// VM exits of all processors.
    fn exits(&self) -> std::collections::BTreeMap<String, report::ExitCount> {
        let mut exits = std::collections::BTreeMap::<String, report::ExitCount>::new();
        for (reason, count) in self.processors.iter().flat_map(|logical| &logical.guest.exits) {
            let all = exits.entry(reason.name().to_owned()).or_default();
            all.count += count.count;
            all.cycles += count.cycles;
        }
        exits
    }

    /// VM entries that were refused, by rule, of all processors.
    fn entry_failures(&self) -> std::collections::BTreeMap<String, u64> {
        let mut failures = std::collections::BTreeMap::new();
        for (rule, refusals) in self.processors.iter().flat_map(|logical| &logical.guest.refusals) {
            *failures.entry((*rule).to_owned()).or_default() += refusals.count;
        }
        failures
    }

    fn report(&self, stop: StopReport, seconds: f64) -> RunReport {
        let instructions = self.instructions();
        let mut unmodelled = std::collections::BTreeMap::new();
        for (name, count) in self.processors.iter().flat_map(|logical| &logical.unmodelled) {
            *unmodelled.entry(name.clone()).or_default() += count;
        }
        let entries = self.processors.iter().map(|logical| logical.core.memory.tlb().entries()).sum();
        RunReport {
            instructions,
            cycles: self.cycles(),
            mips: instructions as f64 / seconds.max(1e-9) / 1e6,
            stop,
            resets: self.past.resets,
            processors: self.processors.iter().map(|logical| logical.instructions).collect(),
            unmodelled,
            exits: self.exits(),
            entry_failures: self.entry_failures(),
            tlb: TlbReport { entries },
        }
    }
}
