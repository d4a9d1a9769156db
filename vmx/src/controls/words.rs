//! A type for each word of controls; a test compares them with the table, both ways.

use super::{ControlWord, Controls};
use bitflags::bitflags;
use serde::{Deserialize, Serialize};

macro_rules! control_word {
    ($(#[$meta:meta])* $name:ident: $bits:ty = $word:ident { $($control:ident = $bit:literal,)* }) => {
        bitflags! {
            $(#[$meta])*
            #[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug, Serialize, Deserialize)]
            pub struct $name: $bits {
                $(
                    #[doc = concat!("Bit ", $bit, "; its row in [`CONTROLS`](super::CONTROLS) says what it does.")]
                    const $control = 1 << $bit;
                )*
            }
        }

        impl Controls for $name {
            const WORD: ControlWord = ControlWord::$word;
        }
    };
}

control_word! {
    /// The pin-based VM-execution controls (SDM 27.6.1).
    PinBasedControls: u32 = PinBased {
        EXTERNAL_INTERRUPT_EXITING = 0,
        DEFAULT1_BIT_1 = 1,
        DEFAULT1_BIT_2 = 2,
        NMI_EXITING = 3,
        DEFAULT1_BIT_4 = 4,
        VIRTUAL_NMIS = 5,
        ACTIVATE_VMX_PREEMPTION_TIMER = 6,
        PROCESS_POSTED_INTERRUPTS = 7,
    }
}

control_word! {
    /// The primary processor-based VM-execution controls (SDM 27.6.2).
    PrimaryProcessorControls: u32 = PrimaryProcessor {
        DEFAULT1_BIT_1 = 1,
        INTERRUPT_WINDOW_EXITING = 2,
        USE_TSC_OFFSETTING = 3,
        DEFAULT1_BIT_4 = 4,
        DEFAULT1_BIT_5 = 5,
        DEFAULT1_BIT_6 = 6,
        HLT_EXITING = 7,
        DEFAULT1_BIT_8 = 8,
        INVLPG_EXITING = 9,
        MWAIT_EXITING = 10,
        RDPMC_EXITING = 11,
        RDTSC_EXITING = 12,
        DEFAULT1_BIT_13 = 13,
        DEFAULT1_BIT_14 = 14,
        CR3_LOAD_EXITING = 15,
        CR3_STORE_EXITING = 16,
        ACTIVATE_TERTIARY_CONTROLS = 17,
        CR8_LOAD_EXITING = 19,
        CR8_STORE_EXITING = 20,
        USE_TPR_SHADOW = 21,
        NMI_WINDOW_EXITING = 22,
        MOV_DR_EXITING = 23,
        UNCONDITIONAL_I_O_EXITING = 24,
        USE_I_O_BITMAPS = 25,
        DEFAULT1_BIT_26 = 26,
        MONITOR_TRAP_FLAG = 27,
        USE_MSR_BITMAPS = 28,
        MONITOR_EXITING = 29,
        PAUSE_EXITING = 30,
        ACTIVATE_SECONDARY_CONTROLS = 31,
    }
}

control_word! {
    /// The secondary processor-based VM-execution controls (SDM 27.6.2).
    SecondaryProcessorControls: u32 = SecondaryProcessor {
        VIRTUALIZE_APIC_ACCESSES = 0,
        ENABLE_EPT = 1,
        DESCRIPTOR_TABLE_EXITING = 2,
        ENABLE_RDTSCP = 3,
        VIRTUALIZE_X2APIC_MODE = 4,
        ENABLE_VPID = 5,
        WBINVD_EXITING = 6,
        UNRESTRICTED_GUEST = 7,
        APIC_REGISTER_VIRTUALIZATION = 8,
        VIRTUAL_INTERRUPT_DELIVERY = 9,
        PAUSE_LOOP_EXITING = 10,
        RDRAND_EXITING = 11,
        ENABLE_INVPCID = 12,
        ENABLE_VM_FUNCTIONS = 13,
        VMCS_SHADOWING = 14,
        ENABLE_ENCLS_EXITING = 15,
        RDSEED_EXITING = 16,
        ENABLE_PML = 17,
        EPT_VIOLATION_VE = 18,
        CONCEAL_VMX_FROM_PT = 19,
        ENABLE_XSAVES_XRSTORS = 20,
        PASID_TRANSLATION = 21,
        MODE_BASED_EXECUTE_CONTROL_FOR_EPT = 22,
        SUB_PAGE_WRITE_PERMISSIONS_FOR_EPT = 23,
        INTEL_PT_USES_GUEST_PHYSICAL_ADDRESSES = 24,
        USE_TSC_SCALING = 25,
        ENABLE_USER_WAIT_AND_PAUSE = 26,
        ENABLE_PCONFIG = 27,
        ENABLE_ENCLV_EXITING = 28,
        EPC_VIRTUALIZATION_EXTENSIONS = 29,
        VMM_BUS_LOCK_DETECTION = 30,
        INSTRUCTION_TIMEOUT = 31,
    }
}

control_word! {
    /// The tertiary processor-based VM-execution controls (SDM 27.6.2).
    TertiaryProcessorControls: u64 = TertiaryProcessor {
        LOADIWKEY_EXITING = 0,
        ENABLE_HLAT = 1,
        EPT_PAGING_WRITE_CONTROL = 2,
        GUEST_PAGING_VERIFICATION = 3,
        IPI_VIRTUALIZATION = 4,
        SEAM_GUEST_PHYSICAL_ADDRESS_WIDTH = 5,
        ENABLE_MSR_LIST_INSTRUCTIONS = 6,
        VIRTUALIZE_IA32_SPEC_CTRL = 7,
        APIC_TIMER_VIRTUALIZATION = 8,
        ENABLE_PBNDKB = 9,
        PEBS_USES_GUEST_PHYSICAL_ADDRESSES = 12,
    }
}

control_word! {
    /// The primary VM-exit controls (SDM 27.7.1).
    PrimaryExitControls: u32 = PrimaryExit {
        DEFAULT1_BIT_0 = 0,
        DEFAULT1_BIT_1 = 1,
        SAVE_DEBUG_CONTROLS = 2,
        DEFAULT1_BIT_3 = 3,
        DEFAULT1_BIT_4 = 4,
        DEFAULT1_BIT_5 = 5,
        DEFAULT1_BIT_6 = 6,
        DEFAULT1_BIT_7 = 7,
        DEFAULT1_BIT_8 = 8,
        HOST_ADDRESS_SPACE_SIZE = 9,
        DEFAULT1_BIT_10 = 10,
        DEFAULT1_BIT_11 = 11,
        LOAD_IA32_PERF_GLOBAL_CTRL = 12,
        DEFAULT1_BIT_13 = 13,
        DEFAULT1_BIT_14 = 14,
        ACKNOWLEDGE_INTERRUPT_ON_EXIT = 15,
        DEFAULT1_BIT_16 = 16,
        DEFAULT1_BIT_17 = 17,
        SAVE_IA32_PAT = 18,
        LOAD_IA32_PAT = 19,
        SAVE_IA32_EFER = 20,
        LOAD_IA32_EFER = 21,
        SAVE_VMX_PREEMPTION_TIMER_VALUE = 22,
        CLEAR_IA32_BNDCFGS = 23,
        CONCEAL_VMX_FROM_PT = 24,
        CLEAR_IA32_RTIT_CTL = 25,
        CLEAR_IA32_LBR_CTL = 26,
        CLEAR_UINV = 27,
        LOAD_CET_STATE = 28,
        LOAD_PKRS = 29,
        SAVE_IA32_PERF_GLOBAL_CTRL = 30,
        ACTIVATE_SECONDARY_CONTROLS = 31,
    }
}

control_word! {
    /// The secondary VM-exit controls (SDM 27.7.1).
    SecondaryExitControls: u64 = SecondaryExit {
        SAVE_FRED = 0,
        LOAD_FRED = 1,
        LOAD_IA32_SPEC_CTRL = 2,
        PREMATURELY_BUSY_SHADOW_STACK = 3,
    }
}

control_word! {
    /// The VM-entry controls (SDM 27.8.1).
    EntryControls: u32 = Entry {
        DEFAULT1_BIT_0 = 0,
        DEFAULT1_BIT_1 = 1,
        LOAD_DEBUG_CONTROLS = 2,
        DEFAULT1_BIT_3 = 3,
        DEFAULT1_BIT_4 = 4,
        DEFAULT1_BIT_5 = 5,
        DEFAULT1_BIT_6 = 6,
        DEFAULT1_BIT_7 = 7,
        DEFAULT1_BIT_8 = 8,
        IA_32E_MODE_GUEST = 9,
        ENTRY_TO_SMM = 10,
        DEACTIVATE_DUAL_MONITOR_TREATMENT = 11,
        DEFAULT1_BIT_12 = 12,
        LOAD_IA32_PERF_GLOBAL_CTRL = 13,
        LOAD_IA32_PAT = 14,
        LOAD_IA32_EFER = 15,
        LOAD_IA32_BNDCFGS = 16,
        CONCEAL_VMX_FROM_PT = 17,
        LOAD_IA32_RTIT_CTL = 18,
        LOAD_UINV = 19,
        LOAD_CET_STATE = 20,
        LOAD_GUEST_IA32_LBR_CTL = 21,
        LOAD_PKRS = 22,
        LOAD_FRED = 23,
        LOAD_IA32_SPEC_CTRL = 24,
        ALLOW_SEAM_GUEST_TELEMETRY = 25,
    }
}
