//! The system level: the registers that a user-level program does not see, and what changes them.

mod code;
mod deliver;
pub mod descriptor;
mod double_fault;
mod fault;
mod inner_stack;
pub(crate) mod load;
mod selector;
pub(crate) mod stack;
pub(crate) mod task;
pub(crate) mod transfer;

pub use deliver::{deliver, pushed_flags};
pub use double_fault::{Combined, EventClass, combine};
pub use selector::{Selector, Table};
pub use task::{TaskSwitch, TaskSwitchSource, exception_of};

pub mod control_register;
pub mod debug;
mod features;
pub mod guard;
mod intercept;
pub mod io;
pub mod msr;
pub mod smm;
mod vmx;

pub use features::{Behaviours, Features, Offers, is_canonical};
pub use intercept::{Intercepted, Io, IoDirection, PortOperand, Repetition, StringIo, TableRegister};
pub use vmx::{ControlRegisterView, VmxInstruction, VmxOutcome, VmxRequest};

use crate::address::LinearAddress;
use crate::control::{Cr0, Cr4, Efer};
use crate::segment::{AccessRights, DescriptorTable, Segment};
use bitflags::bitflags;

/// The selector and the rights of one segment register; its base is a [slot](crate::state::Slot).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Hidden {
    pub(crate) selector: u16,
    pub(crate) limit: u32,
    pub(crate) rights: AccessRights,
}

impl Hidden {
    const NULL: Self = Self { selector: 0, limit: 0, rights: AccessRights::UNUSABLE };

    const fn user(selector: u16, rights: u32) -> Self {
        Self { selector, limit: u32::MAX, rights: AccessRights::from_bits_retain(rights) }
    }
}

bitflags! {
    /// What is blocked for now, in the format of the VMCS (SDM Vol. 3C, table 27-3).
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct Interruptibility: u32 {
        /// By STI, for one instruction.
        const STI = 1 << 0;
        /// By MOV SS or POP SS, for one instruction.
        const MOV_SS = 1 << 1;
        /// By SMI.
        const SMI = 1 << 2;
        /// By NMI, until IRET.
        const NMI = 1 << 3;
    }
}

/// What a logical processor does (SDM Vol. 3C, 27.4.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Activity {
    /// It executes instructions.
    #[default]
    Active,
    /// HLT.
    Halted,
    /// A triple fault.
    Shutdown,
    /// INIT: it waits for a startup IPI.
    WaitForSipi,
}

/// Where SYSCALL and SYSENTER go, and what they load.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct SystemCall {
    /// IA32_STAR.
    pub star: u64,
    /// IA32_LSTAR.
    pub lstar: u64,
    /// IA32_CSTAR.
    pub cstar: u64,
    /// IA32_FMASK.
    pub sfmask: u64,
    /// IA32_SYSENTER_CS.
    pub sysenter_cs: u64,
    /// IA32_SYSENTER_ESP.
    pub sysenter_esp: u64,
    /// IA32_SYSENTER_EIP.
    pub sysenter_eip: u64,
}

/// The registers that a user-level program does not see.
#[derive(Clone, Debug)]
pub struct System {
    pub(crate) segments: [Hidden; 6],
    /// LDTR.
    pub ldtr: Segment,
    /// TR.
    pub tr: Segment,
    /// GDTR.
    pub gdtr: DescriptorTable,
    /// IDTR.
    pub idtr: DescriptorTable,
    /// The current privilege level.
    pub cpl: u8,
    /// CR0.
    pub cr0: Cr0,
    /// CR2.
    pub cr2: u64,
    /// CR3.
    pub cr3: u64,
    /// CR4.
    pub cr4: Cr4,
    /// IA32_EFER.
    pub efer: Efer,
    /// XCR0.
    pub xcr0: u64,
    /// PKRU.
    pub pkru: u32,
    /// DR0 to DR3.
    pub debug_addresses: [u64; 4],
    /// DR6.
    pub dr6: u64,
    /// DR7.
    pub dr7: u64,
    /// What is blocked for now.
    pub interruptibility: Interruptibility,
    /// What the processor does.
    pub activity: Activity,
    /// Where system calls go.
    pub system_call: SystemCall,
    /// IA32_KERNEL_GS_BASE.
    pub kernel_gs_base: u64,
    /// IA32_TSC_AUX.
    pub tsc_aux: u64,
    /// The MSRs that have no field here.
    pub msrs: msr::Stored,
    /// The address that MONITOR armed; the machine clears it when that line is written or the wait ends.
    pub monitored: Option<LinearAddress>,
    /// What VMX makes of CR0 and CR4.
    pub view: ControlRegisterView,
    /// SMBASE: where the area of system-management mode is. The mode itself is blocking by SMI.
    pub smbase: u32,
    /// Whether the instruction that completed last is single-stepped by RFLAGS.TF as it left it; the machine clears it.
    pub stepping: debug::Stepping,
    /// What the processor offers.
    pub features: Features,
}

impl Default for System {
    /// A 64-bit program of Linux at privilege level 3.
    fn default() -> Self {
        let data = Hidden::user(0x2b, 0xc0f3);
        let code = Hidden::user(0x33, 0xa0fb);
        Self {
            segments: [Hidden::NULL, code, data, Hidden::NULL, Hidden::NULL, Hidden::NULL],
            ldtr: Segment::UNUSABLE,
            tr: Segment::UNUSABLE,
            gdtr: DescriptorTable::default(),
            idtr: DescriptorTable::default(),
            cpl: 3,
            cr0: Cr0::PE | Cr0::MP | Cr0::ET | Cr0::NE | Cr0::WP | Cr0::AM | Cr0::PG,
            cr2: 0,
            cr3: 0,
            cr4: Cr4::PAE | Cr4::OSFXSR | Cr4::OSXMMEXCPT | Cr4::FSGSBASE,
            efer: Efer::SCE | Efer::LME | Efer::LMA | Efer::NXE,
            xcr0: 3,
            pkru: 0,
            debug_addresses: [0; 4],
            dr6: debug::DR6_RESET,
            dr7: debug::DR7_RESET,
            interruptibility: Interruptibility::empty(),
            activity: Activity::Active,
            system_call: SystemCall::default(),
            kernel_gs_base: 0,
            tsc_aux: 0,
            msrs: msr::Stored::default(),
            monitored: None,
            view: ControlRegisterView::default(),
            smbase: smm::SMBASE_RESET,
            stepping: debug::Stepping::AsBefore,
            features: Features::default(),
        }
    }
}

impl System {
    /// The state after power-up or reset, beside the segments (SDM Vol. 3A, table 12-1).
    #[must_use]
    pub fn reset() -> Self {
        let hidden = |selector, rights| Hidden { selector, limit: 0xffff, rights };
        let data = hidden(0, AccessRights::from_bits_retain(0x93));
        let code = hidden(0xf000, AccessRights::from_bits_retain(0x9b));
        let system = |rights| Segment { selector: 0, base: 0, limit: 0xffff, rights };
        Self {
            segments: [data, code, data, data, data, data],
            ldtr: system(AccessRights::from_bits_retain(0x82)),
            tr: system(AccessRights::from_bits_retain(0x8b)),
            gdtr: DescriptorTable { base: 0, limit: 0xffff },
            idtr: DescriptorTable { base: 0, limit: 0xffff },
            cpl: 0,
            cr0: Cr0::CD | Cr0::NW | Cr0::ET,
            cr4: Cr4::empty(),
            efer: Efer::empty(),
            xcr0: 1,
            ..Self::default()
        }
    }
}
