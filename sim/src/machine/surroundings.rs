//! What a processor of the machine has around it: the platform, the clock, and the processor model.

use super::clock::Clock;
use super::guest::Leave;
use super::hypercall::{self, Hypercalls};
use super::monitor::Monitors;
use super::options::MachineOptions;
use super::pending::Pending;
use crate::cpuid::{Dynamic, Model};
use crate::processor::Outside;
use isa::address::HostPhysicalAddress;
use isa::control::Cr4;
use isa::cpu::{Stop, Stopped};
use isa::mode::CodeSize;
use isa::state::State;
use isa::system::debug::{self, Dr6};
use isa::system::{Intercepted, TaskSwitch, VmxInstruction, VmxOutcome, VmxRequest};
use mmu::{Line20, Ram};
use platform::{A20, Platform, ProcessorIndex, Signals, Time};
use std::cell::RefCell;
use std::rc::Rc;
use vmx::capabilities::Capabilities;
use vmx::exit_reason::BasicExitReason;
use vmx::operation::Vmx;

/// The surroundings of one processor.
pub(super) struct Surroundings {
    /// Its number, which is also its APIC ID.
    pub(super) number: ProcessorIndex,
    platform: Rc<RefCell<Platform>>,
    model: Rc<Model>,
    hypercalls: Hypercalls,
    monitors: Rc<Monitors>,
    /// The program waits for another processor, and does not mind if its turn ends.
    yields: bool,
    pub(super) clock: Clock,
    /// How far the time-stamp counter is ahead of the clock.
    offset: u64,
    /// IA32_TSC_ADJUST.
    adjust: u64,
    random: u64,
    /// What the processor has of VMX, if it has it.
    pub(super) vmx: Option<Box<Vmx>>,
    /// What VMX asks the processor to do before its next instruction.
    pub(super) leaves: Option<Leave>,
    /// The I/O breakpoints that have been met.
    breakpoints: Dr6,
    /// What was seen of the platform; `None` after anything that may have changed it.
    seen: Option<Seen>,
}

/// What the platform has for a processor until something is touched or its next event comes.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    pub(super) pending: Pending,
    /// The next moment at which the platform changes by itself.
    pub(super) next_event: Option<Time>,
    /// Whether the guest has ended the run.
    pub(super) has_stopped: bool,
    /// What becomes of bit 20 of physical addresses.
    pub(super) line20: Line20,
}

impl Seen {
    fn is_current(&self, now: Time) -> bool {
        self.next_event.is_none_or(|next| now < next)
    }
}

/// What all processors share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) platform: Rc<RefCell<Platform>>,
    pub(super) model: Rc<Model>,
    pub(super) monitors: Rc<Monitors>,
}

const TIME_STAMP_COUNTER: u32 = 0x10;
const TSC_ADJUST: u32 = 0x3b;
/// The capability MSRs of VMX.
const FIRST_CAPABILITY: u32 = 0x480;
const LAST_CAPABILITY: u32 = 0x493;
/// IA32_APIC_BASE bit 11.
const APIC_ENABLE: u64 = 1 << 11;

/// What is added between two random numbers of SplitMix64.
const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;

impl Surroundings {
    pub(super) fn new(number: ProcessorIndex, shared: &Shared, options: &MachineOptions) -> Self {
        let Shared { platform, model, monitors } = shared.clone();
        Self {
            number,
            platform,
            model,
            hypercalls: options.hypercalls,
            monitors,
            yields: false,
            clock: Clock::default(),
            offset: 0,
            adjust: 0,
            random: options.seed ^ u64::from(number.0) << 32,
            vmx: None,
            leaves: None,
            breakpoints: Dr6::empty(),
            seen: None,
        }
    }

    /// Gives the processor VMX.
    pub(super) fn offer_vmx(&mut self, capabilities: &Rc<Capabilities>) {
        self.vmx = Some(Box::new(Vmx::new(Rc::clone(capabilities))));
    }

    /// The time-stamp counter as it is outside guests.
    pub(super) fn counter(&self, state: &State) -> u64 {
        self.clock.now(state).0.wrapping_add(self.offset)
    }

    /// The platform may have been touched by others.
    pub(super) fn forget_seen(&mut self) {
        self.seen = None;
    }

    /// What the platform has for this processor at `now`.
    pub(super) fn look(&mut self, now: Time) -> Seen {
        if let Some(seen) = self.seen.filter(|seen| seen.is_current(now)) {
            return seen;
        }
        let pending = self.pending(now);
        let platform = self.platform.borrow();
        let (next_event, has_stopped) = (platform.next_event(), platform.stop().is_some());
        let line20 = match platform.a20() {
            A20::Enabled => Line20::Through,
            A20::Masked => Line20::Held,
        };
        *self.seen.insert(Seen { pending, next_event, has_stopped, line20 })
    }

    /// Whether it monitors something that nobody has written.
    pub(super) fn monitors(&self) -> bool {
        self.monitors.is_armed(self.number.0)
    }

    /// It monitors nothing any more.
    pub(super) fn stop_monitoring(&self) {
        self.monitors.arm(self.number.0, None);
    }

    /// Whether the program has given its turn away, forgetting it.
    pub(super) fn takes_pause(&mut self) -> bool {
        core::mem::take(&mut self.yields)
    }

    /// What waits for this processor at `now`.
    pub(super) fn pending(&self, now: Time) -> Pending {
        let mut platform = self.platform.borrow_mut();
        platform.advance(now);
        let signals = platform.signals(self.number);
        Pending {
            system_management: signals.smi,
            init: signals.init,
            startup: signals.start_up.is_some(),
            non_maskable: signals.nmi,
            external: platform.pending_interrupt(self.number).is_some(),
            ..Pending::default()
        }
    }

    /// The processor acts on a signal.
    pub(super) fn take<T>(&mut self, take: impl FnOnce(&mut Signals) -> T) -> Option<T> {
        self.seen = None;
        self.platform.borrow_mut().signals_mut(self.number).map(take)
    }

    /// The vector of the interrupt that the processor takes.
    pub(super) fn acknowledge(&mut self) -> u8 {
        self.seen = None;
        self.platform.borrow_mut().acknowledge_interrupt(self.number)
    }

    /// INIT also reaches the local APIC.
    pub(super) fn initialize(&mut self) {
        self.seen = None;
        self.platform.borrow_mut().initialize_local_apic(self.number);
    }

    fn adjust_by(&mut self, difference: u64) {
        self.offset = self.offset.wrapping_add(difference);
        self.adjust = self.adjust.wrapping_add(difference);
        self.seen = None;
        self.platform.borrow_mut().set_time_stamp_offset(self.number, self.offset);
    }

    /// The I/O breakpoints that have been met since this was asked last.
    pub(super) fn take_breakpoints(&mut self) -> Dr6 {
        core::mem::replace(&mut self.breakpoints, Dr6::empty())
    }

    /// Gives the platform an access, and the machine a look at what it changed after the block that runs now.
    fn access<T>(
        &mut self,
        state: &mut State,
        access: impl FnOnce(&mut Platform, ProcessorIndex, Time) -> T,
    ) -> T {
        let now = self.clock.now(state);
        self.clock.interrupt(state);
        self.seen = None;
        access(&mut self.platform.borrow_mut(), self.number, now)
    }
}

impl Outside for Surroundings {
    const SYSTEM: bool = true;

    fn device_read(&mut self, state: &mut State, at: HostPhysicalAddress, bytes: usize) -> Option<u64> {
        let read =
            |platform: &mut Platform, number, now| platform.memory_read(number, now, at.0, bytes as u8);
        Some(self.access(state, read).unwrap_or(u64::MAX >> (64 - 8 * bytes)))
    }

    fn device_write(
        &mut self,
        state: &mut State,
        at: HostPhysicalAddress,
        bytes: usize,
        value: u64,
    ) -> Option<()> {
        // A write where nothing is has no effect.
        let _nobody = self.access(state, |platform, number, now| {
            platform.memory_write(number, now, at.0, bytes as u8, value)
        });
        Some(())
    }

    fn port_read(&mut self, state: &mut State, port: u16, bytes: u8) -> Result<u32, Stopped> {
        self.breakpoints |= debug::on_io(&state.system, port, bytes);
        Ok(self.access(state, |platform, number, now| platform.port_read(number, now, port, bytes)))
    }

    fn port_write(&mut self, state: &mut State, port: u16, bytes: u8, value: u32) -> Result<(), Stopped> {
        self.breakpoints |= debug::on_io(&state.system, port, bytes);
        self.access(state, |platform, number, now| platform.port_write(number, now, port, bytes, value));
        Ok(())
    }

    #[inline(always)]
    fn intercept(&mut self, state: &State, ram: &Ram, what: &Intercepted) -> Result<(), Stopped> {
        if self.vmx.is_some() { self.intercepts(state, ram, what) } else { Ok(()) }
    }

    fn task_switch(&mut self, switch: &TaskSwitch) -> Result<(), Stopped> {
        if self.guest().is_none() {
            return Ok(());
        }
        Err(self.leave(Leave::Exit(vmx::intercept::task_switch(switch))))
    }

    fn vmx_begin(
        &mut self,
        state: &State,
        instruction: VmxInstruction,
        operand: u64,
    ) -> Result<Option<VmxOutcome>, Stopped> {
        self.begin(state, instruction, operand)
    }

    fn vmx(&mut self, state: &mut State, ram: &Ram, request: &VmxRequest) -> Result<VmxOutcome, Stopped> {
        self.request(state, ram, request)
    }

    fn cpuid(&mut self, state: &State, leaf: u32, subleaf: u32) -> Result<[u32; 4], Stopped> {
        self.leave_if_guest(BasicExitReason::Cpuid)?;
        let dynamic = Dynamic {
            apic_id: self.number.0,
            processors: self.platform.borrow().options().processors,
            apic_enabled: self
                .platform
                .borrow()
                .local_apic(self.number)
                .is_some_and(|apic| apic.base() & APIC_ENABLE != 0),
            osxsave: state.system.cr4.contains(Cr4::OSXSAVE),
            ospke: state.system.cr4.contains(Cr4::PKE),
            xcr0: state.system.xcr0,
            in_64_bit_mode: state.code_size() == CodeSize::Bits64,
        };
        let answer = self.model.cpuid(leaf, subleaf, &dynamic);
        Ok(match self.hypercalls {
            Hypercalls::None => answer,
            Hypercalls::Kvm => hypercall::cpuid(leaf, answer),
        })
    }

    fn monitor(&mut self, page: Option<HostPhysicalAddress>) {
        self.monitors.arm(self.number.0, page);
    }

    fn page_written(&mut self, page: HostPhysicalAddress) {
        self.monitors.written(page);
    }

    /// A processor that is alone has nobody to wait for.
    fn pause(&mut self, state: &mut State) {
        if self.platform.borrow().options().processors > 1 {
            self.yields = true;
            self.clock.interrupt(state);
        }
    }

    fn hypercall(&mut self, state: &mut State) -> Result<(), Stopped> {
        // A guest in VMX non-root operation has a monitor of its own.
        if self.hypercalls == Hypercalls::None || self.guest().is_some() {
            return Err(Stop::INVALID_OPCODE.into());
        }
        let now = self.clock.now(state);
        self.seen = None;
        hypercall::answer(state, &mut self.platform.borrow_mut(), self.number, now);
        Ok(())
    }

    fn time_stamp_counter(&mut self, state: &State) -> Result<u64, Stopped> {
        Ok(self.counter(state).wrapping_add(self.tsc_offset()))
    }

    fn time_stamp_auxiliary(&mut self, state: &State) -> Result<u32, Stopped> {
        Ok(state.system.tsc_aux as u32)
    }

    fn read_msr(&mut self, state: &mut State, index: u32) -> Result<u64, Stopped> {
        match index {
            TIME_STAMP_COUNTER => self.time_stamp_counter(state),
            TSC_ADJUST => Ok(self.adjust),
            FIRST_CAPABILITY..=LAST_CAPABILITY => {
                self.capability(index).ok_or_else(|| Stop::GENERAL_PROTECTION.into())
            }
            _ => {
                let read = self.access(state, |platform, number, now| platform.msr_read(number, now, index));
                read.map_err(|_| Stop::GENERAL_PROTECTION.into())
            }
        }
    }

    /// A write to the time-stamp counter moves IA32_TSC_ADJUST as well, and the other way round (SDM Vol. 3B, 20.17.3).
    fn write_msr(&mut self, state: &mut State, index: u32, value: u64) -> Result<(), Stopped> {
        match index {
            TIME_STAMP_COUNTER => {
                let before = self.counter(state);
                self.adjust_by(value.wrapping_sub(before));
            }
            TSC_ADJUST => self.adjust_by(value.wrapping_sub(self.adjust)),
            _ => {
                let write =
                    self.access(state, |platform, number, now| platform.msr_write(number, now, index, value));
                return write.map_err(|_| Stop::GENERAL_PROTECTION.into());
            }
        }
        Ok(())
    }

    fn task_priority(&self, ram: &Ram) -> u8 {
        let shadow = self.virtual_task_priority(ram);
        shadow.unwrap_or_else(|| self.platform.borrow().task_priority(self.number))
    }

    fn set_task_priority(&mut self, state: &mut State, ram: &Ram, priority: u8) {
        if self.set_virtual_task_priority(state, ram, priority) {
            return;
        }
        self.access(state, |platform, number, _| platform.set_task_priority(number, priority));
    }

    /// SplitMix64.
    fn random(&mut self) -> Result<u64, Stopped> {
        self.random = self.random.wrapping_add(GOLDEN_RATIO);
        let mixed = (self.random ^ self.random >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        Ok(mixed ^ mixed >> 31)
    }
}
