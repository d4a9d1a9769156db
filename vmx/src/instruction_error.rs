//! VM-instruction errors (SDM 33.4, table 33-1).

/// A number of table 33-1: why an instruction of VMX failed, as the VM-instruction error field tells.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs, reason = "each says what the manual's table says")]
pub enum InstructionError {
    VmcallInRootOperation = 1,
    VmclearInvalidAddress = 2,
    VmclearVmxonPointer = 3,
    VmlaunchNotClear = 4,
    VmresumeNotLaunched = 5,
    EntryInvalidControls = 7,
    EntryInvalidHostState = 8,
    VmptrldInvalidAddress = 9,
    VmptrldVmxonPointer = 10,
    VmptrldWrongRevision = 11,
    UnsupportedComponent = 12,
    ReadOnlyComponent = 13,
    VmxonInRootOperation = 15,
    EntryBlockedByMovSs = 26,
    InvalidOperandOfInveptOrInvvpid = 28,
}
