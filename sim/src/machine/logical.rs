//! A logical processor of the machine: what it does between two looks at the clock.

use super::guest::GuestRun;
use super::history::{History, Taken};
use super::pending::{self, Due, Pending};
use super::surroundings::Surroundings;
use super::waiting::Wait;
use crate::processor::Processor;
use iced_x86::{Decoder, DecoderOptions, Instruction};
use isa::cpu::{Cpu as _, Stop};
use isa::engine::{CodeCache, Run};
use isa::event::{Event, EventKind, Exception, Vector};
use isa::flags::Rflags;
use isa::mode::CodeSize;
use isa::segment::SegmentRegister;
use isa::system::debug::{self, Dr6, Stepping};
use isa::system::{Activity, Interruptibility};
use isa::system::{Combined, combine, deliver};
use platform::Time;
use std::collections::BTreeMap;

pub(super) type Core = Processor<false, Surroundings>;

/// A logical processor.
pub(super) struct Logical {
    pub(super) core: Core,
    pub(super) history: History,
    /// The reasons of the debug exception that is due before the next instruction.
    pub(super) debug_trap: Dr6,
    pub(super) guest: GuestRun,
    pub(super) instructions: u64,
    /// What an MWAIT waits for.
    pub(super) wait: Option<Wait>,
    /// Instructions that the engine does not model, and how often each was met.
    pub(super) unmodelled: BTreeMap<String, u64>,
}

impl Logical {
    pub(super) fn new(core: Core) -> Self {
        let (history, unmodelled) = (History::default(), BTreeMap::new());
        let (debug_trap, guest) = (Dr6::empty(), GuestRun::default());
        Self { core, history, debug_trap, guest, instructions: 0, wait: None, unmodelled }
    }

    pub(super) fn activity(&self) -> Activity {
        self.core.state.system.activity
    }

    /// What it does, in words.
    pub(super) fn mode(&self) -> &'static str {
        let state = &self.core.state;
        match self.activity() {
            Activity::Halted => "halted",
            Activity::Shutdown => "shut down",
            Activity::WaitForSipi => "waiting for startup",
            Activity::Active if state.is_real_address() => "real-address mode",
            Activity::Active if state.is_virtual_8086() => "virtual-8086 mode",
            Activity::Active if !state.is_ia32e() => "protected mode",
            Activity::Active if state.code_size() == CodeSize::Bits64 => "64-bit mode",
            Activity::Active => "compatibility mode",
        }
    }

    /// Whether it executes nothing until an event comes.
    pub(super) fn rests(&self) -> bool {
        self.activity() != Activity::Active && !self.wait_is_over()
    }

    /// Whether it executes nothing, and nothing waits that would wake it.
    pub(super) fn waits(&self) -> bool {
        self.rests() && pending::first(&self.pending(), &self.core.state).is_none()
    }

    /// Whether it waits with interrupts disabled, so that no device wakes it. (An NMI could, and so could another
    /// processor: no device here sends one unless an interrupt controller was told to.)
    pub(super) fn waits_for_good(&self) -> bool {
        self.waits()
            && self.wait != Some(Wait::ForStoreOrMaskedInterrupt)
            && self.core.state.flags.get() & Rflags::IF.bits() == 0
            && !self.is_woken_by_vmx()
    }

    pub(super) fn now(&self) -> Time {
        self.core.outside.clock.now(&self.core.state)
    }

    /// Lives until `until`, or until the machine is to look.
    pub(super) fn live(&mut self, code: &mut CodeCache<Core>, until: Time) {
        self.core.outside.forget_seen();
        while self.now() < until && !self.core.outside.look(self.now()).has_stopped {
            self.take_events(code);
            self.end_wait();
            if self.activity() != Activity::Active {
                self.rest(until);
                return;
            }
            self.run(code, until);
            if self.core.outside.takes_pause() {
                self.rest(until);
            }
        }
    }

    /// Lets time pass to the next event of the platform, at most to `until`.
    fn rest(&mut self, until: Time) {
        let next = self.next_event();
        let wake = next.map_or(until, |next| next.min(until)).max(self.now());
        self.core.outside.clock.wait_until(wake);
    }

    /// The next moment at which something may be due without an instruction.
    fn next_event(&mut self) -> Option<Time> {
        let of_platform = self.core.outside.look(self.now()).next_event;
        [of_platform, self.timer_deadline()].into_iter().flatten().min()
    }

    /// Delivers what is due before the next instruction.
    fn take_events(&mut self, code: &mut CodeCache<Core>) {
        self.follow_note();
        self.resume_vmx();
        loop {
            let seen = self.core.outside.look(self.now()).pending;
            let pending = self.with_own(seen);
            if pending.is_empty() {
                return;
            }
            let Some(due) = pending::first(&pending, &self.core.state) else { return };
            self.take(due, code);
        }
    }

    pub(super) fn pending(&self) -> Pending {
        self.with_own(self.core.outside.pending(self.now()))
    }

    /// What is due from outside, and what the processor has itself.
    fn with_own(&self, mut pending: Pending) -> Pending {
        pending.debug_trap = !self.debug_trap.is_empty();
        self.add_guest_events(&mut pending);
        // A debug exception that is due is not part of the state that an SMI saves: it comes first.
        pending.system_management &= !pending.debug_trap;
        pending
    }

    fn take(&mut self, due: Due, code: &mut CodeCache<Core>) {
        if self.core.outside.guest().is_some() && self.leaves_guest(due) {
            return;
        }
        match due {
            Due::TprThreshold
            | Due::MonitorTrap
            | Due::PreemptionTimer
            | Due::NmiWindow
            | Due::InterruptWindow => {}
            Due::SystemManagement => self.manage_system(code),
            Due::Init => self.initialize(),
            Due::Startup => self.start_up(),
            Due::DebugTrap => {
                let reasons = core::mem::replace(&mut self.debug_trap, Dr6::empty());
                self.raise(&Exception::debug(reasons), code);
            }
            Due::NonMaskable => {
                self.core.outside.take(|signals| signals.nmi = false);
                self.send(Event::NON_MASKABLE, code);
                self.monitor();
            }
            Due::External => {
                let vector = self.core.outside.acknowledge();
                self.send(Event::external(vector), code);
                self.monitor();
            }
        }
    }

    /// Runs instructions, one at a time where something must be looked at after each.
    fn run(&mut self, code: &mut CodeCache<Core>, until: Time) {
        let line20 = self.core.outside.look(self.now()).line20;
        self.core.memory.set_line20(line20);
        let until = self.next_event().map_or(until, |next| next.min(until));
        let shadow =
            self.core.state.system.interruptibility & (Interruptibility::STI | Interruptibility::MOV_SS);
        let traps = self.traps_steps();
        let resumes = self.core.state.flags.rest() & Rflags::RF.bits() != 0;
        let monitored = self.is_monitored();
        let single = debug::must_step(&self.core.state) || !shadow.is_empty() || monitored;
        if single && !resumes && self.meets_breakpoint(code) {
            return;
        }
        let budget = if single { 1 } else { until.since(self.now()).max(1) };
        if resumes {
            // It shields one instruction.
            self.core.state.flags.clear(Rflags::RF);
        }
        self.core.select_context();
        self.watch();
        self.core.outside.clock.begin(budget);
        let run = code.run(&mut self.core, budget);
        let executed = self.core.outside.clock.end(&self.core.state);
        self.instructions += executed;
        if executed == 0 && matches!(run.stop, Some(Stop::Exception(_) | Stop::SoftwareInterrupt { .. })) {
            // Time passes also for a handler whose first instruction raises an exception again.
            self.core.outside.clock.wait_until(Time(self.now().0 + 1));
        }
        if executed > 0 || run.stop.as_ref().is_some_and(ends_instruction) {
            self.core.state.system.interruptibility -= shadow;
            let traps = match core::mem::take(&mut self.core.state.system.stepping) {
                Stepping::AsBefore => traps,
                Stepping::AsAfter => self.traps_steps(),
            };
            self.debug_trap |= if traps { Dr6::BS } else { Dr6::empty() };
            self.gather();
        }
        if resumes && run.stop == Some(Stop::Iteration) {
            self.core.state.flags.set(self.core.state.flags.get() | Rflags::RF.bits());
        }
        if let Some(stop) = &run.stop {
            self.stopped(stop, &run, code);
        }
        if monitored && !matches!(run.stop, Some(Stop::Machine | Stop::CodeWrite(_))) {
            self.monitor();
        }
    }

    /// Looks at why the engine stopped.
    fn stopped(&mut self, stop: &Stop, run: &Run, code: &mut CodeCache<Core>) {
        match stop {
            Stop::Done | Stop::Iteration | Stop::CodeWrite(_) => {}
            Stop::AfterTaskSwitch(exception) if exception.vector == Vector::Debug => {
                self.debug_trap |= exception.debug_reasons();
            }
            Stop::Exception(exception) | Stop::AfterTaskSwitch(exception) => self.raise(exception, code),
            Stop::SoftwareInterrupt { vector, kind } => {
                let length = run.next_rip.wrapping_sub(self.core.state.rip()) as u8;
                self.software_interrupt(Event::software(*vector, *kind, length), code);
            }
            Stop::Halt => {
                self.core.state.set_rip(run.next_rip);
                self.core.state.system.activity = Activity::Halted;
            }
            Stop::Wait => {
                self.core.state.set_rip(run.next_rip);
                self.wait_for_store();
            }
            Stop::Machine => self.transition(run, code),
            Stop::SystemCall | Stop::Unmodelled => self.unmodelled(code),
        }
    }

    /// What the engine does not model does not exist for the guest.
    pub(super) fn unmodelled(&mut self, code: &mut CodeCache<Core>) {
        let name =
            self.instruction_at_rip().map_or_else(|| "?".to_owned(), |i| format!("{:?}", i.mnemonic()));
        *self.unmodelled.entry(name.to_lowercase()).or_default() += 1;
        self.raise(&Exception::plain(Vector::InvalidOpcode), code);
    }

    /// The instruction at RIP, as far as it can be read.
    pub(super) fn instruction_at_rip(&self) -> Option<Instruction> {
        let context = self.core.state.code_context();
        let mut bytes = [0; 15];
        self.core.memory.copy_out(context.linear(self.core.state.rip()), &mut bytes).ok()?;
        let bits = context.mode.size.bits();
        Some(Decoder::with_ip(bits, &bytes, self.core.state.rip(), DecoderOptions::NONE).decode())
    }

    /// INT n, INT1, INT3 and INTO leave RIP at the instruction. Traps that were held back before INT1 are lost.
    fn software_interrupt(&mut self, event: Event, code: &mut CodeCache<Core>) {
        if let Some(exit) = self.software_exit(&event) {
            return self.exit_by_event(&exit);
        }
        if event.kind == EventKind::PrivilegedSoftwareException {
            self.debug_trap = Dr6::empty();
        }
        self.send(event, code);
    }

    /// An exception of an instruction. Traps that were held back before it are lost.
    pub(super) fn raise(&mut self, exception: &Exception, code: &mut CodeCache<Core>) {
        let event = Event::exception(exception);
        if let Some(exit) = self.exception_exit(&event, exception) {
            return self.exit_by_event(&exit);
        }
        self.debug_trap = Dr6::empty();
        self.prepare(exception);
        self.send(event, code);
    }

    /// What comes with an exception beside: CR2 receives the address of a page fault; DR6 the reasons of a debug
    /// exception. General detect, alone among these, is a fault whose handler is to find RF set.
    fn prepare(&mut self, exception: &Exception) {
        let state = &mut self.core.state;
        match exception.vector {
            Vector::PageFault => state.system.cr2 = exception.address.0,
            Vector::Debug => {
                let reasons = exception.debug_reasons();
                debug::record(&mut state.system, reasons);
                if reasons.contains(Dr6::BD) {
                    state.flags.set(state.flags.get() | Rflags::RF.bits());
                }
            }
            _ => {}
        }
    }

    /// Delivers an event, and what follows from it when that fails.
    pub(super) fn send(&mut self, event: Event, code: &mut CodeCache<Core>) {
        let mut event = event;
        while let Sent::Raised(second) = self.try_send(&event, code) {
            self.history.last_failed();
            let second_event = Event::exception(&second);
            if let Some(exit) = self.exception_exit(&second_event, &second) {
                return self.exit_during(&exit, &event);
            }
            self.prepare(&second);
            event = match combine(&event, &second) {
                Combined::Serially => second_event,
                Combined::DoubleFault => {
                    let double_fault = Exception::with_code(Vector::DoubleFault, 0);
                    let event = Event::exception(&double_fault);
                    if let Some(exit) = self.exception_exit(&event, &double_fault) {
                        return self.exit_by_event(&exit);
                    }
                    event
                }
                Combined::TripleFault => return self.triple_fault(),
            };
        }
    }

    /// Delivers an event.
    fn try_send(&mut self, event: &Event, code: &mut CodeCache<Core>) -> Sent {
        self.note(event);
        loop {
            self.core.select_context_of_delivery();
            self.watch();
            match deliver(&mut self.core, event).map_err(|stop| *stop) {
                Err(Stop::CodeWrite(page)) => {
                    // The stack shares a page with code: that is decoded again when it runs.
                    code.drop_page(page);
                    self.core.code_dropped(page);
                    continue;
                }
                Err(Stop::Machine) => {
                    self.leave_during(event);
                    return Sent::Delivered;
                }
                Err(Stop::AfterTaskSwitch(exception)) if exception.vector == Vector::Debug => {
                    self.debug_trap |= exception.debug_reasons();
                }
                Err(Stop::Exception(exception) | Stop::AfterTaskSwitch(exception)) => {
                    return Sent::Raised(exception);
                }
                Ok(()) | Err(_) => {}
            }
            self.gather();
            return Sent::Delivered;
        }
    }

    fn note(&mut self, event: &Event) {
        let state = &self.core.state;
        let at = (state.selector(SegmentRegister::Cs), state.rip());
        let is_page_fault =
            event.kind == EventKind::HardwareException && event.vector == Vector::PageFault as u8;
        let address = is_page_fault.then_some(state.system.cr2);
        self.history.note(Taken { event: *event, at, address, failed: false });
    }
}

/// What became of an event.
enum Sent {
    /// It has reached its handler, or has left the guest.
    Delivered,
    /// An exception came in the way.
    Raised(Exception),
}

/// Whether a stop that leaves RIP at its instruction is the end of that instruction, so that what it was shielded from
/// may come now.
const fn ends_instruction(stop: &Stop) -> bool {
    matches!(stop, Stop::Halt | Stop::Wait)
}
