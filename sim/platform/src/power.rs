//! The ACPI power-management registers at 600h, and the reset control register at CF9h (ACPI 6.5, 4.8.3).
//!
//! ACPI mode is always on: there is no SMI command port. The fixed events are the carry of the timer and the power button.

use crate::fabric::{Fabric, Level, Line, Source};
use crate::options::Stop;
use crate::time::{Clock, Time};

/// PM1 event block: status at 600h and enable at 602h.
pub const EVENT_BLOCK: u16 = 0x600;
/// PM1 control block.
pub const CONTROL_BLOCK: u16 = 0x604;
/// The timer, 32 bits wide.
pub const TIMER: u16 = 0x608;
/// The reset control register.
pub const RESET_CONTROL: u16 = 0xcf9;
/// What a write to the reset control register must hold to reset.
pub const RESET_VALUE: u8 = 6;
/// The sleep type of soft-off.
pub const SOFT_OFF: u8 = 5;

/// Status and enable: the timer's top bit changed.
const TIMER_CARRY: u16 = 1;
/// Enable alone: the alarm of the real-time clock, which wakes from states that are not modelled.
const REAL_TIME_CLOCK: u16 = 1 << 10;
/// Status and enable: the power button.
const POWER_BUTTON: u16 = 1 << 8;
/// Status and enable: the global lock.
const GLOBAL: u16 = 1 << 5;
/// Control: ACPI mode is on.
const ACPI_MODE: u16 = 1;
/// Control: enter the sleep type.
const SLEEP: u16 = 1 << 13;
/// The timer ticks between two changes of its top bit.
const HALF: u64 = 1 << 31;

/// The registers.
#[derive(Clone, Debug, Default)]
pub struct Power {
    status: u16,
    enable: u16,
    control: u16,
    reset_control: u8,
    /// How often the timer's top bit had changed when it was last looked at.
    carries: u64,
}

impl Power {
    /// Whether the power-management registers are reached at `port`.
    #[must_use]
    pub fn claims(port: u16) -> bool {
        (EVENT_BLOCK..TIMER + 4).contains(&port)
    }

    /// The power button is pressed.
    pub fn press_button(&mut self) {
        self.status |= POWER_BUTTON;
    }

    /// Notes the timer's carries up to `now` and drives the line.
    pub fn advance(&mut self, now: Time, fabric: &mut Fabric) {
        let carries = Clock::POWER_MANAGEMENT.ticks_at(now) / HALF;
        if carries > self.carries {
            self.status |= TIMER_CARRY;
            self.carries = carries;
        }
        let level = Level::when(self.status & self.enable != 0);
        fabric.set(Source::Power, Line::SYSTEM_CONTROL, level);
    }

    /// The next carry, if it interrupts.
    #[must_use]
    pub fn next_event(&self, _now: Time) -> Option<Time> {
        let noticed = self.enable & !self.status & TIMER_CARRY != 0;
        noticed.then(|| Clock::POWER_MANAGEMENT.time_of((self.carries + 1) * HALF)).flatten()
    }

    /// The registers from 600h on, as bytes.
    fn bytes(&self, now: Time) -> [u8; 12] {
        let mut bytes = [0; 12];
        let timer = (Clock::POWER_MANAGEMENT.ticks_at(now) & 0xffff_ffff) as u32;
        bytes[..2].copy_from_slice(&self.status.to_le_bytes());
        bytes[2..4].copy_from_slice(&self.enable.to_le_bytes());
        bytes[4..6].copy_from_slice(&(self.control | ACPI_MODE).to_le_bytes());
        bytes[8..].copy_from_slice(&timer.to_le_bytes());
        bytes
    }

    /// Reads the registers from `port` on; beyond them there are ones.
    #[must_use]
    pub fn read(&self, now: Time, port: u16, bytes: u8) -> u32 {
        let registers = self.bytes(now);
        let start = usize::from(port - EVENT_BLOCK);
        let byte = |offset| registers.get(start + offset).copied().unwrap_or(0xff);
        (0..usize::from(bytes.clamp(1, 4)))
            .rev()
            .fold(0, |value, offset| value << 8 | u32::from(byte(offset)))
    }

    /// Writes the registers from `port` on.
    pub fn write(&mut self, port: u16, bytes: u8, value: u32) -> Option<Stop> {
        let written = value.to_le_bytes();
        let written = &written[..usize::from(bytes.clamp(1, 4))];
        let mut stop = None;
        for (port, byte) in (port..).zip(written) {
            stop = stop.or(self.write_byte(port, *byte));
        }
        stop
    }

    /// Writes one byte: a 1 clears its status bit, and soft-off is entered by the byte with the sleep bit.
    fn write_byte(&mut self, port: u16, byte: u8) -> Option<Stop> {
        let shift = 8 * (port & 1);
        let value = u16::from(byte) << shift;
        let kept = !(0xff << shift);
        match port & !1 {
            EVENT_BLOCK => self.status &= !value,
            0x602 => {
                self.enable =
                    self.enable & kept | value & (TIMER_CARRY | GLOBAL | POWER_BUTTON | REAL_TIME_CLOCK)
            }
            CONTROL_BLOCK => {
                self.control = (self.control & kept | value) & !SLEEP & 0x1c02;
                let soft_off = value & SLEEP != 0 && self.control >> 10 & 7 == u16::from(SOFT_OFF);
                return soft_off.then_some(Stop::PowerOff);
            }
            _ => {}
        }
        None
    }

    /// Reads the reset control register.
    #[must_use]
    pub fn reset_control(&self) -> u8 {
        self.reset_control
    }

    /// Writes the reset control register: bit 2 going from 0 to 1 resets.
    pub fn set_reset_control(&mut self, value: u8) -> Option<Stop> {
        let rises = value & !self.reset_control & 4 != 0;
        self.reset_control = value & 0x0e;
        rises.then_some(Stop::Reset)
    }
}
