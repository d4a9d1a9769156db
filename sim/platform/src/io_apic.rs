//! The I/O APIC at FEC00000h with 24 pins (Intel 82093AA data sheet), with the EOI register of later versions.
//!
//! A pin that no local APIC accepts keeps asking while it is level-triggered; an edge is lost, as is an edge on a masked pin.

use crate::fabric::{DeliveryMode, Destination, Level, Message, Polarity, Sender, Trigger};
use crate::local_apic::Acceptance;

/// The address of the registers.
pub const ADDRESS: u64 = 0xfec0_0000;

/// The number of pins.
pub const PINS: u8 = 24;

/// A pin and its redirection entry.
#[derive(Clone, Copy, Debug)]
struct Pin {
    entry: u64,
    /// The electrical level.
    high: bool,
    /// An edge that was not sent yet.
    edge: bool,
}

const DELIVERY_STATUS: u64 = 1 << 12;
const ACTIVE_LOW: u64 = 1 << 13;
const REMOTE_IRR: u64 = 1 << 14;
const LEVEL_TRIGGERED: u64 = 1 << 15;
const MASKED: u64 = 1 << 16;
const LOGICAL: u64 = 1 << 11;
const READ_ONLY: u64 = DELIVERY_STATUS | REMOTE_IRR;
const WRITABLE: u64 = 0xff00_0000_0001_ffff & !READ_ONLY;

impl Pin {
    /// Whether the pin is asserted, by the polarity of its entry.
    fn is_asserted(&self) -> bool {
        self.high != (self.entry & ACTIVE_LOW != 0)
    }

    /// How the pin is triggered: only Fixed and Lowest Priority heed the level.
    fn trigger(&self) -> Trigger {
        let heeds = matches!(self.entry >> 8 & 7, 0 | 1);
        if heeds && self.entry & LEVEL_TRIGGERED != 0 { Trigger::Level } else { Trigger::Edge }
    }

    /// Whether the pin has a message to send.
    fn is_due(&self) -> bool {
        if self.entry & MASKED != 0 {
            return false;
        }
        match self.trigger() {
            Trigger::Edge => self.edge,
            Trigger::Level => self.is_asserted() && self.entry & REMOTE_IRR == 0,
        }
    }
}

/// The I/O APIC.
#[derive(Clone, Debug)]
pub struct IoApic {
    id: u32,
    index: u8,
    pins: [Pin; PINS as usize],
}

impl Default for IoApic {
    /// As power-on leaves it: every pin is masked.
    fn default() -> Self {
        Self { id: 0, index: 0, pins: [Pin { entry: MASKED, high: false, edge: false }; PINS as usize] }
    }
}

impl IoApic {
    /// Whether the registers include `address`.
    #[must_use]
    pub fn claims(address: u64) -> bool {
        address & !0xfff == ADDRESS
    }

    /// Sets the level of a pin, whose line has the given polarity.
    pub fn set_pin(&mut self, pin: u8, level: Level, polarity: Polarity) {
        let Some(pin) = self.pins.get_mut(usize::from(pin)) else { return };
        let before = pin.is_asserted();
        pin.high = level.is_asserted() == (polarity == Polarity::ActiveHigh);
        let rising = pin.is_asserted() && !before;
        // An edge on a masked pin is lost.
        pin.edge |= rising && pin.trigger() == Trigger::Edge && pin.entry & MASKED == 0;
    }

    /// The message of the first pin from `from` on that has one to send.
    pub(crate) fn due(&self, from: u8) -> Option<(u8, Message)> {
        let (pin, state) =
            (from..PINS).zip(&self.pins[usize::from(from.min(PINS))..]).find(|(_, pin)| pin.is_due())?;
        Some((pin, message(pin, state.entry)))
    }

    /// Notes what became of the message of a pin.
    pub(crate) fn sent(&mut self, pin: u8, acceptance: Acceptance) {
        let Some(pin) = self.pins.get_mut(usize::from(pin)) else { return };
        pin.edge = false;
        if pin.trigger() == Trigger::Level && acceptance == Acceptance::Accepted {
            pin.entry |= REMOTE_IRR;
        }
    }

    /// The service of a level-triggered vector ended (SDM 13.8.5).
    pub(crate) fn end_of_interrupt(&mut self, vector: u8) {
        let of_vector = |pin: &&mut Pin| pin.entry & 0xff == u64::from(vector);
        for pin in self.pins.iter_mut().filter(of_vector) {
            pin.entry &= !REMOTE_IRR;
        }
    }

    /// Reads the registers. The index register and the window are four bytes wide; a narrower access sees its part.
    #[must_use]
    pub fn read(&self, address: u64, bytes: u8) -> u64 {
        let value = match address & 0xff0 {
            0x00 => u32::from(self.index),
            0x10 => self.register(),
            _ => 0,
        };
        crate::memory::part(u64::from(value), address & 15, bytes)
    }

    /// Writes the registers. The index register takes any width, the others four bytes on their address.
    pub fn write(&mut self, address: u64, bytes: u8, value: u64) {
        #[allow(clippy::cast_possible_truncation, reason = "the registers have four bytes")]
        let value = value as u32;
        match address & 0xfff {
            0x00 => self.index = (value & 0xff) as u8,
            0x10 if bytes == 4 => self.set_register(value),
            0x40 if bytes == 4 => self.end_of_interrupt((value & 0xff) as u8),
            _ => {}
        }
    }

    /// The pin whose entry the index selects, and how far its half is shifted.
    fn selected(&self) -> Option<(usize, u32)> {
        let offset = self.index.checked_sub(0x10)?;
        (offset < 2 * PINS).then(|| (usize::from(offset / 2), 32 * u32::from(offset & 1)))
    }

    /// The selected register.
    #[allow(clippy::cast_possible_truncation, reason = "one half of the entry is meant")]
    fn register(&self) -> u32 {
        match (self.index, self.selected()) {
            // The arbitration ID is loaded with the ID whenever that is written.
            (0 | 2, _) => self.id,
            (1, _) => (u32::from(PINS) - 1) << 16 | 0x20,
            (_, Some((pin, shift))) => (self.pins[pin].entry >> shift) as u32,
            _ => 0,
        }
    }

    /// Writes the selected register.
    fn set_register(&mut self, value: u32) {
        if self.index == 0 {
            self.id = value & 0x0f00_0000;
        } else if let Some((pin, shift)) = self.selected() {
            self.set_half(pin, shift, value);
        }
    }

    /// Writes half of an entry. A pin that becomes edge-triggered has no interrupt under way any more.
    fn set_half(&mut self, pin: usize, shift: u32, value: u32) {
        let pin = &mut self.pins[pin];
        let half = u64::from(u32::MAX) << shift;
        let kept = pin.entry & !(half & WRITABLE);
        pin.entry = kept | u64::from(value) << shift & WRITABLE;
        if pin.trigger() == Trigger::Edge {
            pin.entry &= !REMOTE_IRR;
        } else {
            pin.edge = false;
        }
    }
}

/// The message of a redirection entry; a reserved delivery mode, as that of a start-up IPI is here, is taken as Fixed.
fn message(pin: u8, entry: u64) -> Message {
    let delivery = DeliveryMode::from_bits((entry >> 8 & 7) as u32);
    let delivery = delivery.filter(|mode| *mode != DeliveryMode::StartUp).unwrap_or(DeliveryMode::Fixed);
    let heeds_level = matches!(delivery, DeliveryMode::Fixed | DeliveryMode::LowestPriority);
    let level = heeds_level && entry & LEVEL_TRIGGERED != 0;
    Message {
        sender: Sender::IoApic(pin),
        destination: Destination::of_byte((entry >> 56) as u32, entry & LOGICAL != 0),
        delivery,
        vector: (entry & 0xff) as u8,
        trigger: if level { Trigger::Level } else { Trigger::Edge },
    }
}
