//! System calls on a processor that behaves as AMD's manual says (AMD64 Architecture Programmer's Manual, Vol. 3).

use crate::machine::{CODE, Machine, Mode};
use isa::cpu::Stop;
use isa::segment::SegmentRegister;
use isa::state::Slot;
use isa::system::debug::Stepping;
use isa::system::{Behaviours, SystemCall};

const SYSCALL: [u8; 2] = [0x0f, 0x05];
const SYSRETL: [u8; 2] = [0x0f, 0x07];
const LSTAR: u64 = 0xffff_8000_0000_1000;
const CSTAR: u64 = 0xffff_8000_0000_2000;

fn machine(mode: Mode, cpl: u8) -> Machine {
    let mut machine = Machine::new(mode, cpl);
    let system = &mut machine.state.system;
    system.features.behaviours = Behaviours::all();
    system.efer |= isa::control::Efer::SCE;
    let star = 0x0023_0013 << 32 | 0x8765_4321;
    let (sysenter_cs, sfmask) = (0x53, 0x700);
    system.system_call =
        SystemCall { star, lstar: LSTAR, cstar: CSTAR, sfmask, sysenter_cs, ..SystemCall::default() };
    machine
}

fn selectors(machine: &Machine) -> (u16, u16, u8) {
    let selector = |register| machine.state.segment(register).selector;
    (selector(SegmentRegister::Cs), selector(SegmentRegister::Ss), machine.state.system.cpl)
}

#[test]
fn syscall_goes_where_the_mode_says() {
    for (mode, target, rights, saved) in [
        (Mode::Long, LSTAR, 0xa09b, Some(0x247)),
        (Mode::Compatibility, CSTAR, 0xa09b, Some(0x247)),
        (Mode::Protected, 0x8765_4321, 0xc09b, None),
    ] {
        let mut machine = machine(mode, 3);
        machine.state.flags.set(0x247);
        machine.state.set_slot(Slot::R11, 7);
        assert_eq!(machine.step(&SYSCALL).stop, Some(Stop::Done), "{mode:?}");
        assert_eq!((machine.state.rip(), machine.state.slot(Slot::Rcx)), (target, CODE + 2), "{mode:?}");
        assert_eq!(machine.state.slot(Slot::R11), saved.unwrap_or(7), "{mode:?}");
        assert_eq!(machine.state.flags.get(), 0x47, "{mode:?}");
        assert_eq!(selectors(&machine), (0x10, 0x1b, 0), "{mode:?}");
        assert_eq!(machine.state.segment(SegmentRegister::Cs).rights.bits(), rights, "{mode:?}");
        assert_eq!(machine.state.system.stepping, Stepping::AsAfter);
        machine.state.system.features.behaviours = Behaviours::empty();
        if mode != Mode::Long {
            machine = self::machine(mode, 3);
            machine.state.system.features.behaviours = Behaviours::empty();
            machine.refuses(&SYSCALL, Stop::INVALID_OPCODE);
            machine.refuses(&SYSRETL, Stop::INVALID_OPCODE);
        }
    }
}

#[test]
fn sysret_outside_64_bit_mode_enables_interrupts_and_restores_no_flags() {
    for mode in [Mode::Compatibility, Mode::Protected] {
        let mut machine = machine(mode, 0);
        machine.state.flags.set(0x46);
        machine.state.set_slot(Slot::R11, u64::MAX);
        machine.state.set_slot(Slot::Rcx, 0x7000);
        assert_eq!(machine.step(&SYSRETL).stop, Some(Stop::Done), "{mode:?}");
        assert_eq!((machine.state.rip(), machine.state.flags.get()), (0x7000, 0x246), "{mode:?}");
        assert_eq!(selectors(&machine), (0x23, 0x2b, 3), "{mode:?}");
    }
    for (mode, cpl) in [(Mode::Real, 0), (Mode::Virtual8086, 3), (Mode::Protected, 3)] {
        machine(mode, cpl).refuses(&SYSRETL, Stop::GENERAL_PROTECTION);
    }
}

#[test]
fn sysret_loads_the_selector_of_ss_alone_and_takes_any_target() {
    let mut machine = machine(Mode::Long, 0);
    let before = machine.state.segment(SegmentRegister::Ss);
    machine.state.set_slot(Slot::R11, 0x202);
    machine.state.set_slot(Slot::Rcx, 0x8000_0000_0000);
    assert_eq!(machine.step(&[0x48, 0x0f, 0x07]).stop, Some(Stop::Done));
    assert_eq!((machine.state.rip(), selectors(&machine)), (0x8000_0000_0000, (0x33, 0x2b, 3)));
    let after = machine.state.segment(SegmentRegister::Ss);
    assert_eq!((after.rights, after.limit), (before.rights, before.limit));
}

#[test]
fn sysenter_exists_outside_ia_32e_mode_alone_and_its_registers_have_32_bits() {
    for mode in [Mode::Long, Mode::Compatibility] {
        machine(mode, 0).refuses(&[0x0f, 0x34], Stop::INVALID_OPCODE);
        machine(mode, 0).refuses(&[0x0f, 0x35], Stop::INVALID_OPCODE);
    }
    let mut machine = machine(Mode::Protected, 0);
    for (index, stored) in [(0x175, 0x1234_5678), (0x176, 0x1234_5678)] {
        machine.state.set_slot(Slot::Rcx, index);
        machine.state.set_slot(Slot::Rax, stored);
        machine.state.set_slot(Slot::Rdx, 0xffff_8000);
        machine.step(&[0x0f, 0x30]);
        assert_eq!(isa::system::msr::value(&machine.state, index as u32), Some(stored));
    }
    assert_eq!(machine.step(&[0x0f, 0x34]).stop, Some(Stop::Done));
    assert_eq!((machine.state.rip(), machine.state.slot(Slot::Rsp)), (0x1234_5678, 0x1234_5678));
}

#[test]
fn calls_of_a_monitor_are_undefined_where_nobody_answers_them() {
    for mode in Mode::ALL {
        for code in [[0x0f, 0x01, 0xc1], [0x0f, 0x01, 0xd9]] {
            Machine::new(mode, mode.levels()[0]).refuses(&code, Stop::INVALID_OPCODE);
        }
    }
}
