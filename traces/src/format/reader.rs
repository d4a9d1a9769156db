//! Reads a trace, chunk by chunk, in memory that does not grow with the trace.

use super::chunk::{CHUNK_TAG, Chunk, ChunkHeader, MAX_CHUNK_STEPS, MAX_SECTION, SectionHeader, Sections};
use super::columns::COLUMNS;
use super::header::{Header, Trailer};
use super::{MAGIC, MAX_HEADER, TRAILER_TAG, VERSION};
use crate::error::TraceError;
use isa::registers::Registers;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use zerocopy::{FromBytes, FromZeros};

/// Reads a trace from a file, or from anything else that can be read and positioned.
pub struct TraceReader<R = BufReader<File>> {
    source: R,
    file: Arc<Path>,
    /// Bytes in the file.
    size: u64,
    /// The place in the file.
    offset: u64,
    header: Header,
    next_index: u64,
    chunks: u64,
    trailer: Option<Trailer>,
    decompressor: zstd::bulk::Decompressor<'static>,
}

/// What a trace holds, found without decompressing it.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Summary {
    /// The version of the format.
    pub version: u32,
    /// What the trace says about itself.
    pub header: Header,
    /// Its end.
    pub trailer: Trailer,
    /// Bytes in the file.
    pub file_bytes: u64,
    /// Bytes that the events take in the file.
    pub event_bytes: u64,
    /// Bytes that the computed steps take in the file.
    pub step_bytes: u64,
}

impl TraceReader {
    /// Opens the trace at `path` and reads its header.
    ///
    /// # Errors
    ///
    /// [`TraceError`] when it cannot be read, is no trace, has another version or a damaged header.
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        let file = File::open(path).map_err(|source| TraceError::io(path, "open", source))?;
        Self::new(BufReader::with_capacity(1 << 16, file), path)
    }
}

impl<R: Read + Seek> TraceReader<R> {
    /// Reads a trace from `source`; errors call it `name`.
    ///
    /// # Errors
    ///
    /// As [`TraceReader::open`].
    pub fn new(mut source: R, name: &Path) -> Result<Self, TraceError> {
        let io = |action| move |error| TraceError::io(name, action, error);
        let size = source.seek(SeekFrom::End(0)).map_err(io("find the size"))?;
        source.rewind().map_err(io("go to the start"))?;
        let decompressor = zstd::bulk::Decompressor::new().map_err(io("start decompression"))?;
        let mut reader = Self {
            source,
            file: name.into(),
            size,
            offset: 0,
            header: Header::default(),
            next_index: 0,
            chunks: 0,
            trailer: None,
            decompressor,
        };
        reader.read_header()?;
        Ok(reader)
    }

    fn read_header(&mut self) -> Result<(), TraceError> {
        let mut magic = [0; 8];
        let length = self.size.min(8) as usize;
        self.read(&mut magic[..length], "a trace")?;
        if magic != MAGIC {
            let found = TraceError::hex(&magic[..length]);
            return Err(TraceError::Foreign { file: self.path(), expected: "a vmxsim trace", found });
        }
        let version = self.u32("the format version")?;
        if version != VERSION {
            return Err(TraceError::Version { file: self.path(), found: version, supported: VERSION });
        }
        self.header = self.json("header")?;
        Ok(())
    }

    /// What the trace says about itself.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The end of the trace, once [`TraceReader::next_chunk`] has returned `None`.
    #[must_use]
    pub const fn trailer(&self) -> Option<&Trailer> {
        self.trailer.as_ref()
    }

    /// The place in the file, for showing progress against [`TraceReader::size`].
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes in the file.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The next chunk, or `None` after the last one, when the trailer has been read.
    ///
    /// # Errors
    ///
    /// [`TraceError`] when the file is cut off or damaged.
    pub fn next_chunk(&mut self, sections: Sections) -> Result<Option<Chunk>, TraceError> {
        let offset = self.offset;
        let Some(header) = self.next_header()? else { return Ok(None) };
        let events = self.section(header.events, "events")?;
        let events = self.decompress(&events, header.events.raw.get(), offset, "events")?;
        let columns = match sections {
            Sections::EventsOnly => {
                self.skip(header.computed)?;
                None
            }
            Sections::All => Some(self.columns(header.computed, offset)?),
        };
        let mut chunk = Chunk {
            file: Arc::clone(&self.file),
            offset,
            first_index: header.first_index.get(),
            steps: u64::from(header.steps.get()),
            start: Registers::default(),
            events,
            events_from: 0,
            columns,
        };
        chunk.read_start()?;
        Ok(Some(chunk))
    }

    /// Reads the rest of the trace without decompressing anything.
    ///
    /// # Errors
    ///
    /// As [`TraceReader::next_chunk`].
    pub fn summary(mut self) -> Result<Summary, TraceError> {
        let (mut event_bytes, mut step_bytes) = (0, 0);
        while let Some(header) = self.next_header()? {
            self.skip(header.events)?;
            self.skip(header.computed)?;
            event_bytes += u64::from(header.events.stored.get());
            step_bytes += u64::from(header.computed.stored.get());
        }
        let offset = self.offset;
        let trailer = self.trailer.ok_or_else(|| TraceError::corrupt(&self.file, offset, "a trailer"))?;
        let Self { header, size: file_bytes, .. } = self;
        Ok(Summary { version: VERSION, header, trailer, file_bytes, event_bytes, step_bytes })
    }

    /// The header of the next chunk; `None` when the trailer stands there instead.
    fn next_header(&mut self) -> Result<Option<ChunkHeader>, TraceError> {
        if self.trailer.is_some() {
            return Ok(None);
        }
        let offset = self.offset;
        let mut header = ChunkHeader::new_zeroed();
        self.read(&mut header.tag, "a chunk or the trailer")?;
        match header.tag {
            CHUNK_TAG => {}
            TRAILER_TAG => return self.read_trailer(offset).map(|()| None),
            _ => return Err(TraceError::corrupt(&self.file, offset, "a chunk or the trailer")),
        }
        let mut bytes = [0; size_of::<ChunkHeader>()];
        bytes[..4].copy_from_slice(&CHUNK_TAG);
        self.read(&mut bytes[4..], "the header of a chunk")?;
        let header = ChunkHeader::read_from_bytes(&bytes)
            .map_err(|_| TraceError::corrupt(&self.file, offset, "the header of a chunk"))?;
        self.check_header(&header, offset)?;
        self.next_index += u64::from(header.steps.get());
        self.chunks += 1;
        Ok(Some(header))
    }

    fn check_header(&self, header: &ChunkHeader, offset: u64) -> Result<(), TraceError> {
        self.checksum(header.crc32.get(), header.checksum(), offset, "header of a chunk")?;
        self.limit(header.steps.get(), MAX_CHUNK_STEPS, offset, "number of steps of the chunk")?;
        for section in [header.events, header.computed] {
            self.limit(section.raw.get(), MAX_SECTION, offset, "size of a section of the chunk")?;
            self.limit(
                section.stored.get(),
                MAX_SECTION,
                offset,
                "compressed size of a section of the chunk",
            )?;
        }
        if header.first_index.get() != self.next_index {
            let expected = format!("a chunk that starts at step {}", self.next_index);
            return Err(TraceError::corrupt(&self.file, offset, expected));
        }
        Ok(())
    }

    fn read_trailer(&mut self, offset: u64) -> Result<(), TraceError> {
        let trailer: Trailer = self.json("trailer")?;
        if trailer.steps != self.next_index || trailer.chunks != self.chunks {
            let expected =
                format!("a trailer that counts {} steps in {} chunks", self.next_index, self.chunks);
            return Err(TraceError::corrupt(&self.file, offset, expected));
        }
        if self.offset != self.size {
            return Err(TraceError::corrupt(
                &self.file,
                self.offset,
                "the end of the file after the trailer",
            ));
        }
        self.trailer = Some(trailer);
        Ok(())
    }

    fn json<T: DeserializeOwned>(&mut self, part: &'static str) -> Result<T, TraceError> {
        let offset = self.offset;
        let length = self.u32("a length")?;
        self.limit(length, MAX_HEADER as u32, offset, part)?;
        let stored = self.u32("a checksum")?;
        let json = self.bytes(length, part)?;
        self.checksum(stored, crc32fast::hash(&json), offset, part)?;
        serde_json::from_slice(&json)
            .map_err(|error| TraceError::corrupt(&self.file, offset, format!("a {part}: {error}")))
    }

    fn section(&mut self, section: SectionHeader, part: &'static str) -> Result<Vec<u8>, TraceError> {
        let offset = self.offset;
        let bytes = self.bytes(section.stored.get(), part)?;
        self.checksum(section.crc32.get(), crc32fast::hash(&bytes), offset, part)?;
        Ok(bytes)
    }

    fn columns(&mut self, section: SectionHeader, chunk: u64) -> Result<[Vec<u8>; COLUMNS], TraceError> {
        let bytes = self.section(section, "steps")?;
        let expected = |what: &str| TraceError::corrupt(&self.file, chunk, what);
        let (sizes, mut frames) =
            <[[zerocopy::byteorder::little_endian::U32; 2]; COLUMNS]>::read_from_prefix(&bytes)
                .map_err(|_| expected("a chunk with the sizes of its columns"))?;
        let total: u64 = sizes.iter().map(|[raw, _]| u64::from(raw.get())).sum();
        if total != u64::from(section.raw.get()) {
            return Err(expected("a chunk whose columns have the size of the section"));
        }
        let mut columns: [Vec<u8>; COLUMNS] = Default::default();
        for (column, [raw, stored]) in columns.iter_mut().zip(sizes) {
            let frame;
            (frame, frames) = frames
                .split_at_checked(stored.get() as usize)
                .ok_or_else(|| TraceError::corrupt(&self.file, chunk, "a chunk that holds its columns"))?;
            if raw.get() != 0 {
                *column = self.decompress(frame, raw.get(), chunk, "steps")?;
            }
        }
        Ok(columns)
    }

    fn decompress(
        &mut self,
        bytes: &[u8],
        raw: u32,
        chunk: u64,
        part: &'static str,
    ) -> Result<Vec<u8>, TraceError> {
        let result = self.decompressor.decompress(bytes, raw as usize);
        result.ok().filter(|result| result.len() == raw as usize).ok_or_else(|| {
            TraceError::corrupt(&self.file, chunk, format!("a chunk with {raw} bytes of {part}"))
        })
    }

    fn skip(&mut self, section: SectionHeader) -> Result<(), TraceError> {
        let stored = u64::from(section.stored.get());
        self.available(stored, "a section of a chunk")?;
        self.source
            .seek_relative(stored as i64)
            .map_err(|source| TraceError::io(&self.file, "skip a section", source))?;
        self.offset += stored;
        Ok(())
    }

    /// Refuses to read past the end of the file before anything is allocated.
    fn available(&self, length: u64, expected: &'static str) -> Result<(), TraceError> {
        if self.size.saturating_sub(self.offset) < length {
            return Err(TraceError::Truncated { file: self.path(), offset: self.size, expected });
        }
        Ok(())
    }

    fn bytes(&mut self, length: u32, expected: &'static str) -> Result<Vec<u8>, TraceError> {
        self.available(u64::from(length), expected)?;
        let mut bytes = vec![0; length as usize];
        self.read(&mut bytes, expected)?;
        Ok(bytes)
    }

    fn u32(&mut self, expected: &'static str) -> Result<u32, TraceError> {
        let mut bytes = [0; 4];
        self.read(&mut bytes, expected)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn read(&mut self, bytes: &mut [u8], expected: &'static str) -> Result<(), TraceError> {
        self.available(bytes.len() as u64, expected)?;
        self.source.read_exact(bytes).map_err(|source| TraceError::io(&self.file, "read", source))?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    fn checksum(
        &self,
        stored: u32,
        computed: u32,
        offset: u64,
        part: &'static str,
    ) -> Result<(), TraceError> {
        if stored == computed {
            return Ok(());
        }
        Err(TraceError::Checksum { file: self.path(), offset, part, stored, computed })
    }

    fn limit(&self, claimed: u32, limit: u32, offset: u64, part: &'static str) -> Result<(), TraceError> {
        if claimed <= limit {
            return Ok(());
        }
        let (claimed, limit) = (u64::from(claimed), u64::from(limit));
        Err(TraceError::TooLarge { file: self.path(), offset, part, claimed, limit })
    }

    fn path(&self) -> std::path::PathBuf {
        self.file.to_path_buf()
    }
}
