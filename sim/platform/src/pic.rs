//! The two 8259A interrupt controllers of a PC: the slave's output is input 2 of the master (Intel 8259A data sheet).
//!
//! ICW1-ICW4 and OCW1-OCW3 are complete, with automatic EOI, rotation, special mask, special fully nested and poll mode,
//! and the edge/level control registers of the chip set at 4D0h and 4D1h. As in chip sets, and not on the chip, a request
//! by an edge stays when its line is released. Not modelled: the 8080 mode and buffered mode, which differ at the pins
//! only.

mod controller;

use crate::fabric::Level;
use crate::options::Start;
use controller::Controller;

/// The input of the master to which the slave's output leads.
const CASCADE: u8 = 2;
/// The inputs of the timer and of the slave.
const FIRMWARE_INPUTS: u8 = 1 << 0 | 1 << CASCADE;

/// The pair.
#[derive(Clone, Debug)]
pub struct Pic {
    master: Controller,
    slave: Controller,
}

impl Pic {
    /// The chips with vectors from 08h and 70h on. Firmware leaves everything masked but the timer and the cascade;
    /// after power-on nothing passes.
    #[must_use]
    pub fn new(start: Start) -> Self {
        let mut pic = Self { master: Controller::new(0x08, 0xf8), slave: Controller::new(0x70, 0xde) };
        if start == Start::Firmware {
            pic.master.write_data(!FIRMWARE_INPUTS);
        }
        pic
    }

    /// Whether one of the chips is reached at `port`.
    #[must_use]
    pub fn claims(port: u16) -> bool {
        matches!(port, 0x20 | 0x21 | 0xa0 | 0xa1 | 0x4d0 | 0x4d1)
    }

    /// Sets the level of an input, 0 to 15.
    pub fn set_input(&mut self, input: u8, level: Level) {
        if input >= 8 {
            self.slave.set_input(input & 7, level);
        } else if input != CASCADE {
            self.master.set_input(input, level);
        }
        self.cascade();
    }

    /// Whether the master asks for the processor.
    #[must_use]
    pub fn output(&self) -> Level {
        self.master.output()
    }

    /// Answers the interrupt-acknowledge cycles of a processor with a vector.
    pub fn acknowledge(&mut self) -> u8 {
        let (input, vector) = self.master.acknowledge();
        if input != Some(CASCADE) {
            return vector;
        }
        let (_, vector) = self.slave.acknowledge();
        // The slave takes its output back for the acknowledge cycle, so that a further request is a new edge.
        self.master.set_input(CASCADE, Level::Released);
        self.cascade();
        vector
    }

    /// Reads a register.
    pub fn read(&mut self, port: u16) -> u8 {
        let value = match port {
            0x20 => self.master.read_command(),
            0x21 => self.master.read_data(),
            0xa0 => self.slave.read_command(),
            0xa1 => self.slave.read_data(),
            0x4d0 => self.master.level_triggered(),
            0x4d1 => self.slave.level_triggered(),
            _ => 0xff,
        };
        self.cascade();
        value
    }

    /// Writes a register.
    pub fn write(&mut self, port: u16, value: u8) {
        match port {
            0x20 => self.master.write_command(value),
            0x21 => self.master.write_data(value),
            0xa0 => self.slave.write_command(value),
            0xa1 => self.slave.write_data(value),
            0x4d0 => self.master.set_level_triggered(value),
            0x4d1 => self.slave.set_level_triggered(value),
            _ => {}
        }
        self.cascade();
    }

    /// Carries the slave's output to the master.
    fn cascade(&mut self) {
        self.master.set_input(CASCADE, self.slave.output());
    }
}
