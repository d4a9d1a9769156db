//! Why an access was refused, as values.

use crate::ept::{EptMisconfiguration, EptViolation};
use crate::ram::AccessError;
use isa::address::{GuestPhysicalAddress, HostPhysicalAddress, LinearAddress};
use isa::event::Exception;
use serde::{Deserialize, Serialize};

/// Every way in which an access to memory can fail.
///
/// The access has had no effect on data. Accessed and dirty flags may be set for the part of a page-crossing access
/// that would have succeeded only when both parts would have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// The linear address is not canonical for the paging mode (SDM Vol. 1, 3.3.7.1): #GP or #SS.
    #[error("linear address {address} is not canonical")]
    NonCanonical {
        /// The address.
        address: LinearAddress,
    },
    /// Guest paging refuses the access: #PF.
    #[error(transparent)]
    Page(#[from] PageFault),
    /// EPT refuses the access: exit reason 48.
    #[error("EPT violation at guest-physical {}", .0.guest_physical)]
    EptViolation(EptViolation),
    /// An EPT entry is malformed: exit reason 49.
    #[error("EPT misconfiguration at guest-physical {}: {:?} at level {}", .0.guest_physical, .0.reason, .0.level)]
    EptMisconfiguration(EptMisconfiguration),
    /// An access must set a flag of EPT and the page-modification log is full (SDM 31.3.6): exit reason 62.
    #[error("the page-modification log is full at an access to guest-physical {guest_physical}")]
    PageModificationLogFull {
        /// The address of the access, which did not occur: that of the page or of a guest paging-structure entry.
        guest_physical: GuestPhysicalAddress,
    },
    /// Data or a paging structure is not in RAM, or only in part.
    #[error("host-physical {address} is outside RAM")]
    OutsideRam {
        /// The first address of it that is not.
        address: HostPhysicalAddress,
    },
    /// The access would write a page that holds decoded code. Drop the decoded code, unmark the page, retry.
    #[error("the page at host-physical {page} holds decoded code")]
    CodePage {
        /// The page.
        page: HostPhysicalAddress,
    },
}

impl From<AccessError> for Fault {
    /// The fault of an access that RAM refused.
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::Outside { address } => Self::OutsideRam { address },
            AccessError::CodePage { page } => Self::CodePage { page },
        }
    }
}

bitflags::bitflags! {
    /// The error code of a page fault (SDM Vol. 3A, 5.7).
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
    pub struct PageFaultCode: u16 {
        /// P: 0 when a not-present entry caused the fault.
        const PRESENT = 1 << 0;
        /// W/R: the access was a write.
        const WRITE = 1 << 1;
        /// U/S: the access was a user-mode access.
        const USER = 1 << 2;
        /// RSVD: a reserved bit was set in an entry.
        const RESERVED = 1 << 3;
        /// I/D: the access was an instruction fetch, and NXE, unless under 32-bit paging, or SMEP is on.
        const INSTRUCTION = 1 << 4;
        /// PK: the protection key of the address refuses the access, whatever else does.
        const PROTECTION_KEY = 1 << 5;
    }
}

/// A page fault: what delivery needs, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error, Serialize, Deserialize)]
#[error("page fault at {address}: {reason:?}, error code {:#x}", .code.bits())]
pub struct PageFault {
    /// The address that CR2 receives.
    pub address: LinearAddress,
    /// The error code.
    pub code: PageFaultCode,
    /// Which rule refused.
    pub reason: PageFaultReason,
}

impl PageFault {
    /// The exception to deliver.
    #[must_use]
    pub const fn exception(&self) -> Exception {
        Exception::page_fault(self.address, self.code.bits())
    }
}

/// Which rule of SDM 5.3, 5.4, 5.5.4, 5.6.1 or 5.6.2 refused an access; of several of the last two, the first.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PageFaultReason {
    /// An entry has P = 0; the level is 5 for a PML5E, down to 1 for a PTE.
    NotPresent {
        /// Level of the entry.
        level: u8,
    },
    /// A present entry has a reserved bit set.
    ReservedBit {
        /// Level of the entry.
        level: u8,
    },
    /// User-mode access to a supervisor-mode address.
    SupervisorAddress,
    /// Supervisor-mode data access to a user-mode address under SMAP.
    Smap,
    /// Supervisor-mode fetch from a user-mode address under SMEP.
    Smep,
    /// Write where R/W is 0 in some entry.
    NotWritable,
    /// Fetch where XD is 1 in some entry.
    ExecuteDisabled,
    /// Data access to a user-mode address that PKRU refuses.
    ProtectionKey {
        /// The protection key of the page.
        key: u8,
    },
}

impl PageFaultReason {
    /// Whether the translation existed, so that P is 1 in the error code.
    pub(crate) const fn code(self) -> PageFaultCode {
        match self {
            Self::NotPresent { .. } => PageFaultCode::empty(),
            Self::ReservedBit { .. } => PageFaultCode::PRESENT.union(PageFaultCode::RESERVED),
            _ => PageFaultCode::PRESENT,
        }
    }
}
