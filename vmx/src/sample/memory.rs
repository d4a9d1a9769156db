//! A few quadwords of memory.

use crate::entry_rules::Memory;
use isa::address::HostPhysicalAddress;
use std::collections::BTreeMap;

/// Memory of which a few quadwords are not 0.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SampleMemory(BTreeMap<u64, u64>);

impl SampleMemory {
    /// Writes the quadword that holds an address.
    pub fn write(&mut self, address: HostPhysicalAddress, value: u64) {
        self.0.insert(address.0 & !7, value);
    }
}

impl Memory for SampleMemory {
    fn doubleword(&self, address: HostPhysicalAddress) -> u32 {
        (self.quadword(address) >> (8 * (address.0 & 4))) as u32 // one half
    }

    fn quadword(&self, address: HostPhysicalAddress) -> u64 {
        self.0.get(&(address.0 & !7)).copied().unwrap_or(0)
    }
}
