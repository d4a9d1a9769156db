//! The kernel that is packed in a bzImage.

use super::super::error::{Place, Problem, Refusal};
use super::super::read::slice;
use super::header::{SetupHeader, field};
use std::io::Read;

/// The most bytes of an unpacked kernel.
const LARGEST: u64 = 1 << 30;
/// What a chunk of an LZ4 payload becomes, at most.
const LZ4_CHUNK: usize = 8 << 20;

/// How a payload is packed, by the bytes that it begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Format {
    Gzip,
    Xz,
    Zstd,
    /// The legacy frame of LZ4, which the kernel's build uses.
    Lz4,
    /// An ELF image as it is.
    Plain,
}

const FORMATS: &[(&[u8], Format)] = &[
    (b"\x1f\x8b", Format::Gzip),
    (b"\xfd7zXZ\0", Format::Xz),
    (b"\x28\xb5\x2f\xfd", Format::Zstd),
    (b"\x02\x21\x4c\x18", Format::Lz4),
    (b"\x7fELF", Format::Plain),
];

/// The ELF image that is packed in a bzImage.
pub(in super::super) fn unpack(file: &[u8]) -> Result<Vec<u8>, Refusal> {
    let header = SetupHeader::read(file)?;
    let (offset, length) = header.payload;
    let place = field("payload_offset");
    let packed = slice(file, place, header.setup_bytes + u64::from(offset), length.into())?;
    let format = FORMATS.iter().find(|(magic, _)| packed.starts_with(magic));
    let Some((_, format)) = format else {
        let expected = "gzip, xz, zstd, LZ4 or an ELF image";
        return Err(Place::Payload.refused(Problem::Missing(expected)));
    };
    match format {
        Format::Gzip => all(*format, flate2::bufread::GzDecoder::new(packed)),
        Format::Xz => all(*format, liblzma::bufread::XzDecoder::new(packed)),
        Format::Zstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(packed);
            all(*format, decoder.map_err(|error| broken(*format, &error))?.single_frame())
        }
        Format::Lz4 => lz4(&packed[4..]),
        Format::Plain => Ok(packed.to_vec()),
    }
}

fn broken(format: Format, reason: &dyn std::fmt::Display) -> Refusal {
    let format = match format {
        Format::Gzip => "gzip",
        Format::Xz => "xz",
        Format::Zstd => "zstd",
        Format::Lz4 => "LZ4",
        Format::Plain => "ELF",
    };
    Place::Payload.refused(Problem::Compressed { format, reason: reason.to_string() })
}

fn too_large(given: u64) -> Refusal {
    Place::Payload.refused(Problem::TooMany { given, most: LARGEST, limit: "an unpacked kernel may have" })
}

/// One compressed stream; the build appends the unpacked size, which is not part of it.
fn all(format: Format, decoder: impl Read) -> Result<Vec<u8>, Refusal> {
    let mut kernel = Vec::new();
    let read = decoder.take(LARGEST + 1).read_to_end(&mut kernel).map_err(|error| broken(format, &error))?;
    if read as u64 > LARGEST {
        return Err(too_large(read as u64));
    }
    Ok(kernel)
}

/// Chunks, each with its packed size before it; what is shorter than a size ends the list, and so does the unpacked
/// size, which stands where the next chunk's size would.
fn lz4(mut packed: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut kernel = Vec::new();
    let mut chunk = vec![0; LZ4_CHUNK];
    while let Some((size, rest)) = packed.split_first_chunk::<4>() {
        let size = u32::from_le_bytes(*size);
        if rest.is_empty() && size as usize == kernel.len() {
            break;
        }
        let place = || broken(Format::Lz4, &format!("a chunk of {size:#x} bytes, of {:#x}", rest.len()));
        let (bytes, behind) = rest.split_at_checked(size as usize).ok_or_else(place)?;
        let unpacked = lz4_flex::block::decompress_into(bytes, &mut chunk);
        let unpacked = unpacked.map_err(|error| broken(Format::Lz4, &error))?;
        if (kernel.len() + unpacked) as u64 > LARGEST {
            return Err(too_large((kernel.len() + unpacked) as u64));
        }
        kernel.extend_from_slice(&chunk[..unpacked]);
        packed = behind;
    }
    Ok(kernel)
}
