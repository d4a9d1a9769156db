//! Multiboot 1 (Multiboot Specification 0.6.96): ELF images with a header in their first 8 KiB.

use super::memory::Layout;
use super::{LoadError, LoadOptions, Loaded, MemoryMap, Start, elf};

const MAGIC: u32 = 0x1bad_b002;
/// What EAX holds when the image starts.
const LOADED: u32 = 0x2bad_b002;
/// The header is in so many bytes.
const SEARCHED: usize = 8192;
/// Flag 2 of the header: a video mode is wanted.
const VIDEO: u32 = 1 << 2;
/// Flag 16: addresses are in the header instead of in ELF.
const ADDRESSES: u32 = 1 << 16;
/// Bits 15:0 must be understood.
const REQUIRED: u32 = 0xffff;

/// Flags of the information: memory, command line, modules, memory map and the name of the loader.
const MEMORY: u32 = 1 << 0;
const COMMAND_LINE: u32 = 1 << 2;
const MODULES: u32 = 1 << 3;
const MEMORY_MAP: u32 = 1 << 6;
const LOADER_NAME: u32 = 1 << 9;
/// Bytes of the information up to the name of the loader.
const INFORMATION: usize = 72;

pub(super) fn load(image: &[u8], options: &LoadOptions) -> Result<Loaded, LoadError> {
    check_header(image)?;
    let mut layout = Layout::new(&options.memory);
    let entry = elf::place(image, &mut layout)?;
    let eip = u32::try_from(entry).map_err(|_| LoadError::Entry(entry))?;
    let ebx = information(options, &mut layout)?;
    let start = Start::Protected32 { eip, eax: LOADED, ebx, esi: 0 };
    Ok(Loaded { pieces: layout.pieces, start })
}

fn check_header(image: &[u8]) -> Result<(), LoadError> {
    let words = image[..image.len().min(SEARCHED)].chunks_exact(4);
    let words: Vec<u32> =
        words.map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]])).collect();
    let is_header = |header: &&[u32]| {
        header[0] == MAGIC && header[0].wrapping_add(header[1]).wrapping_add(header[2]) == 0
    };
    let flags = words.windows(3).find(is_header).ok_or(LoadError::NoHeader)?[1];
    let refuse = |asked| Err(LoadError::Asked { asked, flags });
    match flags {
        _ if flags & VIDEO != 0 => refuse("a video mode"),
        _ if flags & ADDRESSES != 0 => refuse("addresses from the header"),
        _ if flags & REQUIRED & !3 != 0 => refuse("something unknown"),
        _ => Ok(()),
    }
}

/// Places what the image is told, and returns the address of the information.
fn information(options: &LoadOptions, layout: &mut Layout<'_>) -> Result<u32, LoadError> {
    let text = |layout: &mut Layout<'_>, what: &str, text: &str| {
        let bytes = [text.as_bytes(), &[0]].concat();
        Ok::<u32, LoadError>(layout.append(what, bytes)? as u32)
    };
    let command_line = text(layout, "the command line", &options.command_line)?;
    let name = text(layout, "the name of the loader", "vmxsim")?;
    let mut modules = Vec::new();
    for module in &options.modules {
        let start = layout.append("a module", module.bytes.clone())? as u32;
        let end = start + module.bytes.len() as u32;
        let words = [start, end, text(layout, "the command line of a module", &module.command_line)?, 0];
        modules.extend(words.into_iter().flat_map(u32::to_le_bytes));
    }
    let modules_at = layout.append("the list of modules", modules)? as u32;
    let map = memory_map(&options.memory);
    let map_bytes = map.len() as u32;
    let map_at = layout.append("the memory map", map)? as u32;
    let mut words = [0_u32; INFORMATION / 4];
    words[0] = MEMORY | COMMAND_LINE | MODULES | MEMORY_MAP | LOADER_NAME;
    (words[1], words[2]) = lower_and_upper(&options.memory);
    words[4] = command_line;
    (words[5], words[6]) = (options.modules.len() as u32, modules_at);
    (words[11], words[12]) = (map_bytes, map_at);
    words[16] = name;
    let information: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
    Ok(layout.append("the information", information)? as u32)
}

/// KiB of memory from 0 and from 1 MiB on.
fn lower_and_upper(memory: &MemoryMap) -> (u32, u32) {
    let kib = |start: u64| {
        let range = memory.ranges.iter().find(|range| range.start == start);
        range.map_or(0, |range| ((range.end - range.start) >> 10) as u32)
    };
    (kib(0), kib(0x10_0000))
}

/// Entries of 24 bytes: the size of what follows, start, length, and type 1 for RAM.
fn memory_map(memory: &MemoryMap) -> Vec<u8> {
    let entry = |range: &super::Range| {
        let mut bytes = 20_u32.to_le_bytes().to_vec();
        bytes.extend(range.start.to_le_bytes());
        bytes.extend((range.end - range.start).to_le_bytes());
        bytes.extend(1_u32.to_le_bytes());
        bytes
    };
    memory.ranges.iter().flat_map(entry).collect()
}
