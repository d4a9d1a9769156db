//! The operations that the manual lists as invalidating cached mappings or as leaving them alone (SDM 5.10.4,
//! 31.4.3), as values, and what a logical processor does at each.
//!
//! [`Registers`] are what translation depends on outside memory. [`Registers::perform`] carries an operation out on
//! them and says which [`Invalidation`](crate::tlb::Invalidation)s hardware makes: exactly those that the manual
//! requires. What the operation has to remove at least is told independently by [`rules`](crate::rules).
//!
//! # Example
//!
//! ```
//! use mmu::operation::{Operation, Paging, Registers};
//! use mmu::tlb::{Globals, Invalidation, Pcids};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let ram = mmu::Ram::new(4096)?;
//! let mut registers = Registers::outside(Paging::four_level(0x1000));
//! let performed = registers.perform(&ram, &Operation::MovToCr3(0x2000));
//! let expected = Invalidation::Vpid { vpid: 0, pcids: Pcids::One(0), globals: Globals::Keep };
//! assert_eq!(performed.invalidations.as_slice(), [expected]);
//! assert_eq!(registers.paging.cr3, 0x2000);
//! # Ok(())
//! # }
//! ```

mod invalidations;
mod pdptes;
mod refusal;
mod registers;
mod transition;

pub use refusal::Refusal;
pub use registers::{Paging, Performed, Registers, Smm, VmxOperation};

use isa::address::{GuestPhysicalAddress, LinearAddress};
use serde::{Deserialize, Serialize};

/// INVPCID by type (SDM Vol. 2A).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Invpcid {
    /// Type 0: one address of one PCID, globals excepted.
    Address {
        /// The PCID.
        pcid: u16,
        /// The address.
        address: LinearAddress,
    },
    /// Type 1: one PCID, globals excepted.
    Context {
        /// The PCID.
        pcid: u16,
    },
    /// Type 2: all PCIDs, globals included.
    AllWithGlobals,
    /// Type 3: all PCIDs, globals excepted.
    AllButGlobals,
}

/// INVVPID by type (SDM 33.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Invvpid {
    /// Type 0: one address of one VPID.
    Address {
        /// The VPID, not 0.
        vpid: u16,
        /// The address.
        address: LinearAddress,
    },
    /// Type 1: one VPID.
    Context {
        /// The VPID, not 0.
        vpid: u16,
    },
    /// Type 2: all VPIDs but 0.
    All,
    /// Type 3: one VPID, globals excepted.
    ContextButGlobals {
        /// The VPID, not 0.
        vpid: u16,
    },
}

/// INVEPT by type (SDM 33.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Invept {
    /// Type 1: one EPTRTA.
    Context {
        /// The EPTP of the descriptor; only bits 51:12 count.
        eptp: u64,
    },
    /// Type 2: all EPTRTAs.
    All,
}

/// Whether an MSR list of a transition loads an MSR whose WRMSR would flush the TLB (SDM 29.4, 30.6).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MsrLoads {
    /// None that matters to translation.
    #[default]
    Harmless,
    /// At least one.
    Flushing,
}

/// What a VM entry takes from the VMCS for translation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Entry {
    /// The VPID field, when "enable VPID" is 1.
    pub vpid: Option<u16>,
    /// The EPTP field, when "enable EPT" is 1.
    pub eptp: Option<u64>,
    /// The guest's registers.
    pub paging: Paging,
    /// The guest PDPTE fields, which entries with EPT and PAE paging load.
    pub pdptes: [u64; 4],
    /// The VM-entry MSR-load area.
    pub msr_loads: MsrLoads,
}

/// What a VM exit takes from the VMCS for translation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Exit {
    /// The host's registers.
    pub paging: Paging,
    /// The VM-exit MSR-load area.
    pub msr_loads: MsrLoads,
}

/// One operation of a logical processor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// MOV to CR0.
    MovToCr0(u64),
    /// MOV to CR3; bit 63 of the source is no part of the register.
    MovToCr3(u64),
    /// MOV to CR4.
    MovToCr4(u64),
    /// INVLPG that does not exit.
    Invlpg(LinearAddress),
    /// INVPCID.
    Invpcid(Invpcid),
    /// A task switch that loads CR3.
    TaskSwitch {
        /// The new CR3.
        cr3: u64,
    },
    /// A page fault.
    PageFault(LinearAddress),
    /// INVVPID.
    Invvpid(Invvpid),
    /// INVEPT.
    Invept(Invept),
    /// A VM entry.
    VmEntry(Entry),
    /// A VM exit.
    VmExit(Exit),
    /// An EPT violation, also when it is delivered as #VE.
    EptViolation {
        /// The guest-physical address.
        guest_physical: GuestPhysicalAddress,
        /// The linear address, when one was being translated.
        linear: Option<LinearAddress>,
    },
    /// An EPT misconfiguration.
    EptMisconfiguration(GuestPhysicalAddress),
    /// EPTP switching by VMFUNC.
    EptpSwitch {
        /// The new EPTP.
        eptp: u64,
    },
    /// Delivery of an SMI under the default treatment.
    Smi,
    /// RSM under the default treatment.
    Rsm(Paging),
    /// A VM exit to the SMM-transfer monitor.
    SmmVmExit(Paging),
    /// A VM entry that returns from SMM.
    SmmReturn(Entry),
    /// The SMM VM exit that activates dual-monitor treatment.
    SmmActivate(Paging),
    /// Power-up or RESET.
    Reset,
    /// INIT.
    Init,
    /// WRMSR to IA32_EFER.
    WrmsrEfer(u64),
    /// WRMSR to IA32_PAT or an MTRR.
    WrmsrMemoryType,
    /// A change of the A20M signal.
    A20,
    /// WBINVD, INVD or CLFLUSH.
    CacheFlush,
    /// WRPKRU, or XRSTOR of PKRU, or WRMSR to IA32_PKRS.
    WriteProtectionKeys,
    /// VMXON or VMXOFF.
    VmxOnOff,
    /// VMCLEAR, VMPTRLD or VMWRITE.
    VmcsAccess,
}
