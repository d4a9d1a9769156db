//! Images become memory and registers as their protocol says, or a clear error.
#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;
use vmxsim::load::{LoadError, LoadOptions, Loaded, MemoryMap, Module, Range, Start, load};

const ENTRY: u32 = 0x10_0010;

/// A 32-bit ELF file with one segment of `file` bytes and `memory` bytes at `address`.
fn elf(address: u32, content: &[u8], memory: u32) -> Vec<u8> {
    let (header, program) = (52_u32, 32_u32);
    let at = header + program;
    let mut bytes = b"\x7fELF\x01\x01\x01".to_vec();
    bytes.resize(16, 0);
    bytes.extend([2_u16, 3].into_iter().flat_map(u16::to_le_bytes));
    bytes.extend([1, ENTRY, header, 0, 0].into_iter().flat_map(u32::to_le_bytes));
    bytes.extend([52_u16, 32, 1, 40, 0, 0].into_iter().flat_map(u16::to_le_bytes));
    let length = u32::try_from(content.len()).unwrap();
    bytes.extend([1, at, address, address, length, memory, 7, 4].into_iter().flat_map(u32::to_le_bytes));
    bytes.extend(content);
    bytes
}

/// A multiboot header with these flags.
fn header(flags: u32) -> Vec<u8> {
    let magic = 0x1bad_b002_u32;
    let checksum = 0_u32.wrapping_sub(magic).wrapping_sub(flags);
    [magic, flags, checksum].into_iter().flat_map(u32::to_le_bytes).collect()
}

fn options() -> LoadOptions {
    LoadOptions { memory: MemoryMap::of_pc(64 << 20), ..LoadOptions::default() }
}

/// Memory as the pieces make it.
fn read(loaded: &Loaded, at: u32, bytes: usize) -> Vec<u8> {
    let at = u64::from(at);
    let piece = loaded.pieces.iter().find(|piece| piece.range.start <= at && at < piece.range.end).unwrap();
    let offset = usize::try_from(at - piece.range.start).unwrap();
    let mut content = piece.bytes.clone();
    content.resize(usize::try_from(piece.range.end - piece.range.start).unwrap(), 0);
    content[offset..offset + bytes].to_vec()
}

fn word(loaded: &Loaded, at: u32) -> u32 {
    u32::from_le_bytes(read(loaded, at, 4).try_into().unwrap())
}

fn text(loaded: &Loaded, at: u32, expected: &str) {
    assert_eq!(read(loaded, at, expected.len() + 1), [expected.as_bytes(), &[0]].concat());
}

#[test]
fn a_multiboot_image_finds_its_command_line_modules_and_memory() {
    let options = LoadOptions {
        command_line: "test.flat one two".into(),
        modules: vec![Module { command_line: "environment".into(), bytes: b"NR_CPUS=2\n".to_vec() }],
        ..options()
    };
    let loaded = load(&elf(0x10_0000, &header(3), 0x3000), &options).unwrap();
    let Start::Protected32 { eip, eax, ebx, esi: _ } = loaded.start;
    assert_eq!((eip, eax), (ENTRY, 0x2bad_b002));
    assert_eq!(read(&loaded, 0x10_0000, 12), header(3));
    assert_eq!(read(&loaded, 0x10_200c, 4), [0; 4], "what is behind the file is cleared");
    assert_eq!(word(&loaded, ebx) & 0x4d, 0x4d, "memory, command line, modules and map are there");
    assert_eq!((word(&loaded, ebx + 4), word(&loaded, ebx + 8)), (639, 63 << 10));
    text(&loaded, word(&loaded, ebx + 16), "test.flat one two");
    assert_eq!(word(&loaded, ebx + 20), 1);
    let module = word(&loaded, ebx + 24);
    let (start, end) = (word(&loaded, module), word(&loaded, module + 4));
    assert_eq!(read(&loaded, start, (end - start) as usize), b"NR_CPUS=2\n");
    text(&loaded, word(&loaded, module + 8), "environment");
    let (length, map) = (word(&loaded, ebx + 44), word(&loaded, ebx + 48));
    assert_eq!(length, 48);
    let entry = |number: u32| [4, 12, 20].map(|field| word(&loaded, map + 24 * number + field));
    assert_eq!([entry(0), entry(1)], [[0, 0x9_fc00, 1], [0x10_0000, 63 << 20, 1]]);
}

#[test]
fn segments_outside_ram_or_over_each_other_are_refused_by_name() {
    let error = |image: &[u8]| load(image, &options()).unwrap_err();
    let outside = error(&elf(63 << 20, &header(0), 2 << 20));
    let range = Range { start: 63 << 20, end: 65 << 20 };
    assert!(
        matches!(&outside, LoadError::OutsideRam { what, range: at, .. } if what == "segment 0" && *at == range)
    );
    assert!(outside.to_string().contains("segment 0 is to be at 0x3f00000-0x40fffff"), "{outside}");
    let video = error(&elf(0x9_f000, &header(0), 0x1000));
    assert!(matches!(video, LoadError::OutsideRam { .. }), "{video}");
    let mut twice = elf(0x10_0000, &header(0), 0x1000);
    twice.splice(52..52, twice[52..84].to_vec());
    twice[44] = 2;
    for offset in [56, 88] {
        twice[offset] = 116;
    }
    assert!(matches!(error(&twice), LoadError::Overlap { .. }), "{:?}", error(&twice));
}

#[test]
fn headers_that_ask_for_more_than_there_is_are_refused() {
    let error = |flags| load(&elf(0x10_0000, &header(flags), 0x1000), &options()).unwrap_err();
    assert_eq!(error(4), LoadError::Asked { asked: "a video mode", flags: 4 });
    assert_eq!(error(8), LoadError::Asked { asked: "something unknown", flags: 8 });
    assert_eq!(load(&elf(0x10_0000, &[0; 64], 0x1000), &options()), Err(LoadError::NoHeader));
    assert_eq!(load(b"", &options()), Err(LoadError::NoHeader));
}

proptest! {
    #[test]
    fn a_damaged_image_is_refused_or_stays_inside_ram(
        place in 0_usize..150, value in any::<u8>(), cut in 0_usize..200, memory in any::<u32>(),
    ) {
        let mut image = elf(0x10_0000, &[header(0), vec![0x90; 64]].concat(), memory);
        let length = image.len();
        image[place % length] = value;
        image.truncate(length.saturating_sub(cut / 2));
        if let Ok(loaded) = load(&image, &options()) {
            for piece in loaded.pieces {
                prop_assert!(piece.range.end <= 64 << 20);
                prop_assert!(piece.range.end <= 0x9_fc00 || piece.range.start >= 0x10_0000);
            }
        }
    }
}
