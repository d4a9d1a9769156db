//! The smallest machine in any mode.

use isa::control::Cr0;
use isa::cpu::{Cpu, Stop};
use isa::engine::{CodeCache, Run};
use isa::flat::{FlatMachine, Observed};
use isa::segment::{AccessRights, Segment, SegmentRegister};
use isa::state::Slot;

/// Where the machine's memory begins, which is the base of all segments of 16-bit code.
pub(crate) const BASE: u64 = FlatMachine::BASE;
/// The first address without memory.
pub(crate) const END: u64 = BASE + FlatMachine::SIZE;

/// The code sizes, and what SS.B is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// 16-bit code and stack, in segments of 64 KiB that begin at [`BASE`].
    Bits16,
    /// 16-bit code with a 32-bit stack.
    Bits16Stack32,
    /// 32-bit code and stack in flat segments.
    Bits32,
    /// 32-bit code with a 16-bit stack segment that begins at [`BASE`].
    Bits32Stack16,
    /// 64-bit mode.
    Bits64,
}

impl Mode {
    pub(crate) fn bits(self) -> u32 {
        match self {
            Self::Bits16 | Self::Bits16Stack32 => 16,
            Self::Bits32 | Self::Bits32Stack16 => 32,
            Self::Bits64 => 64,
        }
    }

    /// The offset in CS of the first byte of memory.
    pub(crate) fn code(self) -> u64 {
        if self.bits() == 16 { 0 } else { BASE }
    }

    fn segments(self) -> Option<(Segment, Segment)> {
        let rights = AccessRights::from_bits_retain;
        let small = |selector, kind| Segment { selector, base: BASE, limit: 0xffff, rights: rights(kind) };
        let flat = |selector, kind| Segment { selector, base: 0, limit: u32::MAX, rights: rights(kind) };
        Some(match self {
            Self::Bits16 => (small(0x1b, 0xfb), small(0x23, 0xf3)),
            Self::Bits16Stack32 => (small(0x1b, 0xfb), flat(0x23, 0xc0f3)),
            Self::Bits32 => (flat(0x1b, 0xc0fb), flat(0x23, 0xc0f3)),
            Self::Bits32Stack16 => (flat(0x1b, 0xc0fb), small(0x23, 0xf3)),
            Self::Bits64 => return None,
        })
    }
}

/// A machine with `code` and HLT, and the stack pointer `stack` bytes into memory.
pub(crate) fn machine(mode: Mode, code: &[u8], stack: u64) -> FlatMachine {
    let mut machine = FlatMachine::with_code(&[code, &[0xf4]].concat());
    let state = machine.state_mut();
    state.set_rip(mode.code());
    let mut stack_base = BASE;
    if let Some((code, data)) = mode.segments() {
        state.set_segment(SegmentRegister::Cs, code);
        for register in [SegmentRegister::Ss, SegmentRegister::Ds, SegmentRegister::Es] {
            state.set_segment(register, data);
        }
        stack_base -= data.base;
    }
    state.set_slot(Slot::Rsp, stack_base + stack);
    machine
}

/// Runs until something stops it, plain and observed, which must agree.
pub(crate) fn run(machine: &mut FlatMachine) -> Run {
    let mut observed = Observed::new(machine.clone());
    let run = continued(machine);
    let other = continued(&mut observed);
    assert_eq!((run.stop, run.executed), (other.stop, other.executed));
    assert_eq!(machine.state.registers(), observed.machine.state.registers());
    assert!(machine.memory() == observed.machine.memory(), "memory");
    run
}

/// Goes on where an instruction has only asked the machine to look.
fn continued<C: Cpu>(machine: &mut C) -> Run {
    let mut code = CodeCache::new();
    let mut run = code.run(machine, 1000);
    while run.stop == Some(Stop::Done) {
        let rest = code.run(machine, 1000);
        run = Run { executed: run.executed + rest.executed, ..rest };
    }
    run
}

/// Runs code that must reach its HLT.
pub(crate) fn completes(machine: &mut FlatMachine) {
    let run = run(machine);
    assert_eq!(run.stop, Some(Stop::Halt));
}

/// Runs code whose first instruction must stop for `stop` and change no register and no memory.
pub(crate) fn refuses(machine: &mut FlatMachine, stop: Stop) {
    let before = machine.clone();
    let run = run(machine);
    assert_eq!((run.stop, run.executed), (Some(stop), 0));
    assert_eq!(machine.state.registers(), before.state.registers());
    assert!(machine.memory() == before.memory(), "memory");
}

pub(crate) fn store(machine: &mut FlatMachine, offset: usize, bytes: &[u8]) {
    machine.memory_mut()[offset..offset + bytes.len()].copy_from_slice(bytes);
}

pub(crate) fn stored(machine: &FlatMachine, offset: usize, bytes: usize) -> Vec<u8> {
    machine.memory()[offset..offset + bytes].to_vec()
}

/// Puts the machine into real-address mode; its 16-bit segments stay.
pub(crate) fn real_address(machine: &mut FlatMachine) {
    let system = &mut machine.state.system;
    system.cr0 -= Cr0::PE | Cr0::PG;
    system.efer = isa::control::Efer::empty();
    system.cpl = 0;
}
