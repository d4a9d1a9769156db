//! Loops, stack frames and flags: rows, and random values against the host's processor.
#![allow(clippy::unwrap_used, reason = "tests")]

mod processor;

use isa::address::LinearAddress;
use isa::cpu::Stop;
use isa::event::Exception;
use isa::flags::Rflags;
use isa::registers::Gpr::{self, R15, Rax, Rbp, Rbx, Rcx};
use processor::{DATA, END, Random, Values, agree, case, cases, on_stack, refused, run_model};

/// Where the stack of a test is, in the middle of the data.
const STACK: u64 = DATA + 0x1000;
const ALL: Rflags = Rflags::STATUS;

/// A branch over MOV BL,1.
fn over_move(branch: &[u8]) -> Vec<u8> {
    [branch, &[2, 0xb3, 1]].concat()
}

#[test]
fn loops_count_and_jump_unless_the_count_or_the_flag_ends_them() {
    type Row = (&'static str, &'static [u8], u64, Rflags, u64, bool);
    let rows: [Row; 12] = [
        ("loop", &[0xe2], 2, ALL, 1, true),
        ("loop at the end", &[0xe2], 1, ALL, 0, false),
        ("loop wraps around", &[0xe2], 0, ALL, u64::MAX, true),
        ("loope", &[0xe1], 2, Rflags::ZF, 1, true),
        ("loope with ZF = 0", &[0xe1], 2, ALL - Rflags::ZF, 1, false),
        ("loopne", &[0xe0], 2, ALL - Rflags::ZF, 1, true),
        ("loopne with ZF = 1", &[0xe0], 2, Rflags::ZF, 1, false),
        ("loop with ECX", &[0x67, 0xe2], 7 << 32 | 1, ALL, 0, false),
        ("loop with ECX wraps around", &[0x67, 0xe2], 7 << 32, ALL, 0xffff_ffff, true),
        ("jrcxz", &[0xe3], 0, ALL, 0, true),
        ("jrcxz not", &[0xe3], 1 << 32, ALL, 1 << 32, false),
        ("jecxz looks at ECX and changes nothing", &[0x67, 0xe3], 1 << 32, ALL, 1 << 32, true),
    ];
    for (name, code, count, flags, count_after, taken) in rows {
        case(name, &over_move(code))
            .given(Rcx, count)
            .given(Rbx, 0)
            .flags(flags)
            .then(Rcx, count_after)
            .then(Rbx, u64::from(!taken))
            .check();
    }
}

#[test]
fn stack_frames_are_made_and_left() {
    case("enter 0x20,0", &on_stack(&[0xc8, 0x20, 0, 0]))
        .given(R15, STACK)
        .given(Rbp, 0x1122_3344_5566_7788)
        .then(R15, STACK - 0x28)
        .then(Rbp, STACK - 8)
        .then_stored(0xff8, &0x1122_3344_5566_7788_u64.to_le_bytes())
        .check();
    case("enter 0,1 pushes the new frame", &on_stack(&[0xc8, 0, 0, 1]))
        .given(R15, STACK)
        .given(Rbp, 5)
        .then(R15, STACK - 0x10)
        .then(Rbp, STACK - 8)
        .then_stored(0xff8, &5_u64.to_le_bytes())
        .then_stored(0xff0, &(STACK - 8).to_le_bytes())
        .check();
    case("enter 0,34 has level 2 and copies one frame", &on_stack(&[0xc8, 0, 0, 34]))
        .given(R15, STACK)
        .given(Rbp, DATA + 8)
        .stored(0, &[9])
        .then(R15, STACK - 0x18)
        .then(Rbp, STACK - 8)
        .then_stored(0xff8, &(DATA + 8).to_le_bytes())
        .then_stored(0xff0, &[9])
        .then_stored(0xfe8, &(STACK - 8).to_le_bytes())
        .check();
    case("16 bits", &on_stack(&[0x66, 0xc8, 0x10, 0, 0]))
        .given(R15, STACK)
        .given(Rbp, 0x1122_3344_5566_7788)
        .then(R15, STACK - 0x12)
        .then(Rbp, 0x1122_3344_5566_0000 | (STACK - 2) & 0xffff)
        .then_stored(0xffe, &[0x88, 0x77])
        .check();
    case("leave", &on_stack(&[0xc9]))
        .given(R15, 1)
        .given(Rbp, STACK)
        .stored(0x1000, &[3])
        .then(R15, STACK + 8)
        .then(Rbp, 3)
        .check();
    case("leave, 16 bits", &on_stack(&[0x66, 0xc9]))
        .given(R15, 1)
        .given(Rbp, STACK)
        .stored(0x1000, &[3])
        .then(R15, STACK + 2)
        .then(Rbp, STACK & !0xffff | 3)
        .check();
}

/// The enclosing frames may be where the new ones are pushed.
#[test]
fn frames_of_every_level_agree_with_the_processor() {
    let mut random = Random(3);
    for level in 0..=32 {
        for prefix in [&[][..], &[0x66]] {
            for _ in 0..cases(4) {
                let code = on_stack(&[prefix, &[0xc8, random.byte(), 0, level]].concat());
                let mut values = Values::random(&mut random);
                values.set(R15, STACK + random.below(64));
                values.set(Rbp, STACK - 16 + random.below(300));
                agree(&code, &values);
            }
        }
    }
}

#[test]
fn enter_needs_a_writable_new_top_and_changes_nothing_without() {
    let mut values = Values::new();
    values.set(Gpr::Rbp, DATA);
    let fault = |address| Stop::Exception(Exception::page_fault(LinearAddress(address), 6));
    // mov esp,BASE+0x40 / enter 0x1000,0
    let code = [&[0xbc][..], &0x10_0040_u32.to_le_bytes(), &[0xc8, 0, 0x10, 0]].concat();
    let (run, machine) = run_model(&code, &values);
    assert_eq!((run.stop, run.executed), (Some(fault(0x10_0040 - 8 - 0x1000)), 1));
    let registers = machine.state.registers();
    assert_eq!((registers.gpr[Rbp as usize], registers.gpr[Gpr::Rsp as usize]), (DATA, 0x10_0040));
    // leave with a frame beyond memory
    values.set(Rbp, END);
    refused(&[0xc9], &values, Stop::Exception(Exception::page_fault(LinearAddress(END), 4)));
}

#[test]
fn flag_instructions_change_their_flag_alone() {
    let rows: [(&str, u8, Rflags, Rflags); 9] = [
        ("clc", 0xf8, ALL, ALL - Rflags::CF),
        ("stc", 0xf9, Rflags::empty(), Rflags::CF),
        ("cmc sets", 0xf5, Rflags::ZF, Rflags::ZF | Rflags::CF),
        ("cmc clears", 0xf5, ALL, ALL - Rflags::CF),
        ("cld", 0xfc, ALL | Rflags::DF, ALL),
        ("std", 0xfd, ALL, ALL | Rflags::DF),
        ("sahf leaves OF", 0x9e, Rflags::OF, Rflags::OF | Rflags::ZF | Rflags::PF),
        ("sahf ignores the reserved bits", 0x9e, ALL, Rflags::OF | Rflags::ZF | Rflags::PF),
        ("nop", 0x90, ALL, ALL),
    ];
    for (name, code, before, after) in rows {
        case(name, &[code]).given(Rax, 0x6e00).flags(before).then_flags(after).check();
    }
    case("lahf", &[0x9f])
        .given(Rax, 0)
        .flags(Rflags::SF | Rflags::AF | Rflags::CF | Rflags::OF)
        .then(Rax, 0x9300)
        .check();
}

#[test]
fn pushed_flags_have_neither_rf_nor_vm() {
    let flags = Rflags::RF | Rflags::VM | Rflags::AC | Rflags::ID | Rflags::CF;
    case("pushfq", &on_stack(&[0x9c]))
        .given(R15, STACK)
        .flags(flags)
        .then(R15, STACK - 8)
        .then_stored(0xff8, &[3, 2, 0x24])
        .model_only()
        .check();
    case("pushfw", &on_stack(&[0x66, 0x9c]))
        .given(R15, STACK)
        .flags(Rflags::CF)
        .then(R15, STACK - 2)
        .then_stored(0xffe, &[3, 2])
        .check();
}

#[test]
fn popped_flags_are_those_a_user_may_change() {
    let user = ALL | Rflags::TF | Rflags::DF | Rflags::NT | Rflags::AC | Rflags::ID;
    case("popfq of ones", &on_stack(&[0x9d]))
        .given(R15, STACK)
        .flags(Rflags::RF)
        .stored(0x1000, &[0xff; 8])
        .then(R15, STACK + 8)
        .then_flags(user)
        .model_only()
        .check();
    case("popfq of zeros keeps IF", &on_stack(&[0x9d]))
        .given(R15, STACK)
        .flags(user)
        .then(R15, STACK + 8)
        .then_flags(Rflags::empty())
        .model_only()
        .check();
    case("popfw leaves what is above", &on_stack(&[0x66, 0x9d]))
        .given(R15, STACK)
        .flags(user)
        .then(R15, STACK + 2)
        .then_flags(Rflags::AC | Rflags::ID)
        .model_only()
        .check();
}

#[test]
fn flags_through_memory_and_ah_agree_with_the_processor() {
    let mut random = Random(17);
    // A trap or an alignment check would end the process of the test.
    let harmless = !(Rflags::TF | Rflags::AC).bits();
    let codes = [on_stack(&[0x9d]), on_stack(&[0x66, 0x9d]), on_stack(&[0x9c]), vec![0x9e], vec![0x9f]];
    for code in codes {
        for _ in 0..cases(100) {
            let mut values = Values::random(&mut random);
            values.set(R15, STACK);
            values.store(0x1000, &(random.next() & harmless).to_le_bytes());
            let after = agree(&code, &values);
            assert_eq!(after.rflags & (Rflags::IOPL | Rflags::IF).bits(), 0x200);
        }
    }
}

#[test]
fn translation_by_table_uses_al_as_offset() {
    let mut values = Values::new();
    values.store(0xfe, &[0x5a]);
    case("xlatb", &[0xd7])
        .given(Rbx, DATA)
        .given(Rax, 0x1234_56fe)
        .stored(0xfe, &[0x5a])
        .then(Rax, 0x1234_565a)
        .check();
    case("xlatb with EBX", &[0x67, 0xd7])
        .given(Rbx, 9 << 32 | DATA)
        .given(Rax, 1)
        .stored(1, &[7])
        .then(Rax, 7)
        .check();
    values.set(Rbx, END);
    values.set(Rax, 0);
    refused(&[0xd7], &values, Stop::Exception(Exception::page_fault(LinearAddress(END), 4)));
}
