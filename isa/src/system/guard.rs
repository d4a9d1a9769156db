//! Which system instructions may execute where: a table of conditions and the faults they raise, in the order in which
//! the processor looks at them (SDM Vol. 2, the exceptions of each instruction; Vol. 3A, 6.9).
//!
//! Faults that depend on operands are with the handlers.

use super::{Behaviours, Offers};
use crate::control::{Cr0, Cr4, Efer};
use crate::cpu::{Stop, Stopped};
use crate::event::Vector;
use crate::mode::CodeSize;
use crate::state::State;

/// What an instruction is refused for. In virtual-8086 mode CPL is 3, in real-address mode it is 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Condition {
    /// CPL is not 0.
    Privilege,
    /// The processor is in virtual-8086 mode.
    Virtual8086,
    /// The processor is in real-address mode.
    RealAddress,
    /// The processor is not in 64-bit mode.
    Outside64BitMode,
    /// The processor is in compatibility mode.
    Compatibility,
    /// The processor is not in 64-bit mode, and does not execute SYSCALL elsewhere.
    NoSyscallHere,
    /// The processor is in IA-32e mode, and does not execute SYSENTER there.
    NoSysenterHere,
    /// One of these bits of CR4 is 0.
    Cr4Lacks(Cr4),
    /// This bit of CR4 is 1 and CPL is not 0.
    Cr4Restricts(Cr4),
    /// This bit of CR4 is 0 and CPL is not 0.
    Cr4DoesNotPermit(Cr4),
    /// One of these bits of IA32_EFER is 0.
    EferLacks(Efer),
    /// Bits 15:2 of IA32_SYSENTER_CS are 0.
    NoSysenterSegment,
    /// CR0.TS is 1.
    TaskSwitched,
    /// The processor does not offer it.
    Lacks(Offers),
    /// The processor does not have this bit of CR4.
    HasNot(Cr4),
}

impl Condition {
    /// Whether it holds.
    #[must_use]
    pub fn holds(self, state: &State) -> bool {
        let system = &state.system;
        match self {
            Self::Privilege => system.cpl != 0,
            Self::Virtual8086 => state.is_virtual_8086(),
            Self::RealAddress => state.is_real_address(),
            Self::Outside64BitMode => state.code_size() != CodeSize::Bits64,
            Self::Compatibility => state.is_ia32e() && state.code_size() != CodeSize::Bits64,
            Self::NoSyscallHere => {
                state.code_size() != CodeSize::Bits64
                    && !system.features.behaviours.contains(Behaviours::SYSCALL_EVERYWHERE)
            }
            Self::NoSysenterHere => {
                state.is_ia32e() && system.features.behaviours.contains(Behaviours::NO_SYSENTER_IN_IA32E)
            }
            Self::Cr4Lacks(bits) => !system.cr4.contains(bits),
            Self::Cr4Restricts(bit) => system.cr4.contains(bit) && system.cpl != 0,
            Self::Cr4DoesNotPermit(bit) => !system.cr4.contains(bit) && system.cpl != 0,
            Self::EferLacks(bits) => !system.efer.contains(bits),
            Self::NoSysenterSegment => system.system_call.sysenter_cs & 0xfffc == 0,
            Self::TaskSwitched => system.cr0.contains(Cr0::TS),
            Self::Lacks(offers) => !system.features.offers.contains(offers),
            Self::HasNot(bit) => !system.features.cr4.contains(bit),
        }
    }
}

/// How an instruction is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// #UD.
    InvalidOpcode,
    /// #GP(0).
    GeneralProtection,
    /// #NM.
    DeviceNotAvailable,
}

impl Refused {
    /// As a stop.
    #[must_use]
    pub const fn stop(self) -> Stop {
        match self {
            Self::InvalidOpcode => Stop::INVALID_OPCODE,
            Self::GeneralProtection => Stop::GENERAL_PROTECTION,
            Self::DeviceNotAvailable => Stop::exception(Vector::DeviceNotAvailable),
        }
    }
}

/// A condition and its fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rule(pub Condition, pub Refused);

use Condition::{
    Compatibility, Cr4DoesNotPermit, Cr4Lacks, Cr4Restricts, EferLacks, HasNot, Lacks, NoSyscallHere,
    NoSysenterHere, NoSysenterSegment, Outside64BitMode, Privilege, RealAddress, TaskSwitched, Virtual8086,
};
use Refused::{DeviceNotAvailable as NM, GeneralProtection as GP, InvalidOpcode as UD};

macro_rules! guarded {
    ($($(#[$meta:meta])* $name:ident: $($when:expr => $fault:ident),+;)*) => {
        /// An instruction that does not execute everywhere.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[allow(missing_docs, reason = "the names are the manual's")]
        pub enum Guarded {
            $($(#[$meta])* $name,)*
        }

        impl Guarded {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// What it is refused for, in order.
            #[must_use]
            pub const fn rules(self) -> &'static [Rule] {
                match self {
                    $(Self::$name => &[$(Rule($when, $fault)),+],)*
                }
            }
        }
    };
}

guarded! {
    Clac: HasNot(Cr4::SMAP) => UD, Privilege => UD;
    Clts: Privilege => GP;
    Hlt: Privilege => GP;
    Invd: Privilege => GP;
    Invlpg: Privilege => GP;
    Invpcid: Lacks(Offers::INVPCID) => UD, Privilege => GP;
    Lgdt: Privilege => GP;
    Lidt: Privilege => GP;
    Lmsw: Privilege => GP;
    Monitor: Lacks(Offers::MONITOR) => UD, Privilege => UD;
    MovControl: Privilege => GP;
    MovDebug: Privilege => GP;
    Mwait: Lacks(Offers::MONITOR) => UD, Privilege => UD;
    Rdfsbase: Outside64BitMode => UD, Cr4Lacks(Cr4::FSGSBASE) => UD;
    Rdmsr: Privilege => GP;
    Rdpid: Lacks(Offers::RDPID) => UD;
    Rdpkru: Cr4Lacks(Cr4::PKE) => UD;
    Rdpmc: Cr4DoesNotPermit(Cr4::PCE) => GP;
    Rdtsc: Cr4Restricts(Cr4::TSD) => GP;
    Rdtscp: Lacks(Offers::RDTSCP) => UD, Cr4Restricts(Cr4::TSD) => GP;
    Sgdt: Cr4Restricts(Cr4::UMIP) => GP;
    Sidt: Cr4Restricts(Cr4::UMIP) => GP;
    Sldt: RealAddress => UD, Virtual8086 => UD, Cr4Restricts(Cr4::UMIP) => GP;
    Smsw: Cr4Restricts(Cr4::UMIP) => GP;
    Stac: HasNot(Cr4::SMAP) => UD, Privilege => UD;
    Str: RealAddress => UD, Virtual8086 => UD, Cr4Restricts(Cr4::UMIP) => GP;
    Swapgs: Outside64BitMode => UD, Privilege => GP;
    Syscall: NoSyscallHere => UD, EferLacks(Efer::SCE) => UD;
    Sysenter: Lacks(Offers::SYSENTER) => UD, NoSysenterHere => UD, RealAddress => GP, NoSysenterSegment => GP;
    Sysexit: Lacks(Offers::SYSENTER) => UD, NoSysenterHere => UD, RealAddress => GP, Privilege => GP,
        NoSysenterSegment => GP;
    Sysret: NoSyscallHere => UD, EferLacks(Efer::SCE) => UD, RealAddress => GP, Privilege => GP;
    /// All instructions of VMX but VMCALL and VMFUNC. CR4.VMXE is 1 in VMX operation; VMXON needs it as well.
    Vmx: Lacks(Offers::VMX) => UD, RealAddress => UD, Virtual8086 => UD, Compatibility => UD, Cr4Lacks(Cr4::VMXE) => UD;
    /// WBINVD and WBNOINVD.
    Wbinvd: Privilege => GP;
    Wrmsr: Privilege => GP;
    Xgetbv: Cr4Lacks(Cr4::OSXSAVE) => UD;
    /// XSAVE and XRSTOR.
    Xsave: Cr4Lacks(Cr4::OSXSAVE) => UD, TaskSwitched => NM;
    Xsavec: Lacks(Offers::XSAVEC) => UD, Cr4Lacks(Cr4::OSXSAVE) => UD, TaskSwitched => NM;
    Xsaveopt: Lacks(Offers::XSAVEOPT) => UD, Cr4Lacks(Cr4::OSXSAVE) => UD, TaskSwitched => NM;
    Xsetbv: Cr4Lacks(Cr4::OSXSAVE) => UD, Privilege => GP;
}

impl Guarded {
    /// The first condition that holds decides.
    ///
    /// # Errors
    ///
    /// Its fault.
    pub fn check(self, state: &State) -> Result<(), Stopped> {
        match self.rules().iter().find(|Rule(condition, _)| condition.holds(state)) {
            None => Ok(()),
            Some(Rule(_, refused)) => Err(refused.stop().into()),
        }
    }
}
