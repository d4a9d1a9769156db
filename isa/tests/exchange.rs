//! XCHG XADD CMPXCHG CMPXCHG8B CMPXCHG16B: rows, every size and register against the host's processor, and faults.
#![allow(clippy::unwrap_used, reason = "tests")]

mod processor;

use isa::address::LinearAddress;
use isa::cpu::Stop;
use isa::event::Exception;
use isa::flags::Rflags;
use isa::registers::Gpr::{self, Rax, Rbx, Rcx, Rdi, Rdx, Rsi};
use processor::{DATA, END, Random, Values, agree, case, cases, refused};

const NONE: Rflags = Rflags::empty();

#[test]
fn exchanges_swap_and_follow_the_rule_of_their_width() {
    case("two registers", &[0x48, 0x87, 0xd1]) // xchg rcx,rdx
        .given(Rcx, 1)
        .given(Rdx, 2)
        .then(Rcx, 2)
        .then(Rdx, 1)
        .check();
    case("32 bits zero the upper halves", &[0x87, 0xd1])
        .given(Rcx, 0xffff_ffff_0000_0001)
        .given(Rdx, 0xffff_ffff_0000_0002)
        .then(Rcx, 2)
        .then(Rdx, 1)
        .check();
    case("of a register with itself too", &[0x87, 0xc0]).given(Rax, u64::MAX).then(Rax, 0xffff_ffff).check();
    case("which is no NOP", &[0x90]).given(Rax, u64::MAX).check();
    case("nor is it with another prefix", &[0x66, 0x90]).given(Rax, u64::MAX).check();
    case("nor with REX.W", &[0x48, 0x90]).given(Rax, u64::MAX).check();
    case("xchg eax,r8d is none", &[0x41, 0x90])
        .given(Rax, u64::MAX)
        .given(Gpr::R8, 1 << 32 | 7)
        .then(Rax, 7)
        .then(Gpr::R8, 0xffff_ffff)
        .check();
    case("the two bytes of AX", &[0x86, 0xe0]).given(Rax, 0x55_1234).then(Rax, 0x55_3412).check();
    case("16 bits keep the rest", &[0x66, 0x93]) // xchg ax,bx
        .given(Rax, 0x1111_1111_1111_2222)
        .given(Rbx, 0x3333_3333_3333_4444)
        .then(Rax, 0x1111_1111_1111_4444)
        .then(Rbx, 0x3333_3333_3333_2222)
        .check();
    case("memory", &[0x87, 0x16]) // xchg [rsi],edx
        .given(Rsi, DATA)
        .given(Rdx, 0xffff_ffff_8000_0001)
        .stored(0, &[1, 2, 3, 4, 5])
        .then(Rdx, 0x0403_0201)
        .then_stored(0, &[1, 0, 0, 0x80, 5])
        .check();
}

#[test]
fn exchange_and_add_leaves_the_old_destination_in_the_source() {
    case("two registers", &[0x0f, 0xc1, 0xd1]) // xadd ecx,edx
        .given(Rcx, 0xffff_ffff_ffff_ffff)
        .given(Rdx, 0xffff_ffff_0000_0001)
        .then(Rcx, 0)
        .then(Rdx, 0xffff_ffff)
        .then_flags(Rflags::CF | Rflags::ZF | Rflags::PF | Rflags::AF)
        .check();
    case("one register doubles", &[0x48, 0x0f, 0xc1, 0xc9])
        .given(Rcx, 1 << 62)
        .then(Rcx, 1 << 63)
        .then_flags(Rflags::OF | Rflags::SF | Rflags::PF)
        .check();
    case("AL and AH", &[0x0f, 0xc0, 0xe0]) // xadd al,ah
        .given(Rax, 0x0502)
        .then(Rax, 0x0207)
        .then_flags(NONE)
        .check();
    case("memory, locked", &[0xf0, 0x66, 0x0f, 0xc1, 0x16]) // lock xadd [rsi],dx
        .given(Rsi, DATA + 3)
        .given(Rdx, 0x9999_0001)
        .stored(3, &[0xff, 0x7f])
        .then(Rdx, 0x9999_7fff)
        .then_stored(3, &[0, 0x80])
        .then_flags(Rflags::OF | Rflags::SF | Rflags::PF | Rflags::AF)
        .check();
}

#[test]
fn compare_and_exchange_writes_one_side_only() {
    let equal = Rflags::ZF | Rflags::PF;
    case("equal: the destination is zero-extended, RAX is not", &[0x0f, 0xb1, 0xd1]) // cmpxchg ecx,edx
        .given(Rax, 0xaaaa_aaaa_0000_0005)
        .given(Rcx, 0xbbbb_bbbb_0000_0005)
        .given(Rdx, 0xcccc_cccc_0000_0007)
        .then(Rcx, 7)
        .then_flags(equal)
        .check();
    case("unequal: RAX is zero-extended, the destination is not", &[0x0f, 0xb1, 0xd1])
        .given(Rax, 0xaaaa_aaaa_0000_0005)
        .given(Rcx, 0xbbbb_bbbb_0000_0006)
        .given(Rdx, 0xcccc_cccc_0000_0007)
        .then(Rax, 6)
        .then_flags(Rflags::CF | Rflags::SF | Rflags::PF | Rflags::AF)
        .check();
    case("the accumulator as destination is always equal", &[0x0f, 0xb1, 0xd0]) // cmpxchg eax,edx
        .given(Rax, u64::MAX)
        .given(Rdx, 0xcccc_cccc_0000_0007)
        .then(Rax, 7)
        .then_flags(equal)
        .check();
    case("memory, equal, locked", &[0xf0, 0x48, 0x0f, 0xb1, 0x16]) // lock cmpxchg [rsi],rdx
        .given(Rsi, DATA)
        .given(Rax, 0x0807_0605_0403_0201)
        .given(Rdx, 0x99)
        .stored(0, &[1, 2, 3, 4, 5, 6, 7, 8, 9])
        .then_stored(0, &[0x99, 0, 0, 0, 0, 0, 0, 0, 9])
        .then_flags(equal)
        .check();
    case("memory, unequal", &[0x0f, 0xb0, 0x16]) // cmpxchg [rsi],dl
        .given(Rsi, DATA)
        .given(Rax, 0x0102)
        .stored(0, &[1])
        .then(Rax, 0x0101)
        .then_flags(NONE)
        .check();
}

#[test]
fn the_pairs_are_compared_as_one_number() {
    let pair = [2, 0, 0, 0, 1, 0, 0, 0];
    let code = [0xf0, 0x0f, 0xc7, 0x0e]; // lock cmpxchg8b [rsi]
    case("equal: the upper halves stay", &code)
        .given(Rsi, DATA + 1)
        .given(Rdx, 0xdddd_dddd_0000_0001)
        .given(Rax, 0xaaaa_aaaa_0000_0002)
        .given(Rcx, 0xcccc_cccc_0000_0003)
        .given(Rbx, 0xbbbb_bbbb_0000_0004)
        .flags(Rflags::CF | Rflags::OF)
        .stored(1, &pair)
        .then_stored(1, &[4, 0, 0, 0, 3, 0, 0, 0])
        .then_flags(Rflags::CF | Rflags::OF | Rflags::ZF)
        .check();
    case("unequal: both registers are zero-extended", &code)
        .given(Rsi, DATA + 1)
        .given(Rdx, 0xdddd_dddd_0000_0001)
        .given(Rax, 0xaaaa_aaaa_0000_0000)
        .flags(Rflags::STATUS)
        .stored(1, &pair)
        .then(Rdx, 1)
        .then(Rax, 2)
        .then_flags(Rflags::STATUS - Rflags::ZF)
        .check();
    let code = [0x48, 0x0f, 0xc7, 0x0e]; // cmpxchg16b [rsi]
    case("16 bytes", &code)
        .given(Rsi, DATA + 0x10)
        .given(Rdx, 1)
        .given(Rax, 2)
        .given(Rcx, 3)
        .given(Rbx, 4)
        .stored(0x10, &[2, 0, 0, 0, 0, 0, 0, 0, 1])
        .then_stored(0x10, &[4, 0, 0, 0, 0, 0, 0, 0, 3])
        .then_flags(Rflags::ZF)
        .check();
    case("16 bytes, unequal", &code)
        .given(Rsi, DATA + 0x10)
        .given(Rdx, 1)
        .given(Rax, 2)
        .stored(0x10, &[2, 0, 0, 0, 0, 0, 0, 0x80, 1, 0, 0, 0, 0, 0, 0, 0x70])
        .then(Rdx, 0x7000_0000_0000_0001)
        .then(Rax, 0x8000_0000_0000_0002)
        .check();
}

#[test]
fn a_misaligned_pair_of_16_bytes_is_refused() {
    for offset in [1, 8, 15] {
        let mut values = Values::new();
        values.set(Rsi, DATA + offset);
        refused(&[0x48, 0x0f, 0xc7, 0x0e], &values, Stop::GENERAL_PROTECTION);
    }
}

/// Whatever the comparison says, the fault is that of a write, and the accumulator has not changed.
#[test]
fn a_comparison_that_fails_needs_a_writable_page() {
    let fault = Stop::Exception(Exception::page_fault(LinearAddress(END), 6));
    let codes: [&[u8]; 7] = [
        &[0x0f, 0xb1, 0x16],       // cmpxchg [rsi],edx
        &[0xf0, 0x0f, 0xb0, 0x16], // lock cmpxchg [rsi],dl
        &[0x0f, 0xc7, 0x0e],       // cmpxchg8b [rsi]
        &[0x48, 0x0f, 0xc7, 0x0e], // cmpxchg16b [rsi]
        &[0x0f, 0xc1, 0x16],       // xadd [rsi],edx
        &[0x87, 0x16],             // xchg [rsi],edx
        &[0x86, 0x16],             // xchg [rsi],dl
    ];
    for code in codes {
        let mut values = Values::new();
        values.set(Rsi, END);
        refused(code, &values, fault);
    }
}

#[test]
fn lock_is_refused_where_nothing_is_locked() {
    let codes: [&[u8]; 9] = [
        &[0xf0, 0x87, 0xd1],       // lock xchg ecx,edx
        &[0xf0, 0x0f, 0xc1, 0xd1], // lock xadd ecx,edx
        &[0xf0, 0x0f, 0xb1, 0xd1], // lock cmpxchg ecx,edx
        &[0xf0, 0x01, 0xd1],       // lock add ecx,edx
        &[0xf0, 0x03, 0x16],       // lock add edx,[rsi]
        &[0xf0, 0x39, 0x16],       // lock cmp [rsi],edx
        &[0xf0, 0x8b, 0x16],       // lock mov edx,[rsi]
        &[0xf0, 0x90],             // lock nop
        &[0xf0, 0xa4],             // lock movsb
    ];
    let mut values = Values::new();
    values.set(Rsi, DATA);
    values.set(Rdi, DATA);
    for code in codes {
        refused(code, &values, Stop::INVALID_OPCODE);
    }
}

/// Operand-size prefix or REX.W, opcode and ModR/M of `[rsi]` or a register.
fn encode(size: u32, opcode: &[u8], register: u8, destination: Option<u8>, lock: bool) -> Vec<u8> {
    let mut code = if lock { vec![0xf0] } else { vec![] };
    if size == 16 {
        code.push(0x66);
    }
    let rm = destination.unwrap_or(6);
    let rex = u8::from(size == 64) << 3 | (register >> 3) << 2 | rm >> 3;
    // Byte registers 4 to 7 are AH to BH without REX and SPL to DIL with it.
    if rex != 0 {
        code.push(0x40 | rex);
    }
    let (last, first) = opcode.split_last().unwrap();
    code.extend(first);
    code.push(last - u8::from(size == 8));
    code.push(if destination.is_some() { 0xc0 } else { 0 } | (register & 7) << 3 | rm & 7);
    code
}

#[test]
fn every_size_and_register_agrees_with_the_processor() {
    let mut random = Random(11);
    for opcode in [&[0x87][..], &[0x0f, 0xc1], &[0x0f, 0xb1]] {
        for size in [8, 16, 32, 64] {
            for _ in 0..cases(150) {
                let destination = (random.below(2) == 0).then(|| random.pick(&REGISTERS));
                let lock = destination.is_none() && random.below(2) == 0;
                let code = encode(size, opcode, random.pick(&REGISTERS), destination, lock);
                agree_over(&code, destination.is_none(), &mut random);
            }
        }
    }
}

/// All but RSP.
const REGISTERS: [u8; 15] = [0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

fn agree_over(code: &[u8], memory: bool, random: &mut Random) {
    for _ in 0..4 {
        let mut values = Values::random(random);
        // Half of the comparisons succeed.
        if random.below(2) == 0 {
            let accumulator = values.get(Rax);
            values.gpr.iter_mut().for_each(|gpr| *gpr = *gpr & !0xffff | accumulator & 0xffff);
            values.set(Gpr::Rsp, 0);
        }
        if memory {
            let offset = random.below(64);
            values.set(Rsi, DATA + offset);
            let value = if random.below(2) == 0 { values.get(Rax) } else { random.operand() };
            values.store(usize::try_from(offset).unwrap(), &value.to_le_bytes());
        }
        agree(code, &values);
    }
}
