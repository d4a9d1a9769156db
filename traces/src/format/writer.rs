//! Writes a trace, chunk by chunk.

use super::chunk::{CHUNK_TAG, ChunkHeader, MAX_CHUNK_STEPS, MAX_SECTION, SectionHeader};
use super::encode::{Pending, StepEncoder, Successor};
use super::event::{EventEncoder, MAX_BYTES, MAX_STORES, PageBytes, Permissions, TakenStep, keep_stores};
use super::header::{EndReason, Header, Trailer};
use super::registers::{Written, put_registers};
use super::sink::{Sink, TraceFile};
use super::step::{Content, MAX_INSTRUCTION, StepKind, StepRecord};
use super::{MAGIC, MAX_HEADER, TRAILER_TAG, VERSION};
use crate::error::TraceError;
use isa::address::{LinearAddress, PAGE_SIZE};
use isa::registers::Registers;
use std::io;
use std::path::{Path, PathBuf};
use zerocopy::IntoBytes;

/// How a trace is compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WriteOptions {
    /// The level of zstd: 3 keeps up with a recorder, 19 is for files that are kept.
    pub level: i32,
    /// Steps in a chunk, at most [`MAX_CHUNK_STEPS`].
    pub chunk_steps: u32,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self { level: 3, chunk_steps: 1 << 18 }
    }
}

/// A section or the columns of one are closed when they hold this much.
const FULL: usize = MAX_SECTION as usize / 4;

/// Writes a trace. A file appears under its name only by [`TraceWriter::finish`].
///
/// The first thing that is pushed is the state in which the program starts:
///
/// ```
/// use isa::registers::Registers;
/// use traces::{EndReason, Header, StepKind, StepRecord, TraceWriter, WriteOptions};
///
/// let mut file = Vec::new();
/// let mut writer = TraceWriter::new(&mut file, "memory".as_ref(), &Header::default(), WriteOptions::default())?;
/// writer.push_exec(&Registers { rip: 0x1000, ..Registers::default() })?;
/// let after = Registers { rip: 0x1001, ..Registers::default() };
/// writer.push_step(&StepRecord { kind: StepKind::Computed, bytes: &[0x90], after: &after, stores: &[] })?;
/// let trailer = writer.finish(EndReason::Exited(0))?;
/// assert_eq!(trailer.steps, 1);
/// # Ok::<(), traces::TraceError>(())
/// ```
pub struct TraceWriter<S: Sink> {
    sink: S,
    name: PathBuf,
    options: WriteOptions,
    compressor: zstd::bulk::Compressor<'static>,
    events: EventEncoder,
    steps: StepEncoder,
    pending: Pending,
    is_pending: bool,
    state: Option<Registers>,
    first_index: u64,
    index: u64,
    trailer: Trailer,
}

impl TraceWriter<TraceFile> {
    /// Starts a trace that will be at `path`.
    ///
    /// # Errors
    ///
    /// [`TraceError::Io`] when the folder cannot be written, [`TraceError::Refused`] for a header over a megabyte.
    pub fn create(path: &Path, header: &Header, options: WriteOptions) -> Result<Self, TraceError> {
        let sink =
            TraceFile::create(path).map_err(|source| TraceError::io(path, "create the file", source))?;
        Self::new(sink, path, header, options)
    }
}

impl<S: Sink> TraceWriter<S> {
    /// Starts a trace in `sink`; errors call it `name`.
    ///
    /// # Errors
    ///
    /// As [`TraceWriter::create`].
    pub fn new(sink: S, name: &Path, header: &Header, options: WriteOptions) -> Result<Self, TraceError> {
        let compressor = zstd::bulk::Compressor::new(options.level)
            .map_err(|source| TraceError::io(name, "start compression", source))?;
        let chunk_steps = options.chunk_steps.clamp(1, MAX_CHUNK_STEPS);
        let mut writer = Self {
            sink,
            name: name.to_owned(),
            options: WriteOptions { chunk_steps, ..options },
            compressor,
            events: EventEncoder::default(),
            steps: StepEncoder::new(),
            pending: Pending::new(),
            is_pending: false,
            state: None,
            first_index: 0,
            index: 0,
            trailer: Trailer {
                steps: 0,
                taken: 0,
                chunks: 0,
                pages: 0,
                end: EndReason::Stopped,
                unfinished: true,
            },
        };
        writer.put_header(header)?;
        Ok(writer)
    }

    fn put_header(&mut self, header: &Header) -> Result<(), TraceError> {
        let json = serde_json::to_vec(header).map_err(|error| self.io("write the header", error.into()))?;
        if json.len() > MAX_HEADER {
            return Err(self.refused("the header is longer than a megabyte"));
        }
        self.put(&MAGIC)?;
        self.put(&VERSION.to_le_bytes())?;
        self.put_json(&json)
    }

    fn put_json(&mut self, json: &[u8]) -> Result<(), TraceError> {
        self.put(&(json.len() as u32).to_le_bytes())?;
        self.put(&crc32fast::hash(json).to_le_bytes())?;
        self.put(json)
    }

    /// Steps so far: the index that an event gets that is pushed now.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// A program starts in this state with an empty address space.
    ///
    /// # Errors
    ///
    /// [`TraceError::Io`] when a chunk cannot be written; so for all other events and steps.
    pub fn push_exec(&mut self, registers: &Registers) -> Result<(), TraceError> {
        if self.state.is_none() {
            self.open_chunk(registers);
        }
        self.state = Some(*registers);
        self.events.exec(self.index, registers);
        self.close_if_full()
    }

    /// All registers are replaced, as by the delivery of a signal.
    ///
    /// # Errors
    ///
    /// As [`TraceWriter::push_exec`], and [`TraceError::Refused`] before the first [`TraceWriter::push_exec`].
    pub fn push_effect(&mut self, registers: &Registers) -> Result<(), TraceError> {
        self.started()?;
        self.state = Some(*registers);
        self.events.effect(self.index, registers);
        self.close_if_full()
    }

    /// The content of the page at `address` right now, before the program touches it.
    ///
    /// # Errors
    ///
    /// As [`TraceWriter::push_effect`].
    pub fn push_page(
        &mut self,
        address: LinearAddress,
        permissions: Permissions,
        content: &PageBytes,
    ) -> Result<(), TraceError> {
        self.started()?;
        self.trailer.pages += 1;
        self.events.page(self.index, address.page_number(), permissions, content);
        self.close_if_full()
    }

    /// The kernel or another process changed `bytes` at `address`, within one page.
    ///
    /// # Errors
    ///
    /// As [`TraceWriter::push_effect`], and [`TraceError::Refused`] when the bytes cross the end of a page.
    pub fn push_patch(&mut self, address: LinearAddress, bytes: &[u8]) -> Result<(), TraceError> {
        self.started()?;
        if address.page_offset() + bytes.len() > PAGE_SIZE as usize {
            return Err(self.refused("a patch crosses the end of a page"));
        }
        self.events.patch(self.index, address.0, bytes);
        self.close_if_full()
    }

    /// The page at `address` has other permissions now.
    ///
    /// # Errors
    ///
    /// As [`TraceWriter::push_effect`].
    pub fn push_permissions(
        &mut self,
        address: LinearAddress,
        permissions: Permissions,
    ) -> Result<(), TraceError> {
        self.started()?;
        self.events.permissions(self.index, address.page_number(), permissions);
        self.close_if_full()
    }

    /// An instruction was executed.
    ///
    /// # Errors
    ///
    /// As [`TraceWriter::push_effect`], and [`TraceError::Refused`] for an instruction that is not 1 to 15 bytes
    /// long, for more than 64 stores, and for a store of more than a megabyte that comes with its bytes.
    pub fn push_step(&mut self, step: &StepRecord<'_>) -> Result<(), TraceError> {
        let before = self.started()?;
        self.check(step)?;
        if self.is_pending {
            self.steps.encode(&self.pending, Some(Successor { rip: before.rip, code: step.bytes }));
        }
        let pending = &mut self.pending;
        pending.kind = step.kind;
        pending.length = step.bytes.len() as u8;
        pending.bytes[..step.bytes.len()].copy_from_slice(step.bytes);
        pending.before = before;
        pending.after = *step.after;
        keep_stores(step.stores, &mut pending.list, &mut pending.content);
        self.is_pending = true;
        if step.kind == StepKind::Taken {
            self.put_taken(before.rip);
        }
        self.index += 1;
        self.state = Some(*step.after);
        self.close_if_full()
    }

    fn put_taken(&mut self, rip: u64) {
        let pending = &self.pending;
        self.trailer.taken += 1;
        self.events.taken(
            self.index,
            &TakenStep {
                rip,
                bytes: pending.code(),
                written: Written::between(&pending.before, &pending.after),
                after: &pending.after,
                stores: pending.stores(),
            },
        );
    }

    fn check(&self, step: &StepRecord<'_>) -> Result<(), TraceError> {
        if step.bytes.is_empty() || step.bytes.len() > MAX_INSTRUCTION {
            return Err(self.refused("an instruction has 1 to 15 bytes"));
        }
        if step.stores.len() > MAX_STORES {
            return Err(self.refused("a step has at most 64 stores"));
        }
        let bytes = step.stores.iter().map(|store| match store.content {
            Content::Bytes(bytes) => bytes.len(),
            Content::Checksum { .. } => 0,
        });
        if bytes.sum::<usize>() > MAX_BYTES {
            return Err(self.refused("a step stores at most a megabyte that is given with its bytes"));
        }
        Ok(())
    }

    /// Writes what is left and the trailer, and gives the file its name.
    ///
    /// # Errors
    ///
    /// [`TraceError::Io`]; then no file appears. [`TraceError::Refused`] when no program was started.
    pub fn finish(mut self, end: EndReason) -> Result<Trailer, TraceError> {
        self.started()?;
        self.close_chunk()?;
        let unfinished = matches!(end, EndReason::Limit | EndReason::Stopped);
        self.trailer = Trailer { steps: self.index, end, unfinished, ..self.trailer };
        let json =
            serde_json::to_vec(&self.trailer).map_err(|error| self.io("write the trailer", error.into()))?;
        self.put(&TRAILER_TAG)?;
        self.put_json(&json)?;
        let Self { sink, name, trailer, .. } = self;
        sink.commit().map_err(|source| TraceError::io(&name, "give the file its name", source))?;
        Ok(trailer)
    }

    fn started(&self) -> Result<Registers, TraceError> {
        self.state.ok_or_else(|| self.refused("the trace must start with the registers of a program"))
    }

    fn open_chunk(&mut self, registers: &Registers) {
        self.first_index = self.index;
        self.events.start(self.index);
        put_registers(&mut self.events.bytes, registers);
        self.steps.start();
    }

    fn close_if_full(&mut self) -> Result<(), TraceError> {
        let steps = self.index - self.first_index;
        let full = steps >= u64::from(self.options.chunk_steps)
            || self.events.bytes.len() > FULL
            || self.steps.size() > FULL
            || !self.steps.model.has_room();
        if !full {
            return Ok(());
        }
        self.close_chunk()?;
        let state = self.started()?;
        self.open_chunk(&state);
        Ok(())
    }

    fn close_chunk(&mut self) -> Result<(), TraceError> {
        if self.is_pending {
            self.steps.encode(&self.pending, None);
            self.is_pending = false;
        }
        let events = self.compress_events()?;
        let steps = self.compress_steps()?;
        let mut header = ChunkHeader {
            tag: CHUNK_TAG,
            steps: ((self.index - self.first_index) as u32).into(),
            first_index: self.first_index.into(),
            events: section(self.events.bytes.len(), &events),
            computed: section(self.steps.size(), &steps),
            crc32: 0.into(),
        };
        header.crc32 = header.checksum().into();
        self.put(header.as_bytes())?;
        self.put(&events)?;
        self.put(&steps)?;
        self.trailer.chunks += 1;
        Ok(())
    }

    fn compress_events(&mut self) -> Result<Vec<u8>, TraceError> {
        let compressed = self.compressor.compress(&self.events.bytes);
        compressed.map_err(|source| self.io("compress events", source))
    }

    /// The sizes of all columns, then the columns.
    fn compress_steps(&mut self) -> Result<Vec<u8>, TraceError> {
        let mut sizes = Vec::new();
        let mut frames = Vec::new();
        for column in &self.steps.columns {
            let frame = if column.is_empty() { Ok(Vec::new()) } else { self.compressor.compress(column) };
            let frame = frame.map_err(|source| self.io("compress steps", source))?;
            sizes.extend_from_slice(&(column.len() as u32).to_le_bytes());
            sizes.extend_from_slice(&(frame.len() as u32).to_le_bytes());
            frames.extend_from_slice(&frame);
        }
        sizes.extend_from_slice(&frames);
        Ok(sizes)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), TraceError> {
        self.sink.write_all(bytes).map_err(|source| TraceError::io(&self.name, "write", source))
    }

    fn io(&self, action: &'static str, source: io::Error) -> TraceError {
        TraceError::io(&self.name, action, source)
    }

    fn refused(&self, reason: &'static str) -> TraceError {
        TraceError::Refused { file: self.name.clone(), reason }
    }
}

fn section(raw: usize, stored: &[u8]) -> SectionHeader {
    SectionHeader {
        raw: (raw as u32).into(),
        stored: (stored.len() as u32).into(),
        crc32: crc32fast::hash(stored).into(),
    }
}
