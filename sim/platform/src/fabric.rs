//! The interrupt fabric: what lies between the devices and the interrupt controllers, as data.
//!
//! A device knows only its [`Line`]: it asserts or releases it under its own [`Source`], and several sources on one line
//! are or-ed, as on a shared wire. A line leads to [`Endpoint`]s by a table of routes. Controllers and processors send
//! [`Message`]s. Both kinds of traffic wait here, in order, until the platform has carried them to the last controller,
//! so that what a device does twice in a row is seen twice.

use crate::options::ProcessorIndex;
use std::collections::VecDeque;

/// A wire of the interrupt fabric.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Line(u8);

/// How many lines there are.
const LINES: usize = 26;

impl Line {
    /// The output of the master 8259: INTR of every processor, and pin 0 of the I/O APIC.
    pub const INTR: Self = Self(24);
    /// The non-maskable interrupt of every processor.
    pub const NMI: Self = Self(25);
    /// The 8254's channel 0.
    pub const TIMER: Self = Self(0);
    /// The keyboard controller.
    pub const KEYBOARD: Self = Self(1);
    /// The first serial port.
    pub const SERIAL: Self = Self(4);
    /// The real-time clock.
    pub const REAL_TIME_CLOCK: Self = Self(8);
    /// The system control interrupt of ACPI.
    pub const SYSTEM_CONTROL: Self = Self(9);
    /// The keyboard controller's second device.
    pub const MOUSE: Self = Self(12);

    /// The line of a global system interrupt; the first 16 are those of the ISA bus.
    #[must_use]
    pub fn global(interrupt: u8) -> Option<Self> {
        (interrupt < 24).then_some(Self(interrupt))
    }

    /// The number of the line.
    #[must_use]
    pub fn number(self) -> u8 {
        self.0
    }
}

/// Who drives a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Source {
    /// The 8259 pair, which drives [`Line::INTR`].
    Pic,
    /// The 8254.
    Pit,
    /// The real-time clock.
    RealTimeClock,
    /// The serial port.
    Serial,
    /// A timer of the HPET.
    Hpet(HpetTimer),
    /// The ACPI power-management registers.
    Power,
    /// The keyboard controller.
    Keyboard,
    /// The test device.
    TestDevice,
    /// Whoever embeds the platform.
    Embedder,
}

/// Which timer of the HPET.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HpetTimer(pub u8);

impl Source {
    /// The bit of this source in the set of those that assert a line.
    fn bit(self) -> u16 {
        1 << match self {
            Self::Pic => 0,
            Self::Pit => 1,
            Self::RealTimeClock => 2,
            Self::Serial => 3,
            Self::Power => 4,
            Self::Keyboard => 5,
            Self::TestDevice => 6,
            Self::Embedder => 7,
            Self::Hpet(HpetTimer(timer)) => 8 + (timer & 7),
        }
    }
}

/// Whether a signal is asserted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Level {
    /// Not asserted.
    #[default]
    Released,
    /// Asserted.
    Asserted,
}

impl Level {
    /// `Asserted` when `condition` holds.
    #[must_use]
    pub fn when(condition: bool) -> Self {
        if condition { Self::Asserted } else { Self::Released }
    }

    /// Whether the signal is asserted.
    #[must_use]
    pub fn is_asserted(self) -> bool {
        self == Self::Asserted
    }
}

/// Which electrical level asserts a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Polarity {
    /// High, as on the ISA bus.
    #[default]
    ActiveHigh,
    /// Low, as on the PCI bus.
    ActiveLow,
}

/// Where a line leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Endpoint {
    /// An input of the pair of 8259s: 0 to 7 of the master, 8 to 15 of the slave.
    Pic(u8),
    /// A pin of the I/O APIC.
    IoApic(u8),
    /// LINT0 (INTR) of every processor.
    LocalInterrupt0,
    /// LINT1 (NMI) of every processor.
    LocalInterrupt1,
}

/// How an interrupt is signalled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Trigger {
    /// By the transition.
    #[default]
    Edge,
    /// By the level, until it is released.
    Level,
}

/// What a message asks of its receivers (SDM 13.6.1, "Delivery Mode").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeliveryMode {
    /// Deliver the vector to all.
    Fixed,
    /// Deliver the vector to the one that runs at the lowest priority.
    LowestPriority,
    /// A system-management interrupt.
    Smi,
    /// A non-maskable interrupt.
    Nmi,
    /// An INIT request.
    Init,
    /// A start-up IPI; the vector is the page where execution begins.
    StartUp,
    /// An interrupt whose vector the 8259 supplies.
    ExtInt,
}

impl DeliveryMode {
    /// The mode of the three-bit encoding that ICR, LVT, redirection entries and MSI data share; `None` is reserved.
    #[must_use]
    pub fn from_bits(bits: u32) -> Option<Self> {
        match bits & 7 {
            0 => Some(Self::Fixed),
            1 => Some(Self::LowestPriority),
            2 => Some(Self::Smi),
            4 => Some(Self::Nmi),
            5 => Some(Self::Init),
            6 => Some(Self::StartUp),
            7 => Some(Self::ExtInt),
            _ => None,
        }
    }
}

/// Whom a message is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Destination {
    /// The local APIC with this ID.
    Physical(u32),
    /// The local APICs that this message destination address matches (SDM 13.6.2.2).
    Logical(u32),
    /// Every local APIC.
    All,
    /// Every local APIC but that of one processor.
    AllExcept(ProcessorIndex),
    /// That of one processor.
    Only(ProcessorIndex),
}

/// Who sent a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sender {
    /// A pin of the I/O APIC.
    IoApic(u8),
    /// The local APIC of a processor.
    Processor(ProcessorIndex),
    /// A device, by a message-signalled interrupt.
    Device,
}

/// An interrupt message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message {
    /// Who sent it.
    pub sender: Sender,
    /// Whom it is for.
    pub destination: Destination,
    /// What it asks.
    pub delivery: DeliveryMode,
    /// The vector; meaningless for NMI, SMI, INIT and ExtINT.
    pub vector: u8,
    /// Whether an EOI must be reported to the I/O APIC.
    pub trigger: Trigger,
}

impl Message {
    /// The message of a write of `data` to `address` by a device (SDM 13.11), or `None` when the address is outside
    /// FEE00000h-FEEFFFFFh or the delivery mode is reserved.
    #[must_use]
    pub fn signalled(address: u64, data: u32) -> Option<Self> {
        if address >> 20 != 0xfee {
            return None;
        }
        let identifier = (address >> 12 & 0xff) as u32;
        let logical = address & 4 != 0;
        Some(Self {
            sender: Sender::Device,
            destination: Destination::of_byte(identifier, logical),
            delivery: DeliveryMode::from_bits(data >> 8)?,
            vector: (data & 0xff) as u8,
            trigger: if data & 1 << 15 == 0 { Trigger::Edge } else { Trigger::Level },
        })
    }
}

impl Destination {
    /// The destination of an eight-bit field, in which FFh is everyone.
    pub(crate) fn of_byte(field: u32, logical: bool) -> Self {
        match (field, logical) {
            (0xff, _) => Self::All,
            (_, true) => Self::Logical(field),
            (_, false) => Self::Physical(field),
        }
    }
}

/// A line that changed, and its new level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Change {
    pub(crate) line: Line,
    pub(crate) level: Level,
}

/// What is known of a line.
#[derive(Clone, Debug, Default)]
struct Wire {
    /// The sources that assert it, as a set of [`Source::bit`].
    asserted_by: u16,
    polarity: Polarity,
    endpoints: Vec<Endpoint>,
}

/// The lines, their routes, and the traffic under way.
#[derive(Clone, Debug)]
pub struct Fabric {
    wires: [Wire; LINES],
    changes: VecDeque<Change>,
    messages: VecDeque<Message>,
}

impl Default for Fabric {
    /// The routes of a PC: ISA interrupts lead to the 8259s and to the pin of the I/O APIC with their number, but for
    /// interrupt 0, which leads to pin 2, and interrupt 2, which is the cascade of the 8259s and no line at all.
    fn default() -> Self {
        let mut fabric =
            Self { wires: Default::default(), changes: VecDeque::new(), messages: VecDeque::new() };
        for number in 0..24 {
            fabric.wires[usize::from(number)].endpoints = global_routes(number);
        }
        fabric.wires[usize::from(Line::INTR.0)].endpoints =
            vec![Endpoint::LocalInterrupt0, Endpoint::IoApic(0)];
        fabric.wires[usize::from(Line::NMI.0)].endpoints = vec![Endpoint::LocalInterrupt1];
        fabric
    }
}

/// Where a global system interrupt leads.
fn global_routes(number: u8) -> Vec<Endpoint> {
    match number {
        0 => vec![Endpoint::Pic(0), Endpoint::IoApic(2)],
        2 => Vec::new(),
        1..16 => vec![Endpoint::Pic(number), Endpoint::IoApic(number)],
        _ => vec![Endpoint::IoApic(number)],
    }
}

impl Fabric {
    /// Lets `source` assert or release `line`. Nothing happens while another source asserts it too.
    pub fn set(&mut self, source: Source, line: Line, level: Level) {
        let before = self.level(line);
        let wire = &mut self.wires[usize::from(line.0)];
        match level {
            Level::Asserted => wire.asserted_by |= source.bit(),
            Level::Released => wire.asserted_by &= !source.bit(),
        }
        let level = self.level(line);
        if level != before {
            self.changes.push_back(Change { line, level });
        }
    }

    /// Makes an edge on `line` that leaves it asserted, whatever it was.
    pub fn strike(&mut self, source: Source, line: Line) {
        self.set(source, line, Level::Released);
        self.set(source, line, Level::Asserted);
    }

    /// Sends a message.
    pub fn send(&mut self, message: Message) {
        self.messages.push_back(message);
    }

    /// Whether anyone asserts `line`.
    #[must_use]
    pub fn level(&self, line: Line) -> Level {
        Level::when(self.wires[usize::from(line.0)].asserted_by != 0)
    }

    /// Where `line` leads.
    #[must_use]
    pub fn routes(&self, line: Line) -> &[Endpoint] {
        &self.wires[usize::from(line.0)].endpoints
    }

    /// Leads `line` elsewhere. The new endpoints see its next change.
    pub fn route(&mut self, line: Line, endpoints: Vec<Endpoint>) {
        self.wires[usize::from(line.0)].endpoints = endpoints;
    }

    /// Which electrical level asserts `line`.
    #[must_use]
    pub fn polarity(&self, line: Line) -> Polarity {
        self.wires[usize::from(line.0)].polarity
    }

    /// The next change that no controller has seen.
    pub(crate) fn take_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    /// Whether there is a change that no controller has seen.
    pub(crate) fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// The next message that no local APIC has seen.
    pub(crate) fn take_message(&mut self) -> Option<Message> {
        self.messages.pop_front()
    }
}
