//! Shifts and rotations: tables of results, and every form against the processor underneath.
#![allow(clippy::unwrap_used, reason = "tests")]

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod forms;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod silicon;

mod table;

use iced_x86::{Decoder, DecoderOptions, Mnemonic};
use isa::flags::Rflags;
use isa::registers::Registers;
use isa::undefined;
use table::run;

const FAMILY: &[Mnemonic] = &[
    Mnemonic::Shl,
    Mnemonic::Shr,
    Mnemonic::Sar,
    Mnemonic::Rol,
    Mnemonic::Ror,
    Mnemonic::Rcl,
    Mnemonic::Rcr,
    Mnemonic::Shld,
    Mnemonic::Shrd,
    Mnemonic::Rorx,
    Mnemonic::Sarx,
    Mnemonic::Shlx,
    Mnemonic::Shrx,
];

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[test]
fn every_form_does_what_the_processor_does() {
    silicon::compare(FAMILY);
}

const RAX: usize = 0;
const CF: Rflags = Rflags::CF;
const PF: Rflags = Rflags::PF;
const AF: Rflags = Rflags::AF;
const ZF: Rflags = Rflags::ZF;
const SF: Rflags = Rflags::SF;
const OF: Rflags = Rflags::OF;

#[test]
fn shifts_by_one_set_all_flags() {
    // Code, RAX before, RAX after, flags after; AF is undefined and 1.
    let rows: [(&[u8], u64, u64, Rflags); 7] = [
        (&[0xd0, 0xe0], 0x1180, 0x1100, CF | OF | ZF | PF | AF), // shl al,1
        (&[0xd1, 0xe0], 0x5_4000_0000, 0x8000_0000, SF | OF | PF | AF), // shl eax,1
        (&[0x48, 0xd1, 0xe8], 1 << 63 | 1, 1 << 62, CF | OF | PF | AF), // shr rax,1
        (&[0x66, 0xd1, 0xf8], 0xf_8001, 0xf_c000, CF | SF | PF | AF), // sar ax,1
        (&[0xd0, 0xc4], 0x8011, 0x0111, CF | OF),                // rol ah,1
        (&[0xd0, 0xc8], 0x01, 0x80, CF | OF),                    // ror al,1
        (&[0xd0, 0xd8], 0x02, 0x01, Rflags::empty()),            // rcr al,1
    ];
    for (code, before, after, flags) in rows {
        run(code, [before, 0, 0, 0], Rflags::empty(), 0).changed_only(&[(RAX, after)], flags);
    }
}

#[test]
fn a_count_of_zero_changes_nothing_but_the_upper_half_of_a_32_bit_register() {
    let shl_eax_cl: &[u8] = &[0xd3, 0xe0];
    let shld_rax_rdx_64: &[u8] = &[0x48, 0x0f, 0xa4, 0xd0, 0x40];
    let value = 0x1234_5678_9abc_def0;
    run(shl_eax_cl, [value, 0xff20, 0, 0], Rflags::STATUS, 0)
        .changed_only(&[(RAX, 0x9abc_def0)], Rflags::STATUS);
    run(shld_rax_rdx_64, [value, 0, !0, 0], Rflags::STATUS, 0).changed_only(&[], Rflags::STATUS);
}

#[test]
fn rotation_through_carry_comes_round_after_nine_and_seventeen_steps() {
    let rcl_al_9: &[u8] = &[0xc0, 0xd0, 9];
    let rcr_ax_17: &[u8] = &[0x66, 0xc1, 0xd8, 17];
    for carry in [Rflags::empty(), CF] {
        for code in [rcl_al_9, rcr_ax_17] {
            let trial = run(code, [0xa55a, 0, 0, 0], carry, 0);
            assert_eq!((trial.after.gpr[RAX], trial.flags() & CF), (0xa55a, carry));
        }
    }
}

#[test]
fn double_shifts_fill_from_the_other_operand() {
    let shld_rax_rdx_8: &[u8] = &[0x48, 0x0f, 0xa4, 0xd0, 8];
    let shrd_eax_edx_cl: &[u8] = &[0x0f, 0xad, 0xd0];
    let registers = [0x0102_0304_0506_0708, 4, 0xa1a2_a3a4_a5a6_a7a8, 0];
    run(shld_rax_rdx_8, registers, Rflags::empty(), 0)
        .changed_only(&[(RAX, 0x0203_0405_0607_08a1)], CF | OF | AF);
    run(shrd_eax_edx_cl, registers, Rflags::empty(), 0)
        .changed_only(&[(RAX, 0x8050_6070)], CF | SF | OF | AF);
}

#[test]
fn flagless_shifts_leave_all_flags() {
    let shlx_rax_rdx_rcx: &[u8] = &[0xc4, 0xe2, 0xf1, 0xf7, 0xc2];
    let rorx_eax_edx_4: &[u8] = &[0xc4, 0xe3, 0x7b, 0xf0, 0xc2, 4];
    let registers = [0, 0x44, 0x1234_5678, 0];
    run(shlx_rax_rdx_rcx, registers, Rflags::STATUS, 0).changed_only(&[(RAX, 0x1_2345_6780)], Rflags::STATUS);
    run(rorx_eax_edx_4, registers, Rflags::STATUS, 0).changed_only(&[(RAX, 0x8123_4567)], Rflags::STATUS);
}

#[test]
fn memory_operands_are_shifted_in_place() {
    let shl_word_rsi_4: &[u8] = &[0x66, 0xc1, 0x26, 4];
    let shl_word_fs_rsi_less_1000h_4: &[u8] = &[0x64, 0x66, 0xc1, 0xa6, 0, 0xf0, 0xff, 0xff, 4];
    for code in [shl_word_rsi_4, shl_word_fs_rsi_less_1000h_4] {
        let trial = run(code, [0; 4], Rflags::empty(), 0x5555_1234);
        trial.changed_only(&[], CF | OF | AF);
        assert_eq!(trial.memory(), 0x5555_2340);
    }
}

#[test]
fn what_is_undefined_depends_on_the_count() {
    let undefined = |code: &[u8], count: u64| {
        let instruction = Decoder::new(64, code, DecoderOptions::NONE).decode();
        let mut registers = Registers::default();
        registers.gpr[1] = count;
        let with = undefined::after_with(&instruction, &registers);
        let any = undefined::after(&instruction);
        assert!(any.flags.contains(with.flags), "less is known without the count");
        with.flags
    };
    let (shl_al_cl, ror_al_cl, shld_ax_dx_cl): (&[u8], &[u8], &[u8]) =
        (&[0xd2, 0xe0], &[0xd2, 0xc8], &[0x66, 0x0f, 0xa5, 0xd0]);
    let rows = [
        (shl_al_cl, 0x20, Rflags::empty()),
        (shl_al_cl, 1, AF),
        (shl_al_cl, 7, AF | OF),
        (shl_al_cl, 8, AF | OF | CF),
        (ror_al_cl, 0x21, Rflags::empty()),
        (ror_al_cl, 9, OF),
        (shld_ax_dx_cl, 16, AF | OF),
        (shld_ax_dx_cl, 17, Rflags::STATUS),
    ];
    for (code, count, flags) in rows {
        assert_eq!(undefined(code, count), flags, "{code:02x?} by {count}");
    }
}
