//! How a machine is put together, at power-on and when it begins again.

use super::logical::Logical;
use super::monitor::Monitors;
use super::surroundings::{Shared, Surroundings};
use super::{Machine, MachineError, MachineOptions, features, firmware};
use crate::cpuid::Model;
use crate::load::{Loaded, Start};
use crate::processor::Processor;
use isa::address::HostPhysicalAddress;
use isa::engine::CodeCache;
use isa::system::{Activity, Offers};
use mmu::{Geometry, Mmu, Ram};
use platform::{Platform, PlatformOptions, ProcessorIndex, Time, acpi, multiprocessor};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::rc::Rc;
use vmx::capabilities::Capabilities;

/// What a reset does that the guest asks for: by the keyboard controller, the reset control register, the fast reset of
/// port 92h or the reset register of ACPI, which is the second of these.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum OnReset {
    /// It ends the run.
    #[default]
    Stop,
    /// The machine begins again with the image that it was made with, everything else being as at power-on.
    Restart,
}

/// What a machine begins with.
pub(super) struct Beginning {
    pub(super) options: MachineOptions,
    pub(super) model: Rc<Model>,
    pub(super) loaded: Loaded,
}

/// What was before the machine began again.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Past {
    /// How often it has.
    pub(super) resets: u64,
    /// Ticks until then.
    pub(super) cycles: u64,
}

/// RAM with the image and the tables of firmware.
pub(super) fn ram(
    options: &MachineOptions,
    platform: &PlatformOptions,
    loaded: &Loaded,
) -> Result<Ram, MachineError> {
    let ram = Ram::with_ranges(&options.ranges())?;
    for (address, bytes) in firmware::pieces() {
        ram.copy_in(address, &bytes)?;
    }
    for piece in &loaded.pieces {
        ram.copy_in(piece.address, &piece.bytes)?;
    }
    for table in acpi::tables(platform).into_iter().chain(multiprocessor::tables(platform)) {
        ram.copy_in(HostPhysicalAddress(table.address), &table.bytes)?;
    }
    Ok(ram)
}

/// The processors: the first where the image begins, the others waiting for a startup IPI.
pub(super) fn processors(
    options: &MachineOptions,
    platform: &Rc<RefCell<Platform>>,
    model: &Rc<Model>,
    start: &Start,
) -> Result<Vec<Logical>, MachineError> {
    let monitors = Rc::new(Monitors::new(options.processors));
    let shared = Shared { platform: Rc::clone(platform), model: Rc::clone(model), monitors };
    let mut processors = Vec::new();
    for number in 0..options.processors {
        let around = Surroundings::new(ProcessorIndex(number), &shared, options);
        let memory = Mmu::waiting(&Geometry::functional())?;
        let mut logical = Logical::new(Processor::new(memory, around));
        let features = features::of(model);
        logical.core.state.system.features = features;
        if features.offers.contains(Offers::VMX) {
            logical.core.outside.offer_vmx(&Rc::new(Capabilities::tier1(&features)));
        }
        logical.power_on();
        if number > 0 {
            logical.core.state.system.activity = Activity::WaitForSipi;
        }
        processors.push(logical);
    }
    processors[0].start(start);
    Ok(processors)
}

impl Machine {
    /// Begins again as at power-on; what has been counted stays.
    pub(super) fn restart(&mut self, beginning: &Beginning) -> Result<(), MachineError> {
        let Beginning { options, model, loaded } = beginning;
        let mut processors = processors(options, &self.platform, model, &loaded.start)?;
        let ram = ram(options, self.platform.borrow().options(), loaded)?;
        self.past = Past { resets: self.past.resets + 1, cycles: self.cycles() };
        for (new, old) in processors.iter_mut().zip(&mut self.processors) {
            new.instructions = old.instructions;
            new.unmodelled = core::mem::take(&mut old.unmodelled);
        }
        self.platform.borrow_mut().power_cycle();
        self.processors = processors;
        self.ram = ram;
        self.code = CodeCache::new();
        self.time = Time(0);
        Ok(())
    }
}
