//! What a machine consists of.

use super::MachineError;
use super::assemble::OnReset;
use super::hypercall::Hypercalls;
use crate::cpuid::{Feature, Model};
use crate::load::{HOLE_END, HOLE_START, LoadError, MemoryMap};
use isa::address::HostPhysicalAddress;
use mmu::ram::MemoryRange;
use platform::{Acpi, LocalApicFeatures, PlatformOptions, Start, acpi};
use serde::Serialize;

/// What a machine consists of.
#[derive(Clone, Debug, Serialize)]
pub struct MachineOptions {
    /// Bytes of RAM.
    pub memory: u64,
    /// Processors.
    pub processors: u32,
    /// The name of a processor model, or the path of one.
    pub model: String,
    /// Whether there is ACPI.
    pub acpi: bool,
    /// Ticks that a processor runs before the next one has its turn.
    pub quantum: u64,
    /// Who answers VMCALL and VMMCALL.
    pub hypercalls: Hypercalls,
    /// What a reset does.
    pub on_reset: OnReset,
    /// The seed of random numbers.
    pub seed: u64,
}

impl Default for MachineOptions {
    /// One processor with 256 MiB.
    fn default() -> Self {
        Self {
            memory: 256 << 20,
            processors: 1,
            model: "kvm-unit".to_owned(),
            acpi: true,
            quantum: 1000,
            hypercalls: Hypercalls::None,
            on_reset: OnReset::Stop,
            seed: 0,
        }
    }
}

/// The hole for video memory and ROMs.
const VIDEO: core::ops::Range<u64> = 0xa_0000..0xc_0000;

impl MachineOptions {
    pub(super) fn model(&self) -> Result<Model, MachineError> {
        Ok(Model::select(&self.model)?)
    }

    pub(super) fn platform(&self, model: &Model) -> PlatformOptions {
        let below = self.memory.min(HOLE_START);
        let local_apic = LocalApicFeatures {
            x2apic: model.has(Feature::X2apic),
            tsc_deadline: model.has(Feature::TscDeadline),
            physical_address_bits: model.physical_address_width(),
        };
        PlatformOptions {
            processors: self.processors,
            memory_below_4g: below,
            memory_above_4g: self.memory - below,
            acpi: if self.acpi { Acpi::Present } else { Acpi::Absent },
            local_apic,
            start: Start::Firmware,
            ..PlatformOptions::default()
        }
    }

    /// RAM for loaders.
    ///
    /// # Errors
    ///
    /// A size that is no RAM.
    pub fn memory_map(&self) -> Result<MemoryMap, LoadError> {
        MemoryMap::new(self.memory)
    }

    /// Where the ACPI root pointer is, for loaders.
    #[must_use]
    pub fn root_pointer(&self) -> Option<HostPhysicalAddress> {
        self.acpi.then_some(HostPhysicalAddress(acpi::ROOT_POINTER))
    }

    /// RAM as addresses see it: with the shadow of ROMs as RAM, and a hole for video memory.
    pub(super) fn ranges(&self) -> Vec<MemoryRange> {
        let below = self.memory.min(HOLE_START);
        let ranges =
            [(0, VIDEO.start.min(below)), (VIDEO.end, below), (HOLE_END, HOLE_END + (self.memory - below))];
        let is_there = |(start, end): &(u64, u64)| start < end;
        let range = |(start, end)| MemoryRange::ram(HostPhysicalAddress(start), end - start);
        ranges.into_iter().filter(is_there).map(range).collect()
    }
}
