//! Repeated string instructions: one step for all iterations.
//!
//! A single-step ends after each iteration (SDM Vol. 3B, 19.3.1.4). Where the number of iterations is known, a
//! hardware breakpoint behind the instruction makes one stop of them.

use super::error::RecordError;
use super::instruction::Decoded;
use super::session::{Flow, Session, Touched};
use super::tracee::{Resume, Stop};
use crate::format::Sink;
use crate::operand::Repeat;

/// From this many iterations on a breakpoint is faster than single-steps.
const LONG: u64 = 8;

/// More bytes than this are touched one iteration at a time.
const MOST_BYTES: u64 = 1 << 28;

/// A signal that arrived between two iterations.
type Held = (i32, libc::siginfo_t);

impl<S: Sink> Session<'_, S> {
    /// Executes all iterations.
    pub(crate) fn repeat(&mut self, decoded: &Decoded, repeat: Repeat) -> Result<Flow, RecordError> {
        let count = repeat.count(&self.state);
        let known = repeat.kind.is_counted() && count.saturating_mul(repeat.element) <= MOST_BYTES;
        if known {
            self.touch_elements(repeat, count)?;
        }
        let long = known && count > LONG && self.arm(decoded);
        let mut held = Vec::new();
        let ended = self.iterate(repeat, known, long, &mut held);
        if long {
            // The process may be gone, then so is the breakpoint.
            let _ = self.tracee.set_breakpoint(None);
        }
        match ended? {
            Iterated::Done(registers) => {
                if !known {
                    self.note_stores(repeat, count - (registers.rcx & repeat.mask));
                }
                self.complete(decoded, &registers)?;
                self.deliver_held(held)
            }
            Iterated::Fault(signal) => {
                // The iterations so far have changed registers and memory without being a step.
                self.memory.start_epoch();
                self.deliver(signal)
            }
            Iterated::Stop(stop) => self.stopped(stop),
        }
    }

    fn arm(&self, decoded: &Decoded) -> bool {
        let next = self.state.rip.wrapping_add(u64::from(decoded.length));
        self.tracee.set_breakpoint(Some(next)).is_ok()
    }

    fn iterate(
        &mut self,
        repeat: Repeat,
        known: bool,
        long: bool,
        held: &mut Vec<Held>,
    ) -> Result<Iterated, RecordError> {
        let mut state = self.state;
        loop {
            if !known && repeat.count(&state) != 0 {
                self.touched.clear();
                self.touch_elements_of(repeat, 1, &state)?;
            }
            let stop = self.go(if long { Resume::Run } else { Resume::Step })?;
            match stop {
                Stop::Trap => {
                    let registers = self.registers()?;
                    if registers.rip != self.state.rip {
                        return Ok(Iterated::Done(registers));
                    }
                    if self.is_foreign_trap()? {
                        self.hold(libc::SIGTRAP, held)?;
                    }
                    super::tracee::copy_general(&registers, &mut state);
                }
                Stop::Signal(signal) if is_fault(signal) => return Ok(Iterated::Fault(signal)),
                Stop::Signal(signal) => self.hold(signal, held)?,
                stop => return Ok(Iterated::Stop(stop)),
            }
        }
    }

    fn hold(&self, signal: i32, held: &mut Vec<Held>) -> Result<(), RecordError> {
        let info = self.tracee.signal_info().map_err(|source| self.refused("read a signal", source))?;
        held.push((signal, info));
        Ok(())
    }

    /// Delivers the signals that arrived during the iterations.
    fn deliver_held(&mut self, held: Vec<Held>) -> Result<Flow, RecordError> {
        for (signal, info) in held {
            let set = self.tracee.set_signal_info(&info);
            set.map_err(|source| self.refused("set a signal", source))?;
            let flow = self.deliver(signal)?;
            if flow.is_some() {
                return Ok(flow);
            }
        }
        Ok(None)
    }

    fn touch_elements(&mut self, repeat: Repeat, count: u64) -> Result<(), RecordError> {
        let state = self.state;
        self.touch_elements_of(repeat, count, &state)
    }

    /// Touches what `count` iterations from `state` on touch.
    fn touch_elements_of(
        &mut self,
        repeat: Repeat,
        count: u64,
        state: &isa::registers::Registers,
    ) -> Result<(), RecordError> {
        if count == 0 {
            return Ok(());
        }
        if repeat.kind.uses_source() {
            self.touch_range(touched(repeat.source(state, count), false))?;
        }
        if repeat.kind.uses_destination() {
            self.touch_range(touched(repeat.destination(state, count), repeat.kind.stores()))?;
        }
        Ok(())
    }

    /// After iterations that were touched one by one: what all of them stored.
    fn note_stores(&mut self, repeat: Repeat, count: u64) {
        self.touched.clear();
        if repeat.kind.stores() && count != 0 {
            self.touched.push(touched(repeat.destination(&self.state, count), true));
        }
    }
}

/// How iterations ended.
#[allow(clippy::large_enum_variant, reason = "lives for one step")]
enum Iterated {
    Done(libc::user_regs_struct),
    Fault(i32),
    Stop(Stop),
}

const fn touched((address, size): (u64, u64), stores: bool) -> Touched {
    Touched { address, size: size as usize, stores }
}

/// Signals that an instruction itself raises.
const fn is_fault(signal: i32) -> bool {
    matches!(signal, libc::SIGSEGV | libc::SIGBUS | libc::SIGFPE | libc::SIGILL)
}
