//! The interrupt command register (SDM 13.6.1, 13.12.9).

use super::acceptance::errors;
use super::{LocalApic, Mode};
use crate::fabric::{DeliveryMode, Destination, Message, Sender, Trigger};

const LOGICAL: u32 = 1 << 11;
const ASSERT: u32 = 1 << 14;
const LEVEL_TRIGGERED: u32 = 1 << 15;
/// Bits of the low half that hold something; the delivery status always reads idle.
pub(super) const MEANINGFUL: u32 = 0x000c_cfff;
/// Bits of the low half that are reserved in x2APIC mode. The delivery status is not there any more, but is ignored.
pub(super) const RESERVED_X2APIC: u32 = !(MEANINGFUL | 1 << 12);

impl LocalApic {
    /// The message that the command register asks for, if it asks for a valid one.
    pub(super) fn command(&mut self) -> Option<Message> {
        let low = self.command_low;
        let delivery = DeliveryMode::from_bits(low >> 8)?;
        let level = low & LEVEL_TRIGGERED != 0;
        // INIT level de-assert: no processor since the Pentium 4 supports it.
        if delivery == DeliveryMode::Init && level && low & ASSERT == 0 {
            return None;
        }
        let vector = (low & 0xff) as u8;
        let carries_vector = matches!(delivery, DeliveryMode::Fixed | DeliveryMode::LowestPriority);
        if carries_vector && vector < 16 {
            self.record_error(errors::SEND_ILLEGAL_VECTOR);
            return None;
        }
        // An IPI of the ExtINT kind is not defined.
        let defined = delivery != DeliveryMode::ExtInt;
        defined.then(|| self.message(delivery, vector))
    }

    /// The message of the command register. IPIs are edge-triggered: the trigger mode only matters for INIT de-assert.
    fn message(&self, delivery: DeliveryMode, vector: u8) -> Message {
        let sender = Sender::Processor(self.processor);
        Message { sender, destination: self.command_destination(), delivery, vector, trigger: Trigger::Edge }
    }

    /// The shorthand, or the destination field.
    fn command_destination(&self) -> Destination {
        let low = self.command_low;
        let logical = low & LOGICAL != 0;
        match low >> 18 & 3 {
            1 => Destination::Only(self.processor),
            2 => Destination::All,
            3 => Destination::AllExcept(self.processor),
            _ if self.base.mode() != Mode::X2apic => Destination::of_byte(self.command_high >> 24, logical),
            _ if self.command_high == u32::MAX => Destination::All,
            _ if logical => Destination::Logical(self.command_high),
            _ => Destination::Physical(self.command_high),
        }
    }

    /// The message of a write to the self-IPI register.
    pub(super) fn self_interrupt(&mut self, vector: u8) -> Option<Message> {
        if vector < 16 {
            self.record_error(errors::SEND_ILLEGAL_VECTOR);
            return None;
        }
        let destination = Destination::Only(self.processor);
        Some(Message { destination, ..self.message(DeliveryMode::Fixed, vector) })
    }
}
