//! Loaders: what an image becomes in RAM, and how processor 0 starts, as values.
//!
//! [`load`] reads an image by a boot protocol and returns [`Loaded`]: the pieces to copy to RAM, each inside it and none
//! over another, and the registers to [`Start`] with. It reaches no machine. Whatever is wrong with the image, its
//! modules or the options is a [`LoadError`] that names the file, the place and what was expected.
//!
//! | protocol | image | start |
//! |---|---|---|
//! | [`Protocol::Multiboot`] | ELF for Intel 386 or x86-64, or the address fields of the multiboot header | 32-bit, EAX = 2BADB002H, EBX = information |
//! | [`Protocol::Pvh`] | ELF64 with the note `XEN_ELFNOTE_PHYS32_ENTRY`, also packed in a bzImage | 32-bit, EBX = start information |
//! | [`Protocol::Linux64`] | bzImage | 64-bit, RSI = zero page |
//! | [`Protocol::Linux32`] | bzImage | 32-bit, ESI = zero page |
//! | [`Protocol::Flat`] | any bytes | as asked for |
//!
//! The crates `linux-loader` and `vm-memory` are not used: they write into a mapped guest memory as they read, and
//! here all is checked before anything is written; of their definitions only a few dozen fields would be needed, which
//! `zerocopy` structures state here.
//!
//! ```
//! use vmxsim::load::{FlatMode, Image, LoadOptions, MemoryMap, Protocol, Start, load};
//!
//! let image = Image { name: "halt".to_owned(), bytes: vec![0xfa, 0xf4] }; // cli; hlt
//! let mut options = LoadOptions::new(MemoryMap::new(16 << 20)?);
//! options.protocol = Protocol::Flat { address: 0x7c00, mode: FlatMode::Real };
//! let loaded = load(&image, &options)?;
//! assert_eq!(loaded.start, Start::Real { cs: 0, ip: 0x7c00 });
//! assert_eq!(loaded.pieces[0].bytes, [0xfa, 0xf4]);
//! # Ok::<(), vmxsim::load::LoadError>(())
//! ```

mod elf;
mod error;
mod flat;
mod layout;
mod linux;
mod long_mode;
mod memory;
mod multiboot;
mod pvh;
mod read;
mod start;
#[cfg(test)]
mod tests;

pub use error::{LoadError, Place, Problem};
pub use flat::FlatMode;
pub use memory::{HOLE_END, HOLE_START, MemoryMap, Region, RegionKind};
pub use start::{ControlStart, SegmentStart, Start, TableRegister};

use error::Refusal;
use isa::address::HostPhysicalAddress;
use std::io::Read;
use std::path::Path;

/// The most bytes of a file.
const LARGEST_FILE: u64 = 4 << 30;

/// A file: its name for messages, and what is in it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Image {
    /// The name, as the user gave it.
    pub name: String,
    /// The contents.
    pub bytes: Vec<u8>,
}

impl Image {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// The file cannot be read or has more than 4 GiB.
    pub fn read(path: &Path) -> Result<Self, LoadError> {
        let name = path.display().to_string();
        let refused = |problem| Place::Image.refused(problem).of(&name);
        let file = std::fs::File::open(path).map_err(|error| refused(error.into()))?;
        let mut bytes = Vec::new();
        file.take(LARGEST_FILE + 1).read_to_end(&mut bytes).map_err(|error| refused(error.into()))?;
        let given = bytes.len() as u64;
        if given > LARGEST_FILE {
            return Err(refused(Problem::TooMany { given, most: LARGEST_FILE, limit: "a file may have" }));
        }
        Ok(Self { name, bytes })
    }
}

/// A module: a file that the protocol hands over beside the image.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Module {
    /// The file.
    pub image: Image,
    /// The string that goes with it.
    pub arguments: String,
}

/// By which protocol an image is loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Protocol {
    /// Whatever the image has first: a multiboot header, a PVH note (also of the kernel packed in a bzImage, which
    /// saves the guest the unpacking), Linux's 64-bit protocol, Linux's 32-bit protocol.
    #[default]
    Auto,
    /// Multiboot specification, version 0.6.96.
    Multiboot,
    /// Xen's PVH start of an ELF64 image, or of the one that is packed in a bzImage.
    Pvh,
    /// The 64-bit boot protocol of Linux/x86.
    Linux64,
    /// The 32-bit boot protocol of Linux/x86.
    Linux32,
    /// The bytes of the file at an address, which is also where it starts.
    Flat {
        /// Where.
        address: u64,
        /// In which mode.
        mode: FlatMode,
    },
}

/// What goes with an image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoadOptions {
    /// The command line. Multiboot puts the name of the image before it.
    pub command_line: String,
    /// Modules (multiboot and PVH).
    pub modules: Vec<Module>,
    /// The initial RAM disk (Linux and PVH).
    pub initrd: Option<Image>,
    /// Where RAM is.
    pub memory: MemoryMap,
    /// Where the ACPI root pointer is, for protocols that hand it over.
    pub rsdp: Option<HostPhysicalAddress>,
    /// The protocol.
    pub protocol: Protocol,
}

impl LoadOptions {
    /// No command line, no modules, no ACPI, and the protocol that the image asks for.
    #[must_use]
    pub const fn new(memory: MemoryMap) -> Self {
        Self {
            command_line: String::new(),
            modules: Vec::new(),
            initrd: None,
            memory,
            rsdp: None,
            protocol: Protocol::Auto,
        }
    }
}

/// Bytes to copy to RAM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Piece {
    /// Where.
    pub address: HostPhysicalAddress,
    /// What.
    pub bytes: Vec<u8>,
    /// How many bytes of 0 follow.
    pub zeros: u64,
}

impl Piece {
    /// The address behind its last byte, zeros included.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.address.0 + self.bytes.len() as u64 + self.zeros
    }
}

/// An image as it lies in RAM, and how it starts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Loaded {
    /// What to copy to RAM. Each piece is inside RAM, and no two overlap.
    pub pieces: Vec<Piece>,
    /// How processor 0 starts.
    pub start: Start,
}

/// Lays out an image by a boot protocol.
///
/// # Errors
///
/// [`LoadError`]: the image is truncated or not what the protocol wants, a part of it would lie outside RAM or over
/// another, or something is asked for that the protocol has no place for.
pub fn load(image: &Image, options: &LoadOptions) -> Result<Loaded, LoadError> {
    let refused = |refusal: Refusal| refusal.of(&image.name);
    read::check_string(Place::CommandLine, &options.command_line).map_err(refused)?;
    for (number, module) in options.modules.iter().enumerate() {
        read::check_string(Place::Module(number), &module.arguments).map_err(refused)?;
    }
    let loaded = match options.protocol {
        Protocol::Auto => automatic(image, options),
        Protocol::Multiboot => multiboot::load(image, options),
        Protocol::Pvh => pvh::load(image, options),
        Protocol::Linux64 => linux::load(image, options, linux::Entry::Long),
        Protocol::Linux32 => linux::load(image, options, linux::Entry::Protected),
        Protocol::Flat { address, mode } => flat::load(image, options, address, mode),
    };
    loaded.map_err(refused)
}

/// Loads by the first protocol that the image has.
fn automatic(image: &Image, options: &LoadOptions) -> Result<Loaded, Refusal> {
    if multiboot::is_one(&image.bytes) {
        return multiboot::load(image, options);
    }
    if elf::is_one(&image.bytes) {
        return pvh::load(image, options);
    }
    if !linux::is_one(&image.bytes) {
        let expected = "a multiboot header, an ELF64 image with a PVH note or a bzImage; \
                        other images are loaded as flat ones, at an address";
        return Err(Place::Image.refused(Problem::Missing(expected)));
    }
    match pvh::unpacked(&image.bytes) {
        Ok(kernel) => pvh::load_kernel(&kernel, options),
        Err(_) => linux::load(image, options, linux::best_entry(&image.bytes)),
    }
}
