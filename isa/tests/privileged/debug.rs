//! Debug registers: MOV DRn, and breakpoints against a byte-by-byte reading.

use crate::machine::{Machine, Mode, Random, cases};
use isa::address::LinearAddress;
use isa::control::Cr4;
use isa::cpu::Stop;
use isa::event::Exception;
use isa::state::Slot;
use isa::system::debug::{self, Access, Dr6};

#[test]
fn reserved_bits_keep_their_values() {
    let mut random = Random(8);
    for _ in 0..cases(300) {
        let value = random.next() & 0xffff_ffff;
        let mut machine = Machine::new(Mode::Long, 0);
        machine.state.set_slot(Slot::Rax, value);
        machine.completes(&[0x0f, 0x23, 0xf0]); // mov dr6,rax
        machine.completes(&[0x0f, 0x21, 0xf1]); // mov rcx,dr6
        assert_eq!(machine.state.slot(Slot::Rcx), value & 0xe00f | 0xffff_0ff0);
        machine.completes(&[0x0f, 0x23, 0xe8]); // mov dr5,rax: DR7
        let dr7 = value & 0xffff_23ff | 0x400;
        assert_eq!(machine.state.system.dr7, dr7);
        if dr7 & debug::GENERAL_DETECT == 0 {
            machine.completes(&[0x0f, 0x21, 0xf9]); // mov rcx,dr7
            assert_eq!(machine.state.slot(Slot::Rcx), dr7);
        }
    }
}

#[test]
fn addresses_are_kept_whole_in_64_bit_mode_and_in_half_elsewhere() {
    for (mode, mask) in [(Mode::Long, u64::MAX), (Mode::Protected, 0xffff_ffff)] {
        for register in 0..4_u8 {
            let mut machine = Machine::new(mode, 0);
            machine.state.set_slot(Slot::Rax, 0x9123_4567_89ab_cdef);
            machine.completes(&[0x0f, 0x23, 0xc0 | register << 3]);
            let kept = 0x9123_4567_89ab_cdef & mask;
            assert_eq!(machine.state.system.debug_addresses[usize::from(register)], kept);
        }
    }
}

#[test]
fn upper_halves_of_dr6_and_dr7_must_be_zero() {
    for register in [4, 5, 6, 7] {
        let mut machine = Machine::new(Mode::Long, 0);
        machine.state.set_slot(Slot::Rax, 1 << 32);
        machine.refuses(&[0x0f, 0x23, 0xc0 | register << 3], Stop::GENERAL_PROTECTION);
    }
}

#[test]
fn aliases_are_undefined_with_debugging_extensions_before_privilege_counts() {
    for cpl in [0, 3] {
        let mut machine = Machine::new(Mode::Protected, cpl);
        machine.state.system.cr4 |= Cr4::DE;
        machine.state.system.dr7 |= debug::GENERAL_DETECT;
        for code in [[0x0f, 0x23, 0xe0], [0x0f, 0x21, 0xe8]] {
            machine.refuses(&code, Stop::INVALID_OPCODE);
        }
    }
}

#[test]
fn general_detect_comes_after_privilege_and_interception() {
    let detected = Stop::Exception(Exception::debug(Dr6::BD));
    for code in [[0x0f, 0x23, 0xc0], [0x0f, 0x21, 0xf8]] {
        let mut machine = Machine::new(Mode::Long, 0);
        machine.state.system.dr7 |= debug::GENERAL_DETECT;
        machine.state.set_slot(Slot::Rax, 1 << 40);
        machine.refuses(&code, detected);
        machine.state.system.cpl = 3;
        machine.refuses(&code, Stop::GENERAL_PROTECTION);
        // Of all instructions MOV DR alone leaves a guest before its privilege is looked at (SDM Vol. 3C, 28.1.3).
        machine.exits = true;
        machine.refuses(&code, Stop::Machine);
    }
}

#[test]
fn delivery_records_the_reasons_and_ends_general_detect() {
    let mut machine = Machine::new(Mode::Long, 0);
    let system = &mut machine.state.system;
    system.dr6 = 0xffff_0ff0 | 1 << 14 | 3;
    system.dr7 = 0x400 | debug::GENERAL_DETECT | 0x55;
    debug::record(system, Exception::debug(Dr6::B3 | Dr6::BD).debug_reasons());
    assert_eq!((system.dr6, system.dr7), (0xffff_0ff0 | 1 << 14 | 1 << 13 | 8, 0x455));
}

/// Which of the four match, byte by byte.
fn naive(machine: &Machine, kinds: &[u64], touched: &[u64]) -> u64 {
    let system = &machine.state.system;
    let mut reasons = 0;
    for number in 0..4 {
        let enabled = system.dr7 >> (2 * number) & 3 != 0;
        let kind = system.dr7 >> (16 + 4 * number) & 3;
        let length = match system.dr7 >> (18 + 4 * number) & 3 {
            _ if kind == 0 => 1,
            0 => 1,
            1 => 2,
            3 => 4,
            _ => 8,
        };
        let first = system.debug_addresses[number] / length * length;
        if enabled && kinds.contains(&kind) && (first..first + length).any(|byte| touched.contains(&byte)) {
            reasons |= 1 << number;
        }
    }
    reasons
}

#[test]
fn breakpoints_match_when_a_byte_is_common() {
    let mut random = Random(9);
    let mut matched = [0; 4];
    for _ in 0..cases(5000) {
        let mut machine = Machine::new(Mode::Long, 0);
        let extensions = random.below(2) == 0;
        machine.state.system.cr4.set(Cr4::DE, extensions);
        machine.state.system.dr7 = debug::dr7(random.next());
        machine.state.system.debug_addresses = std::array::from_fn(|_| 0x40 + random.below(16));
        let (at, bytes) = (0x40 + random.below(16), random.pick(&[1, 2, 4, 8, 16]));
        let touched: Vec<u64> = (at..at + bytes).collect();
        let system = &machine.state.system;
        let found = [
            debug::on_execution(system, LinearAddress(at)),
            debug::on_access(system, LinearAddress(at), bytes, Access::Read),
            debug::on_access(system, LinearAddress(at), bytes, Access::Write),
            debug::on_io(system, at as u16, bytes as u8),
        ];
        let io: &[u64] = if extensions { &[2] } else { &[] };
        let expected = [
            naive(&machine, &[0], &touched[..1]),
            naive(&machine, &[3], &touched),
            naive(&machine, &[1, 3], &touched),
            naive(&machine, io, &touched),
        ];
        assert_eq!(found.map(|reasons| reasons.bits()), expected);
        for (count, reasons) in matched.iter_mut().zip(expected) {
            *count += usize::from(reasons != 0);
        }
        assert_eq!(debug::is_armed(system), system.dr7 & 0xff != 0);
    }
    assert!(matched.iter().all(|&count| count > 100), "{matched:?}");
}

#[test]
fn the_machine_must_step_while_a_flag_or_a_breakpoint_asks_for_it() {
    for (flags, dr7, steps) in
        [(2, 0x400, false), (0x102, 0x400, true), (0x1_0002, 0x400, true), (2, 0x401, true), (2, 0x480, true)]
    {
        let mut machine = Machine::new(Mode::Long, 0);
        machine.state.flags.set(flags);
        machine.state.system.dr7 = dr7;
        assert_eq!(debug::must_step(&machine.state), steps);
    }
}
