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

impl Vector {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::DivideError,
        Self::Debug,
        Self::NonMaskableInterrupt,
        Self::Breakpoint,
        Self::Overflow,
        Self::BoundRange,
        Self::InvalidOpcode,
        Self::DeviceNotAvailable,
        Self::DoubleFault,
        Self::InvalidTss,
        Self::SegmentNotPresent,
        Self::StackFault,
        Self::GeneralProtection,
        Self::PageFault,
        Self::FloatingPoint,
        Self::AlignmentCheck,
        Self::MachineCheck,
        Self::SimdFloatingPoint,
        Self::Virtualization,
        Self::ControlProtection,
    ];

    /// The exception with this number, if the manual names one.
    ///
    /// ```
    /// use isa::event::Vector;
    ///
    /// assert_eq!(Vector::from_number(14), Some(Vector::PageFault));
    /// assert_eq!(Vector::from_number(15), None);
    /// ```
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|vector| *vector as u8 == number)
    }
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

/// What kind of event reaches its handler through the IDT, with the encoding that VM entries and VM exits use for it
/// (SDM Vol. 3C, 27.8.3 and 30.2.2).
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum EventKind {
    /// From outside, through an interrupt controller.
    ExternalInterrupt = 0,
    /// NMI.
    NonMaskableInterrupt = 2,
    /// An exception that is not one of the software exceptions.
    HardwareException = 3,
    /// INT n.
    SoftwareInterrupt = 4,
    /// INT1.
    PrivilegedSoftwareException = 5,
    /// INT3 and INTO.
    SoftwareException = 6,
}

impl EventKind {
    /// The kind that is encoded as `code`.
    ///
    /// ```
    /// use isa::event::EventKind;
    ///
    /// assert_eq!(EventKind::of_code(3), Some(EventKind::HardwareException));
    /// assert_eq!(EventKind::of_code(1), None);
    /// ```
    #[must_use]
    pub const fn of_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::ExternalInterrupt,
            2 => Self::NonMaskableInterrupt,
            3 => Self::HardwareException,
            4 => Self::SoftwareInterrupt,
            5 => Self::PrivilegedSoftwareException,
            6 => Self::SoftwareException,
            _ => return None,
        })
    }

    /// Whether an instruction asks for the event, so that the handler returns behind that instruction.
    #[must_use]
    pub const fn is_software(self) -> bool {
        matches!(self, Self::SoftwareInterrupt | Self::PrivilegedSoftwareException | Self::SoftwareException)
    }

    /// INT1, INT3 or INTO.
    #[must_use]
    pub const fn is_software_exception(self) -> bool {
        matches!(self, Self::PrivilegedSoftwareException | Self::SoftwareException)
    }

    /// Whether the privilege level of the gate is checked, and EXT stays 0 in the error codes of faults that happen
    /// while the event is delivered: INT n, INT3 and INTO (SDM Vol. 3A, 7.12.1.2 and 7.13).
    #[must_use]
    pub const fn is_asked_by_program(self) -> bool {
        matches!(self, Self::SoftwareInterrupt | Self::SoftwareException)
    }
}

/// Who has an event delivered.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum EventOrigin {
    /// The processor itself.
    Processor,
    /// A VM entry: the RF that is pushed is the guest's, and INT n in virtual-8086 mode needs no IOPL (SDM Vol. 3C,
    /// 29.6.1.1).
    VmEntry,
}

/// An event that is to reach its handler through the IDT: the data of VM-entry interruption information and of
/// IDT-vectoring information.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Event {
    /// Its number in the IDT.
    pub vector: u8,
    /// What it is.
    pub kind: EventKind,
    /// The error code that is pushed, except in real-address mode.
    pub error_code: Option<u16>,
    /// Bytes of the instruction that asked for it; 0 for all but software events.
    pub instruction_length: u8,
    /// Who has it delivered.
    pub origin: EventOrigin,
}

impl Event {
    const fn new(vector: u8, kind: EventKind) -> Self {
        Self { vector, kind, error_code: None, instruction_length: 0, origin: EventOrigin::Processor }
    }

    /// An interrupt from an interrupt controller.
    #[must_use]
    pub const fn external(vector: u8) -> Self {
        Self::new(vector, EventKind::ExternalInterrupt)
    }

    /// NMI.
    pub const NON_MASKABLE: Self = Self::new(2, EventKind::NonMaskableInterrupt);

    /// An exception that an instruction, its fetch or the delivery of another event raised.
    #[must_use]
    pub const fn exception(exception: &Exception) -> Self {
        let event = Self::new(exception.vector as u8, EventKind::HardwareException);
        Self { error_code: exception.error_code, ..event }
    }

    /// INT n, INT1, INT3 or INTO, by its kind, with the bytes of the instruction.
    #[must_use]
    pub const fn software(vector: u8, kind: EventKind, instruction_length: u8) -> Self {
        Self { instruction_length, ..Self::new(vector, kind) }
    }
}
