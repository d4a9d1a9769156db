//! The 16550A serial port at 3F8h, interrupt 4 (National Semiconductor PC16550D data sheet).
//!
//! The transmitter takes no time: its holding register is always empty, and a byte written is a byte sent. Received bytes
//! wait in a queue without bound, of which the FIFO shows at most 16. Not modelled: baud rate, line errors and modem
//! signals other than those of the loop-back mode. (A ready-made device reports its interrupts as edges only; this
//! one drives a line, so that masking, sharing and level-triggered controllers see what they must.)

use crate::fabric::{Fabric, Level, Line, Source};
use std::collections::VecDeque;

/// The first port.
const BASE: u16 = 0x3f8;

/// The serial port.
#[derive(Clone, Debug)]
pub struct Serial {
    divisor: u16,
    interrupt_enable: u8,
    fifo_control: u8,
    line_control: u8,
    modem_control: u8,
    scratch: u8,
    /// The changes of the modem signals since the last read of their status.
    modem_changes: u8,
    /// The transmitter became empty and nobody was told.
    transmitter_empty: bool,
    /// A byte came when there was no room: shown once in the line status.
    overrun: bool,
    received: VecDeque<u8>,
    sent: Vec<u8>,
}

const RECEIVED_DATA: u8 = 1;
const TRANSMITTER_EMPTY: u8 = 2;
const LINE_STATUS: u8 = 4;
const MODEM_STATUS: u8 = 8;
const DIVISOR_LATCH: u8 = 0x80;
const LOOP_BACK: u8 = 0x10;
/// OUT2 connects the interrupt output to the line on a PC.
const OUT2: u8 = 8;
/// Line status: transmitter holding register and shift register are empty.
const IDLE: u8 = 0x60;

impl Default for Serial {
    fn default() -> Self {
        Self {
            divisor: 12,
            interrupt_enable: 0,
            fifo_control: 0,
            line_control: 3,
            modem_control: 0,
            scratch: 0,
            modem_changes: 0,
            transmitter_empty: false,
            overrun: false,
            received: VecDeque::new(),
            sent: Vec::new(),
        }
    }
}

impl Serial {
    /// Whether the port is reached at `port`.
    #[must_use]
    pub fn claims(port: u16) -> bool {
        (BASE..BASE + 8).contains(&port)
    }

    /// Bytes arrive from outside.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.received.extend(bytes);
    }

    /// How many bytes arrived that software did not read yet.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.received.len()
    }

    /// Takes the bytes that software sent.
    pub fn take_sent(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.sent)
    }

    /// Whether software sent bytes that were not taken.
    #[must_use]
    pub fn has_sent(&self) -> bool {
        !self.sent.is_empty()
    }

    /// Drives the interrupt line.
    pub fn drive(&self, fabric: &mut Fabric) {
        let connected = self.modem_control & OUT2 != 0 && self.modem_control & LOOP_BACK == 0;
        let level = Level::when(connected && self.cause() != 1);
        fabric.set(Source::Serial, Line::SERIAL, level);
    }

    /// The interrupt identification without the FIFO bits: the cause of the highest priority, or 1.
    fn cause(&self) -> u8 {
        let enabled = |kind| self.interrupt_enable & kind != 0;
        if enabled(LINE_STATUS) && self.overrun {
            6
        } else if enabled(RECEIVED_DATA) && !self.received.is_empty() {
            // Below the trigger level the FIFO reports by its time-out, which is immediate here.
            let below = self.fifo_enabled() && self.received.len() < self.trigger_level();
            if below { 12 } else { 4 }
        } else if enabled(TRANSMITTER_EMPTY) && self.transmitter_empty {
            2
        } else if enabled(MODEM_STATUS) && self.modem_changes != 0 {
            0
        } else {
            1
        }
    }

    /// Whether the FIFOs are on.
    fn fifo_enabled(&self) -> bool {
        self.fifo_control & 1 != 0
    }

    /// How many bytes the receiver FIFO holds before it asks for the processor.
    fn trigger_level(&self) -> usize {
        [1, 4, 8, 14][usize::from(self.fifo_control >> 6)]
    }

    /// The modem status: in loop-back mode what the modem control register drives, else a peer that is always ready.
    fn modem_signals(&self) -> u8 {
        if self.modem_control & LOOP_BACK == 0 {
            return 0xb0;
        }
        let control = self.modem_control;
        (control & 2) << 3 | (control & 1) << 5 | (control & 4) << 4 | (control & 8) << 4
    }

    /// Reads a register.
    pub fn read(&mut self, port: u16) -> u8 {
        let latch = self.line_control & DIVISOR_LATCH != 0;
        match port & 7 {
            0 if latch => self.divisor.to_le_bytes()[0],
            1 if latch => self.divisor.to_le_bytes()[1],
            0 => self.received.pop_front().unwrap_or(0),
            1 => self.interrupt_enable,
            2 => self.identify(),
            3 => self.line_control,
            4 => self.modem_control,
            5 => self.line_status(),
            6 => self.modem_signals() | std::mem::take(&mut self.modem_changes),
            _ => self.scratch,
        }
    }

    /// The interrupt identification register; reading it answers the transmitter's interrupt.
    fn identify(&mut self) -> u8 {
        let cause = self.cause();
        if cause == 2 {
            self.transmitter_empty = false;
        }
        cause | if self.fifo_enabled() { 0xc0 } else { 0 }
    }

    /// The line status register; reading it forgets an overrun.
    fn line_status(&mut self) -> u8 {
        let ready = u8::from(!self.received.is_empty());
        let overrun = if std::mem::take(&mut self.overrun) { 2 } else { 0 };
        IDLE | ready | overrun
    }

    /// Writes a register.
    pub fn write(&mut self, port: u16, value: u8) {
        let latch = self.line_control & DIVISOR_LATCH != 0;
        let [low, high] = self.divisor.to_le_bytes();
        match port & 7 {
            0 if latch => self.divisor = u16::from_le_bytes([value, high]),
            1 if latch => self.divisor = u16::from_le_bytes([low, value]),
            0 => self.send(value),
            1 => self.enable(value & 0x0f),
            2 => self.control_fifo(value),
            3 => self.line_control = value,
            4 => self.control_modem(value & 0x1f),
            7 => self.scratch = value,
            _ => {}
        }
    }

    /// Sends a byte, in loop-back mode to ourselves.
    fn send(&mut self, value: u8) {
        if self.modem_control & LOOP_BACK == 0 {
            self.sent.push(value);
        } else if self.received.len() < if self.fifo_enabled() { 16 } else { 1 } {
            self.received.push_back(value);
        } else {
            self.overrun = true;
        }
        self.transmitter_empty = true;
    }

    /// Writes the interrupt enable register: the empty transmitter asks as soon as it may.
    fn enable(&mut self, value: u8) {
        if value & !self.interrupt_enable & TRANSMITTER_EMPTY != 0 {
            self.transmitter_empty = true;
        }
        self.interrupt_enable = value;
    }

    /// Writes the FIFO control register. Switching the FIFOs on or off, or asking for it, empties the receiver.
    fn control_fifo(&mut self, value: u8) {
        let switched = (value ^ self.fifo_control) & 1 != 0;
        if switched || value & 2 != 0 {
            self.received.clear();
        }
        self.fifo_control = value & 0xc9;
    }

    /// Writes the modem control register; in loop-back mode its outputs are the modem's inputs.
    fn control_modem(&mut self, value: u8) {
        let before = self.modem_signals();
        self.modem_control = value;
        let after = self.modem_signals();
        let changed = (before ^ after) >> 4;
        // The ring indicator counts only when it ends.
        let ring_ended = before & 0x40 != 0 && after & 0x40 == 0;
        self.modem_changes |= changed & 0xb | if ring_ended { 4 } else { 0 };
    }
}
