//! All devices of a platform, and what they do together as time passes.

use crate::fabric::Fabric;
use crate::firmware_config::FirmwareConfig;
use crate::hpet::Hpet;
use crate::io_apic::IoApic;
use crate::keyboard::Keyboard;
use crate::local_apic::LocalApic;
use crate::options::{Acpi, PlatformOptions, ProcessorIndex, Stop};
use crate::pci::Pci;
use crate::pic::Pic;
use crate::pit::Pit;
use crate::power::Power;
use crate::real_time_clock::RealTimeClock;
use crate::serial::Serial;
use crate::test_device::TestDevice;
use crate::time::{Time, earlier};

/// The state of every device: plain data.
#[derive(Clone, Debug)]
pub(crate) struct Devices {
    pub(crate) options: PlatformOptions,
    pub(crate) fabric: Fabric,
    pub(crate) local_apics: Vec<LocalApic>,
    pub(crate) io_apic: IoApic,
    pub(crate) pic: Pic,
    pub(crate) pit: Pit,
    pub(crate) real_time_clock: RealTimeClock,
    pub(crate) hpet: Hpet,
    pub(crate) power: Power,
    pub(crate) serial: Serial,
    pub(crate) keyboard: Keyboard,
    pub(crate) pci: Pci,
    pub(crate) test_device: TestDevice,
    pub(crate) firmware_config: FirmwareConfig,
    /// The last value written to port 80h.
    pub(crate) post_code: u8,
    /// The last values written to ports B2h and B3h, which ask for an SMI.
    pub(crate) management: [u8; 2],
    /// Whether address line 20 is let through.
    pub(crate) a20: A20,
    pub(crate) stop: Option<Stop>,
}

/// Whether bit 20 of physical addresses reaches the memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum A20 {
    /// It does.
    Enabled,
    /// It is forced to 0, as on a processor with 20 address bits.
    Masked,
}

impl Devices {
    /// The devices at power-on.
    pub(crate) fn new(options: &PlatformOptions) -> Self {
        let processors = (0..options.processors).map(ProcessorIndex);
        let apic = |processor| LocalApic::new(processor, options.local_apic, options.start);
        Self {
            options: *options,
            fabric: Fabric::default(),
            local_apics: processors.map(apic).collect(),
            io_apic: IoApic::default(),
            pic: Pic::new(options.start),
            pit: Pit::default(),
            real_time_clock: RealTimeClock::new(options),
            hpet: Hpet::default(),
            power: Power::default(),
            serial: Serial::default(),
            keyboard: Keyboard::default(),
            pci: Pci::default(),
            test_device: TestDevice::default(),
            firmware_config: FirmwareConfig::new(options),
            post_code: 0,
            management: [0; 2],
            a20: A20::Enabled,
            stop: None,
        }
    }

    /// Whether the registers of ACPI are there.
    pub(crate) fn has_acpi(&self) -> bool {
        self.options.acpi == Acpi::Present
    }

    /// The local APIC of a processor.
    pub(crate) fn local_apic_mut(&mut self, processor: ProcessorIndex) -> Option<&mut LocalApic> {
        self.local_apics.get_mut(processor.0 as usize)
    }

    /// Writes an HPET register; its legacy routes take the place of the 8254 and the real-time clock.
    pub(crate) fn write_hpet(&mut self, now: Time, offset: u64, bytes: u8, value: u64) {
        self.hpet.write(now, offset, bytes, value);
        self.pit.set_replaced(self.hpet.replaces_legacy());
        self.real_time_clock.set_replaced(self.hpet.replaces_legacy());
    }

    /// Lets every clocked device run up to `now`, and their interrupts reach the processors.
    pub(crate) fn run_to(&mut self, now: Time) {
        self.pit.advance(now, &mut self.fabric);
        self.real_time_clock.advance(now, &mut self.fabric);
        self.hpet.advance(now, &mut self.fabric);
        self.power.advance(now, &mut self.fabric);
        self.serial.drive(&mut self.fabric);
        self.keyboard.drive(&mut self.fabric);
        for apic in &mut self.local_apics {
            apic.advance(now);
        }
        self.deliver();
    }

    /// The earliest event of any device after `now`.
    pub(crate) fn next_event(&self, now: Time) -> Option<Time> {
        let devices = [
            self.pit.next_event(now),
            self.real_time_clock.next_event(now),
            self.hpet.next_event(now),
            self.power.next_event(now),
        ];
        let timers = self.local_apics.iter().map(|apic| apic.next_event(now));
        devices.into_iter().chain(timers).fold(None, earlier)
    }
}
