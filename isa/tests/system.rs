//! Selectors, segment bases, values from outside, hints and flushes.
#![allow(clippy::unwrap_used, reason = "tests")]

mod processor;

use isa::address::LinearAddress;
use isa::cpu::Stop;
use isa::event::Exception;
use isa::flags::Rflags;
use isa::registers::Gpr::{R8, R15, Rax, Rbx, Rcx, Rdx, Rsi};
use processor::{DATA, END, Values, case, on_stack, refused, run_model};

/// Where the stack of a test is, in the middle of the data.
const STACK: u64 = DATA + 0x1000;
const ALL: Rflags = Rflags::STATUS;

#[test]
fn selectors_are_those_of_a_64_bit_program() {
    let rows: [(&str, &[u8], u64); 8] = [
        ("mov ax,cs", &[0x66, 0x8c, 0xc8], 0xffff_ffff_ffff_0033),
        ("mov eax,ss", &[0x8c, 0xd0], 0x2b),
        ("mov rax,cs", &[0x48, 0x8c, 0xc8], 0x33),
        ("mov eax,ds", &[0x8c, 0xd8], 0),
        ("mov eax,es", &[0x8c, 0xc0], 0),
        ("mov eax,fs", &[0x8c, 0xe0], 0),
        ("mov eax,gs", &[0x8c, 0xe8], 0),
        ("mov ax,ds", &[0x66, 0x8c, 0xd8], 0xffff_ffff_ffff_0000),
    ];
    for (name, code, after) in rows {
        case(name, code).given(Rax, u64::MAX).then(Rax, after).check();
    }
    case("memory receives 16 bits", &[0x48, 0x8c, 0x0e]) // mov [rsi],cs
        .given(Rsi, DATA)
        .stored(0, &[0xff; 4])
        .then_stored(0, &[0x33, 0])
        .check();
    case("push fs", &on_stack(&[0x0f, 0xa0]))
        .given(R15, STACK)
        .stored(0xff8, &[0xff; 8])
        .then(R15, STACK - 8)
        .then_stored(0xff8, &[0; 8])
        .check();
    case("push gs, 16 bits", &on_stack(&[0x66, 0x0f, 0xa8]))
        .given(R15, STACK)
        .stored(0xff8, &[0xff; 8])
        .then(R15, STACK - 2)
        .then_stored(0xffe, &[0; 2])
        .check();
    // mov ds,eax / pop fs
    for code in [&[0x8e, 0xd8][..], &[0x0f, 0xa1]] {
        refused(code, &Values::new(), Stop::Unmodelled);
    }
}

#[test]
fn segment_bases_are_written_and_read_in_their_width() {
    // wrgsbase rbx / rdgsbase rax; the same with 32 bits; mov rcx,gs:[rsi]
    case("64 bits", &[0xf3, 0x48, 0x0f, 0xae, 0xdb, 0xf3, 0x48, 0x0f, 0xae, 0xc8])
        .given(Rbx, 0x7fff_ffff_ffff)
        .then(Rax, 0x7fff_ffff_ffff)
        .model_only()
        .check();
    case("32 bits", &[0xf3, 0x0f, 0xae, 0xdb, 0xf3, 0x0f, 0xae, 0xc8])
        .given(Rbx, 0x1234_0000_8000_0000)
        .then(Rax, 0x8000_0000)
        .model_only()
        .check();
    case("32 bits of a wide base", &[0xf3, 0x48, 0x0f, 0xae, 0xd3, 0xf3, 0x0f, 0xae, 0xc0])
        .given(Rbx, 0x1234_8000_0000)
        .then(Rax, 0x8000_0000_u64 & 0xffff_ffff)
        .model_only()
        .check();
    case("addresses use it", &[0xf3, 0x48, 0x0f, 0xae, 0xdb, 0x65, 0x48, 0x8b, 0x0e])
        .given(Rbx, 8)
        .given(Rsi, DATA)
        .stored(8, &[1])
        .then(Rcx, 1)
        .model_only()
        .check();
}

#[test]
fn a_base_that_is_not_canonical_is_refused() {
    let mut values = Values::new();
    for base in [0x8000_0000_0000, 0xffff_7fff_ffff_ffff, 1 << 63] {
        values.set(Rbx, base);
        for code in [[0xf3, 0x48, 0x0f, 0xae, 0xd3], [0xf3, 0x48, 0x0f, 0xae, 0xdb]] {
            refused(&code, &values, Stop::GENERAL_PROTECTION);
        }
    }
    values.set(Rbx, 0xffff_8000_0000_0000);
    let (run, _) = run_model(&[0xf3, 0x48, 0x0f, 0xae, 0xdb], &values);
    assert_eq!(run.stop, Some(Stop::Halt));
}

/// The smallest machine answers with constants.
#[test]
fn values_from_outside_fill_whole_registers() {
    let flags = Rflags::STATUS;
    case("rdtsc", &[0x0f, 0x31]).flags(flags).then(Rax, 0).then(Rdx, 0).model_only().check();
    case("rdtscp", &[0x0f, 0x01, 0xf9])
        .flags(flags)
        .then(Rax, 0)
        .then(Rdx, 0)
        .then(Rcx, 0)
        .model_only()
        .check();
    case("rdpid r8", &[0xf3, 0x41, 0x0f, 0xc7, 0xf8]).flags(flags).then(R8, 0).model_only().check();
    case("cpuid", &[0x0f, 0xa2])
        .flags(flags)
        .given(Rax, 0x1111_0000_0000)
        .then(Rax, 0)
        .then(Rbx, u64::from(u32::from_le_bytes(*b"vmxs")))
        .then(Rcx, 0)
        .then(Rdx, 0)
        .model_only()
        .check();
    for (name, code, after) in [
        ("rdrand ebx", &[0x0f, 0xc7, 0xf3][..], 4),
        ("rdseed rbx", &[0x48, 0x0f, 0xc7, 0xfb], 4),
        ("rdrand bx", &[0x66, 0x0f, 0xc7, 0xf3], 0xffff_ffff_ffff_0004),
    ] {
        case(name, code)
            .given(Rbx, u64::MAX)
            .flags(flags)
            .then(Rbx, after)
            .then_flags(Rflags::CF)
            .model_only()
            .check();
    }
}

/// RSI has no memory.
#[test]
fn hints_do_nothing_and_access_nothing() {
    let codes: [&[u8]; 21] = [
        &[0x0f, 0x1f, 0x06],                         // nop [rsi]
        &[0x66, 0x0f, 0x1f, 0x84, 0x16, 0, 0, 0, 0], // nop word [rsi+rdx+0]
        &[0x0f, 0x1f, 0xc0],                         // nop eax
        &[0x48, 0x0f, 0x1f, 0xc0],                   // nop rax
        &[0xf3, 0x0f, 0x1e, 0xfa],                   // endbr64
        &[0xf3, 0x0f, 0x1e, 0xfb],                   // endbr32
        &[0xf3, 0x90],                               // pause
        &[0x0f, 0x18, 0x06],                         // prefetchnta [rsi]
        &[0x0f, 0x18, 0x0e],                         // prefetcht0
        &[0x0f, 0x18, 0x16],                         // prefetcht1
        &[0x0f, 0x18, 0x1e],                         // prefetcht2
        &[0x0f, 0x18, 0x26],                         // reserved
        &[0x0f, 0x0d, 0x06],                         // prefetch
        &[0x0f, 0x0d, 0x0e],                         // prefetchw
        &[0x0f, 0x0d, 0x16],                         // prefetchwt1
        &[0x0f, 0x0d, 0x1e],                         // reserved
        &[0x0f, 0x1c, 0x06],                         // cldemote
        &[0x0f, 0x1d, 0x06],                         // reserved nop
        &[0x0f, 0xae, 0xe8],                         // lfence
        &[0x0f, 0xae, 0xf0],                         // mfence
        &[0x0f, 0xae, 0xf8],                         // sfence
    ];
    for code in codes {
        case("hint", code).given(Rsi, END).flags(ALL).check();
    }
    // rdsspd eax / rdsspq rax, without shadow stacks
    for code in [&[0xf3, 0x0f, 0x1e, 0xc8][..], &[0xf3, 0x48, 0x0f, 0x1e, 0xc8]] {
        case("shadow stack pointer", code).flags(ALL).model_only().check();
    }
}

#[test]
fn flushes_fault_as_reads_do() {
    let fault = Stop::Exception(Exception::page_fault(LinearAddress(END), 4));
    // clflush / clflushopt / clwb [rsi]
    for code in [&[0x0f, 0xae, 0x3e][..], &[0x66, 0x0f, 0xae, 0x3e], &[0x66, 0x0f, 0xae, 0x36]] {
        case("flush", code).given(Rsi, DATA + 0x7f).flags(ALL).model_only().check();
        let mut values = Values::new();
        values.set(Rsi, END);
        refused(code, &values, fault);
    }
}

#[test]
fn non_temporal_stores_store() {
    case("movnti [rsi],edx", &[0x0f, 0xc3, 0x16])
        .given(Rsi, DATA + 1)
        .given(Rdx, 0x9999_9999_0403_0201)
        .then_stored(1, &[1, 2, 3, 4])
        .check();
    case("movnti [rsi],rdx", &[0x48, 0x0f, 0xc3, 0x16])
        .given(Rsi, DATA + 1)
        .given(Rdx, 0x0807_0605_0403_0201)
        .then_stored(1, &[1, 2, 3, 4, 5, 6, 7, 8])
        .check();
}
