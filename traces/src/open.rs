//! Opens a trace of any format; the format is recognised by the content.

use crate::access::{AccessFinder, AccessStep};
use crate::champsim::{ChampSimReader, RECORD};
use crate::error::TraceError;
use crate::format::{Event, Item, MAGIC, Sections, TraceReader};
use crate::lackey::{LackeyReader, is_lackey};
use crate::source::Source;
use crate::touch::Touches;
use isa::registers::Registers;
use std::collections::VecDeque;
use std::path::Path;

/// A trace of any format.
pub enum AnyTrace {
    /// The project's own format.
    Own(Box<TraceReader>),
    /// ChampSim's records.
    ChampSim(ChampSimReader),
    /// lackey's text.
    Lackey(LackeyReader),
}

/// Opens the trace at `path`: the project's own by its magic number, lackey's by its first line, and anything else
/// that is at least 64 bytes long as ChampSim's records, which have no mark. Compressed files are decompressed.
///
/// # Errors
///
/// [`TraceError::Foreign`] for a file that is none of these; others when it cannot be read.
pub fn open_any(path: &Path) -> Result<AnyTrace, TraceError> {
    let mut source = Source::open(path)?;
    let head = source.peek()?;
    if head.starts_with(&MAGIC) {
        return Ok(AnyTrace::Own(Box::new(TraceReader::open(path)?)));
    }
    if is_lackey(head) {
        return Ok(AnyTrace::Lackey(LackeyReader::from_source(source)));
    }
    if head.len() < RECORD || looks_like_something_else(head) {
        let found = TraceError::hex(&head[..head.len().min(8)]);
        let expected = "a vmxsim trace, records of ChampSim or text of lackey";
        return Err(TraceError::Foreign { file: path.to_owned(), expected, found });
    }
    Ok(AnyTrace::ChampSim(ChampSimReader::from_source(source)))
}

/// A record of ChampSim has small numbers in the two bytes that say what kind of branch it is.
fn looks_like_something_else(head: &[u8]) -> bool {
    head[8] > 1 || head[9] > 1
}

impl AnyTrace {
    /// The same, for those who read many: instructions and the memory they touch, without a value for each.
    #[must_use]
    pub fn touches(self) -> Touches {
        Touches::new(self)
    }

    /// The instructions with the memory they touch.
    #[must_use]
    pub fn access_steps(self) -> AccessSteps {
        AccessSteps { trace: self, finder: AccessFinder::new(&Registers::default()), ready: VecDeque::new() }
    }
}

/// Goes through the instructions of any trace.
pub struct AccessSteps {
    trace: AnyTrace,
    finder: AccessFinder,
    /// Steps of a decoded chunk of the project's own format.
    ready: VecDeque<AccessStep>,
}

impl AccessSteps {
    /// The next instruction, `None` at the end.
    ///
    /// # Errors
    ///
    /// [`TraceError`] as the reader of the format gives it.
    pub fn next_step(&mut self) -> Result<Option<AccessStep>, TraceError> {
        match &mut self.trace {
            AnyTrace::ChampSim(reader) => Ok(reader.next_record()?.map(|record| record.access_step())),
            AnyTrace::Lackey(reader) => reader.next_step(),
            AnyTrace::Own(reader) => {
                while self.ready.is_empty() {
                    let Some(chunk) = reader.next_chunk(Sections::All)? else { return Ok(None) };
                    let Some(mut walk) = chunk.walk() else { return Ok(None) };
                    self.finder.replace(chunk.start());
                    while let Some(item) = walk.next()? {
                        match item {
                            Item::Event(_, Event::Effect(registers) | Event::Exec(registers)) => {
                                self.finder.replace(registers);
                            }
                            Item::Event(..) => {}
                            Item::Step(step) => self.ready.push_back(self.finder.find(&step)),
                        }
                    }
                }
                Ok(self.ready.pop_front())
            }
        }
    }
}
