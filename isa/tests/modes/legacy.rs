//! Instructions that 64-bit mode does not have, and addresses of 16 bits.

use crate::machine::{Mode, completes, machine, real_address, refuses, run, store, stored};
use isa::cpu::Stop;
use isa::event::Vector;
use isa::flags::Rflags;
use isa::state::Slot;

/// AX and CF after a decimal adjustment, by digits: what the instruction is for.
fn adjusted(code: &[u8], ax: u16, flags: Rflags) -> (u16, Rflags) {
    let mut machine = machine(Mode::Bits32, code, 0x8000);
    machine.state.set_slot(Slot::Rax, ax.into());
    machine.state.flags.set_status(flags);
    completes(&mut machine);
    (machine.state.get(Slot::Rax), machine.state.flags.status())
}

#[test]
fn daa_and_das_make_sums_and_differences_of_two_decimal_digits() {
    let packed = |value: u8| ((value / 10) << 4) + value % 10;
    for (a, b) in (0..100_u8).flat_map(|a| (0..100_u8).map(move |b| (a, b))) {
        // add al,bl / daa, and sub al,bl / das
        for (code, value) in [
            (&[0x00, 0xd8, 0x27][..], u32::from(a) + u32::from(b)),
            (&[0x28, 0xd8, 0x2f], 100 + u32::from(a) - u32::from(b)),
        ] {
            let mut machine = machine(Mode::Bits32, code, 0x8000);
            machine.state.set_slot(Slot::Rax, packed(a).into());
            machine.state.set_slot(Slot::Rbx, packed(b).into());
            completes(&mut machine);
            let digits = packed(u8::try_from(value % 100).unwrap());
            assert_eq!(machine.state.get::<u8>(Slot::Rax), digits, "{a} {b} {code:02x?}");
            let carry = if code[0] == 0 { value > 99 } else { value < 100 };
            assert_eq!(machine.state.flags.cf(), carry, "{a} {b} {code:02x?}");
        }
    }
}

#[test]
fn aaa_and_aas_carry_into_ah_and_aam_and_aad_convert() {
    let carried = Rflags::AF | Rflags::CF;
    let (ax, flags) = adjusted(&[0x37], 0x010b, Rflags::empty()); // aaa
    assert_eq!((ax, flags & carried), (0x0201, carried));
    let (ax, flags) = adjusted(&[0x37], 0x0105, carried - Rflags::AF);
    assert_eq!((ax, flags & carried), (0x0105, Rflags::empty()));
    let (ax, flags) = adjusted(&[0x3f], 0x02ff, Rflags::empty()); // aas
    assert_eq!((ax, flags & carried), (0x0109, carried));
    for value in 0..=255_u16 {
        for base in [10_u8, 7, 16] {
            let (ax, flags) = adjusted(&[0xd4, base], 0x5500 | value, Rflags::empty()); // aam
            assert_eq!(ax, ((value / u16::from(base)) << 8) + value % u16::from(base));
            assert_eq!(flags.contains(Rflags::ZF), value % u16::from(base) == 0);
            let (back, _) = adjusted(&[0xd5, base], ax, Rflags::empty()); // aad
            assert_eq!(back, value);
        }
    }
    refuses(&mut machine(Mode::Bits16, &[0xd4, 0], 0x8000), Stop::exception(Vector::DivideError));
}

#[test]
fn bound_allows_both_bounds_and_compares_signed() {
    let rows = [(-5_i16, true), (-6, false), (7, true), (8, false), (0, true), (i16::MIN, false)];
    for (index, inside) in rows {
        let mut machine = machine(Mode::Bits16, &[0x62, 0x07], 0x8000); // bound ax,[bx]
        machine.state.set_slot(Slot::Rbx, 0x9000);
        store(&mut machine, 0x9000, &[(-5_i16).to_le_bytes(), 7_i16.to_le_bytes()].concat());
        machine.state.set_slot(Slot::Rax, u64::from(index.cast_unsigned()));
        if inside {
            completes(&mut machine);
        } else {
            refuses(&mut machine, Stop::exception(Vector::BoundRange));
        }
    }
}

#[test]
fn arpl_only_raises_and_exists_in_protected_mode_alone() {
    for (destination, source) in (0..4_u16).flat_map(|a| (0..4_u16).map(move |b| (a, b))) {
        let mut machine = machine(Mode::Bits16, &[0x63, 0x0f], 0x8000); // arpl [bx],cx
        machine.state.set_slot(Slot::Rbx, 0x9000);
        machine.state.set_slot(Slot::Rcx, 0x40 | u64::from(source));
        store(&mut machine, 0x9000, &(0x1230 | destination).to_le_bytes());
        completes(&mut machine);
        let raised = 0x1230 | destination.max(source);
        assert_eq!(stored(&machine, 0x9000, 2), raised.to_le_bytes());
        assert_eq!(machine.state.flags.zf(), destination < source);
    }
    let mut machine = machine(Mode::Bits16, &[0x63, 0xc8], 0x8000); // arpl ax,cx
    real_address(&mut machine);
    refuses(&mut machine, Stop::INVALID_OPCODE);
}

#[test]
fn into_traps_only_after_an_overflow() {
    let mut machine = machine(Mode::Bits32, &[0xce], 0x8000);
    completes(&mut machine);
    let mut machine = crate::machine::machine(Mode::Bits32, &[0xce], 0x8000);
    machine.state.flags.set_of(true);
    let run = run(&mut machine);
    assert_eq!(run.stop, Some(Stop::OVERFLOW));
    assert_eq!(run.next_rip, Mode::Bits32.code() + 1);
}

#[test]
fn salc_fills_al_with_the_carry() {
    for (carry, al) in [(true, 0xff), (false, 0)] {
        let mut machine = machine(Mode::Bits16, &[0xd6], 0x8000);
        machine.state.set_slot(Slot::Rax, 0x1234_5678);
        machine.state.flags.set_cf(carry);
        completes(&mut machine);
        assert_eq!(machine.state.slot(Slot::Rax), 0x1234_5600 | al);
    }
}

#[test]
fn every_16_bit_address_form_adds_its_registers_modulo_64_kib() {
    let [bx, bp, si, di] = [0xf111_u64, 0xe222, 0x2333, 0x3444];
    // mod = 10, r/m = 0..8: lea eax,[.. + 1234h]
    let sums = [bx + si, bx + di, bp + si, bp + di, si, di, bp, bx];
    for (rm, sum) in (0..).zip(sums) {
        let mut machine = machine(Mode::Bits16, &[0x66, 0x8d, 0x80 | rm, 0x34, 0x12], 0x8000);
        let slots = [(Slot::Rbx, bx), (Slot::Rbp, bp), (Slot::Rsi, si), (Slot::Rdi, di)];
        for (slot, value) in slots {
            machine.state.set_slot(slot, value | 0x7777_0000);
        }
        completes(&mut machine);
        assert_eq!(machine.state.slot(Slot::Rax), (sum + 0x1234) & 0xffff, "r/m {rm}");
    }
}
