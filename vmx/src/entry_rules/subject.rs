//! What the rules of VM entry look at.

use crate::capabilities::Capabilities;
use crate::vmcs::Vmcs;
use isa::address::HostPhysicalAddress;
use isa::control::{Cr0, Efer};
use isa::system::Features;

/// Reads of memory that VM entry makes to check something.
///
/// The addresses come from the VMCS and may be anything; what is outside of memory reads as all ones.
pub trait Memory {
    /// The 4 bytes at an address, little-endian.
    fn doubleword(&self, address: HostPhysicalAddress) -> u32;
    /// The 8 bytes at an address, little-endian.
    fn quadword(&self, address: HostPhysicalAddress) -> u64;
}

/// Memory where every bit is 1: for a VMCS whose surroundings are not known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NoMemory;

impl Memory for NoMemory {
    fn doubleword(&self, _: HostPhysicalAddress) -> u32 {
        u32::MAX
    }
    fn quadword(&self, _: HostPhysicalAddress) -> u64 {
        u64::MAX
    }
}

/// Which instruction begins the VM entry.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum EntryInstruction {
    /// Needs a VMCS whose launch state is clear.
    Vmlaunch,
    /// Needs a VMCS whose launch state is launched.
    Vmresume,
}

/// Whether and how the processor is in VMX operation (SDM 26.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum VmxOperation {
    /// Outside VMX operation.
    Outside,
    /// VMX root operation.
    Root,
    /// VMX non-root operation.
    NonRoot,
}

/// Whether the processor is in system-management mode (SDM chapter 34).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SystemManagementMode {
    /// It is not.
    Outside,
    /// It is.
    Inside,
}

/// Whether MOV SS or POP SS blocks events (SDM 7.8.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MovSsBlocking {
    /// No.
    Open,
    /// The previous instruction blocks events until the next one has ended.
    Blocked,
}

/// What a processor model fixes for its life, as far as VM entry asks and no capability MSR reports it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// MAXPHYADDR, less the bits of TME key identifiers where those are in use.
    pub physical_address_width: u8,
    /// The widest linear address: 32 on a processor without Intel 64 architecture, 48 or 57.
    pub linear_address_width: u8,
    /// Bits of CR3 above MAXPHYADDR that are not reserved: those of linear-address masking.
    pub cr3: u64,
    /// Bits of IA32_EFER that are not reserved.
    pub efer: u64,
    /// Bits of IA32_DEBUGCTL that are not reserved.
    pub debugctl: u64,
    /// Bits of IA32_PERF_GLOBAL_CTRL that are not reserved.
    pub perf_global_ctrl: u64,
    /// Bits of IA32_SPEC_CTRL that are not reserved.
    pub spec_ctrl: u64,
    /// Bits 11 (bus-lock detection) and 16 (RTM) of pending debug exceptions that are not reserved.
    pub pending_debug: u64,
    /// Bit 4 (enclave interruption) of interruptibility state if the processor enumerates SGX.
    pub interruptibility: u64,
}

impl Limits {
    /// The limits of the processor with these features.
    #[must_use]
    pub const fn of(features: &Features) -> Self {
        Self {
            physical_address_width: features.physical_address_width,
            linear_address_width: features.linear_address_width,
            cr3: 0,
            efer: features.efer.bits() | Efer::LMA.bits(),
            debugctl: 3,
            perf_global_ctrl: 0,
            spec_ctrl: 7,
            pending_debug: 0,
            interruptibility: 0,
        }
    }
}

/// CR3.LAM_U57 and CR3.LAM_U48.
const LINEAR_ADDRESS_MASKING: u64 = 3 << 61;

impl Limits {
    /// Limits that reserve no bit that only the model of the processor decides: for a VMCS of another processor.
    #[must_use]
    pub const fn unknown(physical_address_width: u8, linear_address_width: u8) -> Self {
        Self {
            physical_address_width,
            linear_address_width,
            cr3: LINEAR_ADDRESS_MASKING,
            efer: Efer::all().bits(),
            debugctl: u64::MAX,
            perf_global_ctrl: u64::MAX,
            spec_ctrl: u64::MAX,
            pending_debug: u64::MAX,
            interruptibility: u64::MAX,
        }
    }
}

/// The state of the processor that executes VMLAUNCH or VMRESUME.
///
/// ```
/// use vmx::entry_rules::{Limits, ProcessorState};
/// let limits = Limits::of(&isa::system::Features::default());
/// let vmm = ProcessorState::in_64_bit_mode(limits);
/// assert_eq!(vmm.cpl, 0);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProcessorState {
    /// What the model fixes.
    pub limits: Limits,
    /// Whether and how it is in VMX operation.
    pub operation: VmxOperation,
    /// Whether it is in system-management mode.
    pub smm: SystemManagementMode,
    /// CR0.
    pub cr0: Cr0,
    /// IA32_EFER.
    pub efer: Efer,
    /// RFLAGS.VM.
    pub virtual_8086: bool,
    /// CS.L.
    pub long_code_segment: bool,
    /// The current privilege level.
    pub cpl: u8,
    /// Blocking by MOV SS.
    pub mov_ss: MovSsBlocking,
    /// The current-VMCS pointer, if it is valid.
    pub current_vmcs: Option<HostPhysicalAddress>,
}

impl ProcessorState {
    /// A VMM at privilege level 0 in 64-bit mode, in VMX root operation, with the VMCS at `1000H` current.
    #[must_use]
    pub const fn in_64_bit_mode(limits: Limits) -> Self {
        Self {
            limits,
            operation: VmxOperation::Root,
            smm: SystemManagementMode::Outside,
            cr0: Cr0::PE.union(Cr0::PG).union(Cr0::NE).union(Cr0::ET),
            efer: Efer::LME.union(Efer::LMA),
            virtual_8086: false,
            long_code_segment: true,
            cpl: 0,
            mov_ss: MovSsBlocking::Open,
            current_vmcs: Some(HostPhysicalAddress(0x1000)),
        }
    }
}

/// A VM entry to be judged.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// The instruction that begins it.
    pub instruction: EntryInstruction,
    /// The current VMCS; any one if [`ProcessorState::current_vmcs`] is nothing.
    pub vmcs: &'a Vmcs,
    /// What the processor offers.
    pub capabilities: &'a Capabilities,
    /// The processor before the entry.
    pub processor: &'a ProcessorState,
    /// Host-physical memory.
    pub memory: &'a dyn Memory,
}
