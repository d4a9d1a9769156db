//! The architectural registers of a user-level program as plain data.
//!
//! [`Registers`] is what traces store, what verification compares and what a debugger shows. The engine keeps
//! the same state in a form that is faster to compute with and converts when asked.

use serde::{Deserialize, Serialize};

/// A general-purpose register, by its encoding.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the manual's")]
pub enum Gpr {
    Rax,
    Rcx,
    Rdx,
    Rbx,
    Rsp,
    Rbp,
    Rsi,
    Rdi,
    R8,
    R9,
    R10,
    R11,
    R12,
    R13,
    R14,
    R15,
}

impl Gpr {
    /// All sixteen, in encoding order.
    pub const ALL: [Self; 16] = [
        Self::Rax,
        Self::Rcx,
        Self::Rdx,
        Self::Rbx,
        Self::Rsp,
        Self::Rbp,
        Self::Rsi,
        Self::Rdi,
        Self::R8,
        Self::R9,
        Self::R10,
        Self::R11,
        Self::R12,
        Self::R13,
        Self::R14,
        Self::R15,
    ];

    /// The manual's name in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        [
            "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
            "r14", "r15",
        ][self as usize]
    }
}

/// The x87 state as FXSAVE stores it (SDM Vol. 1, table 10-2), without MXCSR.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct X87 {
    /// Control word.
    pub control: u16,
    /// Status word.
    pub status: u16,
    /// Abridged tag word: bit i is 1 when physical register i is not empty.
    pub tag: u8,
    /// Last opcode.
    pub opcode: u16,
    /// Last instruction pointer.
    pub instruction_pointer: u64,
    /// Last data pointer.
    pub data_pointer: u64,
    /// ST(0) to ST(7), or MM0 to MM7 in the low 64 bits; 80 bits are used.
    pub st: [u128; 8],
}

impl Default for X87 {
    /// The state after FNINIT.
    fn default() -> Self {
        Self {
            control: 0x37f,
            status: 0,
            tag: 0,
            opcode: 0,
            instruction_pointer: 0,
            data_pointer: 0,
            st: [0; 8],
        }
    }
}

/// The registers that a 64-bit user-level program can read and write, up to SSE4.2.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Registers {
    /// General-purpose registers in encoding order: RAX RCX RDX RBX RSP RBP RSI RDI R8 to R15.
    pub gpr: [u64; 16],
    /// Instruction pointer.
    pub rip: u64,
    /// All of RFLAGS.
    pub rflags: u64,
    /// Base of FS.
    pub fs_base: u64,
    /// Base of GS.
    pub gs_base: u64,
    /// SSE control and status.
    pub mxcsr: u32,
    /// XMM0 to XMM15.
    pub xmm: [u128; 16],
    /// x87 state.
    pub x87: X87,
}

impl Default for Registers {
    /// The state in which a Linux program starts, with everything else 0.
    fn default() -> Self {
        Self {
            gpr: [0; 16],
            rip: 0,
            rflags: 0x202,
            fs_base: 0,
            gs_base: 0,
            mxcsr: 0x1f80,
            xmm: [0; 16],
            x87: X87::default(),
        }
    }
}
