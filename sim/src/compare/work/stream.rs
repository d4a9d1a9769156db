//! The stream of work that traces give.

use super::churn::Churning;
use super::error::WorkError;
use super::event::{Block, Event, ExitCause};
use super::moments::Moments;
use super::options::{Exits, WorkOptions};
use super::random::Random;
use super::schedule::{Schedule, Turn};
use super::stage::{Played, Stage};
use super::thread::{Outcome, Thread};
use super::topology::{GuestSpec, ProcessSpec, Topology};
use rustc_hash::FxHashMap;
use std::path::Path;
use traces::{AnyTrace, open_any};

/// The stream of work.
pub struct Work {
    topology: Topology,
    stage: Stage,
    threads: Vec<Thread>,
    schedule: Schedule,
    turn: Option<Turn>,
    processors: Vec<Processor>,
    churning: Churning,
    system_calls: bool,
    progress: WorkProgress,
}

/// How far the work is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WorkProgress {
    /// Instructions so far, of all threads.
    pub instructions: u64,
    /// Instructions of the whole work, where the traces tell.
    pub total: Option<u64>,
}

/// A logical processor.
struct Processor {
    process: Option<u16>,
    instructions: u64,
    rate: Moments,
    timer: Moments,
}

impl Processor {
    fn new(number: u8, exits: &Exits, seed: u64) -> Self {
        let random = Random::new(seed, 0x100 + u64::from(number));
        let rate = exits.every.map_or(Moments::NEVER, |every| Moments::anywhere(every as f64, random));
        let timer = exits.timer.map_or(Moments::NEVER, Moments::periodic);
        Self { process: None, instructions: 0, rate, timer }
    }

    /// Instructions until something is due.
    const fn quiet(&self) -> u64 {
        let (rate, timer) = (self.rate.next(), self.timer.next());
        (if rate < timer { rate } else { timer }) - self.instructions
    }
}

impl Work {
    /// Opens the traces.
    ///
    /// # Errors
    ///
    /// [`WorkError`] names the option or the trace.
    pub fn new(options: &WorkOptions) -> Result<Self, WorkError> {
        options.validate()?;
        let topology = topology(options);
        let mut threads = Vec::new();
        for (process, trace) in options.traces.iter().enumerate() {
            for _ in 0..options.threads {
                threads.push(Thread::open(trace.clone(), process as u16, options.limit)?);
            }
        }
        let mut stage = Stage::new(&topology, options.guest_pages, options.host_pages);
        stage.fetches = options.fetches;
        let processor = |number| Processor::new(number, &options.exits, options.seed);
        Ok(Self {
            stage,
            schedule: Schedule::new(threads.len(), options.processors, options.quantum),
            threads,
            turn: None,
            processors: (0..options.processors).map(processor).collect(),
            churning: Churning::new(&options.churn, options.processors, options.seed),
            system_calls: options.exits.system_calls,
            progress: WorkProgress { instructions: 0, total: total(options)? },
            topology,
        })
    }

    /// What the work runs on.
    #[must_use]
    pub const fn topology(&self) -> &Topology {
        &self.topology
    }

    /// How far the work is.
    #[must_use]
    pub const fn progress(&self) -> WorkProgress {
        self.progress
    }

    /// The next part of the work, in the memory of `recycled`; `None` at the end.
    ///
    /// # Errors
    ///
    /// [`WorkError`] when a trace is damaged or touches what it cannot. What comes after an error is not defined.
    pub fn next_block(&mut self, recycled: Block) -> Result<Option<Block>, WorkError> {
        while !self.stage.is_full() {
            let Some(turn) = self.next_turn() else { break };
            self.play(turn)?;
        }
        let block = self.stage.take(recycled);
        Ok((!block.events.is_empty()).then_some(block))
    }

    /// The turn that was interrupted by the end of a block, or the next one.
    fn next_turn(&mut self) -> Option<Turn> {
        if let Some(turn) = self.turn.take() {
            return Some(turn);
        }
        let turn = self.schedule.next()?;
        let process = self.threads[turn.thread].process;
        self.stage.turn(turn.processor, process);
        let current = &mut self.processors[usize::from(turn.processor)].process;
        if current.replace(process) != Some(process) {
            self.stage.event(Event::Dispatch { processor: turn.processor, process });
        }
        Some(turn)
    }

    /// Plays a turn until something is due.
    fn play(&mut self, turn: Turn) -> Result<(), WorkError> {
        let processor = &self.processors[usize::from(turn.processor)];
        let quiet = self.churning.next() - self.progress.instructions;
        let most = turn.left.min(processor.quiet()).min(quiet);
        let thread = &mut self.threads[turn.thread];
        let Outcome::Alive(played) = thread.play(&mut self.stage, most)? else { return Ok(()) };
        self.note(turn, played);
        let churned = self.churning.act(self.progress.instructions, &mut self.stage);
        churned.map_err(|refused| self.threads[turn.thread].refused(refused))?;
        let left = turn.left - played.instructions;
        if left == 0 {
            self.schedule.wait(turn.thread);
        } else {
            self.turn = Some(Turn { left, ..turn });
        }
        Ok(())
    }

    /// Counts what was played, and lets the processor exit where it must.
    fn note(&mut self, turn: Turn, played: Played) {
        self.progress.instructions += played.instructions;
        let processor = &mut self.processors[usize::from(turn.processor)];
        processor.instructions += played.instructions;
        let now = processor.instructions;
        let call = played.system_call && self.system_calls;
        let (rate, timer) = (processor.rate.is_due(now), processor.timer.is_due(now));
        let causes = [(call, ExitCause::SystemCall), (rate, ExitCause::Rate), (timer, ExitCause::Timer)];
        for (_, cause) in causes.into_iter().filter(|(due, _)| *due) {
            self.stage.event(Event::Exit { processor: turn.processor, cause });
        }
    }
}

/// Processors, guests and processes: the traces are dealt to the guests in turn.
fn topology(options: &WorkOptions) -> Topology {
    let guests = (0..options.guests).map(|guest| GuestSpec { name: format!("guest{guest}") });
    let mut seen = FxHashMap::<String, u32>::default();
    let processes = options.traces.iter().zip(0..).map(|(trace, index): (_, u16)| {
        let name = trace.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        let times = seen.entry(name.clone()).or_default();
        *times += 1;
        let name = if *times == 1 { name } else { format!("{name}-{times}") };
        ProcessSpec { name, guest: index % options.guests, number: index / options.guests }
    });
    let processes = processes.collect();
    Topology { processors: options.processors, guests: guests.collect(), processes }
}

/// Instructions of all threads, where the traces tell.
fn total(options: &WorkOptions) -> Result<Option<u64>, WorkError> {
    let mut total = Some(0_u64);
    for trace in &options.traces {
        let instructions = instructions(trace)?.map(|steps| steps.min(options.limit.unwrap_or(u64::MAX)));
        let add = |sum: u64| Some(sum.saturating_add(instructions?.saturating_mul(options.threads.into())));
        total = total.and_then(add);
    }
    Ok(total)
}

/// Instructions of a trace, where it tells.
fn instructions(trace: &Path) -> Result<Option<u64>, WorkError> {
    let AnyTrace::Own(reader) = open_any(trace)? else { return Ok(None) };
    Ok(Some(reader.summary()?.trailer.steps))
}
