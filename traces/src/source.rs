//! Files that may be compressed, recognised by what is in them and not by their name.

use crate::error::TraceError;
use flate2::bufread::MultiGzDecoder;
use liblzma::bufread::XzDecoder;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

const GZIP: [u8; 2] = [0x1f, 0x8b];
const XZ: [u8; 6] = [0xfd, b'7', b'z', b'X', b'Z', 0];

/// What a file starts with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Compression {
    None,
    Gzip,
    Xz,
}

/// A file after decompression, with the number of bytes read from it.
pub(crate) struct Source {
    reader: BufReader<Box<dyn Read + Send>>,
    pub(crate) file: PathBuf,
    pub(crate) offset: u64,
}

impl Source {
    pub(crate) fn open(path: &Path) -> Result<Self, TraceError> {
        let file = File::open(path).map_err(|source| TraceError::io(path, "open", source))?;
        Self::new(file, path)
    }

    pub(crate) fn new(bytes: impl Read + Send + 'static, name: &Path) -> Result<Self, TraceError> {
        let mut plain = BufReader::with_capacity(1 << 16, bytes);
        let head = plain.fill_buf().map_err(|source| TraceError::io(name, "read", source))?;
        let compression = if head.starts_with(&GZIP) {
            Compression::Gzip
        } else if head.starts_with(&XZ) {
            Compression::Xz
        } else {
            Compression::None
        };
        let reader: Box<dyn Read + Send> = match compression {
            Compression::None => Box::new(plain),
            Compression::Gzip => Box::new(MultiGzDecoder::new(plain)),
            Compression::Xz => {
                Box::new(xz(plain).map_err(|source| TraceError::io(name, "decompress", source))?)
            }
        };
        Ok(Self { reader: BufReader::with_capacity(1 << 16, reader), file: name.to_owned(), offset: 0 })
    }

    /// The bytes that come next, without taking them; empty at the end.
    pub(crate) fn peek(&mut self) -> Result<&[u8], TraceError> {
        let Self { reader, file, .. } = self;
        reader.fill_buf().map_err(|source| TraceError::io(file, "read", source))
    }

    /// Fills `bytes` as far as the file goes; the number of bytes.
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) -> Result<usize, TraceError> {
        let mut filled = 0;
        while filled < bytes.len() {
            match self.reader.read(&mut bytes[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(self.damaged(filled, source)),
            }
        }
        self.offset += filled as u64;
        Ok(filled)
    }

    /// Reads a line, at most `limit` bytes of it; the number of bytes with the line end, 0 at the end of the file.
    pub(crate) fn line(&mut self, line: &mut Vec<u8>, limit: u64) -> Result<usize, TraceError> {
        line.clear();
        let read = self.reader.by_ref().take(limit).read_until(b'\n', line);
        let read = read.map_err(|source| self.damaged(0, source))?;
        self.offset += read as u64;
        Ok(read)
    }

    /// A compressed file that is damaged or cut off.
    fn damaged(&self, filled: usize, source: io::Error) -> TraceError {
        let offset = self.offset + filled as u64;
        match source.kind() {
            io::ErrorKind::UnexpectedEof => {
                TraceError::Truncated { file: self.file.clone(), offset, expected: "more compressed data" }
            }
            _ => TraceError::corrupt(&self.file, offset, format!("compressed data: {source}")),
        }
    }
}

/// A decoder of .xz that refuses to use more than 1 GB of memory, whatever the file asks for.
fn xz<R: BufRead>(plain: R) -> io::Result<XzDecoder<R>> {
    let stream = liblzma::stream::Stream::new_stream_decoder(1 << 30, liblzma::stream::CONCATENATED)?;
    Ok(XzDecoder::new_stream(plain, stream))
}
