//! What an instruction is about to do that VMX non-root operation can intercept (SDM Vol. 3C, 28.1.3), as data.
//!
//! It is told before it has an effect, and after the faults that come before a VM exit: those of the instruction itself
//! (#UD), of the privilege level and of the I/O permission bitmap (28.1.1).

use crate::address::LinearAddress;
use crate::registers::Gpr;
use crate::segment::SegmentRegister;

/// An instruction with its operands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Intercepted {
    /// MOV to a control register.
    MovToCr {
        /// 0, 3, 4 or 8; CR2 is never intercepted.
        register: u8,
        /// The source.
        gpr: Gpr,
        /// Its value, in the operand size.
        value: u64,
    },
    /// MOV from CR3 or CR8.
    MovFromCr {
        /// 3 or 8.
        register: u8,
        /// The destination.
        gpr: Gpr,
    },
    /// CLTS.
    Clts,
    /// LMSW; its operand has been read.
    Lmsw {
        /// The operand.
        source: u16,
        /// Where it is in memory.
        memory: Option<LinearAddress>,
    },
    /// MOV to a debug register.
    MovToDr {
        /// 0 to 7.
        register: u8,
        /// The source.
        gpr: Gpr,
    },
    /// MOV from a debug register.
    MovFromDr {
        /// 0 to 7.
        register: u8,
        /// The destination.
        gpr: Gpr,
    },
    /// INVLPG.
    Invlpg(LinearAddress),
    /// INVPCID; neither its type nor its descriptor has been looked at.
    Invpcid {
        /// The register that holds the type.
        gpr: Gpr,
        /// Where the descriptor is.
        descriptor: LinearAddress,
    },
    /// IN, INS, OUT or OUTS; permitted.
    Io(Io),
    /// RDMSR of this index.
    Rdmsr(u32),
    /// WRMSR.
    Wrmsr {
        /// The index.
        index: u32,
        /// The value.
        value: u64,
    },
    /// HLT.
    Hlt,
    /// PAUSE.
    Pause,
    /// MONITOR.
    Monitor,
    /// MWAIT.
    Mwait,
    /// RDTSC.
    Rdtsc,
    /// RDTSCP.
    Rdtscp,
    /// RDPID.
    Rdpid,
    /// RDPMC.
    Rdpmc,
    /// INVD.
    Invd,
    /// WBINVD or WBNOINVD.
    Wbinvd,
    /// XSETBV.
    Xsetbv {
        /// ECX.
        index: u32,
        /// EDX:EAX.
        value: u64,
    },
    /// LGDT, LIDT, SGDT, SIDT, SLDT or STR.
    TableRegister(TableRegister),
}

/// An instruction on a descriptor-table register (SDM Vol. 3C, tables 30-10 and 30-11).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs, reason = "the names are the manual's")]
pub enum TableRegister {
    Sgdt,
    Sidt,
    Lgdt,
    Lidt,
    Sldt,
    Str,
    Lldt,
    Ltr,
}

/// An access to I/O ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Io {
    /// Which way.
    pub direction: IoDirection,
    /// The first port.
    pub port: u16,
    /// 1, 2 or 4.
    pub bytes: u8,
    /// How the instruction names the port.
    pub operand: PortOperand,
    /// INS or OUTS.
    pub string: Option<StringIo>,
}

/// Which way data goes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum IoDirection {
    /// OUT and OUTS.
    Out,
    /// IN and INS.
    In,
}

/// How an instruction names its port.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PortOperand {
    /// DX.
    Dx,
    /// An immediate.
    Immediate,
}

/// What INS and OUTS have besides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StringIo {
    /// Whether it has a repeat prefix.
    pub repetition: Repetition,
    /// Where in memory: the segment base and the effective address added, without checks.
    pub address: LinearAddress,
    /// ES for INS.
    pub segment: SegmentRegister,
    /// Bits of the address size.
    pub address_size: u8,
}

/// Whether a string instruction is repeated.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Repetition {
    /// Without prefix.
    Once,
    /// REP.
    Repeated,
}
