//! What the translation of a linear address depends on besides memory.

use crate::ept::EptContext;
use crate::walk::EntryWidth;
use isa::address::{AccessKind, GuestPhysicalAddress, LinearAddress};
use serde::{Deserialize, Serialize};

/// How linear addresses are translated (SDM 5.1.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PagingMode {
    /// CR0.PG = 0: linear addresses are guest-physical addresses.
    None,
    /// 32-bit paging: 32-bit linear addresses, and entries of 4 bytes.
    ThirtyTwoBit,
    /// PAE paging: 32-bit linear addresses, and the entries of the root table in registers.
    Pae,
    /// 4-level paging: 48-bit linear addresses.
    FourLevel,
    /// 5-level paging: 57-bit linear addresses.
    FiveLevel,
}

impl PagingMode {
    /// The level of the root table; 0 without paging.
    #[inline]
    #[must_use]
    pub const fn levels(self) -> u8 {
        match self {
            Self::None => 0,
            Self::ThirtyTwoBit => 2,
            Self::Pae => 3,
            Self::FourLevel => 4,
            Self::FiveLevel => 5,
        }
    }

    /// The width of the entries of its tables.
    #[inline]
    #[must_use]
    pub const fn entry_width(self) -> EntryWidth {
        if matches!(self, Self::ThirtyTwoBit) { EntryWidth::Four } else { EntryWidth::Eight }
    }

    /// Whether all bits above the translated ones equal the highest translated one (SDM Vol. 1, 3.3.7.1); under
    /// 32-bit and PAE paging, whether they are 0.
    #[inline]
    #[must_use]
    pub const fn is_canonical(self, address: LinearAddress) -> bool {
        let unused = match self {
            Self::None => return true,
            Self::ThirtyTwoBit | Self::Pae => return address.0 >> 32 == 0,
            Self::FourLevel => 16,
            Self::FiveLevel => 7,
        };
        ((address.0 << unused) as i64 >> unused) as u64 == address.0
    }
}

/// The privilege of an access (SDM 5.6): user-mode when CPL is 3 and the access is explicit.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Privilege {
    /// A user-mode access.
    User,
    /// An explicit supervisor-mode access: CPL is below 3.
    Supervisor,
    /// An implicit supervisor-mode access, to a descriptor table or a TSS, whatever CPL is. SMAP applies whatever
    /// EFLAGS.AC is.
    ImplicitSupervisor,
}

bitflags::bitflags! {
    /// The register bits that decide about access rights and reserved bits.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
    pub struct Controls: u16 {
        /// CR0.WP: supervisor-mode writes respect R/W.
        const WRITE_PROTECT = 1 << 0;
        /// IA32_EFER.NXE: bit 63 of an entry disables execution; without it the bit is reserved.
        const EXECUTE_DISABLE = 1 << 1;
        /// CR4.SMEP: no supervisor-mode fetches from user-mode addresses.
        const SMEP = 1 << 2;
        /// CR4.SMAP: no supervisor-mode data accesses to user-mode addresses.
        const SMAP = 1 << 3;
        /// EFLAGS.AC in an explicit supervisor-mode access: SMAP does not apply.
        const SMAP_OVERRIDE = 1 << 4;
        /// CR4.PGE: bit 8 of an entry that maps a page makes it global.
        const GLOBAL_PAGES = 1 << 5;
        /// CPUID.80000001H:EDX.Page1GB: a PDPTE may map a page; without it bit 7 is reserved.
        const PAGES_1G = 1 << 6;
        /// CR4.PSE: under 32-bit paging a PDE may map a page; without it bit 7 is ignored.
        const PAGE_SIZE_EXTENSIONS = 1 << 7;
        /// CPUID.01H:EDX.PSE-36: bits 20:13 of a PDE that maps a page of 4 MByte are address bits 39:32.
        const PSE_36 = 1 << 8;
        /// CR4.PKE: PKRU applies to user-mode addresses under 4-level and 5-level paging.
        const PROTECTION_KEYS = 1 << 9;
    }
}

/// Everything outside memory that the translation of a linear address depends on.
///
/// Plain data, built by the caller from the control registers and, in VMX non-root operation, from the VMCS.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Context {
    /// The paging mode.
    pub mode: PagingMode,
    /// CR3 bits 51:12: the root table. 32-bit paging uses bits 31:12.
    pub cr3: GuestPhysicalAddress,
    /// The four PDPTE registers, used under PAE paging alone (SDM 5.4.1).
    pub pdptes: [u64; 4],
    /// Control bits.
    pub controls: Controls,
    /// Privilege of the accesses.
    pub privilege: Privilege,
    /// PKRU: two bits for each protection key (SDM 5.6.2). It is asked at each use of a translation.
    pub pkru: u32,
    /// MAXPHYADDR: the bits of a physical address, at most 52. Entries with bits above are malformed.
    pub physical_address_width: u8,
    /// The current PCID: 0 when CR4.PCIDE is 0.
    pub pcid: u16,
    /// The current VPID: 0 outside VMX non-root operation, and inside when "enable VPID" is 0.
    pub vpid: u16,
    /// The tag word of the profile `extended`; 0 in `strict`.
    pub tag_word: u32,
    /// EPT, when it is in use.
    pub ept: Option<EptContext>,
}

impl Context {
    /// User-mode accesses with the controls that 64-bit systems run with, no EPT, VPID and PCID 0.
    #[must_use]
    pub fn user(mode: PagingMode) -> Self {
        let optional = Controls::SMEP | Controls::SMAP | Controls::SMAP_OVERRIDE;
        Self {
            mode,
            cr3: GuestPhysicalAddress(0),
            pdptes: [0; 4],
            controls: Controls::all() - optional,
            privilege: Privilege::User,
            pkru: 0,
            physical_address_width: 46,
            pcid: 0,
            vpid: 0,
            tag_word: 0,
            ept: None,
        }
    }

    /// Whether a supervisor-mode access of this kind is refused user-mode addresses (SDM 5.6.1).
    pub(crate) fn refuses_user_pages(&self, kind: AccessKind) -> bool {
        let explicit = self.privilege == Privilege::Supervisor;
        let override_smap = explicit && self.controls.contains(Controls::SMAP_OVERRIDE);
        match kind {
            AccessKind::Execute => self.controls.contains(Controls::SMEP),
            AccessKind::Read | AccessKind::Write => self.controls.contains(Controls::SMAP) && !override_smap,
        }
    }

    /// The protection keys, a bit each, whose user-mode addresses refuse an access of this kind (SDM 5.6.2).
    pub(crate) fn refused_keys(&self, kind: AccessKind) -> u16 {
        let applies = self.pkru != 0
            && self.controls.contains(Controls::PROTECTION_KEYS)
            && matches!(self.mode, PagingMode::FourLevel | PagingMode::FiveLevel);
        if !applies || kind == AccessKind::Execute {
            return 0;
        }
        let protected = self.privilege == Privilege::User || self.controls.contains(Controls::WRITE_PROTECT);
        let write_disable = match kind {
            AccessKind::Write if protected => even_bits(self.pkru >> 1),
            _ => 0,
        };
        even_bits(self.pkru) | write_disable
    }
}

/// Bits 0, 2, 4 and so on of a number, side by side.
const fn even_bits(number: u32) -> u16 {
    let mut bits = number & 0x5555_5555;
    bits = (bits | bits >> 1) & 0x3333_3333;
    bits = (bits | bits >> 2) & 0x0f0f_0f0f;
    bits = (bits | bits >> 4) & 0x00ff_00ff;
    (bits | bits >> 8) as u16
}
