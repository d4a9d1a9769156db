//! SYSCALL SYSRET SYSENTER SYSEXIT SWAPGS: the whole outcome.

use crate::machine::{CODE, Machine, Mode};
use isa::cpu::Stop;
use isa::segment::{Segment, SegmentRegister};
use isa::state::Slot;
use isa::system::SystemCall;

const TARGET: u64 = 0xffff_8000_0000_1000;

fn machine(mode: Mode, cpl: u8) -> Machine {
    let mut machine = Machine::new(mode, cpl);
    machine.state.system.system_call = SystemCall {
        star: 0x0023_0013 << 32,
        lstar: TARGET,
        sfmask: 0x700,
        sysenter_cs: 0x53,
        sysenter_esp: 0xffff_8000_0000_9000,
        sysenter_eip: TARGET,
        ..SystemCall::default()
    };
    machine
}

fn assert_segments(machine: &Machine, cpl: u8, cs: u16, code_rights: u32, ss: u16) {
    let dpl = u32::from(cpl) << 5;
    let segment = |selector, rights: u32| {
        let rights = isa::segment::AccessRights::from_bits_retain(rights | dpl);
        Segment { selector, base: 0, limit: u32::MAX, rights }
    };
    assert_eq!(machine.state.segment(SegmentRegister::Cs), segment(cs, code_rights));
    assert_eq!(machine.state.segment(SegmentRegister::Ss), segment(ss, 0xc093));
    assert_eq!(machine.state.system.cpl, cpl);
}

#[test]
fn syscall_enters_and_sysret_returns() {
    let mut machine = machine(Mode::Long, 3);
    let flags = 0x246 | 1 << 18;
    machine.state.flags.set(flags);
    assert_eq!(machine.step(&[0x0f, 0x05]).stop, Some(Stop::Done));
    assert_eq!(machine.state.rip(), TARGET);
    assert_eq!((machine.state.slot(Slot::Rcx), machine.state.slot(Slot::R11)), (CODE + 2, flags));
    assert_eq!(machine.state.flags.get(), flags & !0x700);
    assert_segments(&machine, 0, 0x10, 0xa09b, 0x1b);
    // sysretq: VM and RF do not come back, bit 1 does.
    machine.state.set_slot(Slot::R11, u64::MAX);
    machine.state.set_slot(Slot::Rcx, 0x7000);
    assert_eq!(machine.step(&[0x48, 0x0f, 0x07]).stop, Some(Stop::Done));
    assert_eq!((machine.state.rip(), machine.state.flags.get()), (0x7000, 0x3c_7fd7));
    assert_segments(&machine, 3, 0x33, 0xa09b, 0x2b);
}

#[test]
fn sysret_to_compatibility_mode_has_32_bits() {
    let mut machine = machine(Mode::Long, 0);
    machine.state.set_slot(Slot::R11, 0x202);
    machine.state.set_slot(Slot::Rcx, 0x1234_5678_0000_7000);
    assert_eq!(machine.step(&[0x0f, 0x07]).stop, Some(Stop::Done));
    assert_eq!(machine.state.rip(), 0x7000);
    assert_segments(&machine, 3, 0x23, 0xc09b, 0x2b);
}

#[test]
fn returns_to_addresses_that_are_not_canonical_are_refused_at_the_old_level() {
    let mut machine = machine(Mode::Long, 0);
    machine.state.set_slot(Slot::Rcx, 0x8000_0000_0000);
    machine.refuses(&[0x48, 0x0f, 0x07], Stop::GENERAL_PROTECTION);
    machine.refuses(&[0x48, 0x0f, 0x35], Stop::GENERAL_PROTECTION);
    machine.state.set_slot(Slot::Rcx, 0);
    machine.state.set_slot(Slot::Rdx, 0x8000_0000_0000);
    machine.refuses(&[0x48, 0x0f, 0x35], Stop::GENERAL_PROTECTION);
}

#[test]
fn sysenter_enters_from_every_mode_with_protection() {
    for mode in [Mode::Long, Mode::Compatibility, Mode::Protected, Mode::Virtual8086] {
        let mut machine = machine(mode, 3);
        let flags = machine.state.flags.get() | 0x201;
        machine.state.flags.set(flags);
        assert_eq!(machine.step(&[0x0f, 0x34]).stop, Some(Stop::Done), "{mode:?}");
        let ia32e = matches!(mode, Mode::Long | Mode::Compatibility);
        let mask = if ia32e { u64::MAX } else { 0xffff_ffff };
        assert_eq!(machine.state.rip(), TARGET & mask);
        assert_eq!(machine.state.slot(Slot::Rsp), 0xffff_8000_0000_9000 & mask);
        assert_eq!(machine.state.flags.get(), 3);
        assert_segments(&machine, 0, 0x50, if ia32e { 0xa09b } else { 0xc09b }, 0x58);
    }
}

#[test]
fn sysexit_returns_in_the_size_of_its_operand() {
    for (mode, code, cs, rights) in [
        (Mode::Long, &[0x48, 0x0f, 0x35][..], 0x73, 0xa09b),
        (Mode::Long, &[0x0f, 0x35], 0x63, 0xc09b),
        (Mode::Protected, &[0x0f, 0x35], 0x63, 0xc09b),
    ] {
        let mut machine = machine(mode, 0);
        let wide = code.len() == 3;
        let high = if wide { 0 } else { 7 << 40 };
        machine.state.set_slot(Slot::Rcx, high | 0x8888);
        machine.state.set_slot(Slot::Rdx, high | 0x7777);
        assert_eq!(machine.step(code).stop, Some(Stop::Done));
        assert_eq!((machine.state.slot(Slot::Rsp), machine.state.rip()), (0x8888, 0x7777));
        assert_segments(&machine, 3, cs, rights, cs + 8);
    }
}

#[test]
fn swapgs_exchanges_the_bases() {
    let mut machine = machine(Mode::Long, 0);
    machine.state.set_slot(Slot::GsBase, 0x1111);
    machine.state.system.kernel_gs_base = 0x2222;
    machine.completes(&[0x0f, 0x01, 0xf8]);
    assert_eq!((machine.state.slot(Slot::GsBase), machine.state.system.kernel_gs_base), (0x2222, 0x1111));
}

#[test]
fn waiting_stops_and_monitoring_arms() {
    let mut machine = machine(Mode::Long, 0);
    assert_eq!(machine.step(&[0xf4]).stop, Some(Stop::Halt));
    machine.state.set_slot(Slot::Rcx, 0);
    machine.state.set_slot(Slot::Rax, 0x3000);
    machine.completes(&[0x0f, 0x01, 0xc8]);
    assert_eq!(machine.state.system.monitored, Some(isa::address::LinearAddress(0x3000)));
    assert_eq!(machine.step(&[0x0f, 0x01, 0xc9]).stop, Some(Stop::Wait));
    machine.state.set_slot(Slot::Rcx, 2);
    machine.refuses(&[0x0f, 0x01, 0xc8], Stop::GENERAL_PROTECTION);
    machine.refuses(&[0x0f, 0x01, 0xc9], Stop::GENERAL_PROTECTION);
}
