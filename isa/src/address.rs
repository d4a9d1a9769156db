//! The three address spaces of the manual, each a type of its own.
//!
//! A guest-physical address cannot be passed where a host-physical one is meant. Outside of EPT the two
//! coincide, and the code that knows this converts by name.

use serde::{Deserialize, Serialize};

/// Bytes in the smallest page.
pub const PAGE_SIZE: u64 = 4096;

macro_rules! address {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The address of the 4-KByte page that holds this one.
            #[inline]
            #[must_use]
            pub const fn page(self) -> Self {
                Self(self.0 & !(PAGE_SIZE - 1))
            }

            /// The number of the 4-KByte page that holds this address.
            #[inline]
            #[must_use]
            pub const fn page_number(self) -> u64 {
                self.0 / PAGE_SIZE
            }

            /// Bytes between the start of the 4-KByte page and this address.
            #[inline]
            #[must_use]
            pub const fn page_offset(self) -> usize {
                (self.0 % PAGE_SIZE) as usize
            }

            /// The address `bytes` further on, wrapping at 2^64.
            #[inline]
            #[must_use]
            pub const fn add(self, bytes: u64) -> Self {
                Self(self.0.wrapping_add(bytes))
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.0)
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }
    };
}

address!(
    /// An address after segmentation and before paging (SDM Vol. 3A, 3.1).
    LinearAddress
);
address!(
    /// An address after guest paging and before EPT (SDM Vol. 3C, 31.3).
    GuestPhysicalAddress
);
address!(
    /// An address of the machine's memory, after all translation.
    HostPhysicalAddress
);

impl GuestPhysicalAddress {
    /// The same address where EPT is not in use and the two spaces coincide.
    #[inline]
    #[must_use]
    pub const fn without_ept(self) -> HostPhysicalAddress {
        HostPhysicalAddress(self.0)
    }
}

/// What an access does to memory; the access rights of paging and EPT are asked for in these words.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessKind {
    /// A data read.
    Read,
    /// A data write, or a read that will be followed by a write of the same instruction.
    Write,
    /// An instruction fetch.
    Execute,
}
