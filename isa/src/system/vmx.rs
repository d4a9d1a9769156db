//! VMX instructions as data, and what VMX makes of the control registers (SDM Vol. 3C, chapters 28 and 33).
//!
//! What an instruction of this chapter does is the machine's business: a handler asks [`Cpu::vmx_begin`] whether it may
//! go on, reads its operands, and hands over a [`VmxRequest`].
//!
//! [`Cpu::vmx_begin`]: crate::cpu::Cpu::vmx_begin

use super::System;

/// An instruction of VMX (SDM 33.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs, reason = "the names are the manual's")]
pub enum VmxInstruction {
    Invept,
    Invvpid,
    Vmcall,
    Vmclear,
    Vmfunc,
    Vmlaunch,
    Vmptrld,
    Vmptrst,
    Vmread,
    Vmresume,
    Vmwrite,
    Vmxoff,
    Vmxon,
}

/// An instruction whose operands have been read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VmxRequest {
    /// INVEPT.
    Invept {
        /// The register operand.
        kind: u64,
        /// The descriptor, low half first.
        descriptor: [u64; 2],
    },
    /// INVVPID.
    Invvpid {
        /// The register operand.
        kind: u64,
        /// The descriptor, low half first.
        descriptor: [u64; 2],
    },
    /// VMCALL in VMX root operation.
    Call,
    /// VMCLEAR of the VMCS at this address.
    Clear(u64),
    /// VMFUNC of the function in EAX.
    Function(u32),
    /// VMLAUNCH.
    Launch,
    /// VMPTRLD of the VMCS at this address.
    Load(u64),
    /// VMPTRST.
    Store,
    /// VMREAD of the field with this encoding.
    Read(u64),
    /// VMRESUME.
    Resume,
    /// VMWRITE.
    Write {
        /// The encoding of the field.
        encoding: u64,
        /// The value.
        value: u64,
    },
    /// VMXOFF.
    Off,
    /// VMXON with the region at this address.
    On(u64),
}

/// How an instruction of VMX has ended (SDM 33.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum VmxOutcome {
    /// VMsucceed.
    Succeed,
    /// VMfailInvalid.
    FailInvalid,
    /// VMfailValid; the error number is in the VM-instruction error field.
    FailValid,
    /// VMsucceed of VMPTRST or VMREAD: what the destination is to receive.
    Value(u64),
}

/// What VMX makes of CR0 and CR4 for the software that runs (SDM 27.6.6, 28.3, A.7, A.8).
///
/// Outside VMX operation everything is 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct ControlRegisterView {
    /// The CR0 guest/host mask: bits that the host owns.
    pub cr0_mask: u64,
    /// What these bits of CR0 read as.
    pub cr0_shadow: u64,
    /// The CR4 guest/host mask.
    pub cr4_mask: u64,
    /// What these bits of CR4 read as.
    pub cr4_shadow: u64,
    /// Bits of CR0 that must be 1.
    pub cr0_ones: u64,
    /// Bits of CR4 that must be 1.
    pub cr4_ones: u64,
}

/// The bits of `shadow` that `mask` selects, the others of `register`.
const fn mixed(register: u64, mask: u64, other: u64) -> u64 {
    register & !mask | other & mask
}

impl System {
    /// CR0 as MOV from CR0 and SMSW give it.
    #[inline]
    #[must_use]
    pub const fn visible_cr0(&self) -> u64 {
        mixed(self.cr0.bits(), self.view.cr0_mask, self.view.cr0_shadow)
    }

    /// CR4 as MOV from CR4 gives it.
    #[inline]
    #[must_use]
    pub const fn visible_cr4(&self) -> u64 {
        mixed(self.cr4.bits(), self.view.cr4_mask, self.view.cr4_shadow)
    }

    /// What a write of `value` that does not exit makes of CR0: bits that the host owns stay.
    #[must_use]
    pub const fn written_cr0(&self, value: u64) -> u64 {
        mixed(value, self.view.cr0_mask, self.cr0.bits())
    }

    /// What a write of `value` that does not exit makes of CR4: bits that the host owns stay.
    #[must_use]
    pub const fn written_cr4(&self, value: u64) -> u64 {
        mixed(value, self.view.cr4_mask, self.cr4.bits())
    }
}
