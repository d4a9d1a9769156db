//! Events as data: exceptions, and every other reason why an instruction does not simply complete.

use crate::address::LinearAddress;
use serde::{Deserialize, Serialize};

/// An exception vector (SDM Vol. 3A, table 7-1).
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Vector {
    /// #DE, divide error.
    DivideError = 0,
    /// #DB, debug exception.
    Debug = 1,
    /// NMI interrupt.
    NonMaskableInterrupt = 2,
    /// #BP, breakpoint (INT3).
    Breakpoint = 3,
    /// #OF, overflow (INTO).
    Overflow = 4,
    /// #BR, BOUND range exceeded.
    BoundRange = 5,
    /// #UD, invalid opcode.
    InvalidOpcode = 6,
    /// #NM, device not available.
    DeviceNotAvailable = 7,
    /// #DF, double fault.
    DoubleFault = 8,
    /// #TS, invalid TSS.
    InvalidTss = 10,
    /// #NP, segment not present.
    SegmentNotPresent = 11,
    /// #SS, stack-segment fault.
    StackFault = 12,
    /// #GP, general protection.
    GeneralProtection = 13,
    /// #PF, page fault.
    PageFault = 14,
    /// #MF, x87 floating-point error.
    FloatingPoint = 16,
    /// #AC, alignment check.
    AlignmentCheck = 17,
    /// #MC, machine check.
    MachineCheck = 18,
    /// #XM, SIMD floating-point exception.
    SimdFloatingPoint = 19,
    /// #VE, virtualization exception.
    Virtualization = 20,
    /// #CP, control-protection exception.
    ControlProtection = 21,
}

/// An exception as the processor raises it, before delivery.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Exception {
    /// Which exception.
    pub vector: Vector,
    /// The error code that delivery pushes, for the vectors that have one (SDM Vol. 3A, 7.13).
    pub error_code: Option<u16>,
    /// For #PF the address that CR2 receives; for #GP the non-canonical address that was referred to, else 0; for others
    /// meaningless.
    pub address: LinearAddress,
}

impl Exception {
    /// An exception without error code.
    #[must_use]
    pub const fn plain(vector: Vector) -> Self {
        Self { vector, error_code: None, address: LinearAddress(0) }
    }

    /// An exception with an error code.
    #[must_use]
    pub const fn with_code(vector: Vector, error_code: u16) -> Self {
        Self { vector, error_code: Some(error_code), address: LinearAddress(0) }
    }

    /// A reference to a non-canonical address: #GP(0), which the engine makes #SS(0) when the reference is to the stack
    /// (SDM Vol. 1, 3.3.7.1).
    #[must_use]
    pub const fn non_canonical(address: LinearAddress) -> Self {
        Self { vector: Vector::GeneralProtection, error_code: Some(0), address }
    }

    /// Whether a reference to a non-canonical address raised it.
    #[must_use]
    pub fn is_non_canonical(&self) -> bool {
        self.vector == Vector::GeneralProtection && self.address.0 != 0
    }

    /// A page fault at `address` (SDM Vol. 3A, 5.7).
    #[must_use]
    pub const fn page_fault(address: LinearAddress, error_code: u16) -> Self {
        Self { vector: Vector::PageFault, error_code: Some(error_code), address }
    }
}
