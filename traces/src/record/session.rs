//! The loop that executes one instruction after the other and records it.

use super::error::RecordError;
use super::instruction::{Class, Decoded, describe};
use super::launch::{Steering, edit_stack};
use super::memory::{Memory, PageId};
use super::tracee::{Resume, Stop, Tracee, copy_general};
use super::{Outcome, RecordOptions};
use crate::format::{
    Content, Cpuid, EndReason, MAX_INSTRUCTION, Sink, StepKind, StepRecord, Store, TraceWriter,
};
use iced_x86::{Decoder, DecoderError, DecoderOptions, InstructionInfoFactory};
use isa::address::{LinearAddress, PAGE_SIZE};
use isa::registers::Registers;
use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::Ordering;

/// The code segment of 64-bit programs under Linux.
const USER_CS: u64 = 0x33;

/// A store of more bytes than this is recorded by its checksum when the step is computed.
const MANY: usize = 64;

/// How many steps pass between two reports of progress.
const REPORT: u64 = 1 << 12;

/// What the recording does next; `Some` ends it.
pub(crate) type Flow = Option<EndReason>;

/// Memory that the current instruction touches.
#[derive(Clone, Copy)]
pub(crate) struct Touched {
    pub(crate) address: u64,
    pub(crate) size: usize,
    pub(crate) stores: bool,
}

/// A recording under way.
pub(crate) struct Session<'w, S: Sink> {
    program: &'w Path,
    pub(crate) tracee: Tracee,
    pub(crate) options: RecordOptions,
    writer: &'w mut TraceWriter<S>,
    pub(crate) memory: Memory,
    code: FxHashMap<u64, Rc<Decoded>>,
    factory: InstructionInfoFactory,
    /// The registers before the next instruction.
    pub(crate) state: Registers,
    pub(crate) outcome: Outcome,
    /// A signal that is delivered when the program goes on.
    pub(crate) inject: i32,
    pub(crate) touched: SmallVec<[Touched; 4]>,
    /// Pages that the instruction will touch and that do not exist yet.
    missing: SmallVec<[u64; 4]>,
    /// Bytes that the instruction stored.
    stored: Vec<u8>,
}

impl<'w, S: Sink> Session<'w, S> {
    pub(crate) fn new(
        program: &'w Path,
        tracee: Tracee,
        options: RecordOptions,
        writer: &'w mut TraceWriter<S>,
    ) -> Self {
        let outcome = Outcome {
            end: EndReason::Stopped,
            steps: 0,
            programs: 0,
            threads_not_recorded: false,
            left_64_bit_mode: false,
        };
        Self {
            program,
            tracee,
            options,
            writer,
            memory: Memory::new(),
            code: FxHashMap::default(),
            factory: InstructionInfoFactory::new(),
            state: Registers::default(),
            outcome,
            inject: 0,
            touched: SmallVec::new(),
            missing: SmallVec::new(),
            stored: Vec::new(),
        }
    }

    pub(crate) fn run(mut self, progress: &mut dyn FnMut(u64)) -> Result<Outcome, RecordError> {
        if !self.begin()? {
            let code_segment = self.registers()?.cs;
            return Err(RecordError::NotX8664 { program: self.program.to_owned(), code_segment });
        }
        loop {
            let flow = if self.is_due() { Some(self.end_now()) } else { self.advance()? };
            if let Some(end) = flow {
                progress(self.outcome.steps);
                return Ok(Outcome { end, ..self.outcome });
            }
            if self.outcome.steps.is_multiple_of(REPORT) {
                progress(self.outcome.steps);
            }
        }
    }

    /// A program is about to start; `false` when it is not a 64-bit one.
    pub(crate) fn begin(&mut self) -> Result<bool, RecordError> {
        let registers = self.registers()?;
        if registers.cs != USER_CS {
            return Ok(false);
        }
        let steering = match self.options.cpuid {
            Cpuid::ScopeOnly => Steering::Scope,
            Cpuid::Host => Steering::Host,
        };
        let edited = edit_stack(&mut self.tracee, registers.rsp, steering);
        edited.map_err(|source| self.refused("edit the stack of the program", source))?;
        self.memory = Memory::new();
        self.code.clear();
        self.outcome.programs += 1;
        self.load_state(&registers)?;
        self.writer.push_exec(&self.state)?;
        Ok(true)
    }

    /// Takes over all registers.
    pub(crate) fn load_state(&mut self, registers: &libc::user_regs_struct) -> Result<(), RecordError> {
        copy_general(registers, &mut self.state);
        let read = self.tracee.vector_registers(&mut self.state);
        read.map_err(|source| self.refused("read vector registers", source))
    }

    pub(crate) fn push_effect(&mut self) -> Result<(), RecordError> {
        Ok(self.writer.push_effect(&self.state)?)
    }

    fn is_due(&self) -> bool {
        self.options.limit.is_some_and(|limit| self.outcome.steps >= limit) || self.is_stopped()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.options.stop.is_some_and(|flag| flag.load(Ordering::Relaxed))
    }

    fn end_now(&mut self) -> EndReason {
        self.tracee.kill();
        if self.is_stopped() { EndReason::Stopped } else { EndReason::Limit }
    }

    /// Executes one instruction.
    fn advance(&mut self) -> Result<Flow, RecordError> {
        self.touched.clear();
        self.missing.clear();
        let Some(decoded) = self.fetch()? else { return self.step_blindly() };
        match decoded.class {
            Class::Cpuid if self.options.cpuid == Cpuid::ScopeOnly => self.answer_cpuid(&decoded),
            Class::SystemCall => self.system_call(&decoded),
            Class::Repeated(repeat) => self.repeat(&decoded, repeat),
            _ => {
                self.touch_operands(&decoded)?;
                self.step(&decoded)
            }
        }
    }

    /// The instruction at RIP; `None` when there is none that can be read or decoded.
    fn fetch(&mut self) -> Result<Option<Rc<Decoded>>, RecordError> {
        let rip = self.state.rip;
        let Some(first) = self.touch(rip / PAGE_SIZE)? else { return Ok(None) };
        if let Some(known) = self.code.get(&rip) {
            let known = Rc::clone(known);
            if self.is_current(&known, first)? {
                return Ok(Some(known));
            }
        }
        self.decode(first)
    }

    /// Whether the bytes from which `known` was decoded are still there.
    fn is_current(&mut self, known: &Decoded, first: PageId) -> Result<bool, RecordError> {
        let (code, at) = (known.code(), LinearAddress(self.state.rip).page_offset());
        let here = code.len().min(PAGE_SIZE as usize - at);
        let second = if here < code.len() { self.touch(self.state.rip / PAGE_SIZE + 1)? } else { None };
        let generations =
            [self.memory.generation(first), second.map_or(0, |page| self.memory.generation(page))];
        if known.generations.get() == generations {
            return Ok(true);
        }
        let same = self.memory.content(first)[at..at + here] == code[..here]
            && second.is_none_or(|page| self.memory.content(page)[..code.len() - here] == code[here..])
            && (here == code.len() || second.is_some());
        if same {
            known.generations.set(generations);
        }
        Ok(same)
    }

    fn decode(&mut self, first: PageId) -> Result<Option<Rc<Decoded>>, RecordError> {
        let rip = self.state.rip;
        let at = LinearAddress(rip).page_offset();
        let mut bytes = [0; MAX_INSTRUCTION];
        let here = MAX_INSTRUCTION.min(PAGE_SIZE as usize - at);
        bytes[..here].copy_from_slice(&self.memory.content(first)[at..at + here]);
        let mut decoder = Decoder::with_ip(64, &bytes[..here], rip, DecoderOptions::NONE);
        let mut instruction = decoder.decode();
        if decoder.last_error() == DecoderError::NoMoreBytes && here < MAX_INSTRUCTION {
            let Some(second) = self.touch(rip / PAGE_SIZE + 1)? else { return Ok(None) };
            bytes[here..].copy_from_slice(&self.memory.content(second)[..MAX_INSTRUCTION - here]);
            instruction = Decoder::with_ip(64, &bytes, rip, DecoderOptions::NONE).decode();
        }
        if instruction.is_invalid() {
            return Ok(None);
        }
        let code = &bytes[..instruction.len()];
        let decoded = Rc::new(describe(&instruction, code, &mut self.factory, self.options.taken));
        // The generations follow at the next execution, from the bytes.
        decoded.generations.set([u32::MAX; 2]);
        self.code.insert(rip, Rc::clone(&decoded));
        Ok(Some(decoded))
    }

    fn touch(&mut self, number: u64) -> Result<Option<PageId>, RecordError> {
        self.memory.touch(number, &mut self.tracee, self.writer)
    }

    fn touch_operands(&mut self, decoded: &Decoded) -> Result<(), RecordError> {
        for operand in &decoded.operands {
            let address = operand.address(&self.state);
            self.touch_range(Touched { address, size: operand.size as usize, stores: operand.stores })?;
        }
        Ok(())
    }

    /// Records what a replay must know about memory that is about to be touched.
    pub(crate) fn touch_range(&mut self, range: Touched) -> Result<(), RecordError> {
        self.touched.push(range);
        let last = range.address.wrapping_add(range.size as u64).wrapping_sub(1) / PAGE_SIZE;
        let mut number = range.address / PAGE_SIZE;
        loop {
            if self.touch(number)?.is_none() {
                self.missing.push(number);
            }
            if number == last || range.size == 0 {
                return Ok(());
            }
            number = (number + 1) % (u64::MAX / PAGE_SIZE + 1);
        }
    }

    /// One single-step.
    fn step(&mut self, decoded: &Decoded) -> Result<Flow, RecordError> {
        match self.go(Resume::Step)? {
            Stop::Trap => {}
            stop => return self.stopped(stop),
        }
        let registers = self.registers()?;
        if registers.rip == self.state.rip && self.is_foreign_trap()? {
            return self.deliver(libc::SIGTRAP);
        }
        match decoded.class {
            Class::PushFlags => self.clean_pushed_flags(registers.rsp)?,
            Class::Unbounded => self.memory.start_epoch(),
            _ => {}
        }
        self.complete(decoded, &registers)?;
        if decoded.class == Class::Breakpoint {
            return self.deliver(libc::SIGTRAP);
        }
        Ok(None)
    }

    /// An instruction that cannot be decoded: it raises a fault, otherwise the trace would have a hole.
    fn step_blindly(&mut self) -> Result<Flow, RecordError> {
        match self.go(Resume::Step)? {
            Stop::Trap if self.registers()?.rip == self.state.rip && self.is_foreign_trap()? => {
                self.deliver(libc::SIGTRAP)
            }
            Stop::Trap => {
                Err(RecordError::Unreadable { program: self.program.to_owned(), rip: self.state.rip })
            }
            stop => self.stopped(stop),
        }
    }

    /// The instruction has executed: records what it did.
    pub(crate) fn complete(
        &mut self,
        decoded: &Decoded,
        registers: &libc::user_regs_struct,
    ) -> Result<(), RecordError> {
        copy_general(registers, &mut self.state);
        if decoded.vector {
            let read = self.tracee.vector_registers(&mut self.state);
            read.map_err(|source| self.refused("read vector registers", source))?;
        }
        for number in std::mem::take(&mut self.missing) {
            self.memory.add_zeros(number, &self.tracee, self.writer)?;
        }
        self.push_step(decoded)
    }

    fn push_step(&mut self, decoded: &Decoded) -> Result<(), RecordError> {
        self.stored.clear();
        let kind = if decoded.taken { StepKind::Taken } else { StepKind::Computed };
        let mut ranges: SmallVec<[(u64, usize); 4]> = SmallVec::new();
        for range in self.touched.iter().filter(|range| range.stores && range.size != 0) {
            let from = self.stored.len();
            self.stored.resize(from + range.size, 0);
            let read = self.tracee.read(range.address, &mut self.stored[from..]);
            self.stored.truncate(from + read);
            self.memory.write(range.address, &self.stored[from..]);
            ranges.push((range.address, from));
        }
        let mut stores: SmallVec<[Store<'_>; 4]> = SmallVec::new();
        for (i, &(address, from)) in ranges.iter().enumerate() {
            let to = ranges.get(i + 1).map_or(self.stored.len(), |next| next.1);
            let bytes = &self.stored[from..to];
            let content = if kind == StepKind::Computed && bytes.len() > MANY {
                Content::Checksum { size: bytes.len() as u32, crc32: crc32fast::hash(bytes) }
            } else {
                Content::Bytes(bytes)
            };
            stores.push(Store { address, content });
        }
        self.outcome.steps += 1;
        let record = StepRecord { kind, bytes: decoded.code(), after: &self.state, stores: &stores };
        Ok(self.writer.push_step(&record)?)
    }

    /// Lets the program go on, with the signal that waits to be delivered, until it stops.
    pub(crate) fn go(&mut self, resume: Resume) -> Result<Stop, RecordError> {
        let signal = std::mem::take(&mut self.inject);
        let resumed = self.tracee.resume(resume, signal);
        // A program that another process killed meanwhile cannot go on; the wait says so.
        match resumed {
            Err(error) if error.raw_os_error() != Some(libc::ESRCH) => {
                return Err(self.refused("let the program go on", error));
            }
            _ => {}
        }
        loop {
            let stop = self.tracee.wait().map_err(|source| self.refused("wait for the program", source))?;
            if stop != Stop::Interrupted || self.is_stopped() {
                return Ok(stop);
            }
        }
    }

    /// Goes on after a stop before the instruction has executed.
    pub(crate) fn stopped(&mut self, stop: Stop) -> Result<Flow, RecordError> {
        match stop {
            Stop::Signal(signal) => self.deliver(signal),
            Stop::Exited(code) => Ok(Some(EndReason::Exited(code))),
            Stop::Killed(signal) => Ok(Some(EndReason::Killed(signal))),
            Stop::Interrupted => Ok(Some(self.end_now())),
            Stop::Exec => self.executed(),
            Stop::Trap => Ok(None),
        }
    }

    pub(crate) fn registers(&self) -> Result<libc::user_regs_struct, RecordError> {
        self.tracee.registers().map_err(|source| self.refused("read registers", source))
    }

    pub(crate) fn refused(&self, action: &'static str, source: io::Error) -> RecordError {
        RecordError::Refused { program: self.program.to_owned(), action, source }
    }
}
