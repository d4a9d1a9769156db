//! RFLAGS kept lazily is RFLAGS: every combination, every condition, and arithmetic on all pairs of bytes against a
//! ripple-carry adder.
#![allow(clippy::unwrap_used, reason = "tests")]

use iced_x86::{Decoder, DecoderOptions};
use isa::decode::{self, FlagsNeeded};
use isa::flags::{self, Condition, Direction, Flags, Rflags};
use isa::flat::FlatMachine;
use isa::record::Record;
use isa::registers::Gpr;
use isa::state::Slot;

const STATUS: [Rflags; 6] = [Rflags::CF, Rflags::PF, Rflags::AF, Rflags::ZF, Rflags::SF, Rflags::OF];

/// All 64 combinations of the status flags.
fn combinations() -> impl Iterator<Item = Rflags> {
    (0..1_u32 << STATUS.len()).map(|choice| {
        let chosen = STATUS.iter().enumerate().filter(|&(bit, _)| choice >> bit & 1 != 0);
        chosen.map(|(_, &flag)| flag).collect()
    })
}

#[test]
fn every_combination_of_status_flags_reads_as_it_was_written() {
    for status in combinations() {
        for rest in [Rflags::empty(), Rflags::DF, Rflags::IF | Rflags::ID, Rflags::all() - Rflags::STATUS] {
            let all = rest | status | Rflags::RESERVED_1;
            let flags = Flags::new((rest | status).bits());
            assert_eq!(flags.get(), all.bits());
            assert_eq!(flags.status(), status);
            assert_eq!(flags.rest(), (all - Rflags::STATUS).bits());
            let mut other = Flags::new(!status.bits());
            other.set(all.bits());
            assert_eq!(other, flags);
        }
    }
}

#[test]
fn a_flag_that_is_set_alone_leaves_the_others() {
    for status in combinations() {
        for value in [false, true] {
            let changed = |flag: Rflags, set: fn(&mut Flags, bool)| {
                let mut flags = Flags::new(status.bits());
                set(&mut flags, value);
                let mut expected = status;
                expected.set(flag, value);
                assert_eq!(flags.status(), expected, "{flag:?} to {value} in {status:?}");
            };
            changed(Rflags::CF, Flags::set_cf);
            changed(Rflags::OF, Flags::set_of);
            changed(Rflags::ZF, Flags::set_zf);
        }
        let mut flags = Flags::new(status.bits());
        flags.set_direction(Direction::Down);
        assert_eq!((flags.status(), flags.direction()), (status, Direction::Down));
        flags.set_direction(Direction::Up);
        assert_eq!(flags, Flags::new(status.bits()));
    }
}

#[test]
fn conditions_are_the_manuals_formulas() {
    fn holds<T: Condition>(status: Rflags) -> bool {
        T::holds(&Flags::new(status.bits()))
    }
    for status in combinations() {
        let is = |flag| status.contains(flag);
        let (cf, zf, sf, of, pf) =
            (is(Rflags::CF), is(Rflags::ZF), is(Rflags::SF), is(Rflags::OF), is(Rflags::PF));
        // SDM Vol. 1, table B-1, in the order of the encoding.
        let rows = [
            (holds::<flags::O>(status), of),
            (holds::<flags::No>(status), !of),
            (holds::<flags::B>(status), cf),
            (holds::<flags::Ae>(status), !cf),
            (holds::<flags::E>(status), zf),
            (holds::<flags::Ne>(status), !zf),
            (holds::<flags::Be>(status), cf || zf),
            (holds::<flags::A>(status), !cf && !zf),
            (holds::<flags::S>(status), sf),
            (holds::<flags::Ns>(status), !sf),
            (holds::<flags::P>(status), pf),
            (holds::<flags::Np>(status), !pf),
            (holds::<flags::L>(status), sf ^ of),
            (holds::<flags::Ge>(status), !(sf ^ of)),
            (holds::<flags::Le>(status), (sf ^ of) || zf),
            (holds::<flags::G>(status), !(sf ^ of) && !zf),
        ];
        for (number, (found, expected)) in rows.into_iter().enumerate() {
            assert_eq!(found, expected, "condition {number} of {status:?}");
        }
    }
}

/// Adds bit by bit: the sum, and the carries out of bits 3, 6 and 7.
fn ripple(a: u8, b: u8, mut carry: bool) -> (u8, [bool; 3]) {
    let (mut sum, mut carries) = (0, [false; 8]);
    for (bit, out) in carries.iter_mut().enumerate() {
        let (x, y) = (a >> bit & 1 != 0, b >> bit & 1 != 0);
        sum |= u8::from(x ^ y ^ carry) << bit;
        carry = (x && y) || (carry && (x || y));
        *out = carry;
    }
    (sum, [carries[3], carries[6], carries[7]])
}

fn result_flags(result: u8) -> Rflags {
    let ones = (0..8).filter(|bit| result >> bit & 1 != 0).count();
    let mut flags = Rflags::empty();
    flags.set(Rflags::ZF, ones == 0);
    flags.set(Rflags::PF, ones % 2 == 0);
    flags.set(Rflags::SF, result >= 0x80);
    flags
}

fn sum(a: u8, b: u8, carry: bool) -> (u8, Rflags) {
    let (sum, [nibble, into_sign, out]) = ripple(a, b, carry);
    let mut flags = result_flags(sum);
    flags.set(Rflags::AF, nibble);
    flags.set(Rflags::CF, out);
    flags.set(Rflags::OF, into_sign != out);
    (sum, flags)
}

/// Subtraction adds the complement; its borrows are the missing carries.
fn difference(a: u8, b: u8, borrow: bool) -> (u8, Rflags) {
    let (difference, flags) = sum(a, !b, !borrow);
    (difference, flags ^ (Rflags::AF | Rflags::CF))
}

fn logic(result: u8) -> (u8, Rflags) {
    (result, result_flags(result))
}

fn record(code: &[u8]) -> Record<FlatMachine> {
    let instruction = Decoder::new(64, code, DecoderOptions::NONE).decode();
    decode::record(&instruction, 0, FlagsNeeded::Yes)
}

/// AL and the status flags after an instruction on AL and CL.
fn execute(
    machine: &mut FlatMachine,
    record: &Record<FlatMachine>,
    a: u8,
    b: u8,
    before: Rflags,
) -> (u8, Rflags) {
    machine.state.set_slot(Slot::from(Gpr::Rax), a.into());
    machine.state.set_slot(Slot::from(Gpr::Rcx), b.into());
    machine.state.flags.set(before.bits());
    (record.handler)(machine, record).unwrap();
    (machine.state.get(Slot::from(Gpr::Rax)), machine.state.flags.status())
}

#[test]
fn arithmetic_on_all_pairs_of_bytes_sets_the_flags_of_a_ripple_carry_adder() {
    type Reference = fn(u8, u8, bool) -> (u8, Rflags);
    let rows: [(&str, [u8; 2], Reference); 8] = [
        ("add al,cl", [0x00, 0xc8], |a, b, _| sum(a, b, false)),
        ("adc al,cl", [0x10, 0xc8], sum),
        ("sub al,cl", [0x28, 0xc8], |a, b, _| difference(a, b, false)),
        ("sbb al,cl", [0x18, 0xc8], difference),
        ("cmp al,cl", [0x38, 0xc8], |a, b, _| (a, difference(a, b, false).1)),
        ("and al,cl", [0x20, 0xc8], |a, b, _| logic(a & b)),
        ("or al,cl", [0x08, 0xc8], |a, b, _| logic(a | b)),
        ("xor al,cl", [0x30, 0xc8], |a, b, _| logic(a ^ b)),
    ];
    let mut machine = FlatMachine::with_code(&[]);
    for (name, code, reference) in rows {
        let record = record(&code);
        for a in 0..=u8::MAX {
            for b in 0..=u8::MAX {
                for carry in [false, true] {
                    let before = if carry { Rflags::STATUS } else { Rflags::empty() };
                    let found = execute(&mut machine, &record, a, b, before);
                    assert_eq!(found, reference(a, b, carry), "{name} of {a:#x}, {b:#x}, {carry}");
                }
            }
        }
    }
}

#[test]
fn counting_and_negating_all_bytes_set_their_flags() {
    let keep_carry = |(result, flags): (u8, Rflags), before: Rflags| {
        (result, (flags - Rflags::CF) | (before & Rflags::CF))
    };
    let mut machine = FlatMachine::with_code(&[]);
    let [inc, dec, neg, not] =
        [[0xfe, 0xc0], [0xfe, 0xc8], [0xf6, 0xd8], [0xf6, 0xd0]].map(|code| record(&code));
    for a in 0..=u8::MAX {
        for before in combinations() {
            let mut run = |record| execute(&mut machine, record, a, 0x5a, before);
            assert_eq!(run(&inc), keep_carry(sum(a, 1, false), before), "inc {a:#x}");
            assert_eq!(run(&dec), keep_carry(difference(a, 1, false), before), "dec {a:#x}");
            assert_eq!(run(&neg), difference(0, a, false), "neg {a:#x}");
            assert_eq!(run(&not), (!a, before), "not {a:#x}");
        }
    }
}
