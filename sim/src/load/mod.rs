//! Loaders: from the bytes of an image to what is in memory and in the registers when it starts.
//!
//! A loader sees bytes and options and touches no machine. What it returns has been checked: every [`Piece`] is in RAM and
//! none overlaps another.

mod elf;
mod error;
mod memory;
mod multiboot;

pub use error::LoadError;
pub use memory::{MemoryMap, Piece, Range};

/// A module of the image: its command line and its bytes.
#[derive(Clone, Debug)]
pub struct Module {
    /// What the image is told about it.
    pub command_line: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// What may be chosen about loading.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// The command line.
    pub command_line: String,
    /// Modules, in order.
    pub modules: Vec<Module>,
    /// RAM.
    pub memory: MemoryMap,
}

/// What processor 0 starts with. All that is not said is as after reset.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Start {
    /// 32-bit protected mode without paging, on flat segments.
    Protected32 {
        /// EIP.
        eip: u32,
        /// EAX.
        eax: u32,
        /// EBX.
        ebx: u32,
        /// ESI.
        esi: u32,
    },
}

/// An image that is ready to run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Loaded {
    /// What is in memory.
    pub pieces: Vec<Piece>,
    /// How the first processor starts.
    pub start: Start,
}

/// Loads an image by the protocol that it asks for.
///
/// # Errors
///
/// [`LoadError`], which says where in the image and what was expected.
pub fn load(image: &[u8], options: &LoadOptions) -> Result<Loaded, LoadError> {
    multiboot::load(image, options)
}
