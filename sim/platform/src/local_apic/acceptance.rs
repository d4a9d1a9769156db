//! Which messages a local APIC takes, and what it makes of them (SDM 13.6.2, 13.8).

use super::local_vector::Entry;
use super::{LocalApic, Mode};
use crate::fabric::{DeliveryMode, Destination, Message, Trigger};

/// Whether a message found a taker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Acceptance {
    /// It did.
    Accepted,
    /// It did not.
    Refused,
}

/// What waits for a processor besides maskable interrupts. The processor takes each away when it acts on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Signals {
    /// An INIT; it comes before a start-up IPI that waits at the same time.
    pub init: bool,
    /// A start-up IPI and its vector.
    pub start_up: Option<u8>,
    /// A non-maskable interrupt.
    pub nmi: bool,
    /// A system-management interrupt.
    pub smi: bool,
}

impl Signals {
    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// An INIT comes; a start-up IPI from before it is lost.
    pub(super) fn receive_init(&mut self) {
        self.init = true;
        self.start_up = None;
    }
}

/// Bits of the error status register (SDM 13.5.3).
pub(super) mod errors {
    /// An IPI with a vector below 16 was to be sent.
    pub(crate) const SEND_ILLEGAL_VECTOR: u32 = 1 << 5;
    /// An interrupt with a vector below 16 was to be taken.
    pub(crate) const RECEIVE_ILLEGAL_VECTOR: u32 = 1 << 6;
    /// A register that does not exist was accessed in xAPIC mode.
    pub(crate) const ILLEGAL_REGISTER: u32 = 1 << 7;
}

impl LocalApic {
    /// Whether `destination` includes this local APIC, which is globally enabled.
    #[must_use]
    pub(crate) fn is_addressed_by(&self, destination: Destination) -> bool {
        if self.base.mode() == Mode::Disabled {
            return false;
        }
        match destination {
            Destination::All => true,
            Destination::AllExcept(processor) => processor != self.processor,
            Destination::Only(processor) => processor == self.processor,
            Destination::Physical(id) => id == self.id(),
            Destination::Logical(address) => self.matches_logical(address),
        }
    }

    /// Whether a message destination address selects this local APIC (SDM 13.6.2.2, 13.12.10.2).
    fn matches_logical(&self, address: u32) -> bool {
        if self.base.mode() == Mode::X2apic {
            let own = self.x2apic_logical_id();
            return address >> 16 == own >> 16 && address & own & 0xffff != 0;
        }
        let Ok(address) = u8::try_from(address) else { return false };
        let own = self.logical_destination;
        match self.destination_format {
            0xf => address & own != 0,
            0 => address >> 4 == own >> 4 && address & own & 0xf != 0,
            _ => false,
        }
    }

    /// The logical APIC ID in x2APIC mode: a cluster of 16 and a bit in it.
    pub(super) fn x2apic_logical_id(&self) -> u32 {
        (self.processor.0 >> 4) << 16 | 1 << (self.processor.0 & 15)
    }

    /// Whether the local APIC takes part in an arbitration for the lowest priority, and with which priority.
    #[must_use]
    pub(crate) fn arbitration(&self) -> Option<u8> {
        self.software_enabled().then(|| self.processor_priority())
    }

    /// Takes a message that is addressed to this local APIC. While it is software-disabled it takes NMI, SMI, INIT and
    /// start-up IPIs only (SDM 13.4.7.2).
    pub(crate) fn accept(&mut self, message: &Message) -> Acceptance {
        match message.delivery {
            DeliveryMode::Nmi => self.signals.nmi = true,
            DeliveryMode::Smi => self.signals.smi = true,
            DeliveryMode::Init => self.signals.receive_init(),
            DeliveryMode::StartUp => self.signals.start_up = Some(message.vector),
            _ if !self.software_enabled() => return Acceptance::Refused,
            DeliveryMode::ExtInt => self.external = true,
            DeliveryMode::Fixed | DeliveryMode::LowestPriority => {
                self.request(message.vector, message.trigger);
            }
        }
        Acceptance::Accepted
    }

    /// Requests an interrupt; the trigger-mode register shows how the last request of the vector was signalled.
    pub(super) fn request(&mut self, vector: u8, trigger: Trigger) {
        if vector < 16 {
            self.record_error(errors::RECEIVE_ILLEGAL_VECTOR);
            return;
        }
        self.requested.insert(vector);
        match trigger {
            Trigger::Edge => self.trigger_mode.remove(vector),
            Trigger::Level => self.trigger_mode.insert(vector),
        }
    }

    /// Notes an error and raises the error interrupt, whose own vector cannot be in error again.
    pub(super) fn record_error(&mut self, error: u32) {
        let new = self.errors & error == 0;
        self.errors |= error;
        let legal = self.table.get(Entry::Error).vector() >= 16;
        if new && legal {
            self.raise_local(Entry::Error);
        }
    }
}
