//! What predicates ask of a [`Subject`].

use super::subject::{Subject, SystemManagementMode};
use crate::controls::{
    EntryControls, PinBasedControls, PrimaryExitControls, PrimaryProcessorControls, SecondaryExitControls,
    SecondaryProcessorControls, TertiaryProcessorControls,
};
use crate::field::Encoding;
use isa::address::HostPhysicalAddress;
use isa::control::{Cr0, Cr4, Efer};

/// An event type of injected-event identification (SDM table 27-16).
pub(super) mod event_type {
    pub(in crate::entry_rules) const EXTERNAL_INTERRUPT: u64 = 0;
    pub(in crate::entry_rules) const RESERVED: u64 = 1;
    pub(in crate::entry_rules) const NMI: u64 = 2;
    pub(in crate::entry_rules) const HARDWARE_EXCEPTION: u64 = 3;
    pub(in crate::entry_rules) const SOFTWARE_INTERRUPT: u64 = 4;
    pub(in crate::entry_rules) const SOFTWARE_EXCEPTION: u64 = 6;
    pub(in crate::entry_rules) const OTHER: u64 = 7;
}

/// Bits of access rights (SDM table 27-2).
pub(super) mod rights {
    pub(in crate::entry_rules) const S: u64 = 1 << 4;
    pub(in crate::entry_rules) const P: u64 = 1 << 7;
    pub(in crate::entry_rules) const L: u64 = 1 << 13;
    pub(in crate::entry_rules) const DB: u64 = 1 << 14;
    pub(in crate::entry_rules) const G: u64 = 1 << 15;
    pub(in crate::entry_rules) const UNUSABLE: u64 = 1 << 16;
}

/// CR4.FRED.
const CR4_FRED: u64 = 1 << 32;

impl Subject<'_> {
    pub(super) const fn field(&self, field: Encoding) -> u64 {
        self.vmcs.read(field)
    }

    /// Whether the bits of a mask are 0 in a field.
    pub(super) const fn is_clear(&self, field: Encoding, mask: u64) -> bool {
        self.field(field) & mask == 0
    }

    pub(super) const fn is_set(&self, field: Encoding, mask: u64) -> bool {
        self.field(field) & mask != 0
    }

    /// Bits `high` to `low` of a field.
    pub(super) const fn bits(&self, field: Encoding, high: u32, low: u32) -> u64 {
        self.field(field) << (63 - high) >> (63 - high + low)
    }

    pub(super) const fn pin(&self, control: PinBasedControls) -> bool {
        self.vmcs.pin_based().contains(control)
    }

    pub(super) const fn primary(&self, control: PrimaryProcessorControls) -> bool {
        self.vmcs.primary_processor().contains(control)
    }

    pub(super) const fn secondary(&self, control: SecondaryProcessorControls) -> bool {
        self.vmcs.secondary_processor().contains(control)
    }

    pub(super) const fn tertiary(&self, control: TertiaryProcessorControls) -> bool {
        self.vmcs.tertiary_processor().contains(control)
    }

    pub(super) const fn exit(&self, control: PrimaryExitControls) -> bool {
        self.vmcs.primary_exit().contains(control)
    }

    pub(super) const fn exit2(&self, control: SecondaryExitControls) -> bool {
        self.vmcs.secondary_exit().contains(control)
    }

    pub(super) const fn entry(&self, control: EntryControls) -> bool {
        self.vmcs.entry().contains(control)
    }

    /// The bits that addresses of VMX structures may have (29.2.1): MAXPHYADDR, or 32 where IA32_VMX_BASIC\[48\] is 1.
    pub(super) const fn structure_address_width(&self) -> u8 {
        if self.capabilities.basic().addresses_limited_to_32_bits() { 32 } else { self.physical_width() }
    }

    pub(super) const fn physical_width(&self) -> u8 {
        self.processor.limits.physical_address_width
    }

    /// Whether an address of a VMX structure is within the physical-address width.
    pub(super) const fn is_within_width(&self, address: u64) -> bool {
        address >> self.structure_address_width() == 0
    }

    /// Whether the address in a field is within the physical-address width.
    pub(super) const fn in_width(&self, field: Encoding) -> bool {
        self.is_within_width(self.field(field))
    }

    /// Whether the last byte of an area of 16-byte entries is within the physical-address width; an empty area, and one
    /// whose first byte is outside, are for other rules.
    pub(super) const fn list_in_width(&self, address: Encoding, count: Encoding) -> bool {
        let bytes = 16 * self.field(count); // a count has 32 bits
        self.is_within_width(self.field(address).saturating_add(bytes - 1))
    }

    /// Whether the address in a field is canonical for the widest linear addresses of the processor (CPU-canonical).
    pub(super) const fn canonical(&self, field: Encoding) -> bool {
        isa::system::is_canonical(self.field(field), self.processor.limits.linear_address_width)
    }

    pub(super) const fn intel_64(&self) -> bool {
        self.processor.limits.linear_address_width > 32
    }

    /// Whether the processor runs in IA-32e mode.
    pub(super) const fn lma(&self) -> bool {
        self.processor.efer.contains(Efer::LMA)
    }

    pub(super) fn in_smm(&self) -> bool {
        self.processor.smm == SystemManagementMode::Inside
    }

    /// An event of this type is to be injected.
    pub(super) const fn injects(&self, event_type: u64) -> bool {
        self.injects_any() && self.event_type() == event_type
    }

    pub(super) const fn injects_any(&self) -> bool {
        self.is_set(Encoding::INJECTED_EVENT_ID, 1 << 31)
    }

    pub(super) const fn event_type(&self) -> u64 {
        self.bits(Encoding::INJECTED_EVENT_ID, 10, 8)
    }

    pub(super) const fn vector(&self) -> u64 {
        self.bits(Encoding::INJECTED_EVENT_ID, 7, 0)
    }

    /// A software interrupt, privileged software exception or software exception is to be injected.
    pub(super) const fn injects_software(&self) -> bool {
        self.injects_any()
            && event_type::SOFTWARE_INTERRUPT <= self.event_type()
            && self.event_type() <= event_type::SOFTWARE_EXCEPTION
    }

    /// SYSCALL or SYSENTER of FRED is to be injected.
    pub(super) const fn injects_fred(&self) -> bool {
        self.injects(event_type::OTHER) && (self.vector() == 1 || self.vector() == 2)
    }

    /// Whether the vector is one of an exception that pushes an error code (7.15).
    pub(super) const fn vector_has_error_code(&self) -> bool {
        matches!(self.vector(), 8 | 10..=14 | 17)
    }

    /// Whether the vector is one of an exception that pushes none, whatever the processor supports.
    pub(super) const fn vector_has_no_error_code(&self) -> bool {
        matches!(self.vector(), 0..=7 | 9 | 15 | 16 | 18..=31)
    }

    pub(super) const fn guest_cr0(&self, bits: Cr0) -> bool {
        self.is_set(Encoding::GUEST_CR0, bits.bits())
    }

    pub(super) const fn guest_cr4(&self, bits: Cr4) -> bool {
        self.is_set(Encoding::GUEST_CR4, bits.bits())
    }

    pub(super) const fn guest_fred(&self) -> bool {
        self.is_set(Encoding::GUEST_CR4, CR4_FRED)
    }

    pub(super) const fn host_fred(&self) -> bool {
        self.is_set(Encoding::HOST_CR4, CR4_FRED)
    }

    pub(super) const fn ia_32e_guest(&self) -> bool {
        self.entry(EntryControls::IA_32E_MODE_GUEST)
    }

    pub(super) const fn host_64(&self) -> bool {
        self.exit(PrimaryExitControls::HOST_ADDRESS_SPACE_SIZE)
    }

    pub(super) const fn ept(&self) -> bool {
        self.secondary(SecondaryProcessorControls::ENABLE_EPT)
    }

    pub(super) const fn unrestricted(&self) -> bool {
        self.secondary(SecondaryProcessorControls::UNRESTRICTED_GUEST)
    }

    /// Injected exceptions are delivered in real-address mode.
    pub(super) const fn injects_in_real_mode(&self) -> bool {
        self.unrestricted() && !self.guest_cr0(Cr0::PE)
    }

    /// RFLAGS.VM of the guest.
    pub(super) const fn virtual_8086_guest(&self) -> bool {
        self.is_set(Encoding::GUEST_RFLAGS, 1 << 17)
    }

    pub(super) const fn usable(&self, access_rights: Encoding) -> bool {
        self.is_clear(access_rights, rights::UNUSABLE)
    }

    pub(super) const fn segment_type(&self, access_rights: Encoding) -> u64 {
        self.bits(access_rights, 3, 0)
    }

    pub(super) const fn dpl(&self, access_rights: Encoding) -> u64 {
        self.bits(access_rights, 6, 5)
    }

    pub(super) const fn rpl(&self, selector: Encoding) -> u64 {
        self.bits(selector, 1, 0)
    }

    /// Whether bits 63 to the widest linear address are equal; the bit below them may differ.
    pub(super) const fn upper_bits_equal(&self, field: Encoding) -> bool {
        let width = self.processor.limits.linear_address_width;
        width >= 64 || {
            let upper = self.field(field).cast_signed() >> width;
            upper == 0 || upper == -1
        }
    }

    /// Bits of CR3 that must be 0, behind EPT and without.
    pub(super) const fn cr3_reserved(&self) -> u64 {
        u64::MAX << self.physical_width() & !self.processor.limits.cr3
    }

    /// Bits of a present PDPTE that must be 0 (table 5-8).
    pub(super) const fn pdpte_reserved(&self) -> u64 {
        u64::MAX << self.physical_width() | 0x1e6
    }

    pub(super) const fn pdpte_accepted(&self, pdpte: u64) -> bool {
        pdpte & 1 == 0 || pdpte & self.pdpte_reserved() == 0
    }

    /// The guest uses PAE paging after the entry.
    pub(super) const fn pae_guest(&self) -> bool {
        self.guest_cr0(Cr0::PG) && self.guest_cr4(Cr4::PAE) && !self.ia_32e_guest()
    }

    pub(super) const fn has_link(&self) -> bool {
        self.field(Encoding::VMCS_LINK_PTR) != u64::MAX
    }

    /// The VMCS link pointer references a page that can be read.
    pub(super) const fn has_usable_link(&self) -> bool {
        self.has_link()
            && self.is_clear(Encoding::VMCS_LINK_PTR, 0xfff)
            && self.in_width(Encoding::VMCS_LINK_PTR)
    }

    /// The first doubleword of the VMCS that the link pointer references.
    pub(super) fn linked_header(&self) -> u32 {
        self.memory.doubleword(HostPhysicalAddress(self.field(Encoding::VMCS_LINK_PTR)))
    }

    /// Bits 7:4 of VTPR, in the virtual-APIC page (32.1.1).
    pub(super) fn virtual_task_priority_class(&self) -> u64 {
        let vtpr = HostPhysicalAddress(self.field(Encoding::VIRTUAL_APIC_ADDR) | 0x80);
        u64::from(self.memory.doubleword(vtpr) >> 4 & 0xf)
    }

    /// A PDPTE in the table that guest CR3 references.
    pub(super) fn pdpte_in_memory(&self, number: u64) -> u64 {
        let table = self.field(Encoding::GUEST_CR3) & 0xffff_ffe0;
        self.memory.quadword(HostPhysicalAddress(table + 8 * number))
    }
}
