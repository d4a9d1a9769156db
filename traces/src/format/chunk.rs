//! A chunk in memory, and the walk through its events and steps.

use super::bytes::Cursor;
use super::columns::COLUMNS;
use super::decode::StepDecoder;
use super::event::{Event, EventDecoder, TakenStep};
use super::registers::get_registers;
use super::step::{Step, StepKind};
use crate::error::{Malformed, TraceError};
use isa::registers::Registers;
use std::path::Path;
use std::sync::Arc;
use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The most steps in one chunk.
pub const MAX_CHUNK_STEPS: u32 = 1 << 20;

/// The most bytes of a section, compressed or not.
pub(crate) const MAX_SECTION: u32 = 64 << 20;

/// Marks the start of a chunk.
pub(crate) const CHUNK_TAG: [u8; 4] = *b"CHNK";

/// A section as the header of its chunk describes it.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct SectionHeader {
    /// Bytes after decompression.
    pub(crate) raw: U32,
    /// Bytes in the file.
    pub(crate) stored: U32,
    /// CRC-32 of the bytes in the file.
    pub(crate) crc32: U32,
}

/// The fixed start of a chunk.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct ChunkHeader {
    pub(crate) tag: [u8; 4],
    pub(crate) steps: U32,
    pub(crate) first_index: U64,
    pub(crate) events: SectionHeader,
    pub(crate) computed: SectionHeader,
    /// CRC-32 of the fields above.
    pub(crate) crc32: U32,
}

impl ChunkHeader {
    /// The checksum that belongs into the last field.
    pub(crate) fn checksum(&self) -> u32 {
        let bytes = self.as_bytes();
        crc32fast::hash(&bytes[..bytes.len() - 4])
    }
}

/// Which sections of a chunk are read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sections {
    /// What a replay needs: events and taken steps. Computed steps are skipped without being decompressed.
    EventsOnly,
    /// The computed steps too.
    All,
}

/// A part of a trace that can be decoded alone.
pub struct Chunk {
    pub(crate) file: Arc<Path>,
    pub(crate) offset: u64,
    pub(crate) first_index: u64,
    pub(crate) steps: u64,
    pub(crate) start: Registers,
    pub(crate) events: Vec<u8>,
    pub(crate) events_from: usize,
    pub(crate) columns: Option<[Vec<u8>; COLUMNS]>,
}

impl Chunk {
    /// The index of its first step.
    #[must_use]
    pub const fn first_index(&self) -> u64 {
        self.first_index
    }

    /// The number of its steps.
    #[must_use]
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    /// The registers before its first event. The first chunk of a trace starts with an [`Event::Exec`].
    #[must_use]
    pub const fn start(&self) -> &Registers {
        &self.start
    }

    /// The events with their indices, taken steps among them.
    #[must_use]
    pub fn events(&self) -> Events<'_> {
        Events { chunk: self, decoder: self.event_decoder() }
    }

    /// Events and steps in order; `None` when the chunk was read with [`Sections::EventsOnly`].
    #[must_use]
    pub fn walk(&self) -> Option<Walk<'_>> {
        let columns = self.columns.as_ref()?;
        let mut walk = Walk {
            chunk: self,
            events: self.event_decoder(),
            steps: StepDecoder::new(columns.each_ref().map(Vec::as_slice), self.start),
            index: self.first_index,
            event: Upcoming::Unknown,
        };
        // An error shows again, and is reported, at the first call of `next`.
        let _ = walk.look();
        Some(walk)
    }

    pub(super) fn event_decoder(&self) -> EventDecoder<'_> {
        EventDecoder::new(&self.events, self.events_from, self.first_index, self.steps)
    }

    pub(crate) fn read_start(&mut self) -> Result<(), TraceError> {
        let mut cursor = Cursor::new(&self.events);
        let start = get_registers(&mut cursor);
        let at = cursor.at();
        self.start = start.map_err(|reason| self.malformed("events", reason))?;
        self.events_from = at;
        Ok(())
    }

    #[cold]
    fn malformed(&self, section: &'static str, reason: Malformed) -> TraceError {
        TraceError::Section {
            file: self.file.to_path_buf(),
            offset: self.offset,
            section,
            at: reason.at,
            expected: reason.expected,
        }
    }
}

/// The events of a chunk, each with the index of the step that it precedes or is.
pub struct Events<'c> {
    chunk: &'c Chunk,
    decoder: EventDecoder<'c>,
}

impl Events<'_> {
    /// The index of the next event, without decoding it.
    ///
    /// # Errors
    ///
    /// [`TraceError::Section`] when the section is damaged.
    pub fn peek_index(&self) -> Result<Option<u64>, TraceError> {
        let next = self.decoder.peek();
        Ok(next.map_err(|reason| self.chunk.malformed("events", reason))?.map(|next| next.0))
    }

    /// The next event.
    ///
    /// # Errors
    ///
    /// [`TraceError::Section`] when the section is damaged.
    #[allow(clippy::should_implement_trait, reason = "an event borrows from the decoder")]
    pub fn next(&mut self) -> Result<Option<(u64, Event<'_>)>, TraceError> {
        self.decoder.next().map_err(|reason| self.chunk.malformed("events", reason))
    }
}

/// An event or a step of a [`Walk`].
#[derive(Clone, Copy, Debug)]
pub enum Item<'a> {
    /// Something right before the step with this index.
    Event(u64, Event<'a>),
    /// A step.
    Step(Step<'a>),
}

/// The next event of a walk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Upcoming {
    Unknown,
    None,
    Event(u64),
    Taken(u64),
}

/// Goes through a chunk in order, keeping all registers up to date.
pub struct Walk<'c> {
    pub(super) chunk: &'c Chunk,
    pub(super) events: EventDecoder<'c>,
    pub(super) steps: StepDecoder<'c>,
    pub(super) index: u64,
    pub(super) event: Upcoming,
}

impl Walk<'_> {
    /// The registers after everything that [`Walk::next`] has returned.
    #[must_use]
    pub const fn registers(&self) -> &Registers {
        &self.steps.registers
    }

    /// The next event or step; taken steps come as steps.
    ///
    /// # Errors
    ///
    /// [`TraceError::Section`] when a section is damaged.
    #[allow(clippy::should_implement_trait, reason = "an item borrows from the walk")]
    #[inline]
    pub fn next(&mut self) -> Result<Option<Item<'_>>, TraceError> {
        let chunk = self.chunk;
        if self.event == Upcoming::Event(self.index) {
            return self.next_event().map(Some).map_err(|reason| chunk.malformed("events", reason));
        }
        if self.event == Upcoming::Unknown {
            self.look().map_err(|reason| chunk.malformed("events", reason))?;
            return self.next();
        }
        if self.index == chunk.first_index + chunk.steps {
            return Ok(None);
        }
        self.next_step().map(|step| Some(Item::Step(step))).map_err(|reason| chunk.malformed("steps", reason))
    }

    fn look(&mut self) -> Result<(), Malformed> {
        self.event = match self.events.peek()? {
            None => Upcoming::None,
            Some((index, true)) => Upcoming::Taken(index),
            Some((index, false)) => Upcoming::Event(index),
        };
        Ok(())
    }

    fn next_event(&mut self) -> Result<Item<'_>, Malformed> {
        self.event = Upcoming::Unknown;
        let Some((index, event)) = self.events.next()? else {
            return Err(Malformed { at: 0, expected: "an event" });
        };
        if let Event::Effect(registers) | Event::Exec(registers) = event {
            self.steps.registers = *registers;
        }
        Ok(Item::Event(index, event))
    }

    #[inline]
    fn next_step(&mut self) -> Result<Step<'_>, Malformed> {
        let index = self.index;
        self.index += 1;
        let rip = self.steps.registers.rip;
        let decoded = self.steps.next()?;
        let taken = self.event == Upcoming::Taken(index);
        if taken != (decoded.kind == StepKind::Taken) {
            return Err(Malformed { at: self.events.at(), expected: "a taken step among the events" });
        }
        if taken {
            return self.taken_step(index, rip, decoded.entry);
        }
        let entry = &self.steps.model.entries[decoded.entry as usize];
        if entry.rip != rip {
            return Err(Malformed { at: self.events.at(), expected: "the instruction at RIP" });
        }
        Ok(Step {
            index,
            rip,
            kind: StepKind::Computed,
            bytes: entry.code(),
            written: entry.written,
            after: &self.steps.registers,
            stores: self.steps.stores(),
            entry: decoded.entry,
        })
    }

    fn taken_step(&mut self, index: u64, rip: u64, entry: u32) -> Result<Step<'_>, Malformed> {
        self.event = Upcoming::Unknown;
        let at = self.events.at();
        let Some((_, Event::Taken(taken))) = self.events.next()? else {
            return Err(Malformed { at, expected: "a taken step" });
        };
        let known = &self.steps.model.entries[entry as usize];
        if taken.rip != rip || known.rip != rip || known.code() != taken.bytes {
            return Err(Malformed { at, expected: "the instruction at RIP" });
        }
        taken.apply(&mut self.steps.registers);
        let TakenStep { bytes, written, stores, .. } = taken;
        let after = &self.steps.registers;
        Ok(Step { index, rip, kind: StepKind::Taken, bytes, written, after, stores, entry })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::format::{
        Content, EndReason, Header, Permissions, StepRecord, Store, TraceReader, TraceWriter, WriteOptions,
    };
    use isa::address::LinearAddress;
    use proptest::prelude::*;
    use std::io::Cursor as IoCursor;

    /// Loops, every kind of store, XMM registers, events and taken steps.
    fn chunk() -> Chunk {
        let mut file = Vec::new();
        let options = WriteOptions { level: 1, chunk_steps: 1000 };
        let mut writer = TraceWriter::new(&mut file, Path::new("m"), &Header::default(), options).unwrap();
        writer.push_exec(&Registers::default()).unwrap();
        writer.push_page(LinearAddress(0x7000), Permissions::READ, &[9; 4096]).unwrap();
        let mut state = Registers::default();
        for i in 0..400u64 {
            state.rip = 0x7000 + i * i % 11 * 3;
            state.gpr[(i % 5) as usize] = i * i;
            state.xmm[(i % 3) as usize] = u128::from(i) << 77;
            state.rflags = if i % 50 == 0 { 0x40202 } else { 0x202 | i & 0xc1 };
            state.mxcsr = (i / 64) as u32;
            let kind = if i % 17 == 3 { StepKind::Taken } else { StepKind::Computed };
            let word = state.gpr[2].to_le_bytes();
            let wide = state.xmm[1].to_le_bytes();
            let content = match i % 4 {
                0 => Content::Bytes(&wide),
                1 if kind == StepKind::Computed => Content::Checksum { size: 100, crc32: i as u32 },
                _ => Content::Bytes(&word),
            };
            let stores = [Store { address: 0x8000 + i * 8, content }];
            let code = [i.to_le_bytes()[0] % 11; 3];
            writer
                .push_step(&StepRecord {
                    kind,
                    bytes: &code,
                    after: &state,
                    stores: &stores[..(i % 3 != 0).into()],
                })
                .unwrap();
            if i % 100 == 0 {
                writer.push_patch(LinearAddress(0x7010), &[1, 2, 3]).unwrap();
                writer.push_effect(&state).unwrap();
            }
        }
        writer.finish(EndReason::Limit).unwrap();
        let mut reader = TraceReader::new(IoCursor::new(file), Path::new("m")).unwrap();
        reader.next_chunk(Sections::All).unwrap().unwrap()
    }

    /// Walks to the end or the first error; the steps until then.
    fn walk(chunk: &Chunk) -> (u64, Option<TraceError>) {
        let mut walk = chunk.walk().unwrap();
        let mut steps = 0;
        loop {
            match walk.next() {
                Ok(Some(Item::Step(step))) => {
                    steps += 1;
                    assert!(step.stores.iter().map(|store| store.size()).sum::<usize>() < 1 << 34);
                }
                Ok(Some(Item::Event(..))) => {}
                Ok(None) => return (steps, None),
                Err(error) => return (steps, Some(error)),
            }
        }
    }

    #[test]
    fn the_undamaged_chunk_has_all_its_steps() {
        assert!(matches!(walk(&chunk()), (400, None)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// The checksum normally keeps such bytes from the decoder.
        #[test]
        fn a_damaged_column_gives_an_error_or_other_steps_and_never_a_panic(
            damage in prop::collection::vec((0usize..COLUMNS + 1, any::<prop::sample::Index>(), any::<u8>()), 1..4),
            cut in prop::option::of((0usize..COLUMNS, any::<prop::sample::Index>())),
        ) {
            let mut chunk = chunk();
            for (column, at, value) in damage {
                let from = chunk.events_from;
                let columns = chunk.columns.as_mut().unwrap();
                let bytes = columns.get_mut(column).map_or(&mut chunk.events[from..], Vec::as_mut_slice);
                if !bytes.is_empty() {
                    bytes[at.index(bytes.len())] = value;
                }
            }
            if let Some((column, at)) = cut {
                let column = &mut chunk.columns.as_mut().unwrap()[column];
                if !column.is_empty() {
                    column.truncate(at.index(column.len()));
                }
            }
            let (steps, _) = walk(&chunk);
            prop_assert!(steps <= 400);
            let mut events = chunk.events();
            while let Ok(Some(_)) = events.next() {}
        }
    }
}
