//! A logical processor of the machine: what it does between two looks at the clock.

use super::history::{History, Taken};
use super::pending::{self, Due, Pending};
use super::surroundings::Surroundings;
use crate::processor::Processor;
use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic};
use isa::address::HostPhysicalAddress;
use isa::cpu::{Cpu as _, Stop};
use isa::engine::{CodeCache, Run};
use isa::event::{Event, EventKind, Exception, Vector};
use isa::flags::Rflags;
use isa::mode::CodeSize;
use isa::segment::SegmentRegister;
use isa::state::Slot;
use isa::system::debug::{self, Dr6, Stepping};
use isa::system::{Activity, Interruptibility, smm};
use isa::system::{Combined, combine, deliver, exception_of};
use mmu::ram::AccessError;
use platform::Time;
use std::collections::BTreeMap;

pub(super) type Core = Processor<false, Surroundings>;

/// What ends the wait of MWAIT beside an interrupt that is taken (SDM Vol. 2B, MWAIT).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wait {
    /// A store to what is monitored.
    ForStore,
    /// That, or an interrupt that is masked: ECX\[0\] was 1.
    ForStoreOrMaskedInterrupt,
}

/// A logical processor.
pub(super) struct Logical {
    pub(super) core: Core,
    pub(super) history: History,
    /// The reasons of the debug exception that is due before the next instruction.
    debug_trap: Dr6,
    pub(super) instructions: u64,
    /// What an MWAIT waits for.
    wait: Option<Wait>,
    /// Instructions that the engine does not model, and how often each was met.
    pub(super) unmodelled: BTreeMap<String, u64>,
}

impl Logical {
    pub(super) fn new(core: Core) -> Self {
        let (history, unmodelled) = (History::default(), BTreeMap::new());
        Self { core, history, debug_trap: Dr6::empty(), instructions: 0, wait: None, unmodelled }
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

    /// Whether MWAIT waits no longer, though no event has been delivered.
    fn wait_is_over(&self) -> bool {
        let masked = || self.pending().external;
        self.wait.is_some_and(|wait| {
            !self.core.outside.monitors() || wait == Wait::ForStoreOrMaskedInterrupt && masked()
        })
    }

    /// Goes on after MWAIT when its wait is over.
    fn end_wait(&mut self) {
        if self.wait_is_over() && self.activity() == Activity::Halted {
            self.core.state.system.activity = Activity::Active;
        }
        if self.wait.is_some() && self.activity() != Activity::Halted {
            self.wait = None;
            self.core.state.system.monitored = None;
            self.core.outside.stop_monitoring();
        }
    }

    /// Whether it waits with interrupts disabled, so that no device wakes it. (An NMI could, and so could another
    /// processor: no device here sends one unless an interrupt controller was told to.)
    pub(super) fn waits_for_good(&self) -> bool {
        self.waits() && self.wait.is_none() && self.core.state.flags.get() & Rflags::IF.bits() == 0
    }

    pub(super) fn now(&self) -> Time {
        self.core.outside.clock.now(&self.core.state)
    }

    /// Lives until `until`, or until the machine is to look.
    pub(super) fn live(&mut self, code: &mut CodeCache<Core>, until: Time) {
        while self.now() < until && !self.core.outside.has_stopped() {
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
        let next = self.core.outside.next_event();
        let wake = next.map_or(until, |next| next.min(until)).max(self.now());
        self.core.outside.clock.wait_until(wake);
    }

    /// Delivers what is due before the next instruction.
    fn take_events(&mut self, code: &mut CodeCache<Core>) {
        while let Some(due) = pending::first(&self.pending(), &self.core.state) {
            self.take(due, code);
        }
    }

    fn pending(&self) -> Pending {
        let mut pending = self.core.outside.pending(self.now());
        pending.debug_trap = !self.debug_trap.is_empty();
        // A debug exception that is due is not part of the state that an SMI saves: it comes first.
        pending.system_management &= !pending.debug_trap;
        pending
    }

    fn take(&mut self, due: Due, code: &mut CodeCache<Core>) {
        match due {
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
            }
            Due::External => {
                let vector = self.core.outside.acknowledge();
                self.send(Event::external(vector), code);
            }
        }
    }

    /// SMI: saves the state and begins the handler. Where there is no RAM nothing is saved.
    fn manage_system(&mut self, code: &mut CodeCache<Core>) {
        self.core.outside.take(|signals| signals.smi = false);
        let system = &mut self.core.state.system;
        if self.wait.is_some() {
            // An SMI ends the wait of MWAIT for good.
            system.activity = Activity::Active;
        }
        let at = HostPhysicalAddress(u64::from(system.smbase) + smm::IMAGE);
        let image = smm::image(&self.core.state);
        while let Err(AccessError::CodePage { page }) = self.core.memory.ram().copy_in(at, &image) {
            code.drop_page(page);
            self.core.code_dropped(page);
        }
        self.core.enter_system_management();
    }

    /// Runs instructions, one at a time where something must be looked at after each.
    fn run(&mut self, code: &mut CodeCache<Core>, until: Time) {
        self.core.memory.set_line20(self.core.outside.line20());
        let until = self.core.outside.next_event().map_or(until, |next| next.min(until));
        let shadow =
            self.core.state.system.interruptibility & (Interruptibility::STI | Interruptibility::MOV_SS);
        let traps = self.core.state.flags.get() & Rflags::TF.bits() != 0;
        let resumes = self.core.state.flags.get() & Rflags::RF.bits() != 0;
        let single = debug::must_step(&self.core.state) || !shadow.is_empty();
        if single && !resumes && self.meets_breakpoint(code) {
            return;
        }
        let budget = if single { 1 } else { until.since(self.now()).max(1) };
        if resumes {
            // It shields one instruction.
            self.core.state.flags.clear(Rflags::RF);
        }
        self.core.select_context();
        self.core.outside.clock.begin(budget);
        let run = code.run(&mut self.core, budget);
        let executed = self.core.outside.clock.end(&self.core.state);
        self.instructions += executed;
        if executed > 0 || run.stop.as_ref().is_some_and(ends_instruction) {
            self.core.state.system.interruptibility -= shadow;
            let traps = match core::mem::take(&mut self.core.state.system.stepping) {
                Stepping::AsBefore => traps,
                Stepping::AsAfter => self.core.state.flags.get() & Rflags::TF.bits() != 0,
            };
            self.debug_trap |= if traps { Dr6::BS } else { Dr6::empty() };
        }
        if let Some(stop) = &run.stop {
            self.stopped(stop, &run, code);
        }
    }

    /// A breakpoint at the instruction that comes next is a fault before it.
    fn meets_breakpoint(&mut self, code: &mut CodeCache<Core>) -> bool {
        let at = self.core.state.code_context().linear(self.core.state.rip());
        let reasons = debug::on_execution(&self.core.state.system, at);
        if !reasons.is_empty() {
            self.raise(&Exception::debug(reasons), code);
        }
        !reasons.is_empty()
    }

    /// Looks at why the engine stopped.
    fn stopped(&mut self, stop: &Stop, run: &Run, code: &mut CodeCache<Core>) {
        match stop {
            Stop::Done | Stop::CodeWrite(_) => {}
            Stop::Exception(exception) | Stop::AfterTaskSwitch(exception) => self.raise(exception, code),
            Stop::SoftwareInterrupt(vector) => self.software_interrupt(*vector, run, code),
            Stop::Halt => {
                self.core.state.set_rip(run.next_rip);
                self.core.state.system.activity = Activity::Halted;
            }
            Stop::Wait => {
                self.core.state.set_rip(run.next_rip);
                self.wait_for_store();
            }
            Stop::SystemCall | Stop::Unmodelled | Stop::Machine => self.unmodelled(code),
        }
    }

    /// MWAIT: without a monitored line it does not wait.
    fn wait_for_store(&mut self) {
        let state = &mut self.core.state;
        if state.system.monitored.is_some() && self.core.outside.monitors() {
            let masked = state.get::<u32>(Slot::Rcx) & 1 != 0;
            self.wait = Some(if masked { Wait::ForStoreOrMaskedInterrupt } else { Wait::ForStore });
            state.system.activity = Activity::Halted;
        }
    }

    /// What the engine does not model does not exist for the guest.
    fn unmodelled(&mut self, code: &mut CodeCache<Core>) {
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

    /// A software interrupt leaves RIP at its instruction.
    fn software_interrupt(&mut self, vector: u8, run: &Run, code: &mut CodeCache<Core>) {
        let length = run.next_rip.wrapping_sub(self.core.state.rip()) as u8;
        let kind = match self.instruction_at_rip().map(|instruction| instruction.mnemonic()) {
            Some(Mnemonic::Int1) => EventKind::PrivilegedSoftwareException,
            Some(Mnemonic::Int3 | Mnemonic::Into) => EventKind::SoftwareException,
            _ => EventKind::SoftwareInterrupt,
        };
        self.send(Event::software(vector, kind, length), code);
    }

    /// An exception of an instruction.
    fn raise(&mut self, exception: &Exception, code: &mut CodeCache<Core>) {
        self.note_page_fault(exception);
        if exception.vector == Vector::Debug {
            debug::record(&mut self.core.state.system, exception.debug_reasons());
        }
        self.send(Event::exception(exception), code);
    }

    /// CR2 receives the address of a page fault.
    fn note_page_fault(&mut self, exception: &Exception) {
        if exception.vector == Vector::PageFault {
            self.core.state.system.cr2 = exception.address.0;
        }
    }

    /// Delivers an event, and what follows from it when that fails.
    fn send(&mut self, event: Event, code: &mut CodeCache<Core>) {
        let mut event = event;
        while let Some(second) = self.try_send(&event, code) {
            self.history.last_failed();
            self.note_page_fault(&second);
            event = match combine(&event, &second) {
                Combined::Serially => Event::exception(&second),
                Combined::DoubleFault => Event::exception(&Exception::with_code(Vector::DoubleFault, 0)),
                Combined::TripleFault => {
                    self.core.state.system.activity = Activity::Shutdown;
                    return;
                }
            };
        }
    }

    /// Delivers an event; returns the exception that came in the way.
    fn try_send(&mut self, event: &Event, code: &mut CodeCache<Core>) -> Option<Exception> {
        self.note(event);
        loop {
            self.core.select_context();
            let stop = *deliver(&mut self.core, event).err()?;
            let Stop::CodeWrite(page) = stop else { return exception_of(&stop) };
            // The stack shares a page with code: that is decoded again when it runs.
            code.drop_page(page);
            self.core.code_dropped(page);
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

/// Whether a stop that leaves RIP at its instruction is the end of that instruction, so that what it was shielded from
/// may come now.
const fn ends_instruction(stop: &Stop) -> bool {
    matches!(stop, Stop::Halt | Stop::Wait)
}
