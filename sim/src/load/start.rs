//! How processor 0 starts: mode and registers as the protocol defines them.

use isa::address::HostPhysicalAddress;

/// A segment register with its hidden part.
///
/// SDM Vol. 3A, 3.4.5; the limit is in bytes, as in a segment register, and the access rights are bits 55:40 of a
/// descriptor without the limit in them (bits 11:8 of the value are 0).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentStart {
    /// The visible part.
    pub selector: u16,
    /// The base address.
    pub base: u64,
    /// The offset of the last byte.
    pub limit: u32,
    /// Type, S, DPL, P in bits 7:0; AVL, L, D/B, G in bits 15:12.
    pub access: u16,
}

impl SegmentStart {
    /// A segment of 4 GiB from 0.
    const fn flat(selector: u16, access: u16) -> Self {
        Self { selector, base: 0, limit: u32::MAX, access }
    }

    /// 32-bit code, execute and read, of 4 GiB.
    #[must_use]
    pub const fn code32(selector: u16) -> Self {
        Self::flat(selector, 0xc09b)
    }

    /// 64-bit code, execute and read.
    #[must_use]
    pub const fn code64(selector: u16) -> Self {
        Self::flat(selector, 0xa09b)
    }

    /// Data, read and write, of 4 GiB.
    #[must_use]
    pub const fn data(selector: u16) -> Self {
        Self::flat(selector, 0xc093)
    }
}

/// The register that tells where a descriptor table is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableRegister {
    /// Where the table is.
    pub base: HostPhysicalAddress,
    /// The offset of its last byte.
    pub limit: u16,
}

/// The registers that choose the mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ControlStart {
    /// CR0.
    pub cr0: u64,
    /// CR3.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// IA32_EFER.
    pub efer: u64,
}

/// CR0 with protection enabled, ET set (it is fixed) and nothing else.
const PROTECTED: u64 = 0x11;
/// CR0.PG.
const PAGING: u64 = 1 << 31;
/// CR4.PAE.
const PAE: u64 = 1 << 5;
/// IA32_EFER.LME and LMA.
const LONG: u64 = 1 << 8 | 1 << 10;

/// How processor 0 starts. Registers that are not named are 0; RFLAGS is 2 (interrupts are off).
///
/// Other processors wait for INIT and start-up messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// Real mode; all other segment registers are 0, with a base of 0.
    Real {
        /// The selector of CS; its base is 16 times as much.
        cs: u16,
        /// The instruction pointer.
        ip: u16,
    },
    /// 32-bit protected mode with flat segments and paging off.
    Protected {
        /// The instruction pointer.
        eip: u32,
        /// EAX: the multiboot magic, or 0.
        eax: u32,
        /// EBX: the multiboot information, the PVH start information, or 0.
        ebx: u32,
        /// ESI: the zero page of Linux, or 0.
        esi: u32,
        /// CS.
        code: SegmentStart,
        /// DS, ES, FS, GS and SS.
        data: SegmentStart,
        /// GDTR; with none, the image must load its own before it loads a segment register.
        gdt: Option<TableRegister>,
        /// TR, where the protocol defines one.
        task: Option<SegmentStart>,
    },
    /// 64-bit mode on page tables that map the lowest 4 GiB to themselves.
    Long {
        /// The instruction pointer.
        rip: u64,
        /// RSI: the zero page of Linux, or 0.
        rsi: u64,
        /// Where the PML4 table is.
        cr3: HostPhysicalAddress,
        /// CS.
        code: SegmentStart,
        /// DS, ES, FS, GS and SS.
        data: SegmentStart,
        /// GDTR.
        gdt: TableRegister,
    },
}

impl Start {
    /// The registers that choose the mode.
    ///
    /// ```
    /// use vmxsim::load::Start;
    /// assert_eq!(Start::Real { cs: 0, ip: 0x7c00 }.control().cr0, 0x10);
    /// ```
    #[must_use]
    pub const fn control(&self) -> ControlStart {
        match self {
            Self::Real { .. } => ControlStart { cr0: PROTECTED & !1, cr3: 0, cr4: 0, efer: 0 },
            Self::Protected { .. } => ControlStart { cr0: PROTECTED, cr3: 0, cr4: 0, efer: 0 },
            Self::Long { cr3, .. } => {
                ControlStart { cr0: PROTECTED | PAGING, cr3: cr3.0, cr4: PAE, efer: LONG }
            }
        }
    }
}
