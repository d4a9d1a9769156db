//! What an instruction changes about translation.

use crate::address::LinearAddress;

/// A change of what linear addresses are translated with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TranslationChange {
    /// MOV to CR0, LMSW, CLTS: the value that CR0 is to have.
    Cr0(u64),
    /// MOV to CR3, with bit 63 as it was in the source operand.
    Cr3(u64),
    /// MOV to CR4: the value that CR4 is to have.
    Cr4(u64),
    /// WRMSR to IA32_EFER: the value that it is to have.
    Efer(u64),
    /// A task switch that loads CR3.
    TaskSwitch(u64),
    /// INVLPG.
    Page(LinearAddress),
    /// INVPCID of a type with a descriptor.
    Pcid {
        /// The type, 0 to 3.
        kind: u8,
        /// The PCID.
        pcid: u16,
        /// The address.
        address: LinearAddress,
    },
}
