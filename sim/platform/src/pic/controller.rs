//! One 8259A.

use crate::fabric::Level;

/// Which initialization command word comes next at the odd port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Expected {
    /// None: the chip is initialized and the port is the mask.
    Mask,
    Icw2,
    Icw3,
    Icw4,
}

/// What a read of the even port shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shown {
    Requests,
    InService,
    /// The next read acknowledges and tells the level.
    Poll,
}

/// The state of one chip.
#[derive(Clone, Debug)]
pub(super) struct Controller {
    base: u8,
    mask: u8,
    inputs: u8,
    /// Rising edges not yet acknowledged.
    edges: u8,
    in_service: u8,
    /// The inputs that the chip set makes level-triggered, and those where it may.
    level: u8,
    level_allowed: u8,
    /// ICW1 made all inputs level-triggered.
    all_level: bool,
    single: bool,
    wants_icw4: bool,
    expected: Expected,
    shown: Shown,
    /// What OCW3 selected, to return to after a poll.
    selected: Shown,
    /// The input of the lowest priority.
    lowest: u8,
    automatic_end: bool,
    rotate_on_automatic_end: bool,
    special_mask: bool,
    special_fully_nested: bool,
}

impl Controller {
    /// A chip with vectors from `base` on; `level_allowed` are the inputs that may be made level-triggered.
    pub(super) fn new(base: u8, level_allowed: u8) -> Self {
        Self {
            base,
            mask: 0xff,
            inputs: 0,
            edges: 0,
            in_service: 0,
            level: 0,
            level_allowed,
            all_level: false,
            single: false,
            wants_icw4: false,
            expected: Expected::Mask,
            shown: Shown::Requests,
            selected: Shown::Requests,
            lowest: 7,
            automatic_end: false,
            rotate_on_automatic_end: false,
            special_mask: false,
            special_fully_nested: false,
        }
    }

    /// Sets the level of an input. A request by an edge stays until it is acknowledged, also when the line is released
    /// before: the 8259 of a chipset latches it.
    pub(super) fn set_input(&mut self, input: u8, level: Level) {
        let bit = 1 << (input & 7);
        if level.is_asserted() {
            self.edges |= bit & !self.inputs;
            self.inputs |= bit;
        } else {
            self.inputs &= !bit;
        }
    }

    /// The interrupt request register.
    fn requests(&self) -> u8 {
        let level = if self.all_level { 0xff } else { self.level };
        self.edges & !level | self.inputs & level
    }

    /// The inputs from the highest priority to the lowest.
    fn by_priority(&self) -> impl Iterator<Item = u8> + use<> {
        let first = self.lowest + 1;
        (0..8).map(move |step| (first + step) & 7)
    }

    /// The request that the chip would hand to the processor.
    fn pending(&self) -> Option<u8> {
        let requests = self.requests() & !self.mask;
        let is_in = |set: u8, input: u8| set >> input & 1 != 0;
        if self.special_mask {
            // An input in service holds back itself only.
            return self.by_priority().find(|input| is_in(requests & !self.in_service, *input));
        }
        let nested = if self.special_fully_nested { 1 << super::CASCADE } else { 0 };
        let open = self.by_priority().take_while(|input| !is_in(self.in_service & !nested, *input));
        open.into_iter().find(|input| is_in(requests, *input))
    }

    /// Whether the chip asks for the processor.
    pub(super) fn output(&self) -> Level {
        Level::when(self.expected == Expected::Mask && self.pending().is_some())
    }

    /// Takes the highest request into service. Without one, the input is `None` and the vector that of input 7.
    pub(super) fn acknowledge(&mut self) -> (Option<u8>, u8) {
        let Some(input) = self.pending() else { return (None, self.base | 7) };
        let bit = 1 << input;
        self.edges &= !bit;
        if self.automatic_end {
            if self.rotate_on_automatic_end {
                self.lowest = input;
            }
        } else {
            self.in_service |= bit;
        }
        (Some(input), self.base | input)
    }

    /// Reads the even port.
    pub(super) fn read_command(&mut self) -> u8 {
        match self.shown {
            Shown::Requests => self.requests(),
            Shown::InService => self.in_service,
            Shown::Poll => self.poll(),
        }
    }

    /// Reads the odd port: the mask, or the answer to a poll.
    pub(super) fn read_data(&mut self) -> u8 {
        if self.shown == Shown::Poll { self.poll() } else { self.mask }
    }

    /// Answers a poll command: bit 7 and the level, taken into service.
    fn poll(&mut self) -> u8 {
        self.shown = self.selected;
        match self.acknowledge() {
            (Some(input), _) => 0x80 | input,
            (None, _) => 0,
        }
    }

    /// Writes the even port: ICW1, OCW2 or OCW3.
    pub(super) fn write_command(&mut self, value: u8) {
        if value & 0x10 != 0 {
            self.begin(value);
        } else if value & 0x08 != 0 {
            self.operate(value);
        } else {
            self.end_or_rotate(value);
        }
    }

    /// ICW1: everything but the inputs starts anew; an input must rise again to request.
    fn begin(&mut self, value: u8) {
        let fresh = Self::new(self.base, self.level_allowed);
        *self = Self {
            inputs: self.inputs,
            level: self.level,
            mask: 0,
            all_level: value & 8 != 0,
            single: value & 2 != 0,
            wants_icw4: value & 1 != 0,
            expected: Expected::Icw2,
            ..fresh
        };
    }

    /// OCW3: special mask mode, poll, and what a read shows.
    fn operate(&mut self, value: u8) {
        if value & 0x40 != 0 {
            self.special_mask = value & 0x20 != 0;
        }
        match value & 3 {
            2 => self.selected = Shown::Requests,
            3 => self.selected = Shown::InService,
            _ => {}
        }
        self.shown = if value & 4 != 0 { Shown::Poll } else { self.selected };
    }

    /// OCW2: EOI and rotation.
    fn end_or_rotate(&mut self, value: u8) {
        let named = value & 7;
        match value >> 5 {
            0 => self.rotate_on_automatic_end = false,
            4 => self.rotate_on_automatic_end = true,
            1 => drop(self.end_highest()),
            5 => self.lowest = self.end_highest().unwrap_or(self.lowest),
            3 => self.in_service &= !(1 << named),
            7 => {
                self.in_service &= !(1 << named);
                self.lowest = named;
            }
            6 => self.lowest = named,
            _ => {}
        }
    }

    /// A non-specific EOI: ends the input in service of the highest priority. In special mask mode a masked one is not
    /// found.
    fn end_highest(&mut self) -> Option<u8> {
        let mut ending = self.in_service;
        if self.special_mask {
            ending &= !self.mask;
        }
        let input = self.by_priority().find(|input| ending >> input & 1 != 0)?;
        self.in_service &= !(1 << input);
        Some(input)
    }

    /// Writes the odd port: an expected ICW, or OCW1, the mask.
    pub(super) fn write_data(&mut self, value: u8) {
        self.expected = match self.expected {
            Expected::Mask => {
                self.mask = value;
                Expected::Mask
            }
            Expected::Icw2 => {
                self.base = value & 0xf8;
                if self.single { self.after_icw3() } else { Expected::Icw3 }
            }
            // The wiring of the cascade is fixed: which input it is changes nothing.
            Expected::Icw3 => self.after_icw3(),
            Expected::Icw4 => {
                self.automatic_end = value & 2 != 0;
                self.special_fully_nested = value & 0x10 != 0;
                Expected::Mask
            }
        };
    }

    /// ICW4 comes only when ICW1 announced it.
    fn after_icw3(&self) -> Expected {
        if self.wants_icw4 { Expected::Icw4 } else { Expected::Mask }
    }

    /// The edge/level control register.
    pub(super) fn level_triggered(&self) -> u8 {
        self.level
    }

    /// Writes the edge/level control register; the inputs of the chip set's own devices stay edge-triggered.
    pub(super) fn set_level_triggered(&mut self, value: u8) {
        self.level = value & self.level_allowed;
    }
}
