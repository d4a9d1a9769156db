//! Which device answers at an I/O port.
//!
//! Most registers are a byte wide: a wider access is one byte after the other, from the lowest port on, as the bus of a
//! PC does it. A few are wider, and those see the access as it is.

use crate::devices::{A20, Devices};
use crate::firmware_config::FirmwareConfig;
use crate::keyboard::Keyboard;
use crate::options::{ProcessorIndex, Stop};
use crate::pci::Pci;
use crate::pic::Pic;
use crate::pit::Pit;
use crate::platform::Platform;
use crate::power::{Power, RESET_CONTROL};
use crate::real_time_clock::RealTimeClock;
use crate::serial::Serial;
use crate::test_device::{self, TestDevice};
use crate::time::Time;

/// Software ends the run by writing here.
pub const DEBUG_EXIT: u16 = 0xf4;
/// Where firmware tells how far it got.
const POST_CODE: u16 = 0x80;
/// A byte here asks for an SMI of the processor that writes it.
const MANAGEMENT_COMMAND: u16 = 0xb2;
/// A byte that goes with it.
const MANAGEMENT_STATUS: u16 = 0xb3;
/// Fast A20 gate and reset.
const SYSTEM_CONTROL_A: u16 = 0x92;

/// All ones in `bytes` bytes.
fn ones(bytes: u8) -> u32 {
    u32::MAX >> (32 - 8 * u32::from(bytes.clamp(1, 4)))
}

impl Platform {
    /// Reads `bytes` bytes (1, 2 or 4) at an I/O port. Where nothing answers, all ones.
    pub fn port_read(&mut self, _processor: ProcessorIndex, now: Time, port: u16, bytes: u8) -> u32 {
        let now = self.catch_up(now);
        let devices = self.devices_mut();
        let value = devices.read_wide(now, port, bytes).unwrap_or_else(|| {
            let bytes = (0..bytes.clamp(1, 4)).rev();
            bytes.fold(0, |value, offset| {
                let byte =
                    port.checked_add(u16::from(offset)).map_or(0xff, |port| devices.read_byte(now, port));
                value << 8 | u32::from(byte)
            })
        });
        self.settle();
        value & ones(bytes)
    }

    /// Writes `bytes` bytes (1, 2 or 4) at an I/O port.
    pub fn port_write(&mut self, processor: ProcessorIndex, now: Time, port: u16, bytes: u8, value: u32) {
        let now = self.catch_up(now);
        let value = value & ones(bytes);
        if self.devices_mut().write_wide(port, bytes, value).is_none() {
            for (offset, byte) in (0..bytes.clamp(1, 4)).zip(value.to_le_bytes()) {
                if let Some(port) = port.checked_add(u16::from(offset)) {
                    self.devices_mut().write_byte(now, port, byte);
                    if port == MANAGEMENT_COMMAND
                        && let Some(signals) = self.signals_mut(processor)
                    {
                        signals.smi = true;
                    }
                    // A byte may ask for an interrupt that the next one withdraws: each has its consequences.
                    self.settle();
                }
            }
        }
        self.settle();
    }
}

impl Devices {
    /// Reads a register that sees the width of the access.
    fn read_wide(&mut self, now: Time, port: u16, bytes: u8) -> Option<u32> {
        if Pci::claims(port, bytes) {
            return Some(self.pci.read(port, bytes));
        }
        (self.has_acpi() && Power::claims(port)).then(|| self.power.read(now, port, bytes))
    }

    /// Writes a register that sees the width of the access.
    fn write_wide(&mut self, port: u16, bytes: u8, value: u32) -> Option<()> {
        if Pci::claims(port, bytes) {
            self.pci.write(port, bytes, value);
        } else if self.has_acpi() && Power::claims(port) {
            let stop = self.power.write(port, bytes, value);
            self.request(stop);
        } else if port == DEBUG_EXIT {
            self.request(Some(Stop::DebugExit(value)));
        } else if FirmwareConfig::selects(port) && bytes == 2 {
            self.firmware_config.select((value & 0xffff) as u16);
        } else if TestDevice::is_line(port) {
            test_device::set_line(&mut self.fabric, port, value);
        } else {
            return None;
        }
        Some(())
    }

    /// Notes that software asked for an end; the first request counts.
    fn request(&mut self, stop: Option<Stop>) {
        self.stop = self.stop.or(stop);
    }

    /// Reads a register of one byte.
    fn read_byte(&mut self, now: Time, port: u16) -> u8 {
        match port {
            POST_CODE => self.post_code,
            MANAGEMENT_COMMAND => self.management[0],
            MANAGEMENT_STATUS => self.management[1],
            SYSTEM_CONTROL_A => {
                if self.a20 == A20::Enabled {
                    2
                } else {
                    0
                }
            }
            RESET_CONTROL => self.power.reset_control(),
            _ if Pic::claims(port) => self.pic.read(port),
            _ if Pit::claims(port) => self.pit.read(now, port),
            _ if RealTimeClock::claims(port) => self.real_time_clock.read(now, port),
            _ if Serial::claims(port) => self.serial.read(port),
            _ if Keyboard::claims(port) => self.keyboard.read(port),
            _ if FirmwareConfig::claims(port) => self.firmware_config.read(port),
            _ if TestDevice::claims_port(port) => self.test_device.read(port),
            _ => 0xff,
        }
    }

    /// Writes a register of one byte.
    fn write_byte(&mut self, now: Time, port: u16, value: u8) {
        match port {
            POST_CODE => self.post_code = value,
            MANAGEMENT_COMMAND => self.management[0] = value,
            MANAGEMENT_STATUS => self.management[1] = value,
            SYSTEM_CONTROL_A => self.write_system_control(value),
            RESET_CONTROL => {
                let stop = self.power.set_reset_control(value);
                self.request(stop);
            }
            _ if Pic::claims(port) => self.pic.write(port, value),
            _ if Pit::claims(port) => self.pit.write(now, port, value),
            _ if RealTimeClock::claims(port) => self.real_time_clock.write(now, port, value),
            _ if Serial::claims(port) => self.serial.write(port, value),
            _ if Keyboard::claims(port) => self.write_keyboard(port, value),
            _ if FirmwareConfig::selects(port) => self.firmware_config.select(u16::from(value)),
            _ if TestDevice::claims_port(port) => self.test_device.write(port, value),
            _ => {}
        }
    }

    /// Port 92h: bit 0 pulses the reset line, bit 1 lets address line 20 through.
    fn write_system_control(&mut self, value: u8) {
        self.a20 = if value & 2 != 0 { A20::Enabled } else { A20::Masked };
        if value & 1 != 0 {
            self.request(Some(Stop::Reset));
        }
    }

    /// The keyboard controller, whose output port holds the reset line and address line 20 as well.
    fn write_keyboard(&mut self, port: u16, value: u8) {
        let outcome = self.keyboard.write(port, value, self.a20);
        self.a20 = outcome.a20.unwrap_or(self.a20);
        self.request(outcome.reset);
    }
}
