//! The result of a walk: what the TLB caches.

use crate::context::{Context, Controls, PagingMode, Privilege};
use isa::address::{AccessKind, HostPhysicalAddress, LinearAddress};
use serde::{Deserialize, Serialize};

/// The size of a page.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum PageSize {
    /// 4 KByte.
    #[serde(rename = "4K")]
    Size4K = 0,
    /// 2 MByte.
    #[serde(rename = "2M")]
    Size2M = 1,
    /// 1 GByte.
    #[serde(rename = "1G")]
    Size1G = 2,
}

impl PageSize {
    /// All sizes, the smallest first.
    pub const ALL: [Self; 3] = [Self::Size4K, Self::Size2M, Self::Size1G];

    /// Bytes in the page.
    #[inline]
    #[must_use]
    pub const fn bytes(self) -> u64 {
        1 << self.shift()
    }

    /// How many low bits of an address are the offset in the page.
    #[inline]
    #[must_use]
    pub const fn shift(self) -> u32 {
        12 + 9 * self as u32
    }

    /// The address bits below the page.
    #[inline]
    #[must_use]
    pub const fn offset_mask(self) -> u64 {
        self.bytes() - 1
    }
}

/// The size of a page in the guest's tables; the number is that of the address bits in the page.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum GuestPageSize {
    /// 4 KByte.
    #[serde(rename = "4K")]
    Size4K = 12,
    /// 2 MByte.
    #[serde(rename = "2M")]
    Size2M = 21,
    /// 4 MByte, under 32-bit paging. It is cached in pieces of 2 MByte at most, as by processors whose arrays for 2-MByte
    /// pages hold half as many of 4 MByte (CPUID leaf 2, descriptor B1H).
    #[serde(rename = "4M")]
    Size4M = 22,
    /// 1 GByte.
    #[serde(rename = "1G")]
    Size1G = 30,
}

impl GuestPageSize {
    /// All sizes, the smallest first.
    pub const ALL: [Self; 4] = [Self::Size4K, Self::Size2M, Self::Size4M, Self::Size1G];

    /// Bytes in the page.
    #[inline]
    #[must_use]
    pub const fn bytes(self) -> u64 {
        1 << self.shift()
    }

    /// How many low bits of an address are the offset in the page.
    #[inline]
    #[must_use]
    pub const fn shift(self) -> u32 {
        self as u32
    }

    /// The address bits below the page.
    #[inline]
    #[must_use]
    pub const fn offset_mask(self) -> u64 {
        self.bytes() - 1
    }

    /// The level of the entry that maps the page: 1 for a PTE.
    #[must_use]
    pub const fn level(self) -> u8 {
        match self {
            Self::Size4K => 1,
            Self::Size2M | Self::Size4M => 2,
            Self::Size1G => 3,
        }
    }

    /// The largest size in which the page can be cached.
    #[inline]
    #[must_use]
    pub const fn cached(self) -> PageSize {
        match self {
            Self::Size4K => PageSize::Size4K,
            Self::Size2M | Self::Size4M => PageSize::Size2M,
            Self::Size1G => PageSize::Size1G,
        }
    }
}

impl From<PageSize> for GuestPageSize {
    #[inline]
    fn from(size: PageSize) -> Self {
        match size {
            PageSize::Size4K => Self::Size4K,
            PageSize::Size2M => Self::Size2M,
            PageSize::Size1G => Self::Size1G,
        }
    }
}

bitflags::bitflags! {
    /// What a translation permits, of guest paging and of EPT, whether it is dirty in both, and its protection key.
    ///
    /// The rights are those of the tables. What they mean for an access depends on the context (privilege,
    /// CR0.WP, SMEP, SMAP, PKRU) and is asked by a [`Requirement`].
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
    pub struct Rights: u16 {
        /// The protection key of a user-mode address: bits 62:59 of the entry that maps the page.
        const KEY = 0xf;
        /// No protection key applies: a supervisor-mode address, or no paging.
        const NO_KEY = 1 << 4;
        /// R/W is 1 in every guest entry.
        const WRITE = 1 << 5;
        /// U/S is 1 in every guest entry: a user-mode address.
        const USER = 1 << 6;
        /// XD is 0 in every guest entry.
        const EXECUTE = 1 << 7;
        /// EPT permits reads, or is not in use.
        const EPT_READ = 1 << 8;
        /// EPT permits writes, or is not in use.
        const EPT_WRITE = 1 << 9;
        /// EPT permits fetches from this address, or is not in use.
        const EPT_EXECUTE = 1 << 10;
        /// The dirty flags that a write must set are set, in guest paging and in EPT.
        const DIRTY = 1 << 11;
    }
}

impl Rights {
    /// With the protection key of an entry that maps a page.
    #[inline]
    pub(crate) const fn with_key(self, key: u8) -> Self {
        let key = if self.contains(Self::USER) {
            Self::from_bits_retain(key as u16).intersection(Self::KEY)
        } else {
            Self::NO_KEY
        };
        self.difference(Self::KEY.union(Self::NO_KEY)).union(key)
    }

    /// The protection key, where one applies.
    #[must_use]
    pub const fn key(self) -> Option<u8> {
        if self.contains(Self::NO_KEY) { None } else { Some((self.bits() & Self::KEY.bits()) as u8) }
    }
}

/// What an access in a given context needs of [`Rights`]: one mask, one compare, and one bit for the protection key.
///
/// The rules are those of SDM 5.6.1, 5.6.2 and 31.3.3.2 together with the dirty flags of 5.8 and 31.3.5.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Requirement {
    mask: Rights,
    want: Rights,
    /// The protection keys that refuse the access, by number; bits 31:16 are 0.
    refused_keys: u32,
}

impl Requirement {
    /// What `kind` needs in `context`.
    #[must_use]
    pub fn of(context: &Context, kind: AccessKind) -> Self {
        let mut need = match kind {
            AccessKind::Read => Self::all(Rights::EPT_READ),
            AccessKind::Write => Self::all(Rights::EPT_WRITE | Rights::DIRTY),
            AccessKind::Execute => Self::all(Rights::EPT_EXECUTE),
        };
        if context.mode != PagingMode::None {
            need.add_guest(context, kind);
            need.refused_keys = u32::from(context.refused_keys(kind));
        }
        need
    }

    /// Whether `rights` suffice.
    #[inline(always)]
    #[must_use]
    pub const fn allows(self, rights: Rights) -> bool {
        // The lowest five bits are the key, or 16 and more where none applies.
        let refused = self.refused_keys >> (rights.bits() & 31) & 1 != 0;
        (rights.bits() & self.mask.bits() == self.want.bits()) & !refused
    }

    const fn all(rights: Rights) -> Self {
        Self { mask: rights, want: rights, refused_keys: 0 }
    }

    fn add_guest(&mut self, context: &Context, kind: AccessKind) {
        let user = context.privilege == Privilege::User;
        if user {
            self.require(Rights::USER);
        } else if context.refuses_user_pages(kind) {
            self.mask |= Rights::USER;
        }
        match kind {
            AccessKind::Write if user || context.controls.contains(Controls::WRITE_PROTECT) => {
                self.require(Rights::WRITE);
            }
            AccessKind::Execute => self.require(Rights::EXECUTE),
            AccessKind::Read | AccessKind::Write => {}
        }
    }

    fn require(&mut self, rights: Rights) {
        self.mask |= rights;
        self.want |= rights;
    }
}

/// A linear page and the host-physical page it stands for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Translation {
    /// Start of the linear page, of [`size`](Self::size) bytes.
    pub linear: LinearAddress,
    /// Start of the host-physical page, of [`size`](Self::size) bytes.
    pub host_physical: HostPhysicalAddress,
    /// The size that holds for the whole translation: the smaller of the guest's and EPT's.
    pub size: PageSize,
    /// The size of the page in the guest's tables: what INVLPG removes.
    pub guest_size: GuestPageSize,
    /// What the tables permit.
    pub rights: Rights,
    /// Whether the page is global (SDM 5.10.2.4).
    pub scope: Scope,
}

/// In which address spaces of a VPID a translation holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// In the PCID that it was made for.
    Pcid,
    /// In every PCID of the VPID.
    Global,
}

impl Translation {
    /// The host-physical address of a linear address in the page.
    #[inline(always)]
    #[must_use]
    pub const fn host(&self, address: LinearAddress) -> HostPhysicalAddress {
        HostPhysicalAddress(self.host_physical.0 | (address.0 & self.size.offset_mask()))
    }

    /// The part of the translation that covers the page of `size` around `address`.
    ///
    /// A processor may cache a translation in pieces, never in a larger page (SDM 5.10.2.2).
    #[must_use]
    pub fn narrowed(self, address: LinearAddress, size: PageSize) -> Self {
        if size >= self.size {
            return self;
        }
        let mask = !size.offset_mask();
        Self {
            linear: LinearAddress(address.0 & mask),
            host_physical: HostPhysicalAddress(self.host(address).0 & mask),
            size,
            ..self
        }
    }

    /// The part of the translation that covers the 4-KByte page around `address`, with address line 20 as it is.
    #[must_use]
    pub(crate) fn behind(self, line: Line20, address: LinearAddress) -> Self {
        match line {
            Line20::Through => self,
            Line20::Held => {
                let page = self.narrowed(address, PageSize::Size4K);
                Self { host_physical: HostPhysicalAddress(page.host_physical.0 & !(1 << 20)), ..page }
            }
        }
    }
}

/// What becomes of bit 20 of physical addresses (the A20M# pin: SDM Vol. 3A, 10.7.13).
///
/// Only accesses to what is translated are held; references of walks are not.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Line20 {
    /// It reaches the memory.
    #[default]
    Through,
    /// It is 0, as on a processor with 20 address bits.
    Held,
}
