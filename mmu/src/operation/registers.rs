//! The registers of a logical processor that translation depends on.

use super::{Operation, Refusal};
use crate::context::{Context, Controls, PagingMode, Privilege};
use crate::ept::{EptContext, EptControls, EptLevels};
use crate::mapping::Space;
use crate::tlb::Invalidation;
use isa::address::{GuestPhysicalAddress, HostPhysicalAddress};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// The registers that a transition loads and that translation depends on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Paging {
    /// CR0.
    pub cr0: u64,
    /// CR3.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// IA32_EFER.
    pub efer: u64,
}

impl Paging {
    /// CR0.PE.
    pub const PE: u64 = 1 << 0;
    /// CR0.WP.
    pub const WP: u64 = 1 << 16;
    /// CR0.NW.
    pub const NW: u64 = 1 << 29;
    /// CR0.CD.
    pub const CD: u64 = 1 << 30;
    /// CR0.PG.
    pub const PG: u64 = 1 << 31;
    /// CR4.PSE.
    pub const PSE: u64 = 1 << 4;
    /// CR4.PAE.
    pub const PAE: u64 = 1 << 5;
    /// CR4.PGE.
    pub const PGE: u64 = 1 << 7;
    /// CR4.LA57.
    pub const LA57: u64 = 1 << 12;
    /// CR4.PCIDE.
    pub const PCIDE: u64 = 1 << 17;
    /// CR4.SMEP.
    pub const SMEP: u64 = 1 << 20;
    /// CR4.SMAP.
    pub const SMAP: u64 = 1 << 21;
    /// CR4.PKE.
    pub const PKE: u64 = 1 << 22;
    /// IA32_EFER.LME.
    pub const LME: u64 = 1 << 8;
    /// IA32_EFER.LMA.
    pub const LMA: u64 = 1 << 10;
    /// IA32_EFER.NXE.
    pub const NXE: u64 = 1 << 11;

    /// 4-level paging with write protection, global pages and execute-disable.
    #[must_use]
    pub const fn four_level(cr3: u64) -> Self {
        let (cr0, cr4) = (Self::PE | Self::WP | Self::PG, Self::PAE | Self::PGE);
        Self { cr0, cr3, cr4, efer: Self::LME | Self::LMA | Self::NXE }
    }

    /// The same with PCIDs; CR3 bits 11:0 are one.
    #[must_use]
    pub const fn with_pcids(self) -> Self {
        Self { cr4: self.cr4 | Self::PCIDE, ..self }
    }

    /// The paging mode (SDM 5.1.1).
    #[must_use]
    pub const fn mode(&self) -> PagingMode {
        if self.cr0 & Self::PG == 0 {
            PagingMode::None
        } else if self.cr4 & Self::PAE == 0 {
            PagingMode::ThirtyTwoBit
        } else if self.efer & Self::LME == 0 {
            PagingMode::Pae
        } else if self.cr4 & Self::LA57 == 0 {
            PagingMode::FourLevel
        } else {
            PagingMode::FiveLevel
        }
    }

    /// Whether PAE paging is in use, so that the PDPTE registers mean something (SDM 5.4.1).
    #[must_use]
    pub const fn is_pae(&self) -> bool {
        self.cr0 & Self::PG != 0 && self.cr4 & Self::PAE != 0 && self.efer & Self::LME == 0
    }

    /// Whether the processor is in IA-32e mode.
    pub(crate) const fn is_ia32e(&self) -> bool {
        self.cr0 & Self::PG != 0 && self.efer & Self::LME != 0
    }

    /// The current PCID: 0 when CR4.PCIDE is 0 (SDM 5.10.1).
    #[must_use]
    pub const fn pcid(&self) -> u16 {
        if self.cr4 & Self::PCIDE == 0 { 0 } else { (self.cr3 & 0xfff) as u16 }
    }
}

/// VMX operation (SDM 26.3), with what non-root operation has from the VMCS.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VmxOperation {
    /// Outside VMX operation.
    #[default]
    Outside,
    /// VMX root operation.
    Root,
    /// VMX non-root operation.
    NonRoot {
        /// The VPID, when "enable VPID" is 1.
        vpid: Option<u16>,
        /// The EPTP, when "enable EPT" is 1.
        eptp: Option<u64>,
    },
}

/// System-management mode and its treatment (SDM 34.14, 34.15).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Smm {
    /// Not in SMM.
    #[default]
    Outside,
    /// In SMM under the default treatment, which is outside VMX operation.
    Default {
        /// Where RSM goes back to.
        interrupted: VmxOperation,
        /// The PDPTE registers that RSM brings back to a guest with EPT.
        pdptes: [u64; 4],
    },
    /// In SMM under the dual-monitor treatment.
    Monitor {
        /// Whence the SMM VM exit came, and where the VM entry that returns from SMM goes: VMX root operation when
        /// the executive-VMCS pointer is the VMXON pointer.
        executive: VmxOperation,
    },
}

/// The translation-relevant registers of one logical processor.
///
/// Not modelled: PKRU, HLAT, SEAM, mode-based execute control.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Registers {
    /// Control registers and IA32_EFER.
    pub paging: Paging,
    /// The PDPTE registers; they mean something under PAE paging.
    pub pdptes: [u64; 4],
    /// VMX operation.
    pub vmx: VmxOperation,
    /// System-management mode.
    pub smm: Smm,
    /// MAXPHYADDR.
    pub physical_address_width: u8,
    /// The tag word of the profile `extended`; 0 in `strict`.
    pub tag_word: u32,
}

/// An operation that was carried out, and what it did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Performed {
    /// The operation.
    pub operation: Operation,
    /// The registers before it.
    pub before: Registers,
    /// The registers after it.
    pub after: Registers,
    /// What hardware removes, and nothing beyond.
    pub invalidations: SmallVec<[Invalidation; 2]>,
    /// Why the operation did not happen: then it changed and removed nothing.
    pub refusal: Option<Refusal>,
}

const EPT_ADDRESS: u64 = 0x000f_ffff_ffff_f000;

impl Registers {
    /// A processor outside VMX operation and SMM, with 46 physical-address bits.
    #[must_use]
    pub const fn outside(paging: Paging) -> Self {
        let (vmx, smm) = (VmxOperation::Outside, Smm::Outside);
        Self { paging, pdptes: [0; 4], vmx, smm, physical_address_width: 46, tag_word: 0 }
    }

    /// A processor in VMX root operation.
    #[must_use]
    pub const fn root(paging: Paging) -> Self {
        Self { vmx: VmxOperation::Root, ..Self::outside(paging) }
    }

    /// The current VPID: 0 outside VMX operation, in VMX root operation, in SMM under the default treatment, and in
    /// VMX non-root operation when "enable VPID" is 0 (SDM 31.1).
    #[must_use]
    pub const fn vpid(&self) -> u16 {
        match self.vmx {
            VmxOperation::NonRoot { vpid: Some(vpid), .. } => vpid,
            _ => 0,
        }
    }

    /// The current PCID.
    #[must_use]
    pub const fn pcid(&self) -> u16 {
        self.paging.pcid()
    }

    /// The EPTP, when EPT is in use.
    #[must_use]
    pub const fn eptp(&self) -> Option<u64> {
        match self.vmx {
            VmxOperation::NonRoot { eptp, .. } => eptp,
            _ => None,
        }
    }

    /// The tag under which accesses look for mappings and make them.
    #[must_use]
    pub fn space(&self) -> Space {
        let ept = self.eptp().map(eptrta);
        Space { vpid: self.vpid(), pcid: self.pcid(), ept, word: self.tag_word }
    }

    /// What the translation of an access of this privilege depends on. EFLAGS.AC and PKRU count as 0; 1-GByte pages and
    /// execute-only EPT entries exist, and so does PSE-36.
    #[must_use]
    pub fn context(&self, privilege: Privilege) -> Context {
        let Space { vpid, pcid, word, .. } = self.space();
        Context {
            mode: self.paging.mode(),
            cr3: GuestPhysicalAddress(self.paging.cr3 & EPT_ADDRESS),
            controls: self.controls(),
            privilege,
            pkru: 0,
            physical_address_width: self.physical_address_width,
            pcid,
            vpid,
            tag_word: word,
            ept: self.eptp().map(ept_context),
            pdptes: self.pdptes,
        }
    }

    fn controls(&self) -> Controls {
        let Paging { cr0, cr4, efer, .. } = self.paging;
        let mut controls = Controls::PAGES_1G | Controls::PSE_36;
        controls.set(Controls::WRITE_PROTECT, cr0 & Paging::WP != 0);
        controls.set(Controls::EXECUTE_DISABLE, efer & Paging::NXE != 0);
        controls.set(Controls::SMEP, cr4 & Paging::SMEP != 0);
        controls.set(Controls::PROTECTION_KEYS, cr4 & Paging::PKE != 0);
        controls.set(Controls::SMAP, cr4 & Paging::SMAP != 0);
        controls.set(Controls::PAGE_SIZE_EXTENSIONS, cr4 & Paging::PSE != 0);
        controls.set(Controls::GLOBAL_PAGES, cr4 & Paging::PGE != 0);
        controls
    }
}

/// The tag of an EPTP: bits 51:12 (SDM 31.4.2).
pub(crate) const fn eptrta(eptp: u64) -> HostPhysicalAddress {
    HostPhysicalAddress(eptp & EPT_ADDRESS)
}

/// The fields of an EPTP (SDM table 27-9).
pub(crate) fn ept_context(eptp: u64) -> EptContext {
    let levels = if eptp >> 3 & 7 == 4 { EptLevels::Five } else { EptLevels::Four };
    let mut controls = EptControls::EXECUTE_ONLY | EptControls::PAGES_2M | EptControls::PAGES_1G;
    controls.set(EptControls::ACCESSED_DIRTY, eptp & 1 << 6 != 0);
    EptContext { levels, controls, ..EptContext::four_level(eptrta(eptp)) }
}
