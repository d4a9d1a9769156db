//! What a processor of the machine has around it: the platform, the clock, and the processor model.

use super::clock::Clock;
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
use mmu::Line20;
use platform::{A20, Platform, ProcessorIndex, Signals, Time};
use std::cell::RefCell;
use std::rc::Rc;

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
        }
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
            debug_trap: false,
            non_maskable: signals.nmi,
            external: platform.pending_interrupt(self.number).is_some(),
        }
    }

    /// The next moment at which the platform changes by itself.
    pub(super) fn next_event(&self) -> Option<Time> {
        self.platform.borrow().next_event()
    }

    /// What becomes of bit 20 of physical addresses.
    pub(super) fn line20(&self) -> Line20 {
        match self.platform.borrow().a20() {
            A20::Enabled => Line20::Through,
            A20::Masked => Line20::Held,
        }
    }

    /// Whether the guest has ended the run.
    pub(super) fn has_stopped(&self) -> bool {
        self.platform.borrow().stop().is_some()
    }

    /// The processor acts on a signal.
    pub(super) fn take<T>(&self, take: impl FnOnce(&mut Signals) -> T) -> Option<T> {
        self.platform.borrow_mut().signals_mut(self.number).map(take)
    }

    /// The vector of the interrupt that the processor takes.
    pub(super) fn acknowledge(&self) -> u8 {
        self.platform.borrow_mut().acknowledge_interrupt(self.number)
    }

    /// INIT also reaches the local APIC.
    pub(super) fn initialize(&self) {
        self.platform.borrow_mut().initialize_local_apic(self.number);
    }

    fn adjust_by(&mut self, difference: u64) {
        self.offset = self.offset.wrapping_add(difference);
        self.adjust = self.adjust.wrapping_add(difference);
        self.platform.borrow_mut().set_time_stamp_offset(self.number, self.offset);
    }

    /// Gives the platform an access, and the machine a look at what it changed after the block that runs now.
    fn access<T>(
        &mut self,
        state: &mut State,
        access: impl FnOnce(&mut Platform, ProcessorIndex, Time) -> T,
    ) -> T {
        let now = self.clock.now(state);
        self.clock.interrupt(state);
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
        Ok(self.access(state, |platform, number, now| platform.port_read(number, now, port, bytes)))
    }

    fn port_write(&mut self, state: &mut State, port: u16, bytes: u8, value: u32) -> Result<(), Stopped> {
        self.access(state, |platform, number, now| platform.port_write(number, now, port, bytes, value));
        Ok(())
    }

    fn cpuid(&mut self, state: &State, leaf: u32, subleaf: u32) -> Result<[u32; 4], Stopped> {
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
        if self.hypercalls == Hypercalls::None {
            return Err(Stop::INVALID_OPCODE.into());
        }
        let now = self.clock.now(state);
        hypercall::answer(state, &mut self.platform.borrow_mut(), self.number, now);
        Ok(())
    }

    fn time_stamp_counter(&mut self, state: &State) -> Result<u64, Stopped> {
        Ok(self.clock.now(state).0.wrapping_add(self.offset))
    }

    fn time_stamp_auxiliary(&mut self, state: &State) -> Result<u32, Stopped> {
        Ok(state.system.tsc_aux as u32)
    }

    fn read_msr(&mut self, state: &mut State, index: u32) -> Result<u64, Stopped> {
        match index {
            TIME_STAMP_COUNTER => self.time_stamp_counter(state),
            TSC_ADJUST => Ok(self.adjust),
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
                let before = self.time_stamp_counter(state)?;
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

    fn task_priority(&self) -> u8 {
        self.platform.borrow().task_priority(self.number)
    }

    fn set_task_priority(&mut self, state: &mut State, priority: u8) {
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
