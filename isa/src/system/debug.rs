//! Debug registers (SDM Vol. 3B, 19.2): which instruction, data access or I/O access matches a breakpoint, and what DR6
//! says of it. All of it is pure; the machine asks while [`must_step`] says that it has to look at each instruction.
//!
//! # Choices
//!
//! - DR6 names the enabled breakpoints alone; the manual allows the others to be named as well.
//! - A breakpoint for instructions has one byte; the manual leaves other lengths open.
//! - R/W = 10B with CR4.DE = 0, which the manual leaves open, matches nothing.
//! - Not modelled: breakpoints inside restricted transactional memory, bus-lock detection, branch single-stepping.

use super::System;
use crate::address::LinearAddress;
use crate::control::Cr4;
use crate::event::{Exception, Vector};
use crate::flags::Rflags;
use crate::state::State;
use bitflags::bitflags;

bitflags! {
    /// DR6: why there was a debug exception (SDM Vol. 3B, 19.2.3).
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct Dr6: u64 {
        /// The breakpoint of DR0.
        const B0 = 1 << 0;
        /// The breakpoint of DR1.
        const B1 = 1 << 1;
        /// The breakpoint of DR2.
        const B2 = 1 << 2;
        /// The breakpoint of DR3.
        const B3 = 1 << 3;
        /// A debug register was about to be accessed.
        const BD = 1 << 13;
        /// Single step.
        const BS = 1 << 14;
        /// Task switch to a task with the T flag.
        const BT = 1 << 15;
    }
}

/// Which RFLAGS.TF decides whether an instruction is followed by a single-step trap.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Stepping {
    /// The one before the instruction (SDM Vol. 3B, 19.3.1.4).
    #[default]
    AsBefore,
    /// The one after it: of SYSCALL, which IA32_FMASK can keep from being stepped, and of SYSRET, which is stepped as
    /// soon as it has restored the flag.
    AsAfter,
}

/// DR6 after reset: bits 31:16 and 11:4 are 1, of which 16 and 11 are active-low.
pub const DR6_RESET: u64 = 0xffff_0ff0;
/// DR7 after reset: bit 10 is 1.
pub const DR7_RESET: u64 = 1 << 10;

/// DR7.GD: general detect.
pub const GENERAL_DETECT: u64 = 1 << 13;
/// The L and G bits of the four breakpoints.
const ENABLES: u64 = 0xff;
/// The bits of DR7 that may be written: L, G, LE, GE, GD and the conditions.
const DR7_WRITABLE: u64 = 0xffff_23ff;

/// DR6 with a value written to it: reserved bits keep theirs.
#[must_use]
pub const fn dr6(value: u64) -> u64 {
    value & Dr6::all().bits() | DR6_RESET
}

/// DR7 with a value written to it: reserved bits keep theirs.
#[must_use]
pub const fn dr7(value: u64) -> u64 {
    value & DR7_WRITABLE | DR7_RESET
}

impl Exception {
    /// #DB for these reasons, which stand in the place of the address until [`record`] puts them into DR6.
    #[must_use]
    pub const fn debug(reasons: Dr6) -> Self {
        Self { vector: Vector::Debug, error_code: None, address: LinearAddress(reasons.bits()) }
    }

    /// The reasons of a #DB.
    #[must_use]
    pub const fn debug_reasons(&self) -> Dr6 {
        Dr6::from_bits_truncate(self.address.0)
    }
}

/// What the delivery of a #DB does to the debug registers: DR6 receives the reasons, and DR7.GD becomes 0. (Of the
/// breakpoints DR6 names those of this exception; BD, BS and BT stay until software clears them.)
pub const fn record(system: &mut System, reasons: Dr6) {
    let breakpoints = Dr6::B0.bits() | Dr6::B1.bits() | Dr6::B2.bits() | Dr6::B3.bits();
    system.dr6 = system.dr6 & !breakpoints | reasons.bits() | DR6_RESET;
    system.dr7 &= !GENERAL_DETECT;
}

/// What a breakpoint waits for: R/W (SDM Vol. 3B, 19.2.4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Condition {
    /// The execution of an instruction.
    Execution,
    /// A data write.
    Write,
    /// An access to an I/O port.
    Io,
    /// A data read or write.
    ReadWrite,
}

/// A data access.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Access {
    /// A read.
    Read,
    /// A write, or a read and a write.
    Write,
}

/// An enabled breakpoint.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Breakpoint {
    /// Its bit of DR6.
    pub reason: Dr6,
    /// The first address, aligned to the length.
    pub address: u64,
    /// Bytes: 1, 2, 4 or 8.
    pub length: u64,
    /// What it waits for.
    pub condition: Condition,
}

impl Breakpoint {
    /// Whether one of `bytes` bytes from `address` on is one of its own.
    #[must_use]
    pub const fn overlaps(&self, address: u64, bytes: u64) -> bool {
        // Distances, so that ranges may wrap around.
        address.wrapping_sub(self.address) < self.length || self.address.wrapping_sub(address) < bytes
    }
}

/// The breakpoint of a debug address register, when it is enabled by L or G and its condition is defined.
#[must_use]
pub fn breakpoint(system: &System, number: usize) -> Option<Breakpoint> {
    let bits = system.dr7 >> (16 + 4 * number);
    let enabled = system.dr7 >> (2 * number) & 3 != 0;
    let condition = match bits & 3 {
        0 => Condition::Execution,
        1 => Condition::Write,
        2 if system.cr4.contains(Cr4::DE) => Condition::Io,
        3 => Condition::ReadWrite,
        _ => return None,
    };
    let length = if condition == Condition::Execution { 1 } else { [1, 2, 8, 4][(bits >> 2 & 3) as usize] };
    let address = *system.debug_addresses.get(number)? & !(length - 1);
    let reason = Dr6::from_bits_truncate(1 << number);
    enabled.then_some(Breakpoint { reason, address, length, condition })
}

fn matching(system: &System, matches: impl Fn(&Breakpoint) -> bool) -> Dr6 {
    (0..4).filter_map(|number| breakpoint(system, number)).filter(matches).map(|hit| hit.reason).collect()
}

/// The breakpoints that an instruction at this address meets: a fault before it, unless EFLAGS.RF is 1.
#[must_use]
pub fn on_execution(system: &System, at: LinearAddress) -> Dr6 {
    matching(system, |breakpoint| breakpoint.condition == Condition::Execution && breakpoint.address == at.0)
}

/// The breakpoints that a data access meets: a trap after the instruction.
#[must_use]
pub fn on_access(system: &System, at: LinearAddress, bytes: u64, access: Access) -> Dr6 {
    matching(system, |breakpoint| {
        let waits = match breakpoint.condition {
            Condition::Write => access == Access::Write,
            Condition::ReadWrite => true,
            Condition::Execution | Condition::Io => false,
        };
        waits && breakpoint.overlaps(at.0, bytes)
    })
}

/// The breakpoints that an I/O access meets: a trap after the instruction.
#[must_use]
pub fn on_io(system: &System, port: u16, bytes: u8) -> Dr6 {
    matching(system, |breakpoint| {
        breakpoint.condition == Condition::Io && breakpoint.overlaps(port.into(), bytes.into())
    })
}

/// Whether a breakpoint is enabled.
#[must_use]
pub const fn is_armed(system: &System) -> bool {
    system.dr7 & ENABLES != 0
}

/// Whether an enabled breakpoint waits for data accesses, so that the machine has to compare each with it.
#[must_use]
pub fn watches_data(system: &System) -> bool {
    let data =
        |breakpoint: &Breakpoint| matches!(breakpoint.condition, Condition::Write | Condition::ReadWrite);
    is_armed(system) && (0..4).filter_map(|number| breakpoint(system, number)).any(|found| data(&found))
}

/// Whether the machine must look at each instruction: a breakpoint is enabled, or EFLAGS.TF or EFLAGS.RF is 1. RF
/// becomes 0 when an instruction has completed; TF as it was before an instruction asks for a trap after it (BS), unless
/// the instruction loaded SS and so delays it, or delivered an interrupt and so cleared TF (19.3.1.4).
#[must_use]
pub fn must_step(state: &State) -> bool {
    is_armed(&state.system) || state.flags.rest() & (Rflags::TF | Rflags::RF).bits() != 0
}
