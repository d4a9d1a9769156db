//! ELF images.

use super::LoadError;
use super::memory::Layout;
use object::elf::{FileHeader32, FileHeader64, PT_LOAD};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, FileKind};

/// Places the segments of an ELF file of either class at their physical addresses, and returns the entry point.
pub(super) fn place(image: &[u8], layout: &mut Layout<'_>) -> Result<u64, LoadError> {
    match FileKind::parse(image) {
        Ok(FileKind::Elf32) => place_class::<FileHeader32<Endianness>>(image, layout),
        Ok(FileKind::Elf64) => place_class::<FileHeader64<Endianness>>(image, layout),
        Ok(_) => Err(LoadError::Elf("it is no ELF file".to_owned())),
        Err(error) => Err(LoadError::Elf(error.to_string())),
    }
}

fn place_class<H: FileHeader<Endian = Endianness>>(
    image: &[u8],
    layout: &mut Layout<'_>,
) -> Result<u64, LoadError> {
    let damaged = |error: object::read::Error| LoadError::Elf(error.to_string());
    let header = H::parse(image).map_err(damaged)?;
    let endian = header.endian().map_err(damaged)?;
    let segments = header.program_headers(endian, image).map_err(damaged)?;
    for (number, segment) in segments.iter().enumerate() {
        let size: u64 = segment.p_memsz(endian).into();
        if segment.p_type(endian) != PT_LOAD || size == 0 {
            continue;
        }
        let what = format!("segment {number}");
        let bytes = segment
            .data(endian, image)
            .map_err(|()| LoadError::Elf(format!("the bytes of {what} are not all in the file")))?;
        if bytes.len() as u64 > size {
            return Err(LoadError::Elf(format!("{what} has more bytes in the file than in memory")));
        }
        layout.place(what, segment.p_paddr(endian).into(), bytes.to_vec(), size)?;
    }
    Ok(header.e_entry(endian).into())
}
