//! The firmware configuration device at ports 510h and 511h, by which test programs learn the machine's size.

use crate::options::PlatformOptions;

const SELECTOR: u16 = 0x510;
const DATA: u16 = 0x511;

/// The device: a selector, and where the next read is in the selected item.
#[derive(Clone, Debug)]
pub struct FirmwareConfig {
    memory: u64,
    processors: u16,
    selected: u16,
    position: usize,
}

impl FirmwareConfig {
    /// The device of a platform.
    #[must_use]
    pub fn new(options: &PlatformOptions) -> Self {
        Self {
            memory: options.memory_below_4g + options.memory_above_4g,
            processors: u16::try_from(options.processors).unwrap_or(u16::MAX),
            selected: 0,
            position: 0,
        }
    }

    /// Whether the device is read at `port`.
    #[must_use]
    pub fn claims(port: u16) -> bool {
        port == DATA
    }

    /// Whether `port` takes the selector.
    #[must_use]
    pub fn selects(port: u16) -> bool {
        port == SELECTOR
    }

    /// Selects an item and goes to its beginning.
    pub fn select(&mut self, item: u16) {
        self.selected = item;
        self.position = 0;
    }

    /// The next byte of the selected item; 0 beyond its end and for unknown items.
    pub fn read(&mut self, _port: u16) -> u8 {
        let byte = self.item().get(self.position).copied().unwrap_or(0);
        self.position = self.position.saturating_add(1);
        byte
    }

    /// The selected item: 0 signature, 1 version of the interface, 3 bytes of RAM, 5 processors, 0Fh most processors.
    fn item(&self) -> [u8; 8] {
        match self.selected {
            0 => *b"QEMU\0\0\0\0",
            1 => 1_u64.to_le_bytes(),
            3 => self.memory.to_le_bytes(),
            5 | 0x0f => u64::from(self.processors).to_le_bytes(),
            _ => [0; 8],
        }
    }
}
