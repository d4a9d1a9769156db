//! Xen's PVH start: an ELF64 image that names a 32-bit entry in a note.
//!
//! Xen, `docs/misc/pvh.pandoc` (machine state) and `xen/include/public/arch-x86/hvm/start_info.h` (what EBX points to).

use super::elf::{self, Elf};
use super::error::{Place, Problem, Refusal};
use super::layout::{Direction, Layout, Window};
use super::linux::payload;
use super::read::{address32, terminated};
use super::{Image, LoadOptions, Loaded, MemoryMap, SegmentStart, Start, linux};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{Immutable, IntoBytes};

/// Who defines the note, with the byte of 0 that ends the name.
const OWNER: &[u8] = b"Xen\0";
/// `XEN_ELFNOTE_PHYS32_ENTRY`.
const PHYS32_ENTRY: u32 = 18;
/// `XEN_HVM_START_MAGIC_VALUE`.
const MAGIC: u32 = 0x336e_c578;
const VERSION: u32 = 1;
/// The task segment that the protocol asks for: a busy 32-bit TSS of 104 bytes at 0.
const TASK: SegmentStart = SegmentStart { selector: 0, base: 0, limit: 0x67, access: 0x8b };

#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct StartInformation {
    magic: U32,
    version: U32,
    flags: U32,
    module_count: U32,
    modules: U64,
    command_line: U64,
    rsdp: U64,
    map: U64,
    map_entries: U32,
    reserved: U32,
}

#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct ModuleEntry {
    address: U64,
    size: U64,
    command_line: U64,
    reserved: U64,
}

#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct MapEntry {
    address: U64,
    size: U64,
    kind: U32,
    reserved: U32,
}

/// Loads an ELF64 image, or the one that is packed in a bzImage.
pub(super) fn load(image: &Image, options: &LoadOptions) -> Result<Loaded, Refusal> {
    if elf::is_one(&image.bytes) {
        return load_kernel(&image.bytes, options);
    }
    if !linux::is_one(&image.bytes) {
        return Err(Place::Image.refused(Problem::Missing("an ELF64 image or a bzImage")));
    }
    load_kernel(&unpacked(&image.bytes)?, options)
}

/// The ELF image that is packed in a bzImage, if it has a PVH entry.
pub(super) fn unpacked(file: &[u8]) -> Result<Vec<u8>, Refusal> {
    let kernel = payload::unpack(file)?;
    entry(&Elf::read(&kernel)?)?;
    Ok(kernel)
}

/// The entry that the note names.
fn entry(elf: &Elf<'_>) -> Result<u32, Refusal> {
    let place = Place::Field { header: "PVH note", field: "XEN_ELFNOTE_PHYS32_ENTRY" };
    let missing = || place.clone().refused(Problem::Missing("a note of owner Xen and type 18"));
    let note = elf.note(OWNER, PHYS32_ENTRY)?.ok_or_else(missing)?;
    let value = match note.len() {
        4 => note.try_into().map(|bytes| u64::from(u32::from_le_bytes(bytes))),
        _ => note.try_into().map(u64::from_le_bytes),
    };
    let value = value.map_err(|_| place.clone().unexpected(note.len() as u64, "4 or 8 bytes"))?;
    if !elf.loads(value) {
        return Err(place.unexpected(value, "an address inside a loaded segment"));
    }
    address32(place, value)
}

/// Loads an ELF image.
pub(super) fn load_kernel(kernel: &[u8], options: &LoadOptions) -> Result<Loaded, Refusal> {
    let elf = Elf::read(kernel)?;
    let eip = entry(&elf)?;
    let mut layout = Layout::new(&options.memory);
    elf.place(&mut layout)?;
    let ebx = hand_over(options, &mut layout)?;
    let (code, data) = (SegmentStart::code32(8), SegmentStart::data(0x10));
    let start = Start::Protected { eip, eax: 0, ebx, esi: 0, code, data, gdt: None, task: Some(TASK) };
    Ok(layout.started(start))
}

/// Places modules and start information; where that is.
fn hand_over(options: &LoadOptions, layout: &mut Layout<'_>) -> Result<u32, Refusal> {
    let modules = modules(options, layout)?;
    let mut put = |what, bytes: &[u8]| layout.put(Place::Information(what), bytes, Window::LOW);
    let map = map(&options.memory)?;
    let information = StartInformation {
        magic: MAGIC.into(),
        version: VERSION.into(),
        flags: 0.into(),
        module_count: (modules.len() as u32).into(),
        modules: put("the list of modules", modules.as_bytes())?.into(),
        command_line: put("the command line", &terminated(&options.command_line))?.into(),
        rsdp: options.rsdp.map_or(0, |rsdp| rsdp.0).into(),
        map_entries: (map.len() as u32).into(),
        map: put("the memory map", map.as_bytes())?.into(),
        reserved: 0.into(),
    };
    let place = "the PVH start information";
    address32(Place::Information(place), put(place, information.as_bytes())?)
}

/// The initial RAM disk is the first module, as Linux takes it.
fn modules(options: &LoadOptions, layout: &mut Layout<'_>) -> Result<Vec<ModuleEntry>, Refusal> {
    let initrd = options.initrd.iter().map(|initrd| (Place::Initrd, &initrd.bytes, ""));
    let others = options.modules.iter().enumerate();
    let others = others
        .map(|(number, module)| (Place::Module(number), &module.image.bytes, module.arguments.as_str()));
    let window = Window { from: 1 << 20, below: 1 << 32, align: 0x1000, direction: Direction::Down };
    let place = |(place, bytes, arguments): (Place, &Vec<u8>, &str)| {
        Ok(ModuleEntry {
            address: layout.put(place.clone(), bytes, window)?.into(),
            size: (bytes.len() as u64).into(),
            command_line: layout.put(place, &terminated(arguments), Window::LOW)?.into(),
            reserved: 0.into(),
        })
    };
    initrd.chain(others).map(place).collect()
}

fn map(memory: &MemoryMap) -> Result<Vec<MapEntry>, Refusal> {
    let regions = memory.at_most(128, "are handed over")?.iter();
    let entry = |region: &super::Region| MapEntry {
        address: region.start.0.into(),
        size: region.bytes.into(),
        kind: (region.kind as u32).into(),
        reserved: 0.into(),
    };
    Ok(regions.map(entry).collect())
}
