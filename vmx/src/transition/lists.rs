//! The MSR areas (SDM 27.7.2, 27.8.2, 29.4, 30.4, 30.6).

use crate::field::Encoding;
use crate::physical;
use crate::vmcs::Vmcs;
use mmu::Ram;

/// An MSR area.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MsrList {
    address: u64,
    count: u64,
}

/// One of its entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MsrEntry {
    /// Its number, from 0.
    pub number: u64,
    /// Where it is.
    pub address: u64,
    /// The MSR.
    pub index: u32,
    /// Bits 63:32, which must be 0.
    pub reserved: u32,
    /// The value to load.
    pub value: u64,
}

impl MsrList {
    /// What VM entry loads.
    #[must_use]
    pub fn loaded_on_entry(vmcs: &Vmcs) -> Self {
        Self::of(vmcs, Encoding::ENTRY_MSR_LOAD_ADDR, Encoding::ENTRY_MSR_LOAD_COUNT)
    }

    /// What VM exit stores.
    #[must_use]
    pub fn stored_on_exit(vmcs: &Vmcs) -> Self {
        Self::of(vmcs, Encoding::EXIT_MSR_STORE_ADDR, Encoding::EXIT_MSR_STORE_COUNT)
    }

    /// What VM exit loads.
    #[must_use]
    pub fn loaded_on_exit(vmcs: &Vmcs) -> Self {
        Self::of(vmcs, Encoding::EXIT_MSR_LOAD_ADDR, Encoding::EXIT_MSR_LOAD_COUNT)
    }

    fn of(vmcs: &Vmcs, address: Encoding, count: Encoding) -> Self {
        Self { address: vmcs.read(address), count: vmcs.read(count) }
    }

    /// Whether it has no entries.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Its entries, in order.
    pub fn entries<'a>(&self, ram: &'a Ram) -> impl Iterator<Item = MsrEntry> + use<'a> {
        let Self { address, count } = *self;
        (0..count).map(move |number| {
            let at = address.wrapping_add(16 * number);
            MsrEntry {
                number,
                address: at,
                index: physical::read(ram, at),
                reserved: physical::read(ram, at.wrapping_add(4)),
                value: physical::read(ram, at.wrapping_add(8)),
            }
        })
    }
}

const FS_BASE: u32 = 0xc000_0100;
const GS_BASE: u32 = 0xc000_0101;
/// IA32_SMM_MONITOR_CTL and IA32_SMBASE, of which one can be written and one read in SMM only.
const SMM_MONITOR_CTL: u32 = 0x9b;
const SMBASE: u32 = 0x9e;

const fn is_x2apic(index: u32) -> bool {
    index >> 8 == 8
}

/// Whether an entry may be loaded, as far as its index and its reserved bits decide; the value is judged as WRMSR does.
#[must_use]
pub const fn may_be_loaded(entry: &MsrEntry) -> bool {
    !matches!(entry.index, FS_BASE | GS_BASE | SMM_MONITOR_CTL)
        && !is_x2apic(entry.index)
        && entry.reserved == 0
}

/// Whether an entry may be stored, as far as its index and its reserved bits decide.
#[must_use]
pub const fn may_be_stored(entry: &MsrEntry) -> bool {
    entry.index != SMBASE && !is_x2apic(entry.index) && entry.reserved == 0
}
