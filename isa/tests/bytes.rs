//! Byte swaps and CRC32: tables of results, and every form against the processor underneath.
#![allow(clippy::unwrap_used, reason = "tests")]

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod forms;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod silicon;

mod table;

use iced_x86::Mnemonic;
use isa::flags::Rflags;
use table::run;

const FAMILY: &[Mnemonic] = &[Mnemonic::Crc32, Mnemonic::Movbe, Mnemonic::Bswap];

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[test]
fn every_form_does_what_the_processor_does() {
    silicon::compare(FAMILY);
}

const RAX: usize = 0;
const NONE: Rflags = Rflags::empty();

#[test]
fn crc32_is_the_checksum_of_iscsi() {
    // RFC 3720, B.4: 32 bytes of zeros, without and with the final complement; here eight words of 0 each way.
    let crc32_eax_rcx: &[u8] = &[0xf2, 0x48, 0x0f, 0x38, 0xf1, 0xc1];
    let crc32_eax_cl: &[u8] = &[0xf2, 0x0f, 0x38, 0xf0, 0xc1];
    for (code, times) in [(crc32_eax_rcx, 4), (crc32_eax_cl, 32)] {
        let mut remainder = !0;
        for _ in 0..times {
            remainder = run(code, [remainder, 0, 0, 0], Rflags::STATUS, 0).after.gpr[RAX];
        }
        assert_eq!(!remainder & 0xffff_ffff, 0x8a91_36aa);
    }
}

#[test]
fn byte_swaps_reverse_registers_and_memory() {
    let value = 0x0102_0304_0506_0708;
    let bswap_eax: &[u8] = &[0x0f, 0xc8];
    let movbe_ax_rsi: &[u8] = &[0x66, 0x0f, 0x38, 0xf0, 0x06];
    let movbe_rsi_rax: &[u8] = &[0x48, 0x0f, 0x38, 0xf1, 0x06];
    run(bswap_eax, [value, 0, 0, 0], NONE, 0).changed_only(&[(RAX, 0x0807_0605)], NONE);
    run(movbe_ax_rsi, [value, 0, 0, 0], NONE, 0xabcd).changed_only(&[(RAX, 0x0102_0304_0506_cdab)], NONE);
    let stored = run(movbe_rsi_rax, [value, 0, 0, 0], NONE, 0);
    stored.changed_only(&[], NONE);
    assert_eq!(stored.memory(), 0x0807_0605_0403_0201);
}
