//! Flat binaries: the bytes of the file at an address.

use super::error::{Place, Refusal};
use super::layout::{Layout, Ram};
use super::read::address32;
use super::{Image, LoadOptions, Loaded, Problem, SegmentStart, Start, long_mode};

/// In which mode a flat binary starts, at its first byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlatMode {
    /// Real mode, below 1 MiB. CS holds bits 19:16 of the address (the boot sector's 7C00H becomes 0:7C00H).
    Real,
    /// 32-bit protected mode with flat segments, paging off and a GDT of its own.
    Protected,
    /// 64-bit mode with the lowest 4 GiB mapped to themselves.
    Long,
}

/// Loads any bytes.
pub(super) fn load(
    image: &Image,
    options: &LoadOptions,
    address: u64,
    mode: FlatMode,
) -> Result<Loaded, Refusal> {
    refuse_extras(options)?;
    if image.bytes.is_empty() {
        return Err(Place::Image.refused(Problem::Missing("at least one byte")));
    }
    let mut layout = Layout::new(&options.memory);
    layout.place(Place::Image, address, &image.bytes, 0, Ram::Any)?;
    let start = match mode {
        FlatMode::Real => real(address)?,
        FlatMode::Protected => protected(&mut layout, address)?,
        FlatMode::Long => long_mode::start(&mut layout, address, 0)?,
    };
    Ok(layout.started(start))
}

/// A flat binary is handed nothing.
fn refuse_extras(options: &LoadOptions) -> Result<(), Refusal> {
    let refused = |place: Place| place.refused(Problem::Unsupported("a flat binary is handed nothing"));
    if !options.command_line.is_empty() {
        return Err(refused(Place::CommandLine));
    }
    if !options.modules.is_empty() {
        return Err(refused(Place::Module(0)));
    }
    if options.initrd.is_some() {
        return Err(refused(Place::Initrd));
    }
    Ok(())
}

fn real(address: u64) -> Result<Start, Refusal> {
    let expected = "an address below 1 MiB, to start in real mode";
    let within = u32::try_from(address).ok().filter(|address| *address < 1 << 20);
    let within = within.ok_or_else(|| Place::Image.unexpected(address, expected))?;
    // Below 1 MiB both fit.
    Ok(Start::Real { cs: (within >> 16 << 12) as u16, ip: (within & 0xffff) as u16 })
}

fn protected(layout: &mut Layout<'_>, address: u64) -> Result<Start, Refusal> {
    let eip = address32(Place::Image, address)?;
    let code = SegmentStart::code32(long_mode::CODE);
    let gdt = long_mode::descriptors(layout, code)?;
    let data = SegmentStart::data(long_mode::DATA);
    Ok(Start::Protected { eip, eax: 0, ebx: 0, esi: 0, code, data, gdt: Some(gdt), task: None })
}
