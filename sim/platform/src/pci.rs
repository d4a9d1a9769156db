//! PCI configuration mechanism 1 at CF8h and CFCh, with a host bridge and nothing else (PCI Local Bus 3.0, 3.2.2.3).

/// The configuration space of a PC without PCI devices.
#[derive(Clone, Debug, Default)]
pub struct Pci {
    address: u32,
    /// The command register of the host bridge.
    command: u16,
}

const ADDRESS: u16 = 0xcf8;
const DATA: u16 = 0xcfc;
const ENABLE: u32 = 1 << 31;
/// Vendor and device of the host bridge: Intel's 82441FX, which software knows to need nothing.
const IDENTITY: u32 = 0x1237_8086;
/// A host bridge, revision 2.
const CLASS: u32 = 0x0600_0002;

impl Pci {
    /// Whether an access of this width reaches the configuration space: the address register takes four bytes only, the
    /// data window any width.
    #[must_use]
    pub fn claims(port: u16, bytes: u8) -> bool {
        port == ADDRESS && bytes == 4 || (DATA..DATA + 4).contains(&port)
    }

    /// The register that is selected, when it is one of the host bridge.
    fn register(&self) -> Option<u32> {
        (self.address & ENABLE != 0 && self.address & 0x00ff_ff00 == 0).then_some(self.address & 0xfc)
    }

    /// Reads the address register or the data window.
    #[must_use]
    pub fn read(&self, port: u16, bytes: u8) -> u32 {
        if port == ADDRESS && bytes == 4 {
            return self.address;
        }
        let value = match self.register() {
            Some(0x00) => IDENTITY,
            Some(0x04) => u32::from(self.command),
            Some(0x08) => CLASS,
            Some(_) => 0,
            None => u32::MAX,
        };
        // Beyond the window's four ports nothing answers.
        let shift = 8 * u32::from(port - DATA);
        let beyond = if shift == 0 { 0 } else { u32::MAX << (32 - shift) };
        value >> shift | beyond
    }

    /// Writes the address register or the data window; only the command register of the host bridge keeps anything.
    pub fn write(&mut self, port: u16, bytes: u8, value: u32) {
        if port == ADDRESS && bytes == 4 {
            self.address = value & 0x80ff_fffc;
        } else if self.register() == Some(4) && port < DATA + 2 {
            let [low, high] = self.command.to_le_bytes();
            let [first, second, ..] = value.to_le_bytes();
            let written = match (port - DATA, bytes) {
                (0, 1) => [first, high],
                (0, _) => [first, second],
                _ => [low, first],
            };
            self.command = u16::from_le_bytes(written) & 0x0547;
        }
    }
}
