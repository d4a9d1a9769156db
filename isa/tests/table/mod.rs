//! Runs one instruction on the smallest machine, for tables of (in, in, out, flags).
#![allow(dead_code, reason = "each test file uses a part")]

use isa::cpu::Stop;
use isa::engine::CodeCache;
use isa::flags::Rflags;
use isa::flat::FlatMachine;
use isa::registers::Registers;
use isa::state::State;

/// The address to which the memory operands of the tables lead.
pub(crate) const DATA: u64 = FlatMachine::BASE + 0x2000;

/// Where an instruction starts and where it arrived.
pub(crate) struct Trial {
    pub(crate) before: Registers,
    pub(crate) after: Registers,
    pub(crate) stop: Option<Stop>,
    pub(crate) machine: FlatMachine,
}

/// Executes `code` with these values in RAX, RCX, RDX and RBX, all status flags as in `flags`, and `memory` at
/// [`DATA`], to which RSI points; the base of FS is 1000H.
pub(crate) fn run(code: &[u8], gpr: [u64; 4], flags: Rflags, memory: u64) -> Trial {
    let mut machine = FlatMachine::with_code(&[code, &[0xf4]].concat());
    machine.memory_mut()[0x2000..0x2008].copy_from_slice(&memory.to_le_bytes());
    let mut before = Registers { rip: FlatMachine::BASE, fs_base: 0x1000, ..Registers::default() };
    before.gpr[..4].copy_from_slice(&gpr);
    before.gpr[6] = DATA;
    before.rflags |= flags.bits();
    machine.state = State::from(&before);
    let stop = CodeCache::new().run(&mut machine, 100).stop;
    Trial { before, after: machine.state.registers(), stop, machine }
}

impl Trial {
    /// The status flags after the instruction.
    pub(crate) fn flags(&self) -> Rflags {
        Rflags::from_bits_truncate(self.after.rflags) & Rflags::STATUS
    }

    /// The eight bytes at [`DATA`].
    pub(crate) fn memory(&self) -> u64 {
        u64::from_le_bytes(self.machine.memory()[0x2000..0x2008].try_into().unwrap())
    }

    /// Asserts that the instruction completed and that nothing but the named registers changed: (number, value).
    pub(crate) fn changed_only(&self, changes: &[(usize, u64)], flags: Rflags) {
        let mut expected = self.before;
        for &(number, value) in changes {
            expected.gpr[number] = value;
        }
        expected.rflags = 0x202 | flags.bits();
        expected.rip = self.after.rip;
        assert_eq!(self.stop, Some(Stop::Halt));
        assert_eq!(self.after, expected);
    }
}
