//! Which device answers at a physical address.

use crate::options::ProcessorIndex;
use crate::platform::Platform;
use crate::time::Time;
use crate::{hpet, hpet::Hpet, io_apic::IoApic, test_device::TestDevice};

/// The `bytes` bytes at `offset` of a register; beyond it there are zeros.
pub(crate) fn part(register: u64, offset: u64, bytes: u8) -> u64 {
    let shifted = if offset < 8 { register >> (8 * offset) } else { 0 };
    shifted & u64::MAX >> (64 - 8 * u32::from(bytes.clamp(1, 8)))
}

impl Platform {
    /// Whether a device answers `processor` at the page of `address`. It changes only when IA32_APIC_BASE is written.
    #[must_use]
    pub fn claims_page(&self, processor: ProcessorIndex, address: u64) -> bool {
        self.local_apic(processor).is_some_and(|apic| apic.claims(address))
            || IoApic::claims(address)
            || Hpet::claims(address)
            || TestDevice::claims(address)
    }

    /// Reads `bytes` bytes (1 to 8) at a physical address, or tells that no device answers there.
    ///
    /// An access that crosses the end of the device's page is answered from its beginning on; the rest is 0.
    pub fn memory_read(
        &mut self,
        processor: ProcessorIndex,
        now: Time,
        address: u64,
        bytes: u8,
    ) -> Option<u64> {
        let now = self.catch_up(now);
        let devices = self.devices_mut();
        if let Some(apic) = devices.local_apic_mut(processor).filter(|apic| apic.claims(address)) {
            let value = apic.memory_read(now, address, bytes);
            self.settle();
            return Some(value);
        }
        if IoApic::claims(address) {
            return Some(devices.io_apic.read(address, bytes));
        }
        if Hpet::claims(address) {
            return Some(devices.hpet.read(now, address - hpet::ADDRESS, bytes));
        }
        TestDevice::claims(address).then(|| devices.test_device.memory_read(address, bytes))
    }

    /// Writes `bytes` bytes (1 to 8) at a physical address, or tells that no device answers there.
    pub fn memory_write(
        &mut self,
        processor: ProcessorIndex,
        now: Time,
        address: u64,
        bytes: u8,
        value: u64,
    ) -> Option<()> {
        let now = self.catch_up(now);
        let devices = self.devices_mut();
        if let Some(apic) = devices.local_apic_mut(processor).filter(|apic| apic.claims(address)) {
            let effects = apic.memory_write(now, address, bytes, value);
            self.carry_out(effects);
            return Some(());
        }
        if IoApic::claims(address) {
            devices.io_apic.write(address, bytes, value);
        } else if Hpet::claims(address) {
            devices.write_hpet(now, address - hpet::ADDRESS, bytes, value);
        } else if TestDevice::claims(address) {
            devices.test_device.memory_write(address, bytes, value);
        } else {
            return None;
        }
        self.settle();
        Some(())
    }
}
