//! The device that kernel test programs drive: a latch at E0h-E3h, interrupt lines at 2000h-2017h, and 64 KiB of memory at
//! FF000000h. A write to E4h is answered and does nothing.

use crate::fabric::{Fabric, Level, Line, Source};

/// The address of the memory.
const ADDRESS: u64 = 0xff00_0000;
/// The bytes of the memory.
const SIZE: usize = 0x1_0000;
/// The port of interrupt line 0.
const LINES: u16 = 0x2000;

/// The device.
#[derive(Clone, Debug)]
pub struct TestDevice {
    latch: [u8; 4],
    memory: Vec<u8>,
}

impl Default for TestDevice {
    fn default() -> Self {
        Self { latch: [0; 4], memory: vec![0; SIZE] }
    }
}

/// Asserts or releases the interrupt line of `port`.
pub(crate) fn set_line(fabric: &mut Fabric, port: u16, value: u32) {
    let line = u8::try_from(port.wrapping_sub(LINES)).ok().and_then(Line::global);
    if let Some(line) = line {
        fabric.set(Source::TestDevice, line, Level::when(value != 0));
    }
}

impl TestDevice {
    /// Whether `port` is an interrupt line.
    #[must_use]
    pub fn is_line(port: u16) -> bool {
        (LINES..LINES + 24).contains(&port)
    }

    /// Whether the latch is reached at `port`.
    #[must_use]
    pub fn claims_port(port: u16) -> bool {
        (0xe0..0xe5).contains(&port)
    }

    /// Whether the memory includes `address`.
    #[must_use]
    pub fn claims(address: u64) -> bool {
        address & !(SIZE as u64 - 1) == ADDRESS
    }

    /// Reads the latch.
    #[must_use]
    pub fn read(&self, port: u16) -> u8 {
        self.latch.get(usize::from(port.wrapping_sub(0xe0))).copied().unwrap_or(0)
    }

    /// Writes the latch.
    pub fn write(&mut self, port: u16, value: u8) {
        if let Some(byte) = self.latch.get_mut(usize::from(port.wrapping_sub(0xe0))) {
            *byte = value;
        }
    }

    /// Where an access begins in the memory, and its bytes that are inside.
    fn range(address: u64, bytes: u8) -> std::ops::Range<usize> {
        let start = (address & (SIZE as u64 - 1)) as usize;
        start..SIZE.min(start + usize::from(bytes.clamp(1, 8)))
    }

    /// Reads the memory.
    #[must_use]
    pub fn memory_read(&self, address: u64, bytes: u8) -> u64 {
        let bytes = self.memory[Self::range(address, bytes)].iter().rev();
        bytes.fold(0, |value, byte| value << 8 | u64::from(*byte))
    }

    /// Writes the memory.
    pub fn memory_write(&mut self, address: u64, bytes: u8, value: u64) {
        let bytes = self.memory[Self::range(address, bytes)].iter_mut();
        for (byte, value) in bytes.zip(value.to_le_bytes()) {
            *byte = value;
        }
    }
}
