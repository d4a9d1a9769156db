//! Multiboot 1.
//!
//! Multiboot specification, version 0.6.96: 3.1 (header), 3.2 (machine state), 3.3 (information).

use super::elf::{self, Elf};
use super::error::{Place, Problem, Refusal};
use super::layout::{Direction, Layout, Ram, Window};
use super::read::{address32, header, slice, terminated};
use super::{Image, LoadOptions, Loaded, MemoryMap, SegmentStart, Start};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

const MAGIC: u32 = 0x1bad_b002;
/// EAX at the start.
const LOADED: u32 = 0x2bad_b002;
/// The header lies, aligned to 4 bytes, in so many bytes from the start of the file.
const SEARCHED: usize = 8192;
/// Flags that ask for something that is always given: modules on page boundaries and the memory map.
const GIVEN: u32 = 0b11;
/// Flags that a loader must know to load the image.
const REQUIREMENTS: u32 = 0xffff;
/// The address fields of the header are valid.
const ADDRESSES: u32 = 1 << 16;
const LOADER_NAME: &str = "vmxsim";
/// Modules end where their entries can say.
const MODULES_BELOW: u64 = 1 << 32;

#[derive(FromBytes, KnownLayout, Immutable)]
#[repr(C)]
struct Header {
    magic: U32,
    flags: U32,
    checksum: U32,
}

#[derive(FromBytes, KnownLayout, Immutable)]
#[repr(C)]
struct Addresses {
    header: U32,
    load: U32,
    load_end: U32,
    bss_end: U32,
    entry: U32,
}

/// Which fields of the information are valid.
mod valid {
    pub(super) const MEMORY: u32 = 1;
    pub(super) const COMMAND_LINE: u32 = 1 << 2;
    pub(super) const MODULES: u32 = 1 << 3;
    pub(super) const MEMORY_MAP: u32 = 1 << 6;
    pub(super) const LOADER_NAME: u32 = 1 << 9;
}

#[derive(IntoBytes, Immutable, Default)]
#[repr(C)]
struct Information {
    flags: U32,
    memory_lower: U32,
    memory_upper: U32,
    boot_device: U32,
    command_line: U32,
    module_count: U32,
    modules: U32,
    symbols: [U32; 4],
    map_bytes: U32,
    map: U32,
    drives: [U32; 2],
    configuration_table: U32,
    loader_name: U32,
    /// APM, VBE and frame buffer: not valid.
    rest: [U32; 13],
}

#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct ModuleEntry {
    start: U32,
    end: U32,
    string: U32,
    reserved: U32,
}

#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct MapEntry {
    /// Bytes that follow this field.
    size: U32,
    base: U64,
    bytes: U64,
    kind: U32,
}

const fn field(field: &'static str) -> Place {
    Place::Field { header: "multiboot header", field }
}

/// The offset of the header, and its flags.
fn find(file: &[u8]) -> Option<(u64, u32)> {
    let searched = &file[..file.len().min(SEARCHED)];
    let found = searched.chunks_exact(4).position(|word| word == MAGIC.to_le_bytes());
    let start = found? * 4;
    // A magic number by chance is followed by no fitting checksum; the specification lets only the first count.
    let head: Header = header(searched, Place::Image, start as u64).ok()?;
    let sum = head.magic.get().wrapping_add(head.flags.get()).wrapping_add(head.checksum.get());
    (sum == 0).then_some((start as u64, head.flags.get()))
}

/// Whether a file has a multiboot header.
pub(super) fn is_one(file: &[u8]) -> bool {
    find(file).is_some()
}

/// Loads a multiboot image.
pub(super) fn load(image: &Image, options: &LoadOptions) -> Result<Loaded, Refusal> {
    let expected = "a multiboot header with a fitting checksum in the first 8192 bytes";
    let (at, flags) = find(&image.bytes).ok_or_else(|| Place::Image.refused(Problem::Missing(expected)))?;
    if flags & REQUIREMENTS & !GIVEN != 0 {
        return Err(
            field("flags").unexpected(flags, "no requirement but bits 0 and 1 (a video mode is not set)")
        );
    }
    if options.initrd.is_some() {
        return Err(Place::Initrd.refused(Problem::Unsupported("multiboot has modules instead")));
    }
    let mut layout = Layout::new(&options.memory);
    let (eip, end) = match flags & ADDRESSES {
        0 => segments(&image.bytes, &mut layout)?,
        _ => addresses(&image.bytes, at, &mut layout)?,
    };
    let ebx = hand_over(image, options, &mut layout, end)?;
    let (code, data) = (SegmentStart::code32(8), SegmentStart::data(0x10));
    let start = Start::Protected { eip, eax: LOADED, ebx, esi: 0, code, data, gdt: None, task: None };
    Ok(layout.started(start))
}

/// Loads an ELF image; its entry and the address behind it.
fn segments(file: &[u8], layout: &mut Layout<'_>) -> Result<(u32, u64), Refusal> {
    if !elf::is_one(file) {
        return Err(field("flags").refused(Problem::Missing("bit 16, as the image is no ELF")));
    }
    let elf = Elf::read(file)?;
    let end = elf.place(layout)?;
    Ok((elf.entry()?, end))
}

/// Loads by the address fields of the header; the entry and the address behind the image.
fn addresses(file: &[u8], at: u64, layout: &mut Layout<'_>) -> Result<(u32, u64), Refusal> {
    let fields: Addresses = header(file, field("header_addr"), at + size_of::<Header>() as u64)?;
    let of = |value: U32| u64::from(value.get());
    let (load, load_end, bss_end) = (of(fields.load), of(fields.load_end), of(fields.bss_end));
    let before = of(fields.header).checked_sub(load).and_then(|before| at.checked_sub(before));
    let Some(offset) = before else {
        let expected = "an address from load_addr on, by no more than the header's offset";
        return Err(field("header_addr").unexpected(of(fields.header), expected));
    };
    let size = match load_end {
        0 => file.len() as u64 - offset,
        _ => load_end.checked_sub(load).ok_or_else(|| {
            field("load_end_addr").unexpected(load_end, "0 or an address from load_addr on")
        })?,
    };
    let zeros = match bss_end {
        0 => 0,
        _ => bss_end.checked_sub(load + size).ok_or_else(|| {
            field("bss_end_addr").unexpected(bss_end, "0 or an address from load_end_addr on")
        })?,
    };
    let bytes = slice(file, field("load_end_addr"), offset, size)?;
    layout.place(Place::Kernel, load, bytes, zeros, Ram::Usable)?;
    let end = load + size + zeros;
    if !(load..end).contains(&of(fields.entry)) {
        return Err(field("entry_addr").unexpected(of(fields.entry), "an address inside the image"));
    }
    Ok((fields.entry.get(), end))
}

/// Places modules behind the image, and the information low; where the information is.
fn hand_over(
    image: &Image,
    options: &LoadOptions,
    layout: &mut Layout<'_>,
    end: u64,
) -> Result<u32, Refusal> {
    let modules = modules(options, layout, end)?;
    let line = match options.command_line.as_str() {
        "" => image.name.clone(),
        line => format!("{} {line}", image.name),
    };
    let mut put = |what, bytes: &[u8]| -> Result<u32, Refusal> {
        let place = Place::Information(what);
        let address = layout.put(place.clone(), bytes, Window::LOW)?;
        address32(place, address)
    };
    let map = map(&options.memory)?;
    let memory_upper = (options.memory.low_end() - (1 << 20)) >> 10;
    let mut information = Information {
        flags: (valid::MEMORY
            | valid::COMMAND_LINE
            | valid::MODULES
            | valid::MEMORY_MAP
            | valid::LOADER_NAME)
            .into(),
        memory_lower: 639.into(),
        // Below 3 GiB, counted in KiB.
        memory_upper: (memory_upper as u32).into(),
        module_count: (options.modules.len() as u32).into(),
        map_bytes: (map.len() as u32).into(),
        ..Information::default()
    };
    information.command_line = put("the command line", &terminated(&line))?.into();
    information.modules = put("the list of modules", modules.as_bytes())?.into();
    information.map = put("the memory map", &map)?.into();
    information.loader_name = put("the loader's name", &terminated(LOADER_NAME))?.into();
    put("the multiboot information", information.as_bytes())
}

fn modules(options: &LoadOptions, layout: &mut Layout<'_>, end: u64) -> Result<Vec<ModuleEntry>, Refusal> {
    let window = Window { from: end, below: MODULES_BELOW, align: 0x1000, direction: Direction::Up };
    let mut list = Vec::with_capacity(options.modules.len());
    for (number, module) in options.modules.iter().enumerate() {
        let place = Place::Module(number);
        let start = layout.put(place.clone(), &module.image.bytes, window)?;
        let string = layout.put(place.clone(), &terminated(&module.arguments), Window::LOW)?;
        let end = start + module.image.bytes.len() as u64;
        list.push(ModuleEntry {
            start: address32(place.clone(), start)?.into(),
            end: address32(place.clone(), end)?.into(),
            string: address32(place, string)?.into(),
            reserved: 0.into(),
        });
    }
    Ok(list)
}

fn map(memory: &MemoryMap) -> Result<Vec<u8>, Refusal> {
    let regions = memory.at_most(128, "are handed over")?.iter();
    let entries: Vec<_> = regions
        .map(|region| MapEntry {
            size: (size_of::<MapEntry>() as u32 - 4).into(),
            base: region.start.0.into(),
            bytes: region.bytes.into(),
            kind: (region.kind as u32).into(),
        })
        .collect();
    Ok(entries.as_bytes().to_vec())
}
