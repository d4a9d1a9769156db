//! Bits: tables of results, and every form against the processor underneath.
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
    Mnemonic::Bt,
    Mnemonic::Bts,
    Mnemonic::Btr,
    Mnemonic::Btc,
    Mnemonic::Bsf,
    Mnemonic::Bsr,
    Mnemonic::Popcnt,
    Mnemonic::Lzcnt,
    Mnemonic::Tzcnt,
    Mnemonic::Andn,
    Mnemonic::Bextr,
    Mnemonic::Blsi,
    Mnemonic::Blsmsk,
    Mnemonic::Blsr,
    Mnemonic::Bzhi,
    Mnemonic::Pdep,
    Mnemonic::Pext,
];

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[test]
fn every_form_does_what_the_processor_does() {
    silicon::compare(FAMILY);
}

const RAX: usize = 0;
const CF: Rflags = Rflags::CF;
const ZF: Rflags = Rflags::ZF;
const NONE: Rflags = Rflags::empty();

#[test]
fn bit_tests_put_the_old_bit_into_cf_and_leave_zf() {
    // Code, RAX before and after, CF after; RCX is 33.
    let rows: [(&[u8], u64, u64, Rflags); 5] = [
        (&[0x0f, 0xa3, 0xc8], 2, 2, CF),                     // bt eax,ecx: bit 1
        (&[0x48, 0x0f, 0xab, 0xc8], 0, 1 << 33, NONE),       // bts rax,rcx
        (&[0x66, 0x0f, 0xb3, 0xc8], 0xf_ffff, 0xf_fffd, CF), // btr ax,cx: bit 1
        (&[0x0f, 0xba, 0xf8, 0x3f], 1 << 40, 1 << 31, NONE), // btc eax,63: bit 31
        (&[0x48, 0x0f, 0xba, 0xf0, 0x3f], 1 << 63, 0, CF),   // btr rax,63
    ];
    for (code, before, after, carry) in rows {
        for zero in [NONE, ZF] {
            run(code, [before, 33, 0, 0], zero, 0).changed_only(&[(RAX, after)], carry | zero);
        }
    }
}

#[test]
fn a_bit_offset_in_a_register_reaches_outside_the_memory_operand() {
    let bts_rsi_ecx: &[u8] = &[0x0f, 0xab, 0x0e];
    let bts_fs_rsi_less_1000h_cx: &[u8] = &[0x64, 0x66, 0x0f, 0xab, 0x8e, 0, 0xf0, 0xff, 0xff];
    // The upper half of RCX and more is not looked at: the offset has the size of the operand.
    run(bts_rsi_ecx, [0, 0xff_0000_0000 | 100, 0, 0], NONE, 0).has_bit_only(100);
    run(bts_rsi_ecx, [0, 0xffff_ff9c, 0, 0], NONE, 0).has_bit_only(-100);
    run(bts_fs_rsi_less_1000h_cx, [0, 0xff9c, 0, 0], NONE, 0).has_bit_only(-100);
    let below_memory = run(bts_rsi_ecx, [0, 0x8000_0000, 0, 0], Rflags::STATUS, 0);
    assert!(matches!(below_memory.stop, Some(Stop::Exception(fault)) if fault.vector == Vector::PageFault));
    assert_eq!(below_memory.after, below_memory.before);
}

impl table::Trial {
    fn has_bit_only(&self, offset: i64) {
        let bit = usize::try_from(0x2000 * 8 + offset).unwrap();
        let mut expected = vec![0; self.machine.memory().len()];
        expected[bit / 8] = 1u8 << (bit % 8);
        assert_eq!(self.stop, Some(Stop::Halt));
        assert!(self.machine.memory()[0x1000..] == expected[0x1000..], "bit {offset}");
    }
}

#[test]
fn scans_leave_the_destination_when_there_is_no_bit() {
    let bsf_eax_ecx: &[u8] = &[0x0f, 0xbc, 0xc1];
    let bsr_rax_rcx: &[u8] = &[0x48, 0x0f, 0xbd, 0xc1];
    for (code, position) in [(bsf_eax_ecx, 4), (bsr_rax_rcx, 40)] {
        let found = run(code, [!0, 1 << 40 | 1 << 4, 0, 0], ZF, 0);
        assert_eq!((found.after.gpr[RAX], found.flags() & ZF), (position, NONE));
        let none = run(code, [!0, 0, 0, 0], NONE, 0);
        assert_eq!((none.after.gpr[RAX], none.flags() & ZF), (!0, ZF));
    }
}

#[test]
fn counts_of_zero_are_the_operand_size() {
    // Code, RAX after a source of 0, and after one of F0H.
    let rows: [(&[u8], u64, u64); 3] = [
        (&[0x66, 0xf3, 0x0f, 0xbd, 0xc1], 16, 8),  // lzcnt ax,cx
        (&[0xf3, 0x0f, 0xbc, 0xc1], 32, 4),        // tzcnt eax,ecx
        (&[0xf3, 0x48, 0x0f, 0xbd, 0xc1], 64, 56), // lzcnt rax,rcx
    ];
    for (code, of_zero, of_f0) in rows {
        let zero = run(code, [0, 0, 0, 0], ZF, 0);
        assert_eq!((zero.after.gpr[RAX], zero.flags() & (CF | ZF)), (of_zero, CF));
        let f0 = run(code, [0, 0xf0, 0, 0], CF | ZF, 0);
        assert_eq!((f0.after.gpr[RAX], f0.flags() & (CF | ZF)), (of_f0, NONE));
    }
}

#[test]
fn popcnt_clears_all_flags_but_zf() {
    let popcnt_rax_rsi: &[u8] = &[0xf3, 0x48, 0x0f, 0xb8, 0x06];
    run(popcnt_rax_rsi, [0; 4], Rflags::STATUS, 0xf0f1).changed_only(&[(RAX, 9)], NONE);
    run(popcnt_rax_rsi, [1; 4], Rflags::STATUS, 0).changed_only(&[(RAX, 0)], ZF);
}

#[test]
fn fields_are_extracted_deposited_and_gathered() {
    // Code and RAX; RCX is 1234_5678H, RDX the control: start 8, length 12 (or a mask, or the count 8).
    let rows: [(&[u8], u64); 5] = [
        (&[0xc4, 0xe2, 0x68, 0xf7, 0xc1], 0x456),       // bextr eax,ecx,edx
        (&[0xc4, 0xe2, 0x68, 0xf5, 0xc1], 0x78),        // bzhi eax,ecx,edx
        (&[0xc4, 0xe2, 0x70, 0xf2, 0xc2], 0x0000_0800), // andn eax,ecx,edx
        (&[0xc4, 0xe2, 0x73, 0xf5, 0xc2], 0x0000_0000), // pdep eax,ecx,edx
        (&[0xc4, 0xe2, 0x72, 0xf5, 0xc2], 0b011),       // pext eax,ecx,edx
    ];
    for (code, result) in rows {
        let trial = run(code, [!0, 0x1234_5678, 0x0c08, 0], NONE, 0);
        trial.changed_only(&[(RAX, result)], trial.flags());
    }
}
