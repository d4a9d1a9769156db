//! The 8042 keyboard controller at ports 60h and 64h, with nothing plugged in: enough to probe it, to reset the machine and
//! to switch address line 20.
//!
//! A byte sent to a device is answered by the controller with FEh and a time-out, as for a port with nothing on it.

use crate::devices::A20;
use crate::fabric::{Fabric, Level, Line, Source};
use crate::options::Stop;
use std::collections::VecDeque;

const DATA: u16 = 0x60;
const COMMAND: u16 = 0x64;

/// Status: the output buffer holds a byte.
const OUTPUT_FULL: u8 = 1;
/// Status: the self-test was passed.
const SYSTEM: u8 = 4;
/// Status: the last write went to the command port.
const LAST_WAS_COMMAND: u8 = 8;
/// Status: the keyboard is not locked.
const UNLOCKED: u8 = 0x10;
/// Status: the byte comes from the second device.
const FROM_MOUSE: u8 = 0x20;
/// Status: the device did not answer.
const TIME_OUT: u8 = 0x40;

/// How many answers wait at most; further ones are lost, as with a full buffer.
const QUEUE: usize = 16;

/// What the next byte at the data port is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Expected {
    #[default]
    Keyboard,
    Configuration,
    OutputPort,
    KeyboardOutput,
    MouseOutput,
    Mouse,
    /// A byte of the controller's RAM beyond the configuration.
    Ram,
}

/// A byte in the output buffer, with its status bits.
#[derive(Clone, Copy, Debug)]
struct Answer {
    byte: u8,
    status: u8,
}

/// What a write to the controller sets off outside it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// The new state of address line 20.
    pub a20: Option<A20>,
    /// The reset line was pulsed.
    pub reset: Option<Stop>,
}

/// The controller.
#[derive(Clone, Debug)]
pub struct Keyboard {
    /// The configuration byte: interrupts in bits 0 and 1, disabled devices in bits 4 and 5, translation in bit 6.
    configuration: u8,
    last_was_command: bool,
    expected: Expected,
    answers: VecDeque<Answer>,
}

impl Default for Keyboard {
    fn default() -> Self {
        Self {
            configuration: 0x45,
            last_was_command: false,
            expected: Expected::Keyboard,
            answers: VecDeque::new(),
        }
    }
}

impl Keyboard {
    /// Whether the controller is reached at `port`.
    #[must_use]
    pub fn claims(port: u16) -> bool {
        matches!(port, DATA | COMMAND)
    }

    /// Drives the interrupt lines of the two devices.
    pub fn drive(&self, fabric: &mut Fabric) {
        let from_mouse = self.answers.front().map(|answer| answer.status & FROM_MOUSE != 0);
        let keyboard = from_mouse == Some(false) && self.configuration & 1 != 0;
        let mouse = from_mouse == Some(true) && self.configuration & 2 != 0;
        fabric.set(Source::Keyboard, Line::KEYBOARD, Level::when(keyboard));
        fabric.set(Source::Keyboard, Line::MOUSE, Level::when(mouse));
    }

    /// Reads the data or the status port.
    pub fn read(&mut self, port: u16) -> u8 {
        if port == DATA {
            return self.answers.pop_front().map_or(0, |answer| answer.byte);
        }
        let front = self.answers.front().map_or(0, |answer| OUTPUT_FULL | answer.status);
        let command = if self.last_was_command { LAST_WAS_COMMAND } else { 0 };
        SYSTEM | UNLOCKED | front | command
    }

    /// Puts a byte into the output buffer.
    fn answer(&mut self, byte: u8, status: u8) {
        if self.answers.len() < QUEUE {
            self.answers.push_back(Answer { byte, status });
        }
    }

    /// Writes the data or the command port.
    pub fn write(&mut self, port: u16, value: u8, a20: A20) -> Outcome {
        self.last_was_command = port == COMMAND;
        if port == COMMAND { self.command(value, a20) } else { self.data(value) }
    }

    /// A byte at the data port, for whatever the last command announced.
    fn data(&mut self, value: u8) -> Outcome {
        match std::mem::take(&mut self.expected) {
            Expected::Configuration => self.configuration = value,
            Expected::OutputPort => return output_port(value),
            Expected::KeyboardOutput => self.answer(value, 0),
            Expected::MouseOutput => self.answer(value, FROM_MOUSE),
            Expected::Keyboard => {
                self.configuration &= !0x10;
                self.answer(0xfe, TIME_OUT);
            }
            Expected::Mouse => self.answer(0xfe, TIME_OUT | FROM_MOUSE),
            Expected::Ram => {}
        }
        Outcome::default()
    }

    /// A command of the controller.
    fn command(&mut self, value: u8, a20: A20) -> Outcome {
        self.expected = Expected::Keyboard;
        match value {
            0x20 => self.answer(self.configuration, 0),
            0x21..=0x3f => self.answer(0, 0),
            0x60 => self.expected = Expected::Configuration,
            0x61..=0x7f => self.expected = Expected::Ram,
            0xa7 => self.configuration |= 0x20,
            0xa8 => self.configuration &= !0x20,
            0xa9 | 0xab => self.answer(0, 0),
            0xaa => self.answer(0x55, 0),
            0xad => self.configuration |= 0x10,
            0xae => self.configuration &= !0x10,
            // The reset line is high; the output-buffer bits follow the buffer.
            0xd0 => self.answer(if a20 == A20::Enabled { 3 } else { 1 }, 0),
            0xd1 => self.expected = Expected::OutputPort,
            0xd2 => self.expected = Expected::KeyboardOutput,
            0xd3 => self.expected = Expected::MouseOutput,
            0xd4 => self.expected = Expected::Mouse,
            // Pulses the lines whose bit is 0; line 0 is reset.
            0xf0..=0xff if value & 1 == 0 => return Outcome { reset: Some(Stop::Reset), a20: None },
            _ => {}
        }
        Outcome::default()
    }
}

/// The output port: bit 0 at 0 resets, bit 1 lets address line 20 through.
fn output_port(value: u8) -> Outcome {
    let a20 = if value & 2 != 0 { A20::Enabled } else { A20::Masked };
    Outcome { a20: Some(a20), reset: (value & 1 == 0).then_some(Stop::Reset) }
}
