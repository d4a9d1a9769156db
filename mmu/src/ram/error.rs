//! Why memory cannot be, or cannot be used.

use isa::address::HostPhysicalAddress;

/// Why RAM could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RamError {
    /// The size is 0, size or start are not a multiple of the page size, or the end is behind 2^46.
    #[error("RAM of {bytes:#x} bytes at {start}: both must be multiples of 4096, and the end at most 2^46")]
    Size {
        /// Where it would be.
        start: HostPhysicalAddress,
        /// The size asked for.
        bytes: u64,
    },
    /// Two ranges have addresses in common.
    #[error("host-physical {address} is in two ranges of RAM")]
    Overlap {
        /// The first of these addresses.
        address: HostPhysicalAddress,
    },
    /// The host refused the address space.
    #[error("the host refused {bytes:#x} bytes of address space for RAM: {source}")]
    Host {
        /// The size asked for.
        bytes: u64,
        /// What the host said.
        source: std::io::Error,
    },
}

/// Why an access to RAM was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AccessError {
    /// Part of the access, or all of it, is not in memory.
    #[error("host-physical {address} is outside RAM")]
    Outside {
        /// The first address of the access that is not.
        address: HostPhysicalAddress,
    },
    /// The access would write a page that holds decoded code.
    #[error("the page at host-physical {page} holds decoded code")]
    CodePage {
        /// The page.
        page: HostPhysicalAddress,
    },
}
