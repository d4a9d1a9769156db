//! What a platform consists of.

use crate::time::Time;
use std::io::Write;

/// Which processor: they are numbered from 0, the bootstrap processor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct ProcessorIndex(pub u32);

/// The largest number of processors.
pub const MAX_PROCESSORS: u32 = 4096;

/// Whether the platform describes itself by ACPI tables and has the registers that they name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Acpi {
    /// Yes.
    #[default]
    Present,
    /// No.
    Absent,
}

/// In what state software finds the interrupt controllers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Start {
    /// The bootstrap processor's local APIC is software-enabled with LINT0 as ExtINT and LINT1 as NMI, the virtual wire
    /// mode of the MultiProcessor Specification (3.6.2.2); the 8259 lets nothing through.
    #[default]
    VirtualWire,
    /// As firmware leaves them: in virtual wire mode, and the 8259 lets the timer through.
    Firmware,
    /// As power-on leaves them (SDM 13.4.7.1).
    PowerOn,
}

/// What the local APICs offer; the processor model's CPUID must say the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LocalApicFeatures {
    /// x2APIC mode: CPUID.01H:ECX\[21\].
    pub x2apic: bool,
    /// The TSC-deadline mode of the timer: CPUID.01H:ECX\[24\].
    pub tsc_deadline: bool,
    /// MAXPHYADDR, which bounds the APIC base: CPUID.80000008H:EAX\[7:0\].
    pub physical_address_bits: u8,
}

impl Default for LocalApicFeatures {
    fn default() -> Self {
        Self { x2apic: true, tsc_deadline: true, physical_address_bits: 46 }
    }
}

/// What a platform consists of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PlatformOptions {
    /// The number of processors, whose APIC IDs count from 0.
    pub processors: u32,
    /// The bytes of RAM from address 0 on, below 4 GiB.
    pub memory_below_4g: u64,
    /// The bytes of RAM from 4 GiB on.
    pub memory_above_4g: u64,
    /// Whether there is ACPI.
    pub acpi: Acpi,
    /// What the local APICs offer.
    pub local_apic: LocalApicFeatures,
    /// In what state software finds the interrupt controllers.
    pub start: Start,
    /// What the real-time clock shows at power-on, in seconds since 1970-01-01 00:00:00 UTC.
    pub date: u64,
}

impl Default for PlatformOptions {
    /// One processor, 256 MiB of RAM, ACPI, and the first second of 2026.
    fn default() -> Self {
        Self {
            processors: 1,
            memory_below_4g: 256 << 20,
            memory_above_4g: 0,
            acpi: Acpi::Present,
            local_apic: LocalApicFeatures::default(),
            start: Start::VirtualWire,
            date: 1_767_225_600,
        }
    }
}

/// Why a platform cannot be built.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OptionsError {
    /// There are no processors, or too many.
    #[error("a platform has 1 to {MAX_PROCESSORS} processors, not {0}")]
    Processors(u32),
    /// More than 254 processors without x2APIC mode, so that some would share an APIC ID with others.
    #[error("{0} processors need x2APIC mode: eight-bit APIC IDs end at 254")]
    IdsNeedX2apic(u32),
    /// The RAM below 4 GiB would cover the registers of devices.
    #[error("RAM below 4 GiB ends at {0:#x}, inside the registers of devices from {limit:#x} on", limit = DEVICES)]
    MemoryBelow4G(u64),
    /// The RAM above 4 GiB ends beyond the physical addresses.
    #[error("{0:#x} bytes of RAM above 4 GiB end beyond the {1} bits of a physical address")]
    MemoryAbove4G(u64, u8),
    /// MAXPHYADDR outside what the architecture has.
    #[error("physical addresses have 32 to 52 bits, not {0}")]
    PhysicalAddressBits(u8),
}

/// From here on, up to 4 GiB, no RAM: devices have their registers there.
pub const DEVICES: u64 = 0xfec0_0000;

impl PlatformOptions {
    /// Whether such a platform can be built.
    ///
    /// # Errors
    /// The first option that is impossible.
    pub fn check(&self) -> Result<(), OptionsError> {
        let features = self.local_apic;
        if !(1..=MAX_PROCESSORS).contains(&self.processors) {
            return Err(OptionsError::Processors(self.processors));
        }
        if self.processors > 255 && !features.x2apic {
            return Err(OptionsError::IdsNeedX2apic(self.processors));
        }
        if self.memory_below_4g > DEVICES {
            return Err(OptionsError::MemoryBelow4G(self.memory_below_4g));
        }
        if !(32..=52).contains(&features.physical_address_bits) {
            return Err(OptionsError::PhysicalAddressBits(features.physical_address_bits));
        }
        let end = self.memory_above_4g.checked_add(1 << 32);
        let fits =
            end.is_some_and(|end| self.memory_above_4g == 0 || end <= 1 << features.physical_address_bits);
        if !fits {
            return Err(OptionsError::MemoryAbove4G(self.memory_above_4g, features.physical_address_bits));
        }
        Ok(())
    }
}

/// Where the bytes of the serial port go.
pub type SerialSink = Box<dyn Write + Send>;

/// Why the machine is to stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// Software wrote this value to the debug-exit port.
    DebugExit(u32),
    /// Software entered the soft-off state (S5).
    PowerOff,
    /// Software asked for a reset of the whole machine.
    Reset,
}

/// What happened, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stopped {
    /// Why.
    pub stop: Stop,
    /// When.
    pub at: Time,
}
