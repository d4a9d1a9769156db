//! Which I/O ports a program may use (SDM Vol. 1, 20.5): IOPL, and the I/O permission bitmap of the TSS.

use crate::address::LinearAddress;
use crate::cpu::{Cpu, Privilege, Stop, Stopped};
use crate::flags::Rflags;
use crate::state::State;

/// Where a 32-bit or 64-bit TSS says where its I/O permission bitmap is.
const BITMAP_BASE: u64 = 102;

impl State {
    /// The I/O privilege level.
    #[must_use]
    pub fn io_privilege_level(&self) -> u8 {
        (self.flags.rest() >> Rflags::IOPL.bits().trailing_zeros()).to_le_bytes()[0] & 3
    }
}

/// Whether the program may access `bytes` ports from `port` on. In protected mode with CPL at most IOPL and in real-address
/// mode it may; else, and in virtual-8086 mode whatever IOPL is, the bits of the bitmap must all be 0.
///
/// # Errors
///
/// #GP(0), or what the TSS cannot be read for.
pub fn permit<C: Cpu>(cpu: &mut C, port: u16, bytes: u8) -> Result<(), Stopped> {
    let state = cpu.state();
    if state.is_real_address() || !state.is_virtual_8086() && state.system.cpl <= state.io_privilege_level() {
        return Ok(());
    }
    let tr = state.system.tr;
    // A 16-bit TSS has no bitmap.
    if tr.rights.segment_type() & 0xd != 9 || u64::from(tr.limit) < BITMAP_BASE + 1 {
        return Err(Stop::GENERAL_PROTECTION.into());
    }
    let bitmap: u16 = cpu.read_as(Privilege::Implicit, LinearAddress(tr.base).add(BITMAP_BASE))?;
    // Two bytes are read whatever the port is, and both must be inside the limit.
    let offset = u64::from(bitmap) + u64::from(port / 8);
    if offset + 1 > u64::from(tr.limit) {
        return Err(Stop::GENERAL_PROTECTION.into());
    }
    let bits: u16 = cpu.read_as(Privilege::Implicit, LinearAddress(tr.base).add(offset))?;
    let asked = ((1_u16 << bytes) - 1) << (port % 8);
    if bits & asked == 0 { Ok(()) } else { Err(Stop::GENERAL_PROTECTION.into()) }
}
