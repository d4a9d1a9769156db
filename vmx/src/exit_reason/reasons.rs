//! The basic exit reasons (SDM appendix C).

use serde::{Deserialize, Serialize};

macro_rules! basic_exit_reasons {
    ($($variant:ident = $number:literal, $name:literal;)*) => {
        /// Bits 15:0 of the exit-reason field: why a VM exit happened, or why a VM entry failed (appendix C).
        ///
        /// The numbers 35, 38, 42, 71, 82 and 83 name nothing.
        #[repr(u16)]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum BasicExitReason {
            $(
                #[doc = concat!($number, ": ", $name, ".")]
                $variant = $number,
            )*
        }

        impl BasicExitReason {
            /// All of them, by number.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The reason with this number.
            #[must_use]
            pub const fn from_number(number: u16) -> Option<Self> {
                match number {
                    $($number => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// The manual's name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

impl BasicExitReason {
    /// The number that appendix C gives it.
    #[must_use]
    pub const fn number(self) -> u16 {
        self as u16
    }
}

basic_exit_reasons! {
    ExceptionOrNmi = 0, "exception or NMI";
    ExternalInterrupt = 1, "external interrupt";
    TripleFault = 2, "triple fault";
    InitSignal = 3, "INIT signal";
    StartUpIpi = 4, "start-up IPI (SIPI)";
    IoSmi = 5, "I/O SMI";
    OtherSmi = 6, "other SMI";
    InterruptWindow = 7, "interrupt window";
    NmiWindow = 8, "NMI window";
    TaskSwitch = 9, "task switch";
    Cpuid = 10, "CPUID";
    Getsec = 11, "GETSEC";
    Hlt = 12, "HLT";
    Invd = 13, "INVD";
    Invlpg = 14, "INVLPG";
    Rdpmc = 15, "RDPMC";
    Rdtsc = 16, "RDTSC";
    Rsm = 17, "RSM";
    Vmcall = 18, "VMCALL";
    Vmclear = 19, "VMCLEAR";
    Vmlaunch = 20, "VMLAUNCH";
    Vmptrld = 21, "VMPTRLD";
    Vmptrst = 22, "VMPTRST";
    Vmread = 23, "VMREAD";
    Vmresume = 24, "VMRESUME";
    Vmwrite = 25, "VMWRITE";
    Vmxoff = 26, "VMXOFF";
    Vmxon = 27, "VMXON";
    ControlRegisterAccess = 28, "control-register access";
    MovDr = 29, "MOV DR";
    IoInstruction = 30, "I/O instruction";
    Rdmsr = 31, "RDMSR";
    WrmsrOrWrmsrns = 32, "WRMSR or WRMSRNS";
    VmEntryFailureInvalidGuestState = 33, "VM-entry failure: invalid guest state";
    VmEntryFailureMsrLoading = 34, "VM-entry failure: MSR loading";
    Mwait = 36, "MWAIT";
    MonitorTrapFlag = 37, "monitor trap flag";
    Monitor = 39, "MONITOR";
    Pause = 40, "PAUSE";
    VmEntryFailureMachineCheck = 41, "VM-entry failure: machine check";
    TprBelowThreshold = 43, "TPR below threshold";
    ApicAccess = 44, "APIC access";
    VirtualizedEoi = 45, "virtualized EOI";
    AccessToGdtrOrIdtr = 46, "access to GDTR or IDTR";
    AccessToLdtrOrTr = 47, "access to LDTR or TR";
    EptViolation = 48, "EPT violation";
    EptMisconfiguration = 49, "EPT misconfiguration";
    Invept = 50, "INVEPT";
    Rdtscp = 51, "RDTSCP";
    VmxPreemptionTimerExpired = 52, "VMX-preemption timer expired";
    Invvpid = 53, "INVVPID";
    WbinvdOrWbnoinvd = 54, "WBINVD or WBNOINVD";
    Xsetbv = 55, "XSETBV";
    ApicWrite = 56, "APIC write";
    Rdrand = 57, "RDRAND";
    Invpcid = 58, "INVPCID";
    Vmfunc = 59, "VMFUNC";
    Encls = 60, "ENCLS";
    Rdseed = 61, "RDSEED";
    PageModificationLogFull = 62, "page-modification log full";
    Xsaves = 63, "XSAVES";
    Xrstors = 64, "XRSTORS";
    Pconfig = 65, "PCONFIG";
    SppRelatedEvent = 66, "SPP-related event";
    Umwait = 67, "UMWAIT";
    Tpause = 68, "TPAUSE";
    Loadiwkey = 69, "LOADIWKEY";
    Enclv = 70, "ENCLV";
    EnqcmdPasidTranslationFailure = 72, "ENQCMD PASID translation failure";
    EnqcmdsPasidTranslationFailure = 73, "ENQCMDS PASID translation failure";
    BusLock = 74, "bus lock";
    InstructionTimeout = 75, "instruction timeout";
    Seamcall = 76, "SEAMCALL";
    Tdcall = 77, "TDCALL";
    Rdmsrlist = 78, "RDMSRLIST";
    Wrmsrlist = 79, "WRMSRLIST";
    Urdmsr = 80, "URDMSR";
    Uwrmsr = 81, "UWRMSR";
    RdmsrImmediate = 84, "RDMSR (immediate)";
    WrmsrnsImmediate = 85, "WRMSRNS (immediate)";
}
