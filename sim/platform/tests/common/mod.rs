//! A platform with short names for what tests do.

#![allow(dead_code, reason = "no test uses all of it")]
#![allow(clippy::unwrap_used, reason = "tests")]

use platform::{MsrRefusal, PendingInterrupt, Platform, PlatformOptions, ProcessorIndex, Time};
use std::io::Write;
use std::sync::{Arc, Mutex};

/// The bytes that the serial port sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sink(pub(crate) Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A platform and the moment at which the test touches it.
pub(crate) struct Pc {
    pub(crate) platform: Platform,
    pub(crate) now: Time,
    pub(crate) sent: Sink,
}

pub(crate) const CPU: ProcessorIndex = ProcessorIndex(0);
pub(crate) const XAPIC: u64 = 0xfee0_0000;
pub(crate) const IO_APIC: u64 = 0xfec0_0000;

impl Pc {
    /// A platform with this many processors.
    pub(crate) fn new(processors: u32) -> Self {
        Self::with(&PlatformOptions { processors, ..PlatformOptions::default() })
    }

    /// A platform with these options.
    pub(crate) fn with(options: &PlatformOptions) -> Self {
        let sent = Sink::default();
        let platform = Platform::new(options, Box::new(sent.clone())).unwrap();
        Self { platform, now: Time(0), sent }
    }

    /// One processor with its local APIC in x2APIC mode and software-enabled, and the 8259s masked.
    pub(crate) fn x2apic(processors: u32) -> Self {
        let mut pc = Self::new(processors);
        for cpu in 0..processors {
            let base = pc.rdmsr(cpu, 0x1b).unwrap();
            pc.wrmsr(cpu, 0x1b, base | 0x400).unwrap();
            pc.wrmsr(cpu, 0x80f, 0x1ff).unwrap();
        }
        pc
    }

    /// Processors with their local APICs in xAPIC mode and software-enabled.
    pub(crate) fn xapic(processors: u32) -> Self {
        let mut pc = Self::new(processors);
        for cpu in 0..processors {
            pc.apic_write(cpu, 0xf0, 0x1ff);
        }
        pc
    }

    pub(crate) fn out(&mut self, port: u16, value: u8) {
        self.platform.port_write(CPU, self.now, port, 1, u32::from(value));
    }

    pub(crate) fn outs(&mut self, writes: &[(u16, u8)]) {
        for (port, value) in writes {
            self.out(*port, *value);
        }
    }

    pub(crate) fn out_wide(&mut self, port: u16, bytes: u8, value: u32) {
        self.platform.port_write(CPU, self.now, port, bytes, value);
    }

    pub(crate) fn read(&mut self, port: u16) -> u8 {
        self.platform.port_read(CPU, self.now, port, 1) as u8
    }

    pub(crate) fn read_wide(&mut self, port: u16, bytes: u8) -> u32 {
        self.platform.port_read(CPU, self.now, port, bytes)
    }

    pub(crate) fn rdmsr(&mut self, cpu: u32, msr: u32) -> Result<u64, MsrRefusal> {
        self.platform.msr_read(ProcessorIndex(cpu), self.now, msr)
    }

    pub(crate) fn wrmsr(&mut self, cpu: u32, msr: u32, value: u64) -> Result<(), MsrRefusal> {
        self.platform.msr_write(ProcessorIndex(cpu), self.now, msr, value)
    }

    /// Reads a register of a local APIC in xAPIC mode; `None` when nothing is there.
    pub(crate) fn apic(&mut self, cpu: u32, offset: u64) -> Option<u32> {
        let value = self.platform.memory_read(ProcessorIndex(cpu), self.now, XAPIC + offset, 4);
        value.map(|value| value as u32)
    }

    pub(crate) fn apic_write(&mut self, cpu: u32, offset: u64, value: u32) {
        self.platform.memory_write(ProcessorIndex(cpu), self.now, XAPIC + offset, 4, u64::from(value));
    }

    /// Sends an IPI in xAPIC mode.
    pub(crate) fn ipi(&mut self, cpu: u32, destination: u32, low: u32) {
        self.apic_write(cpu, 0x310, destination << 24);
        self.apic_write(cpu, 0x300, low);
    }

    pub(crate) fn io_apic(&mut self, register: u32) -> u32 {
        self.platform.memory_write(CPU, self.now, IO_APIC, 4, u64::from(register));
        self.platform.memory_read(CPU, self.now, IO_APIC + 0x10, 4).unwrap() as u32
    }

    pub(crate) fn io_apic_write(&mut self, register: u32, value: u32) {
        self.platform.memory_write(CPU, self.now, IO_APIC, 4, u64::from(register));
        self.platform.memory_write(CPU, self.now, IO_APIC + 0x10, 4, u64::from(value));
    }

    /// Writes a redirection entry.
    pub(crate) fn redirect(&mut self, pin: u32, low: u32, destination: u32) {
        self.io_apic_write(0x10 + 2 * pin, low);
        self.io_apic_write(0x11 + 2 * pin, destination << 24);
    }

    /// Whether an interrupt of a level-triggered pin is under way.
    pub(crate) fn remote_irr(&mut self, pin: u32) -> bool {
        self.io_apic(0x10 + 2 * pin) & 1 << 14 != 0
    }

    /// Sets an interrupt line by the test device.
    pub(crate) fn line(&mut self, line: u16, value: u8) {
        self.out(0x2000 + line, value);
    }

    pub(crate) fn pending(&self, cpu: u32) -> Option<PendingInterrupt> {
        self.platform.pending_interrupt(ProcessorIndex(cpu))
    }

    /// The vector of the pending interrupt, taken into service; `None` when none is pending.
    pub(crate) fn take(&mut self, cpu: u32) -> Option<u8> {
        self.pending(cpu)?;
        Some(self.platform.acknowledge_interrupt(ProcessorIndex(cpu)))
    }

    /// Which processors have an interrupt pending; each is taken and ended.
    pub(crate) fn takers(&mut self, processors: u32) -> Vec<u32> {
        let mut takers = Vec::new();
        for cpu in 0..processors {
            if self.take(cpu).is_some() {
                takers.push(cpu);
                self.apic_write(cpu, 0xb0, 0);
            }
        }
        takers
    }

    /// Lets time pass.
    pub(crate) fn wait(&mut self, ticks: u64) {
        self.now = Time(self.now.0 + ticks);
        self.platform.advance(self.now);
    }

    /// Initializes both 8259s with vectors from 20h and 28h on, and masks.
    pub(crate) fn initialize_pics(&mut self, icw4: u8, masks: [u8; 2]) {
        for (port, base, cascade, mask) in [(0x20, 0x20, 4, masks[0]), (0xa0, 0x28, 2, masks[1])] {
            self.outs(&[
                (port, 0x11),
                (port + 1, base),
                (port + 1, cascade),
                (port + 1, icw4),
                (port + 1, mask),
            ]);
        }
    }
}

/// How many cases of a property: `VMXSIM_CASES`, or `usual`.
pub(crate) fn cases(usual: u32) -> u32 {
    std::env::var("VMXSIM_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(usual)
}
