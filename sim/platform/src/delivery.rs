//! How interrupts get from the lines and messages of the fabric to the controllers and processors.

use crate::devices::Devices;
use crate::fabric::{Change, DeliveryMode, Endpoint, Level, Line, Message, Source};
use crate::local_apic::{Acceptance, LocalApic};

impl Devices {
    /// Carries changes of lines and messages to where they lead, in order, until none is under way.
    pub(crate) fn deliver(&mut self) {
        loop {
            self.deliver_lines();
            let Some(message) = self.fabric.take_message() else { break };
            self.deliver_message(&message);
        }
    }

    /// Carries changes of lines to the controllers until they rest.
    fn deliver_lines(&mut self) {
        loop {
            while let Some(change) = self.fabric.take_change() {
                self.apply(change);
                self.fabric.set(Source::Pic, Line::INTR, self.pic.output());
                self.deliver_pins();
            }
            self.fabric.set(Source::Pic, Line::INTR, self.pic.output());
            self.deliver_pins();
            if !self.fabric.has_changes() {
                break;
            }
        }
    }

    /// Shows a change to the endpoints of its line.
    fn apply(&mut self, Change { line, level }: Change) {
        let polarity = self.fabric.polarity(line);
        for endpoint in self.fabric.routes(line) {
            match *endpoint {
                Endpoint::Pic(input) => self.pic.set_input(input, level),
                Endpoint::IoApic(pin) => self.io_apic.set_pin(pin, level, polarity),
                Endpoint::LocalInterrupt0 => set_all(&mut self.local_apics, LocalApic::set_lint0, level),
                Endpoint::LocalInterrupt1 => set_all(&mut self.local_apics, LocalApic::set_lint1, level),
            }
        }
    }

    /// Sends the messages of the I/O APIC's pins that have one.
    fn deliver_pins(&mut self) {
        let mut from = 0;
        while let Some((pin, message)) = self.io_apic.due(from) {
            let acceptance = self.deliver_message(&message);
            self.io_apic.sent(pin, acceptance);
            from = pin + 1;
        }
    }

    /// Hands a message to the local APICs that it is for. Of those that a lowest-priority message addresses, the one of
    /// the lowest processor priority takes it, and among equals the first.
    fn deliver_message(&mut self, message: &Message) -> Acceptance {
        if message.delivery == DeliveryMode::LowestPriority {
            let takers = self.local_apics.iter_mut().filter(|apic| apic.is_addressed_by(message.destination));
            let contenders = takers.filter_map(|apic| Some((apic.arbitration()?, apic)));
            let lowest = contenders.min_by_key(|(priority, _)| *priority);
            return lowest.map_or(Acceptance::Refused, |(_, apic)| apic.accept(message));
        }
        let mut result = Acceptance::Refused;
        for apic in self.local_apics.iter_mut().filter(|apic| apic.is_addressed_by(message.destination)) {
            if apic.accept(message) == Acceptance::Accepted {
                result = Acceptance::Accepted;
            }
        }
        result
    }
}

/// Sets a pin of every local APIC.
fn set_all(apics: &mut [LocalApic], pin: impl Fn(&mut LocalApic, Level), level: Level) {
    for apic in apics {
        pin(apic, level);
    }
}
