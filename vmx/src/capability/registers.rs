//! The capability MSRs that report more than settings of controls, field by field (SDM appendix A.1, A.6, A.10, A.11).

use bitfield_struct::bitfield;

/// IA32_VMX_BASIC (A.1).
///
/// ```
/// use vmx::capability::registers::{Basic, MemoryType};
/// let basic = Basic::from_bits(0x00da_0400_0000_0004);
/// assert_eq!((basic.revision_identifier(), basic.region_size()), (4, 1024));
/// assert_eq!(basic.structure_memory_type(), Some(MemoryType::WriteBack));
/// ```
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Basic {
    /// The VMCS revision identifier.
    #[bits(31)]
    pub revision_identifier: u32,
    #[bits(1)]
    __: u8,
    /// Bytes that software allocates for the VMXON region and for a VMCS region: 1 to 4096.
    #[bits(13)]
    pub region_size: u16,
    #[bits(3)]
    __: u8,
    /// Addresses of VMX structures are limited to 32 bits; always 0 with Intel 64 architecture.
    pub addresses_limited_to_32_bits: bool,
    /// The dual-monitor treatment of SMIs and SMM is supported.
    pub dual_monitor_treatment: bool,
    /// The number of the memory type for VMX structures; see [`Basic::structure_memory_type`].
    #[bits(4)]
    pub memory_type: u8,
    /// VM exits due to INS and OUTS write the VM-exit instruction information.
    pub ins_outs_information: bool,
    /// Default1 controls may be 0, and the TRUE capability MSRs exist.
    pub true_controls: bool,
    /// VM entry delivers a hardware exception with or without an error code whatever its vector.
    pub error_code_for_any_vector: bool,
    #[bits(1)]
    __: u8,
    /// VM entry accepts the nested-exception bit of injected-event identification.
    pub nested_exception: bool,
    #[bits(5)]
    __: u8,
}

/// A memory type for the VMCS and the structures that it references (A.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MemoryType {
    /// UC, number 0.
    Uncacheable,
    /// WB, number 6.
    WriteBack,
}

impl Basic {
    /// The memory type for VMX structures; nothing for the numbers that A.1 reserves.
    #[must_use]
    pub const fn structure_memory_type(self) -> Option<MemoryType> {
        match self.memory_type() {
            0 => Some(MemoryType::Uncacheable),
            6 => Some(MemoryType::WriteBack),
            _ => None,
        }
    }
}

/// IA32_VMX_MISC (A.6).
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Misc {
    /// The VMX-preemption timer counts down by 1 when this bit of the TSC changes.
    #[bits(5)]
    pub preemption_timer_tsc_bit: u8,
    /// VM exits store IA32_EFER.LMA into the "IA-32e mode guest" VM-entry control.
    pub stores_lma: bool,
    /// The activity state HLT is supported.
    pub activity_hlt: bool,
    /// The activity state shutdown is supported.
    pub activity_shutdown: bool,
    /// The activity state wait-for-SIPI is supported.
    pub activity_wait_for_sipi: bool,
    #[bits(5)]
    __: u8,
    /// Intel PT can be used in VMX operation.
    pub intel_pt_in_vmx: bool,
    /// RDMSR can read IA32_SMBASE in SMM.
    pub smbase_readable: bool,
    /// How many CR3-target values there are: 0 to 256.
    #[bits(9)]
    pub cr3_target_values: u16,
    /// See [`Misc::recommended_msr_list_entries`].
    #[bits(3)]
    pub msr_list_limit: u8,
    /// Bit 2 of IA32_SMM_MONITOR_CTL can be 1.
    pub smi_unblocking_control: bool,
    /// VMWRITE can write VM-exit information fields.
    pub exit_information_writable: bool,
    /// Software events can be injected with an instruction length of 0.
    pub zero_instruction_length: bool,
    #[bits(1)]
    __: u8,
    /// The MSEG revision identifier.
    pub mseg_revision_identifier: u32,
}

impl Misc {
    /// The number of entries that the manual recommends not to exceed in an MSR-store or MSR-load area.
    #[must_use]
    pub const fn recommended_msr_list_entries(self) -> u32 {
        512 * (self.msr_list_limit() as u32 + 1)
    }
}

/// IA32_VMX_EPT_VPID_CAP (A.10).
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct EptVpidCap {
    /// EPT entries may allow execution without reading.
    pub execute_only: bool,
    #[bits(5)]
    __: u8,
    /// EPT page walks of length 4.
    pub page_walk_length_4: bool,
    /// EPT page walks of length 5.
    pub page_walk_length_5: bool,
    /// EPT paging structures may be uncacheable.
    pub uncacheable: bool,
    #[bits(5)]
    __: u8,
    /// EPT paging structures may be write-back.
    pub write_back: bool,
    #[bits(1)]
    __: u8,
    /// An EPT PDE may map a 2-MByte page.
    pub pages_2m: bool,
    /// An EPT PDPTE may map a 1-GByte page.
    pub pages_1g: bool,
    #[bits(2)]
    __: u8,
    /// INVEPT is supported.
    pub invept: bool,
    /// Accessed and dirty flags for EPT are supported.
    pub accessed_and_dirty: bool,
    /// EPT violations report advanced information (bits 11:9 of the exit qualification).
    pub advanced_exit_information: bool,
    /// Supervisor shadow-stack control is supported (bit 7 of the EPT pointer).
    pub supervisor_shadow_stack: bool,
    #[bits(1)]
    __: u8,
    /// INVEPT type 1, single-context.
    pub invept_single_context: bool,
    /// INVEPT type 2, all-context.
    pub invept_all_context: bool,
    #[bits(5)]
    __: u8,
    /// INVVPID is supported.
    pub invvpid: bool,
    #[bits(7)]
    __: u8,
    /// INVVPID type 0, individual-address.
    pub invvpid_individual_address: bool,
    /// INVVPID type 1, single-context.
    pub invvpid_single_context: bool,
    /// INVVPID type 2, all-context.
    pub invvpid_all_context: bool,
    /// INVVPID type 3, single-context-retaining-globals.
    pub invvpid_single_context_retaining_globals: bool,
    #[bits(4)]
    __: u8,
    /// The maximum HLAT prefix size.
    #[bits(6)]
    pub maximum_hlat_prefix_size: u8,
    #[bits(10)]
    __: u16,
}

impl EptVpidCap {
    /// Whether EPTP bits 2:0 may have this value: a memory type for EPT paging structures.
    #[must_use]
    pub const fn permits_memory_type(self, number: u64) -> bool {
        match number {
            0 => self.uncacheable(),
            6 => self.write_back(),
            _ => false,
        }
    }

    /// Whether EPTP bits 5:3 may have this value: one less than a page-walk length.
    #[must_use]
    pub const fn permits_walk(self, number: u64) -> bool {
        match number {
            3 => self.page_walk_length_4(),
            4 => self.page_walk_length_5(),
            _ => false,
        }
    }
}

/// The bits of IA32_FEATURE_CONTROL that concern VMX (26.7).
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct FeatureControl {
    /// WRMSR faults, and VMXON does not, until the next reset.
    pub lock: bool,
    /// VMXON is enabled in SMX operation.
    pub vmxon_in_smx: bool,
    /// VMXON is enabled outside SMX operation.
    pub vmxon_outside_smx: bool,
    #[bits(61)]
    __: u64,
}

/// IA32_VMX_VMFUNC (A.11).
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Vmfunc {
    /// VM function 0, EPTP switching, can be enabled.
    pub eptp_switching: bool,
    #[bits(63)]
    __: u64,
}
