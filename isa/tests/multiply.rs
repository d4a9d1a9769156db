//! Multiplication and division: tables of results, and every form against the processor underneath.
#![allow(clippy::unwrap_used, reason = "tests")]

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod forms;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod silicon;

mod table;

use iced_x86::Mnemonic;
use isa::cpu::Stop;
use isa::event::Vector;
use isa::flags::Rflags;
use table::run;

const FAMILY: &[Mnemonic] = &[
    Mnemonic::Mul,
    Mnemonic::Imul,
    Mnemonic::Div,
    Mnemonic::Idiv,
    Mnemonic::Mulx,
    Mnemonic::Adcx,
    Mnemonic::Adox,
    Mnemonic::Cbw,
    Mnemonic::Cwde,
    Mnemonic::Cdqe,
    Mnemonic::Cwd,
    Mnemonic::Cdq,
    Mnemonic::Cqo,
];

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[test]
fn every_form_does_what_the_processor_does() {
    silicon::compare(FAMILY);
}

const RAX: usize = 0;
const RDX: usize = 2;
const CF: Rflags = Rflags::CF;
const OF: Rflags = Rflags::OF;
const NONE: Rflags = Rflags::empty();

#[test]
fn products_fill_the_register_pair_and_tell_whether_the_upper_half_counts() {
    // Code, RAX, RDX and flags after; RAX was -2 (all bits but the lowest), RCX 3, RDX 99H.
    let rows: [(&[u8], u64, u64, Rflags); 7] = [
        (&[0xf6, 0xe1], 0xffff_ffff_ffff_02fa, 0x99, CF | OF), // mul cl
        (&[0xf6, 0xe9], !5, 0x99, NONE),                       // imul cl
        (&[0x66, 0xf7, 0xe1], !5, 2, CF | OF),                 // mul cx
        (&[0xf7, 0xe1], 0xffff_fffa, 2, CF | OF),              // mul ecx
        (&[0xf7, 0xe9], 0xffff_fffa, 0xffff_ffff, NONE),       // imul ecx
        (&[0x48, 0xf7, 0xe1], !5, 2, CF | OF),                 // mul rcx
        (&[0x48, 0xf7, 0xe9], !5, !0, NONE),                   // imul rcx
    ];
    for (code, rax, rdx, flags) in rows {
        run(code, [!1, 3, 0x99, 0], NONE, 0).changed_only(&[(RAX, rax), (RDX, rdx)], flags);
    }
}

#[test]
fn imul_into_a_register_says_when_the_result_was_cut() {
    let imul_ax_cx: &[u8] = &[0x66, 0x0f, 0xaf, 0xc1];
    let imul_eax_ecx_minus_3: &[u8] = &[0x6b, 0xc1, 0xfd];
    let imul_rax_rsi: &[u8] = &[0x48, 0x0f, 0xaf, 0x06];
    run(imul_ax_cx, [0x7_4000, 2, 0, 0], NONE, 0).changed_only(&[(RAX, 0x7_8000)], CF | OF);
    run(imul_eax_ecx_minus_3, [!0, 2, 0, 0], NONE, 0).changed_only(&[(RAX, 0xffff_fffa)], NONE);
    run(imul_rax_rsi, [7, 0, 0, 0], CF | OF, 6).changed_only(&[(RAX, 42)], NONE);
}

#[test]
fn division_truncates_toward_zero() {
    // Code, RAX and RDX before and after.
    let rows: [(&[u8], [u64; 2], [u64; 2]); 6] = [
        (&[0xf6, 0xf1], [0x12_0107, 9], [0x12_0425, 9]), // div cl: 263 = 37 * 7 + 4
        (&[0xf6, 0xf9], [0xfff9, 9], [0x00ff, 9]),       // idiv cl: -7 / 7
        (&[0x66, 0xf7, 0xf1], [0, 1], [0x2492, 2]),      // div cx
        (&[0xf7, 0xf9], [0xffff_fff8, 0xffff_ffff], [0xffff_ffff, 0xffff_ffff]), // idiv ecx: -8
        (&[0x48, 0xf7, 0xf1], [5, 6], [0xdb6d_b6db_6db6_db6e, 3]), // div rcx
        (&[0x48, 0xf7, 0xf9], [0, !0], [0xdb6d_b6db_6db6_db6e, !1]), // idiv rcx: -2^64
    ];
    for (code, [rax, rdx], after) in rows {
        let trial = run(code, [rax, 7, rdx, 0], NONE, 0);
        trial.changed_only(&[(RAX, after[0]), (RDX, after[1])], trial.flags());
    }
}

#[test]
fn a_quotient_that_does_not_fit_is_a_divide_error_and_changes_nothing() {
    // Code, RAX, RCX, RDX.
    let rows: [(&[u8], [u64; 3]); 8] = [
        (&[0xf6, 0xf1], [0x100, 1, 0]),                  // div cl
        (&[0xf6, 0xf9], [0x80, 1, 0]),                   // idiv cl: 128
        (&[0x66, 0xf7, 0xf9], [0x8000, 0xffff, 0xffff]), // idiv cx: -32768 / -1
        (&[0xf7, 0xf1], [0, 5, 5]),                      // div ecx
        (&[0xf7, 0xf9], [0, 0, 0]),                      // idiv ecx by 0
        (&[0x48, 0xf7, 0xf1], [1, 0, 0]),                // div rcx by 0
        (&[0x48, 0xf7, 0xf9], [1 << 63, !0, !0]),        // idiv rcx: -2^63 / -1
        (&[0x48, 0xf7, 0xf9], [0, !0, 1 << 63]),         // idiv rcx: -2^127 / -1
    ];
    for (code, [rax, rcx, rdx]) in rows {
        let trial = run(code, [rax, rcx, rdx, 0], Rflags::STATUS, 0);
        assert_eq!(trial.stop, Some(Stop::exception(Vector::DivideError)), "{code:02x?}");
        assert_eq!(trial.after, trial.before, "{code:02x?}");
    }
}

#[test]
fn mulx_writes_the_high_half_last_and_no_flags() {
    let mulx_rax_rcx_rbx: &[u8] = &[0xc4, 0xe2, 0xf3, 0xf6, 0xc3];
    let mulx_eax_eax_ebx: &[u8] = &[0xc4, 0xe2, 0x7b, 0xf6, 0xc3];
    let registers = [0, 0, 1 << 40 | 0x1000_0000, 0x20];
    run(mulx_rax_rcx_rbx, registers, Rflags::STATUS, 0)
        .changed_only(&[(RAX, 0), (1, 0x2000_0000_0000 | 0x2_0000_0000)], Rflags::STATUS);
    run(mulx_eax_eax_ebx, registers, Rflags::STATUS, 0).changed_only(&[(RAX, 2)], Rflags::STATUS);
}

#[test]
fn the_two_carry_chains_do_not_touch_each_other() {
    let adcx_rax_rcx: &[u8] = &[0x66, 0x48, 0x0f, 0x38, 0xf6, 0xc1];
    let adox_eax_ecx: &[u8] = &[0xf3, 0x0f, 0x38, 0xf6, 0xc1];
    run(adcx_rax_rcx, [!0, 0, 0, 0], CF, 0).changed_only(&[(RAX, 0)], CF);
    run(adcx_rax_rcx, [!0, 0, 0, 0], OF, 0).changed_only(&[(RAX, !0)], OF);
    run(adox_eax_ecx, [!0, 0, 0, 0], OF | CF, 0).changed_only(&[(RAX, 0)], OF | CF);
    run(adox_eax_ecx, [1, 1, 0, 0], OF, 0).changed_only(&[(RAX, 3)], NONE);
}

#[test]
fn the_accumulator_is_extended_with_its_sign() {
    // Code, RAX and RDX after 8080_8080_8080_8080H in both.
    let old = 0x8080_8080_8080_8080;
    let rows: [(&[u8], u64, u64); 6] = [
        (&[0x66, 0x98], 0x8080_8080_8080_ff80, old), // cbw
        (&[0x98], 0xffff_8080, old),                 // cwde
        (&[0x48, 0x98], 0xffff_ffff_8080_8080, old), // cdqe
        (&[0x66, 0x99], old, 0x8080_8080_8080_ffff), // cwd
        (&[0x99], old, 0xffff_ffff),                 // cdq
        (&[0x48, 0x99], old, !0),                    // cqo
    ];
    for (code, rax, rdx) in rows {
        run(code, [old, 0, old, 0], Rflags::STATUS, 0)
            .changed_only(&[(RAX, rax), (RDX, rdx)], Rflags::STATUS);
    }
}

#[test]
fn memory_operands_are_read_and_kept() {
    let idiv_dword_rsi: &[u8] = &[0xf7, 0x3e];
    let idiv_dword_fs_rsi_less_1000h: &[u8] = &[0x64, 0xf7, 0xbe, 0, 0xf0, 0xff, 0xff];
    let memory = 0x1234_5678_ffff_fffd;
    for code in [idiv_dword_rsi, idiv_dword_fs_rsi_less_1000h] {
        let trial = run(code, [100, 0, 0, 0], NONE, memory);
        trial.changed_only(&[(RAX, 0xffff_ffdf), (RDX, 1)], trial.flags());
        assert_eq!(trial.memory(), memory);
    }
}
