//! The loops of a replay.

use super::machine::Machine;
use super::options::{ReplayOptions, Verify};
use super::report::ReplayReport;
use super::verify::{self, Divergence};
use super::{ReplayError, foreign};
use isa::cpu::Stop;
use isa::engine::{CodeCache, Run};
use isa::registers::Registers;
use isa::scope::{self, Scope};
use std::collections::BTreeMap;
use std::time::Instant;
use traces::{AnyTrace, Chunk, Event, Item, Sections, Step, StepKind, Stores, TraceReader, open_any};

/// Instructions between two reports of progress.
const PROGRESS_EVERY: u64 = 1 << 18;

pub(super) fn replay(
    options: &ReplayOptions,
    progress: impl FnMut(u64),
) -> Result<ReplayReport, ReplayError> {
    let mut reader = match open_any(&options.trace)? {
        AnyTrace::Own(reader) => reader,
        foreign => return foreign::replay(options, foreign.access_steps(), progress),
    };
    let started = Instant::now();
    let mut replay = Replay::new(options, progress)?;
    match options.verify {
        Verify::No => {
            while let Some(chunk) = replay.next(&mut reader, Sections::EventsOnly)? {
                replay.free(&chunk)?;
            }
        }
        Verify::EachInstruction => {
            while let Some(chunk) = replay.next(&mut reader, Sections::All)? {
                replay.verifying(&chunk)?;
            }
        }
    }
    Ok(replay.report(started))
}

struct Replay<P> {
    machine: Machine,
    /// Instructions done.
    index: u64,
    limit: u64,
    verified: u64,
    divergences: u64,
    first_divergence: Option<Divergence>,
    /// Set when the free loop cannot go on.
    ended: bool,
    counts: Counts,
    progress: P,
    /// The recorded registers before the next instruction, while verifying.
    before: Registers,
    buffer: Vec<u8>,
}

/// Instructions that were taken from the record, by mnemonic.
#[derive(Default)]
struct Counts {
    unmodelled: BTreeMap<String, u64>,
    recorded: BTreeMap<String, u64>,
}

impl Counts {
    fn count(&mut self, bytes: &[u8], rip: u64) {
        let instruction = verify::decode(bytes, rip);
        let counts = match scope::of(&instruction) {
            // A recorder may also take what this engine computes: it knew fewer instructions, or had its reasons.
            Scope::Outside | Scope::Computed => &mut self.recorded,
            Scope::Unmodelled => &mut self.unmodelled,
        };
        *counts.entry(verify::mnemonic(&instruction)).or_default() += 1;
    }
}

impl<P: FnMut(u64)> Replay<P> {
    fn new(options: &ReplayOptions, progress: P) -> Result<Self, ReplayError> {
        let code = match options.verify {
            Verify::No => CodeCache::new(),
            Verify::EachInstruction => CodeCache::of_single_instructions(),
        };
        Ok(Self {
            machine: Machine::new(options, code)?,
            index: 0,
            limit: options.limit.unwrap_or(u64::MAX),
            verified: 0,
            divergences: 0,
            first_divergence: None,
            ended: false,
            counts: Counts::default(),
            progress,
            before: Registers::default(),
            buffer: Vec::new(),
        })
    }

    fn next(&self, reader: &mut TraceReader, sections: Sections) -> Result<Option<Chunk>, ReplayError> {
        if self.ended || self.index >= self.limit {
            return Ok(None);
        }
        Ok(reader.next_chunk(sections)?)
    }

    /// Runs a chunk, stopping only where the record has something to say.
    fn free(&mut self, chunk: &Chunk) -> Result<(), ReplayError> {
        let end = chunk.first_index() + chunk.steps();
        let mut events = chunk.events();
        loop {
            let next = events.peek_index()?;
            self.advance(next.unwrap_or(end));
            if self.ended || self.index >= self.limit {
                return Ok(());
            }
            match events.next()? {
                None => return Ok(()),
                Some((_, event)) => self.apply(&event)?,
            }
        }
    }

    /// Computes instructions up to the one with this index.
    fn advance(&mut self, to: u64) {
        let to = to.min(self.limit);
        while self.index < to && !self.ended {
            let part = (to - self.index).min(PROGRESS_EVERY);
            let run = self.machine.run(part);
            self.index += run.executed;
            (self.progress)(self.index);
            if run.stop.is_some() {
                self.stuck(&run);
            }
        }
    }

    /// The engine cannot execute an instruction that the processor executed: they have parted before or here.
    fn stuck(&mut self, run: &Run) {
        let registers = self.machine.registers();
        let mut bytes = [0; 15];
        let length = (1..=15).rev().find(|&n| self.machine.peek(registers.rip, &mut bytes[..n])).unwrap_or(0);
        let instruction = verify::decode(&bytes[..length], registers.rip);
        let length = if instruction.is_invalid() { length } else { instruction.len() };
        let divergence = verify::describe_stop(
            self.index,
            registers.rip,
            &bytes[..length],
            &registers,
            &self.reason(run.stop.as_ref()),
        );
        self.diverged(divergence);
        self.ended = true;
    }

    fn reason(&self, stop: Option<&Stop>) -> String {
        match (stop, self.machine.cpu.fault) {
            (Some(Stop::Machine), Some(fault)) => fault.to_string(),
            (Some(stop), _) => format!("{stop:?}"),
            (None, _) => "it went on".to_owned(),
        }
    }

    fn diverged(&mut self, divergence: Divergence) {
        self.divergences += 1;
        self.first_divergence.get_or_insert(divergence);
    }

    fn apply(&mut self, event: &Event<'_>) -> Result<(), ReplayError> {
        match event {
            Event::Page { address, permissions, content } => {
                self.machine.page(*address, *permissions, content)?;
            }
            Event::Patch { address, bytes } => self.machine.patch(*address, bytes)?,
            Event::Permissions { address, permissions } => self.machine.permit(*address, *permissions)?,
            Event::Effect(registers) => self.machine.set_registers(registers),
            Event::Exec(registers) => self.machine.exec(registers)?,
            Event::Taken(taken) => {
                let mut registers = self.machine.registers();
                taken.apply(&mut registers);
                self.machine.set_registers(&registers);
                self.take(taken.bytes, taken.rip, &taken.stores)?;
            }
        }
        Ok(())
    }

    /// Counts an instruction that is taken from the record, and does its stores.
    fn take(&mut self, bytes: &[u8], rip: u64, stores: &Stores<'_>) -> Result<(), ReplayError> {
        self.counts.count(bytes, rip);
        for store in stores.iter() {
            self.machine.store(&store)?;
        }
        self.machine.charge_instruction();
        self.index += 1;
        Ok(())
    }

    /// Runs a chunk instruction by instruction and compares after each.
    fn verifying(&mut self, chunk: &Chunk) -> Result<(), ReplayError> {
        let Some(mut walk) = chunk.walk() else { return Ok(()) };
        while self.index < self.limit {
            match walk.next()? {
                None => return Ok(()),
                Some(Item::Event(_, event)) => {
                    self.apply(&event)?;
                    if let Event::Effect(registers) | Event::Exec(registers) = event {
                        self.before = *registers;
                    }
                }
                Some(Item::Step(step)) => {
                    self.step(&step)?;
                    self.before = *step.after;
                }
            }
            if self.index.is_multiple_of(PROGRESS_EVERY) {
                (self.progress)(self.index);
            }
        }
        Ok(())
    }

    fn step(&mut self, step: &Step<'_>) -> Result<(), ReplayError> {
        match step.kind {
            StepKind::Computed => self.compare(step),
            StepKind::Taken => {
                self.machine.set_registers(step.after);
                self.take(step.bytes, step.rip, &step.stores)
            }
        }
    }

    fn compare(&mut self, step: &Step<'_>) -> Result<(), ReplayError> {
        let run = self.machine.run(1);
        if let Some(stop) = &run.stop {
            return self.refused(step, stop);
        }
        self.index += 1;
        let mut difference = None;
        if self.machine.cpu.state != *step.after {
            let mut actual = self.machine.registers();
            difference = verify::registers(step, &self.before, &mut actual);
            // Undefined flags and results are those of the record from here on.
            self.machine.set_registers(&actual);
        }
        if difference.is_none() && !step.stores.is_empty() {
            let machine = &self.machine;
            difference = verify::stores(step, |at, bytes| machine.peek(at, bytes), &mut self.buffer);
        }
        match difference {
            None => self.verified += 1,
            Some(difference) => {
                self.diverged(verify::describe(step, &self.before, difference));
                self.adopt(step)?;
            }
        }
        Ok(())
    }

    /// The engine does not execute an instruction: it takes its recorded effect.
    fn refused(&mut self, step: &Step<'_>, stop: &Stop) -> Result<(), ReplayError> {
        if *stop == Stop::Unmodelled {
            self.machine.set_registers(step.after);
            return self.take(step.bytes, step.rip, &step.stores);
        }
        let reason = self.reason(Some(stop));
        self.diverged(verify::describe_stop(step.index, step.rip, step.bytes, &self.before, &reason));
        self.index += 1;
        self.adopt(step)
    }

    /// Continues with what the record says.
    fn adopt(&mut self, step: &Step<'_>) -> Result<(), ReplayError> {
        self.machine.set_registers(step.after);
        for store in step.stores.iter() {
            self.machine.store(&store)?;
        }
        Ok(())
    }

    fn report(self, started: Instant) -> ReplayReport {
        ReplayReport {
            verified: self.verified,
            divergences: self.divergences,
            first_divergence: self.first_divergence,
            unmodelled: self.counts.unmodelled,
            recorded: self.counts.recorded,
            ..ReplayReport::of_addresses(&self.machine, self.index, started.elapsed())
        }
    }
}
