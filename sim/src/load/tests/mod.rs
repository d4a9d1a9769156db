#![allow(clippy::unwrap_used, reason = "tests")]

mod hostile;
mod layout;
mod linux;
mod multiboot;
mod pvh;
mod real;

use super::*;

const MEBIBYTE: u64 = 1 << 20;

fn image(bytes: Vec<u8>) -> Image {
    Image { name: "test.img".to_owned(), bytes }
}

fn options(protocol: Protocol) -> LoadOptions {
    LoadOptions { protocol, ..LoadOptions::new(MemoryMap::new(64 * MEBIBYTE).unwrap()) }
}

fn module(bytes: &[u8], arguments: &str) -> Module {
    Module {
        image: Image { name: "module".to_owned(), bytes: bytes.to_vec() },
        arguments: arguments.to_owned(),
    }
}

/// What every result promises: each piece in RAM, none over another.
fn assert_sound(loaded: &Loaded, map: &MemoryMap) {
    let mut pieces: Vec<_> = loaded.pieces.iter().collect();
    pieces.sort_by_key(|piece| piece.address);
    for piece in &pieces {
        let size = piece.bytes.len() as u64 + piece.zeros;
        assert!(map.is_ram(piece.address.0, size), "{:?} {size:#x}", piece.address);
    }
    for pair in pieces.windows(2) {
        assert!(pair[0].end() <= pair[1].address.0, "{:?} {:?}", pair[0].address, pair[1].address);
    }
}

/// RAM as the machine would see it.
struct Seen<'a>(&'a Loaded);

impl Seen<'_> {
    fn bytes(&self, address: u64, count: u64) -> Vec<u8> {
        let at = |address: u64| {
            let holds = |piece: &&Piece| (piece.address.0..piece.end()).contains(&address);
            let piece = self.0.pieces.iter().find(holds).unwrap_or_else(|| panic!("nothing at {address:#x}"));
            piece.bytes.get((address - piece.address.0) as usize).copied().unwrap_or(0)
        };
        (address..address + count).map(at).collect()
    }

    fn u32(&self, address: u64) -> u32 {
        u32::from_le_bytes(self.bytes(address, 4).try_into().unwrap())
    }

    fn u64(&self, address: u64) -> u64 {
        u64::from_le_bytes(self.bytes(address, 8).try_into().unwrap())
    }

    fn string(&self, address: u64) -> String {
        let bytes = (address..).map(|at| self.bytes(at, 1)[0]).take_while(|byte| *byte != 0);
        String::from_utf8(bytes.collect()).unwrap()
    }
}

/// A segment of a test image.
#[derive(Clone)]
struct Segment {
    kind: u32,
    address: u64,
    bytes: Vec<u8>,
    memory: u64,
}

fn code(address: u64, bytes: &[u8], zeros: u64) -> Segment {
    Segment { kind: 1, address, bytes: bytes.to_vec(), memory: bytes.len() as u64 + zeros }
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// An ELF32 image for Intel 386.
fn elf32(entry: u32, segments: &[Segment]) -> Vec<u8> {
    let mut file = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x03\0".to_vec();
    file.extend(words(&[1, entry, 52, 0, 0]));
    file.extend([52, 0, 32, 0, segments.len() as u8, 0, 0, 0, 0, 0, 0, 0]);
    let mut offset = 52 + 32 * segments.len() as u32;
    for segment in segments {
        let (address, size) = (segment.address as u32, segment.bytes.len() as u32);
        file.extend(words(&[segment.kind, offset, address, address, size, segment.memory as u32, 7, 4]));
        offset += size;
    }
    segments.iter().for_each(|segment| file.extend(&segment.bytes));
    file
}

/// An ELF64 image for x86-64.
fn elf64(entry: u64, segments: &[Segment]) -> Vec<u8> {
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
    [entry, 64, 0].iter().for_each(|value| file.extend(value.to_le_bytes()));
    file.extend([0, 0, 0, 0, 64, 0, 56, 0, segments.len() as u8, 0, 0, 0, 0, 0, 0, 0]);
    let mut offset = 64 + 56 * segments.len() as u64;
    for segment in segments {
        let size = segment.bytes.len() as u64;
        file.extend(words(&[segment.kind, 7]));
        let row = [offset, segment.address, segment.address, size, segment.memory, 4];
        row.iter().for_each(|value| file.extend(value.to_le_bytes()));
        offset += size;
    }
    segments.iter().for_each(|segment| file.extend(&segment.bytes));
    file
}

fn multiboot_header(flags: u32) -> Vec<u8> {
    words(&[0x1bad_b002, flags, 0u32.wrapping_sub(0x1bad_b002).wrapping_sub(flags)])
}

/// A multiboot image with 1000H bytes of 0 behind 16 bytes at 1 MiB.
fn multiboot_image() -> Vec<u8> {
    let bytes = [multiboot_header(0), vec![0x90, 0x90, 0x90, 0xf4]].concat();
    elf32(0x10_000c, &[code(MEBIBYTE, &bytes, 0x1000)])
}

/// A note segment that names the PVH entry.
fn pvh_note(entry: u32) -> Segment {
    let other = [words(&[4, 5, 6]), b"Xen\0linux\0\0\0".to_vec()].concat();
    let bytes = [other, words(&[4, 4, 18]), b"Xen\0".to_vec(), words(&[entry])].concat();
    Segment { kind: 4, address: 0, memory: bytes.len() as u64, bytes }
}

fn pvh_image() -> Vec<u8> {
    elf64(0xffff_ffff_8100_0000, &[code(16 * MEBIBYTE, b"kernel", 0x2000), pvh_note(0x100_0002)])
}

/// A bzImage with `payload` in its protected-mode part, which is loaded at 16 MiB.
fn bzimage(payload: &[u8]) -> Vec<u8> {
    let mut file = vec![0; 1024];
    file[0x1f1] = 1;
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(0x1fe, &0xaa55u16.to_le_bytes());
    put(0x200, &[0xeb, 0x6a]);
    put(0x202, b"HdrS\x0f\x02");
    put(0x211, &[1]);
    put(0x22c, &0x7fff_ffffu32.to_le_bytes());
    put(0x230, &0x20_0000u32.to_le_bytes());
    put(0x234, &[1]);
    put(0x236, &1u16.to_le_bytes());
    put(0x238, &255u32.to_le_bytes());
    put(0x248, &0x400u32.to_le_bytes());
    put(0x24c, &(payload.len() as u32).to_le_bytes());
    put(0x258, &(16 * MEBIBYTE).to_le_bytes());
    put(0x260, &0x10_0000u32.to_le_bytes());
    file.extend([0xf4; 0x400]);
    file.extend(payload);
    file
}
