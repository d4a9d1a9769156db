//! The x87 unit: its stack, its exceptions and its images.

use crate::machine::{BASE, Mode, completes, machine, real_address, refuses, run, store, stored};
use isa::cpu::Stop;
use isa::event::Vector;
use isa::flat::FlatMachine;
use isa::state::Slot;
use proptest::prelude::*;

const UNDERFLOW_OF_THE_STACK: u16 = 0x41;
const C1: u16 = 0x200;
const INDEFINITE: u128 = 0xffff_c000_0000_0000_0000;

fn prepared(code: &[u8]) -> FlatMachine {
    let mut machine = machine(Mode::Bits64, code, 0x8000);
    machine.state.set_slot(Slot::Rbx, BASE + 0x9000);
    machine
}

fn double(machine: &FlatMachine, offset: usize) -> f64 {
    f64::from_le_bytes(stored(machine, offset, 8).try_into().unwrap())
}

#[test]
fn eight_numbers_fit_and_the_ninth_overflows_the_stack() {
    let mut machine = prepared(&[0xd9, 0xe8].repeat(9)); // fld1, nine times
    completes(&mut machine);
    let x87 = machine.state.x87;
    assert_eq!((x87.tag, x87.st[0], x87.st[1]), (0xff, INDEFINITE, 0x3fff_8000_0000_0000_0000));
    assert_eq!(x87.status & (UNDERFLOW_OF_THE_STACK | C1), UNDERFLOW_OF_THE_STACK | C1);
}

#[test]
fn an_empty_register_is_the_indefinite_with_a_stack_fault() {
    let mut machine = prepared(&[0xdd, 0x1b]); // fstp qword [rbx]
    completes(&mut machine);
    assert_eq!(stored(&machine, 0x9000, 8), 0xfff8_0000_0000_0000_u64.to_le_bytes());
    assert_eq!(machine.state.x87.status & (UNDERFLOW_OF_THE_STACK | C1), UNDERFLOW_OF_THE_STACK);
}

#[test]
fn an_unmasked_exception_waits_for_the_next_instruction_that_waits() {
    // fldcw [rbx] / fld1 / fldz / fdivp / fnstsw ax / fnstcw [rbx+8] / wait
    let code = [0xd9, 0x2b, 0xd9, 0xe8, 0xd9, 0xee, 0xde, 0xf9, 0xdf, 0xe0, 0xd9, 0x7b, 8, 0x9b];
    let mut machine = prepared(&code);
    store(&mut machine, 0x9000, &0x37b_u16.to_le_bytes());
    let run = run(&mut machine);
    assert_eq!(run.stop, Some(Stop::exception(Vector::FloatingPoint)));
    assert_eq!((run.executed, machine.state.rip()), (6, BASE + 13));
    let status: u16 = machine.state.get(Slot::Rax);
    assert_eq!(status & 0x8084, 0x8084, "#Z, ES and B");
    assert_eq!(machine.state.x87.st[0], 0, "the quotient is not delivered");
    // fnclex lets it go on; fld1 after a pending exception does not.
    machine.state.set_rip(BASE);
    store(&mut machine, 0, &[0xdb, 0xe2, 0x9b, 0xf4]);
    completes(&mut machine);
}

#[test]
fn emms_and_fninit_empty_the_stack() {
    for (code, control) in [(&[0xd9, 0xe8, 0x0f, 0x77][..], 0x27f), (&[0xd9, 0xe8, 0xdb, 0xe3], 0x37f)] {
        let mut machine = prepared(code);
        machine.state.x87.control = 0x27f;
        completes(&mut machine);
        let x87 = machine.state.x87;
        assert_eq!((x87.tag, x87.status & 0x3800, x87.control), (0, 0, control));
    }
}

#[test]
fn saving_and_restoring_in_every_format_keeps_all_registers() {
    // fld1 / fldpi / fldz / fnsave / frstor, with and without the operand-size prefix
    let loads = [0xd9, 0xe8, 0xd9, 0xeb, 0xd9, 0xee];
    for (mode, is_real) in [(Mode::Bits16, false), (Mode::Bits16, true), (Mode::Bits32, false)] {
        for prefix in [&[][..], &[0x66]] {
            let place =
                if mode == Mode::Bits16 { [0xdd, 0x37, 0xdd, 0x27] } else { [0xdd, 0x33, 0xdd, 0x23] };
            let code = [&loads, prefix, &place[..2], prefix, &place[2..]].concat();
            let mut machine = machine(mode, &code, 0x8000);
            machine.state.set_slot(Slot::Rbx, if mode == Mode::Bits16 { 0x9000 } else { BASE + 0x9000 });
            if is_real {
                real_address(&mut machine);
            }
            completes(&mut machine);
            let x87 = machine.state.x87;
            assert_eq!((x87.tag, x87.status >> 11), (0xe0, 5), "{mode:?} {prefix:?}");
            assert_eq!(x87.st[..3], [0, 0x4000_c90f_daa2_2168_c235, 0x3fff_8000_0000_0000_0000]);
            // The tags: empty, valid, special and zero in two bits a physical register.
            let word = if (mode == Mode::Bits16) == prefix.is_empty() { 2 } else { 4 };
            assert_eq!(stored(&machine, 0x9000 + 2 * word, 2), 0x07ff_u16.to_le_bytes());
        }
    }
}

#[test]
fn a_store_of_ten_bytes_that_is_refused_half_way_writes_nothing() {
    let mut machine = prepared(&[0xdb, 0x3b]); // fstp tbyte [rbx]
    machine.state.x87.tag = 1;
    machine.state.x87.st[0] = 0x3fff_8000_0000_0000_0001;
    machine.state.set_slot(Slot::Rbx, crate::machine::END - 8);
    let fault = isa::event::Exception::page_fault(isa::address::LinearAddress(crate::machine::END), 6);
    refuses(&mut machine, Stop::Exception(fault));
}

proptest! {
    /// With 53 bits of precision sums, products and quotients are those of the host's double precision, away from the
    /// ends of its exponent range.
    #[test]
    fn double_precision_control_gives_what_doubles_give(a in -1e100..1e100_f64, b in -1e100..1e100_f64) {
        // fldcw [rbx] / fld [rbx+8] / f.. [rbx+16] / fstp [rbx+24]
        for (reg, expected) in [(0_u8, a + b), (1, a * b), (4, a - b), (5, b - a), (6, a / b), (7, b / a)] {
            let code = [0xd9, 0x2b, 0xdd, 0x43, 8, 0xdc, 0x43 | reg << 3, 16, 0xdd, 0x5b, 24];
            let mut machine = prepared(&code);
            store(&mut machine, 0x9000, &0x27f_u16.to_le_bytes());
            store(&mut machine, 0x9008, &a.to_le_bytes());
            store(&mut machine, 0x9010, &b.to_le_bytes());
            completes(&mut machine);
            let found = double(&machine, 0x9018);
            prop_assert!(found == expected || expected.is_nan() || expected.abs() < 1e-290, "{} {}", found, expected);
        }
    }

    /// FILD and FISTP of 64-bit integers lose nothing.
    #[test]
    fn integers_come_back(value: i64) {
        let mut machine = prepared(&[0xdf, 0x2b, 0xdf, 0x7b, 8]); // fild qword [rbx] / fistp qword [rbx+8]
        store(&mut machine, 0x9000, &value.to_le_bytes());
        completes(&mut machine);
        prop_assert_eq!(stored(&machine, 0x9008, 8), value.to_le_bytes().to_vec());
    }
}
