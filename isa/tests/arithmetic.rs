//! Binary and unary arithmetic in every size against the host's processor, with flags that are needed and flags that
//! are not.
#![allow(clippy::unwrap_used, reason = "tests")]

mod processor;

use isa::flags::Rflags;
use isa::registers::Gpr::{Rax, Rcx, Rsi};
use processor::{DATA, Random, Values, agree, case, cases};

/// Operand-size prefix and REX for a size, and the lowest bit of the opcode.
fn prefixes(size: u32) -> (&'static [u8], u8) {
    match size {
        8 => (&[], 0),
        16 => (&[0x66], 1),
        32 => (&[], 1),
        _ => (&[0x48], 1),
    }
}

/// ADD OR ADC SBB AND SUB XOR CMP and TEST with EAX and ECX, both ways, and with memory; INC DEC NOT NEG.
fn forms(size: u32) -> Vec<Vec<u8>> {
    let (prefix, wide) = prefixes(size);
    let mut forms = Vec::new();
    for operation in (0..8).map(|number| number << 3) {
        for (opcode, modrm) in [(0, 0xc8), (2, 0xc8), (0, 0x0e), (2, 0x0e)] {
            forms.push([prefix, &[operation | opcode | wide, modrm]].concat());
        }
        forms.push([prefix, &[0x80 | (3 * wide), 0xc0 | operation, 0x85]].concat());
    }
    forms.push([prefix, &[0x84 | wide, 0xc8]].concat());
    for modrm in [0xc0, 0xc8, 0x06, 0x0e] {
        forms.push([prefix, &[0xfe | wide, modrm]].concat());
    }
    for modrm in [0xd0, 0xd8, 0x16, 0x1e] {
        forms.push([prefix, &[0xf6 | wide, modrm]].concat());
    }
    forms
}

#[test]
fn every_size_agrees_with_the_processor() {
    let mut random = Random(23);
    for size in [8, 16, 32, 64] {
        for form in forms(size) {
            // Alone; before another that overwrites all flags; before one that keeps CF.
            for suffix in [&[][..], &[0x4d, 0x01, 0xf7], &[0x49, 0xff, 0xc7]] {
                for _ in 0..cases(24) {
                    let mut values = Values::random(&mut random);
                    values.set(Rsi, DATA);
                    let operand = if random.below(4) == 0 { values.get(Rcx) } else { random.operand() };
                    values.store(0, &operand.to_le_bytes());
                    agree(&[form.as_slice(), suffix].concat(), &values);
                }
            }
        }
    }
}

#[test]
fn parity_is_that_of_the_low_byte() {
    // or ecx,ecx
    for (value, flags) in [(0x0103, Rflags::PF), (0x0101, Rflags::empty()), (0x0100, Rflags::PF)] {
        case("parity", &[0x09, 0xc9]).given(Rcx, value).given(Rax, 0).then_flags(flags).check();
    }
}
