//! MOVS CMPS SCAS LODS STOS: rows, every prefix against the host's processor, and what a stop in the middle leaves.
#![allow(clippy::unwrap_used, reason = "tests")]

mod processor;

use isa::address::LinearAddress;
use isa::cpu::Stop;
use isa::engine::CodeCache;
use isa::event::Exception;
use isa::flags::Rflags;
use isa::flat::FlatMachine;
use isa::registers::Gpr::{R8, Rax, Rcx, Rdi, Rsi};
use processor::{DATA, END, Random, Values, WINDOW, agree, case, cases, machine, run_model};

const NONE: Rflags = Rflags::empty();

#[test]
fn one_iteration_moves_the_registers_by_one_element() {
    case("movsb", &[0xa4])
        .given(Rsi, DATA)
        .given(Rdi, DATA + 8)
        .stored(0, &[7, 8])
        .then(Rsi, DATA + 1)
        .then(Rdi, DATA + 9)
        .then_stored(8, &[7])
        .check();
    case("movsd down", &[0xa5])
        .given(Rsi, DATA + 1)
        .given(Rdi, DATA + 8)
        .flags(Rflags::DF)
        .stored(0, &[1, 2, 3, 4, 5])
        .then(Rsi, DATA - 3)
        .then(Rdi, DATA + 4)
        .then_stored(8, &[2, 3, 4, 5])
        .check();
    case("cmpsw compares the source with the destination", &[0x66, 0xa7])
        .given(Rsi, DATA)
        .given(Rdi, DATA + 2)
        .stored(0, &[1, 0, 2, 0])
        .then(Rsi, DATA + 2)
        .then(Rdi, DATA + 4)
        .then_flags(Rflags::CF | Rflags::AF | Rflags::SF | Rflags::PF)
        .check();
    case("scasq compares RAX with the destination", &[0x48, 0xaf])
        .given(Rax, 5)
        .given(Rdi, DATA)
        .stored(0, &[5])
        .then(Rdi, DATA + 8)
        .then_flags(Rflags::ZF | Rflags::PF)
        .check();
    case("lodsb keeps the rest of RAX", &[0xac])
        .given(Rax, u64::MAX)
        .given(Rsi, DATA)
        .then(Rsi, DATA + 1)
        .then(Rax, 0xffff_ffff_ffff_ff00)
        .check();
    case("lodsd does not", &[0xad])
        .given(Rax, u64::MAX)
        .given(Rsi, DATA)
        .then(Rsi, DATA + 4)
        .then(Rax, 0)
        .check();
    case("stosw", &[0x66, 0xab])
        .given(Rax, 0x0102_0304)
        .given(Rdi, DATA + 1)
        .then(Rdi, DATA + 3)
        .then_stored(1, &[4, 3])
        .check();
}

#[test]
fn repetition_counts_down_and_ends_with_the_count_or_the_comparison() {
    case("rep stosb", &[0xf3, 0xaa])
        .given(Rcx, 3)
        .given(Rax, 0x55)
        .given(Rdi, DATA)
        .then(Rcx, 0)
        .then(Rdi, DATA + 3)
        .then_stored(0, &[0x55; 3])
        .check();
    case("F2 repeats MOVS as well, whatever ZF is", &[0xf2, 0xa4])
        .given(Rcx, 2)
        .given(Rsi, DATA)
        .given(Rdi, DATA + 8)
        .flags(Rflags::ZF)
        .stored(0, &[1, 2, 3])
        .then(Rcx, 0)
        .then(Rsi, DATA + 2)
        .then(Rdi, DATA + 10)
        .then_stored(8, &[1, 2])
        .check();
    case("repne scasb finds", &[0xf2, 0xae])
        .given(Rcx, 9)
        .given(Rax, 0)
        .given(Rdi, DATA)
        .flags(Rflags::ZF)
        .stored(0, &[1, 2, 3])
        .then(Rcx, 5)
        .then(Rdi, DATA + 4)
        .then_flags(Rflags::ZF | Rflags::PF)
        .check();
    case("repe cmpsb stops after the difference", &[0xf3, 0xa6])
        .given(Rcx, 9)
        .given(Rsi, DATA)
        .given(Rdi, DATA + 16)
        .stored(0, &[1, 2, 4])
        .stored(16, &[1, 2, 3])
        .then(Rcx, 6)
        .then(Rsi, DATA + 3)
        .then(Rdi, DATA + 19)
        .then_flags(NONE)
        .check();
    case("repe cmpsb to the end", &[0xf3, 0xa6])
        .given(Rcx, 2)
        .given(Rsi, DATA)
        .given(Rdi, DATA + 16)
        .then(Rcx, 0)
        .then(Rsi, DATA + 2)
        .then(Rdi, DATA + 18)
        .then_flags(Rflags::ZF | Rflags::PF)
        .check();
}

#[test]
fn a_count_of_0_does_nothing() {
    for operation in [0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf] {
        for prefix in [0xf2, 0xf3] {
            // The addresses have no memory.
            case("64-bit", &[prefix, operation]).given(Rcx, 0).flags(Rflags::CF).check();
            case("ECX", &[0x67, prefix, operation]).given(Rcx, 7 << 32).flags(Rflags::CF).check();
        }
    }
}

#[test]
fn a_32_bit_address_wraps_and_zero_extends() {
    let garbage = 0x1234_5678_0000_0000;
    case("rep movsb", &[0x67, 0xf3, 0xa4])
        .given(Rcx, garbage | 2)
        .given(Rsi, garbage | DATA)
        .given(Rdi, garbage | (DATA + 8))
        .stored(0, &[1, 2])
        .then(Rcx, 0)
        .then(Rsi, DATA + 2)
        .then(Rdi, DATA + 10)
        .then_stored(8, &[1, 2])
        .check();
    case("lodsb", &[0x67, 0xac])
        .given(Rsi, garbage | DATA)
        .given(Rax, 1)
        .then(Rax, 0)
        .then(Rsi, DATA + 1)
        .check();
}

#[test]
fn a_segment_override_moves_the_source_and_not_the_destination() {
    if !has_fsgsbase() {
        return;
    }
    // wrgsbase r8 / gs rep movsb
    case("gs", &[0xf3, 0x49, 0x0f, 0xae, 0xd8, 0x65, 0xf3, 0xa4])
        .given(R8, 0x100)
        .given(Rcx, 2)
        .given(Rsi, DATA)
        .given(Rdi, DATA)
        .stored(0x100, &[1, 2])
        .then(Rcx, 0)
        .then(Rsi, DATA + 2)
        .then(Rdi, DATA + 2)
        .then_stored(0, &[1, 2])
        .check();
    case("gs stosb, without effect", &[0xf3, 0x49, 0x0f, 0xae, 0xd8, 0x65, 0xaa])
        .given(R8, 0x100)
        .given(Rax, 9)
        .given(Rdi, DATA)
        .then(Rdi, DATA + 1)
        .then_stored(0, &[9])
        .check();
}

fn has_fsgsbase() -> bool {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    #[allow(unsafe_code, reason = "a value of the auxiliary vector")]
    {
        const HWCAP2_FSGSBASE: u64 = 2;
        // SAFETY: getauxval has no preconditions.
        unsafe { libc::getauxval(libc::AT_HWCAP2) & HWCAP2_FSGSBASE != 0 }
    }
    #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
    true
}

/// The order of iterations is visible when the two ranges overlap.
#[test]
fn overlapping_copies_repeat_what_is_in_front() {
    for (size, code) in
        [(1, &[0xf3, 0xa4][..]), (2, &[0xf3, 0x66, 0xa5]), (4, &[0xf3, 0xa5]), (8, &[0xf3, 0x48, 0xa5])]
    {
        for distance in -20_i64..=20 {
            let mut values = Values::random(&mut Random(distance.unsigned_abs()));
            values.set(Rcx, 300 / size);
            values.set(Rsi, DATA + 64);
            values.set(Rdi, (DATA + 64).wrapping_add_signed(distance));
            agree(code, &values);
        }
    }
}

#[test]
fn every_operation_prefix_size_and_direction_agrees_with_the_processor() {
    let mut random = Random(5);
    for operation in [0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf] {
        for prefixes in [&[][..], &[0x66], &[0x67], &[0x66, 0x67]] {
            for repeat in [&[][..], &[0xf3], &[0xf2]] {
                for rex in [&[][..], &[0x48]] {
                    let code = [prefixes, repeat, rex, &[operation]].concat();
                    let narrow = prefixes.contains(&0x67);
                    for _ in 0..cases(12) {
                        agree(&code, &string_values(narrow, &mut random));
                    }
                }
            }
        }
    }
}

/// Few different bytes, so that comparisons succeed for a while, and ranges that often overlap.
fn string_values(narrow: bool, random: &mut Random) -> Values {
    let mut values = Values::random(random);
    let letters: &[u8] = random.pick(&[&[0x61], &[0x61, 0x61, 0x61, 0x61, 0x61, 0x62], &[0x61, 0x80, 0xff]]);
    values.data.iter_mut().for_each(|byte| *byte = random.pick(letters));
    values.set(Rax, u64::from_le_bytes([random.pick(letters); 8]));
    let middle = DATA + WINDOW as u64 / 2;
    let garbage = if narrow { random.next() << 32 } else { 0 };
    let any = random.below(100);
    let count = random.pick(&[0, 1, 2, 3, any]);
    values.set(Rcx, garbage | count);
    values.set(Rsi, garbage | (middle + random.below(200)));
    values.set(Rdi, garbage | (middle + random.below(200)));
    if random.below(2) == 0 {
        values.rflags |= Rflags::DF.bits();
    }
    values
}

/// The outcome of code that faults at the end of memory.
fn fault_at_end(code: &[u8], values: &Values, error_code: u16) -> FlatMachine {
    let (run, machine) = run_model(code, values);
    let fault = Exception::page_fault(LinearAddress(END), error_code);
    assert_eq!((run.stop, run.executed), (Some(Stop::Exception(fault)), 0));
    assert_eq!(machine.state.rip(), FlatMachine::BASE, "RIP is at the instruction");
    machine
}

#[test]
fn a_fault_in_the_middle_leaves_the_registers_of_the_last_iteration() {
    let mut values = Values::new();
    values.rflags |= Rflags::CF.bits();
    values.set(Rcx, 10);
    values.set(Rdi, END - 19);
    values.set(Rsi, DATA);
    values.data.fill(0x77);
    // rep movsd: four elements and three bytes fit.
    let after = fault_at_end(&[0xf3, 0xa5], &values, 6).state.registers();
    assert_eq!((after.gpr[Rcx as usize], after.gpr[Rdi as usize]), (6, END - 3));
    assert_eq!((after.gpr[Rsi as usize], after.rflags), (DATA + 16, values.rflags));
    let machine = fault_at_end(&[0xf3, 0xa5], &values, 6);
    let tail = &machine.memory()[machine.memory().len() - 19..];
    assert_eq!(tail[..16], [0x77; 16]);
    assert_eq!(tail[16..], [0; 3], "nothing of the element that faults is written");
    // repe scasd from the same place.
    values.set(Rax, 0);
    let after = fault_at_end(&[0xf3, 0xaf], &values, 4).state.registers();
    assert_eq!((after.gpr[Rcx as usize], after.gpr[Rdi as usize]), (6, END - 3));
    assert_eq!(after.rflags, 0x202 | (Rflags::ZF | Rflags::PF).bits(), "the flags of the last iteration");
}

#[test]
fn a_fault_in_the_first_iteration_changes_nothing() {
    let mut values = Values::new();
    values.set(Rcx, 0xffff_0000_0000_0003);
    values.set(Rdi, 0xffff_0000_0000_0000 | END);
    values.set(Rsi, DATA);
    for code in [&[0x67, 0xf3, 0xaa][..], &[0x67, 0xf3, 0xa4], &[0x67, 0xf3, 0x48, 0xa5]] {
        let after = fault_at_end(code, &values, 6).state.registers();
        assert_eq!(after, machine(code, &values).state.registers());
    }
}

/// Started again where it stopped, a repetition ends as if it had never stopped.
#[test]
fn a_repetition_over_decoded_code_drops_it_and_goes_on() {
    // rep stosq over six pages, of which the first is the code itself and another one holds decoded code.
    let code = [0xf3, 0x48, 0xab];
    let mut values = Values::new();
    values.set(Rcx, 6 * 512 - 3);
    values.set(Rax, 0xf4f4_f4f4_f4f4_f4f4);
    values.set(Rdi, FlatMachine::BASE + 24);
    let mut machine = machine(&code, &values);
    let mut cache = CodeCache::new();
    machine.state.set_rip(FlatMachine::BASE + 0x2000);
    machine.memory_mut()[0x2000..0x2003].copy_from_slice(&[0x90, 0x90, 0xf4]);
    assert_eq!(cache.run(&mut machine, 10).executed, 2);
    machine.state.set_rip(FlatMachine::BASE);
    let run = cache.run(&mut machine, 10);
    assert_eq!((run.stop, run.executed), (Some(Stop::Halt), 1));
    assert!(machine.memory()[24..6 * 4096].iter().all(|&byte| byte == 0xf4));
    assert_eq!(machine.memory()[6 * 4096], 0);
    assert_eq!(machine.state.registers().gpr[Rcx as usize], 0);
}
