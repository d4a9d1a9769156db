//! Near branches of 16- and 32-bit code.

use crate::machine::{BASE, Mode, completes, machine, refuses, store, stored};
use isa::cpu::Stop;
use isa::segment::SegmentRegister;
use isa::state::Slot;

/// Every kind of near branch to offset 2000h, or to what RAX, the stack or a word at BX says.
const BRANCHES: [(&str, &[u8]); 9] = [
    ("jmp rel16", &[0xe9, 0xfd, 0x1f]),
    ("jz rel16", &[0x0f, 0x84, 0xfc, 0x1f]),
    ("call rel16", &[0xe8, 0xfd, 0x1f]),
    ("jmp ax", &[0xff, 0xe0]),
    ("call ax", &[0xff, 0xd0]),
    ("jmp [bx]", &[0xff, 0x27]),
    ("call [bx]", &[0xff, 0x17]),
    ("ret", &[0xc3]),
    ("ret 4", &[0xc2, 4, 0]),
];

fn prepared(code: &[u8], limit: u32) -> isa::flat::FlatMachine {
    let mut machine = machine(Mode::Bits16, code, 0x8000);
    machine.state.set_slot(Slot::Rax, 0x2000);
    machine.state.set_slot(Slot::Rbx, 0x9000);
    machine.state.flags.set_zf(true);
    store(&mut machine, 0x9000, &[0, 0x20]);
    store(&mut machine, 0x8000, &[0, 0x20]);
    store(&mut machine, 0x2000, &[0xf4]);
    let mut cs = machine.state.segment(SegmentRegister::Cs);
    cs.limit = limit;
    machine.state.set_segment(SegmentRegister::Cs, cs);
    machine
}

#[test]
fn a_target_beyond_the_limit_is_refused_before_anything_changes() {
    for (name, code) in BRANCHES {
        println!("{name}");
        refuses(&mut prepared(code, 0x1fff), Stop::GENERAL_PROTECTION);
        let mut machine = prepared(code, 0x2000);
        completes(&mut machine);
        assert_eq!(machine.state.rip(), 0x2000);
    }
}

#[test]
fn a_jump_that_is_not_taken_does_not_look_at_its_target() {
    let mut machine = prepared(&[0x0f, 0x84, 0xfc, 0x1f], 0x1fff); // jz 2000h
    machine.state.flags.set_zf(false);
    completes(&mut machine);
    assert_eq!(machine.state.rip(), 4);
}

#[test]
fn a_16_bit_operand_size_truncates_the_target() {
    // jmp 2000h with wrap-around, from 0: rel16 = 2000h - 3 + 10000h has the same bits; backwards from 0: jmp FFF0h.
    let mut machine = machine(Mode::Bits16, &[0xe9, 0xed, 0xff], 0x8000);
    store(&mut machine, 0xfff0, &[0xf4]);
    completes(&mut machine);
    assert_eq!(machine.state.rip(), 0xfff0);
    // 32-bit code: jmp word with EIP at 100000h goes to the low 16 bits of the target.
    let mut machine = crate::machine::machine(Mode::Bits32, &[0x66, 0xe9, 0x10, 0x20], 0x8000);
    let run = crate::machine::run(&mut machine);
    assert!(matches!(run.stop, Some(Stop::Exception(_))), "{run:?}");
    assert_eq!(machine.state.rip(), 0x2014);
}

#[test]
fn a_call_pushes_its_operand_size() {
    for (code, size) in [(&[0xe8, 0xfd, 0x1f][..], 2), (&[0x66, 0xe8, 0xfa, 0x1f, 0, 0], 4)] {
        let mut machine = prepared(code, 0xffff);
        completes(&mut machine);
        assert_eq!(machine.state.slot(Slot::Rsp), 0x8000 - size as u64);
        let back = (code.len() as u64).to_le_bytes();
        assert_eq!(stored(&machine, 0x8000 - size, size), back[..size]);
    }
}

#[test]
fn a_return_releases_its_operand_size_and_its_immediate() {
    for (code, released) in
        [(&[0xc3][..], 2), (&[0xc2, 6, 0], 8), (&[0x66, 0xc3], 4), (&[0x66, 0xc2, 6, 0], 10)]
    {
        let mut machine = prepared(code, 0xffff);
        completes(&mut machine);
        assert_eq!(machine.state.slot(Slot::Rsp), 0x8000 + released, "{code:02x?}");
    }
}

#[test]
fn the_address_size_of_a_loop_says_which_register_counts() {
    // loop $ / loop $ with the address-size prefix / loop with the operand-size prefix
    let rows: [(Mode, &[u8], u64, u64); 6] = [
        (Mode::Bits16, &[0xe2, 0xfe], 0x1234_0003, 0x1234_0000),
        (Mode::Bits16, &[0x67, 0xe2, 0xfd], 3, 0),
        (Mode::Bits32, &[0xe2, 0xfe], 3, 0),
        (Mode::Bits32, &[0x67, 0xe2, 0xfd], 0x1234_0003, 0x1234_0000),
        (Mode::Bits64, &[0xe2, 0xfe], 3, 0),
        (Mode::Bits64, &[0x67, 0xe2, 0xfd], 0x1234_0000_0003, 0),
    ];
    for (mode, code, count, left) in rows {
        let mut machine = machine(mode, code, 0x8000);
        machine.state.set_slot(Slot::Rcx, count);
        completes(&mut machine);
        assert_eq!(machine.state.slot(Slot::Rcx), left, "{mode:?} {code:02x?}");
    }
    // jcxz +0 falls through to HLT either way; jecxz of CX = 0 and ECX not: one byte further is UD2.
    for (code, count, taken) in [
        (&[0xe3, 1, 0xf4][..], 0x1234_0000, true),
        (&[0x67, 0xe3, 1, 0xf4], 0x1234_0000, false),
        (&[0x67, 0xe3, 1, 0xf4], 0, true),
    ] {
        let mut machine = machine(Mode::Bits16, code, 0x8000);
        machine.state.set_slot(Slot::Rcx, count);
        completes(&mut machine);
        let end = code.len() as u64;
        assert_eq!(machine.state.rip(), if taken { end } else { end - 1 }, "{code:02x?}");
    }
}

#[test]
fn a_loop_whose_target_is_refused_keeps_its_count() {
    let mut machine = machine(Mode::Bits16, &[0xe2, 0x7d], 0x8000); // loop 7Fh
    let mut cs = machine.state.segment(SegmentRegister::Cs);
    cs.limit = 0x7e;
    machine.state.set_segment(SegmentRegister::Cs, cs);
    machine.state.set_slot(Slot::Rcx, 2);
    refuses(&mut machine, Stop::GENERAL_PROTECTION);
}

#[test]
fn code_runs_up_to_the_limit_and_not_beyond() {
    let mut machine = machine(Mode::Bits16, &[0x40, 0x40, 0x40], 0x8000); // inc ax ..
    let mut cs = machine.state.segment(SegmentRegister::Cs);
    cs.limit = 1;
    machine.state.set_segment(SegmentRegister::Cs, cs);
    let run = crate::machine::run(&mut machine);
    assert_eq!((run.stop, run.executed), (Some(Stop::GENERAL_PROTECTION), 2));
    assert_eq!((machine.state.rip(), machine.state.slot(Slot::Rax)), (2, 2));
    assert_eq!(BASE, 0x10_0000);
}
