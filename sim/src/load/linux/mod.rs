//! Linux bzImages, by the 64-bit and the 32-bit boot protocol.
//!
//! Linux, `Documentation/arch/x86/boot.rst` (protocols) and `zero-page.rst` (what ESI or RSI points to).

mod header;
pub(super) mod payload;

pub(super) use header::is_one;

use super::error::{Place, Problem, Refusal};
use super::layout::{Direction, Layout, Ram, Window};
use super::read::{address32, terminated};
use super::{Image, LoadOptions, Loaded, MemoryMap, SegmentStart, Start, long_mode};
use header::{SetupHeader, field};

/// By which protocol the kernel is entered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Entry {
    Long,
    Protected,
}

/// Bytes from the start of the kernel to its 64-bit entry.
const ENTRY_64: u64 = 0x200;
const ZERO_PAGE: usize = 0x1000;
/// `type_of_loader` of a loader that has no number.
const LOADER: u8 = 0xff;
/// The most regions in the zero page.
const MOST_REGIONS: usize = 128;
const REGION_BYTES: usize = 20;
/// No kernel is loaded below.
const LOWEST: u64 = 0x10_0000;

/// Offsets in the zero page.
mod at {
    pub(super) const RSDP: usize = 0x70;
    pub(super) const REGION_COUNT: usize = 0x1e8;
    pub(super) const VIDEO_MODE: usize = 0x1fa;
    pub(super) const LOADER: usize = 0x210;
    pub(super) const CODE32_START: usize = 0x214;
    pub(super) const RAMDISK_IMAGE: usize = 0x218;
    pub(super) const RAMDISK_SIZE: usize = 0x21c;
    pub(super) const COMMAND_LINE: usize = 0x228;
    pub(super) const REGIONS: usize = 0x2d0;
}

/// The 64-bit protocol if the kernel has it.
pub(super) fn best_entry(file: &[u8]) -> Entry {
    match SetupHeader::read(file) {
        Ok(header) if header.entry64 => Entry::Long,
        _ => Entry::Protected,
    }
}

/// Loads a bzImage.
pub(super) fn load(image: &Image, options: &LoadOptions, entry: Entry) -> Result<Loaded, Refusal> {
    let header = SetupHeader::read(&image.bytes)?;
    check(&header, options, entry)?;
    let kernel = header.kernel(&image.bytes)?;
    let mut layout = Layout::new(&options.memory);
    let address = place_kernel(&header, kernel, &mut layout)?;
    let zero_page = zero_page(image, &header, options, &mut layout, address)?;
    let zero_page = layout.put(Place::Information("the zero page"), &zero_page, Window::LOW_PAGES)?;
    let start = match entry {
        Entry::Long => long_mode::start(&mut layout, address + ENTRY_64, zero_page)?,
        Entry::Protected => protected(&mut layout, address, zero_page)?,
    };
    Ok(layout.started(start))
}

/// What the kernel must offer for what is asked.
fn check(header: &SetupHeader, options: &LoadOptions, entry: Entry) -> Result<(), Refusal> {
    if entry == Entry::Long && !header.entry64 {
        return Err(field("xloadflags").refused(Problem::Missing("bit 0, XLF_KERNEL_64: a 64-bit entry")));
    }
    if !options.modules.is_empty() {
        let problem = Problem::Unsupported("a Linux kernel takes an initial RAM disk and no modules");
        return Err(Place::Module(0).refused(problem));
    }
    let (given, most) = (options.command_line.len() as u64, u64::from(header.cmdline_size));
    if given > most {
        let limit = "this kernel takes (its field cmdline_size)";
        return Err(Place::CommandLine.refused(Problem::TooMany { given, most, limit }));
    }
    Ok(())
}

/// Places the kernel where it prefers to be, or where there is room for a relocatable one; where it is.
fn place_kernel(header: &SetupHeader, kernel: &[u8], layout: &mut Layout<'_>) -> Result<u64, Refusal> {
    // While it unpacks itself the kernel uses init_size bytes from where it runs.
    let size = u64::from(header.init_size).max(kernel.len() as u64);
    let address = match header.alignment {
        None => header.preferred,
        Some(align) => {
            let from = header.preferred.max(LOWEST);
            let preferred = Window { from, below: 1 << 32, align, direction: Direction::Up };
            let lower = Window { from: LOWEST, ..preferred };
            let room = layout.room(Place::Kernel, size, preferred);
            room.or_else(|_| layout.room(Place::Kernel, size, lower))?
        }
    };
    if header.alignment.is_none() {
        layout.reserve(Place::Kernel, address, size, Ram::Usable)?;
    }
    // What the kernel reaches in either mode lies below 4 GiB.
    address32(Place::Kernel, address + size)?;
    layout.push(address, kernel.to_vec(), 0);
    Ok(address)
}

/// The zero page, with the command line and the initial RAM disk that it points to placed.
fn zero_page(
    image: &Image,
    header: &SetupHeader,
    options: &LoadOptions,
    layout: &mut Layout<'_>,
    kernel: u64,
) -> Result<Vec<u8>, Refusal> {
    let mut page = vec![0; ZERO_PAGE];
    page[header.range.clone()].copy_from_slice(&image.bytes[header.range.clone()]);
    let line = layout.put(Place::CommandLine, &terminated(&options.command_line), Window::LOW)?;
    let (disk, disk_bytes) = place_initrd(header, options, layout)?;
    page[at::LOADER] = LOADER;
    page[at::VIDEO_MODE..at::VIDEO_MODE + 2].copy_from_slice(&0xffffu16.to_le_bytes());
    let mut put = |at: usize, value: u32| page[at..at + 4].copy_from_slice(&value.to_le_bytes());
    put(at::CODE32_START, address32(Place::Kernel, kernel)?);
    put(at::RAMDISK_IMAGE, address32(Place::Initrd, disk)?);
    put(at::RAMDISK_SIZE, address32(Place::Initrd, disk_bytes)?);
    put(at::COMMAND_LINE, address32(Place::CommandLine, line)?);
    if let Some(rsdp) = options.rsdp.filter(|_| header.version >= header::RSDP) {
        page[at::RSDP..at::RSDP + 8].copy_from_slice(&rsdp.0.to_le_bytes());
    }
    regions(&mut page, &options.memory)?;
    Ok(page)
}

fn regions(page: &mut [u8], memory: &MemoryMap) -> Result<(), Refusal> {
    let regions = memory.at_most(MOST_REGIONS, "the zero page takes")?;
    // At most 128.
    page[at::REGION_COUNT] = regions.len() as u8;
    let rows = page[at::REGIONS..].chunks_exact_mut(REGION_BYTES);
    for (row, region) in rows.zip(regions) {
        row[..8].copy_from_slice(&region.start.0.to_le_bytes());
        row[8..16].copy_from_slice(&region.bytes.to_le_bytes());
        row[16..].copy_from_slice(&(region.kind as u32).to_le_bytes());
    }
    Ok(())
}

/// The initial RAM disk, as high as the kernel lets it be: where it is and how many bytes it has; 0 and 0 for none.
fn place_initrd(
    header: &SetupHeader,
    options: &LoadOptions,
    layout: &mut Layout<'_>,
) -> Result<(u64, u64), Refusal> {
    let Some(initrd) = &options.initrd else { return Ok((0, 0)) };
    let below = u64::from(header.initrd_addr_max) + 1;
    let window = Window { from: LOWEST, below, align: 0x1000, direction: Direction::Down };
    let address = layout.put(Place::Initrd, &initrd.bytes, window)?;
    Ok((address, initrd.bytes.len() as u64))
}

fn protected(layout: &mut Layout<'_>, kernel: u64, zero_page: u64) -> Result<Start, Refusal> {
    let code = SegmentStart::code32(long_mode::CODE);
    let gdt = long_mode::descriptors(layout, code)?;
    Ok(Start::Protected {
        eip: address32(Place::Kernel, kernel)?,
        eax: 0,
        ebx: 0,
        esi: address32(Place::Information("the zero page"), zero_page)?,
        code,
        data: SegmentStart::data(long_mode::DATA),
        gdt: Some(gdt),
        task: None,
    })
}
