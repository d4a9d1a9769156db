//! What the processor reads and writes at physical addresses by itself: VMCS regions, bitmaps, MSR areas, the
//! virtual-APIC page. Where there is no RAM, reads give all ones and writes are lost, as on a bus that nobody answers.

use crate::entry_rules::Memory;
use isa::address::HostPhysicalAddress;
use isa::width::Scalar;
use mmu::Ram;

/// A scalar at a physical address.
pub fn read<S: Scalar>(ram: &Ram, at: u64) -> S {
    ram.read(HostPhysicalAddress(at)).unwrap_or_else(|_| S::from_le_slice(&[0xff; 16][..S::BYTES]))
}

/// Writes a scalar at a physical address.
pub fn write<S: Scalar>(ram: &Ram, at: u64, value: S) {
    let mut bytes = [0; 16];
    value.to_le_slice(&mut bytes[..S::BYTES]);
    put(ram, at, &bytes[..S::BYTES]);
}

/// Writes bytes; where decoded code is among them, they are written all the same, and the code is found to be old when it
/// is fetched next.
pub fn put(ram: &Ram, at: u64, bytes: &[u8]) {
    let _lost = ram.copy_in(HostPhysicalAddress(at), bytes);
}

/// Fills a buffer; bytes outside RAM are ones.
pub fn get(ram: &Ram, at: u64, bytes: &mut [u8]) {
    if ram.copy_out(HostPhysicalAddress(at), bytes).is_err() {
        bytes.fill(0xff);
    }
}

impl Memory for Ram {
    fn doubleword(&self, address: HostPhysicalAddress) -> u32 {
        read(self, address.0)
    }

    fn quadword(&self, address: HostPhysicalAddress) -> u64 {
        read(self, address.0)
    }
}
