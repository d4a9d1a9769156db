//! The text that valgrind's `lackey --trace-mem=yes` prints.
//!
//! One line an access: `I  addr,size` for an instruction, then ` L addr,size`, ` S addr,size` and
//! ` M addr,size` (load and store) for what it does; addresses are hexadecimal. Lines that start with `==` and
//! `--` are valgrind's own.

use crate::access::{Access, AccessStep};
use crate::error::TraceError;
use crate::source::Source;
use std::path::Path;

/// The longest line that is accepted: command lines stand in lines of valgrind's own.
const LONGEST: u64 = 1 << 20;

/// Reads lackey's text from a file that may be compressed.
pub struct LackeyReader {
    source: Source,
    line: Vec<u8>,
    number: u64,
    /// The instruction whose accesses are being read.
    current: Option<AccessStep>,
}

/// A line that says something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Line {
    Instruction(Access),
    Load(Access),
    Store(Access),
    Modify(Access),
    Other,
}

impl LackeyReader {
    /// Opens the file at `path`.
    ///
    /// # Errors
    ///
    /// [`TraceError`] when it cannot be read.
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        Source::open(path).map(Self::from_source)
    }

    pub(crate) const fn from_source(source: Source) -> Self {
        Self { source, line: Vec::new(), number: 0, current: None }
    }

    /// The next instruction with its accesses, `None` at the end.
    ///
    /// # Errors
    ///
    /// [`TraceError::Line`] for a line that cannot be read; others when the file cannot be decompressed.
    pub fn next_step(&mut self) -> Result<Option<AccessStep>, TraceError> {
        loop {
            if self.source.line(&mut self.line, LONGEST)? == 0 {
                return Ok(self.current.take());
            }
            self.number += 1;
            let line = parse(&self.line).map_err(|expected| self.malformed(expected))?;
            let current = self.current.as_mut();
            match (line, current) {
                (Line::Other, _) => {}
                (Line::Instruction(fetch), _) => {
                    let length = fetch.size.map_or(0, |size| u8::try_from(size.get()).unwrap_or(0));
                    let next = AccessStep { ip: fetch.address, length, ..AccessStep::default() };
                    if let Some(done) = self.current.replace(next) {
                        return Ok(Some(done));
                    }
                }
                (_, None) => return Err(self.malformed("an instruction before its accesses")),
                (Line::Load(access), Some(step)) => step.loads.push(access),
                (Line::Store(access), Some(step)) => step.stores.push(access),
                (Line::Modify(access), Some(step)) => {
                    step.loads.push(access);
                    step.stores.push(access);
                }
            }
            if self.current.as_ref().is_some_and(|step| step.loads.len() + step.stores.len() > MOST_ACCESSES)
            {
                return Err(self.malformed("fewer accesses of one instruction"));
            }
        }
    }

    fn malformed(&self, expected: &'static str) -> TraceError {
        TraceError::Line { file: self.source.file.clone(), line: self.number, expected }
    }
}

/// XSAVE is reported in parts, repeated instructions one iteration at a time.
const MOST_ACCESSES: usize = 1 << 12;

/// Whether text that starts like this is lackey's.
pub(crate) fn is_lackey(head: &[u8]) -> bool {
    head.starts_with(b"==")
        || head.starts_with(b"--")
        || (head.starts_with(b"I  ") && parse(first_line(head)).is_ok())
}

fn first_line(head: &[u8]) -> &[u8] {
    head.split(|byte| *byte == b'\n').next().unwrap_or_default()
}

fn parse(line: &[u8]) -> Result<Line, &'static str> {
    let line = line.trim_ascii_end();
    if line.is_empty() || line.starts_with(b"==") || line.starts_with(b"--") {
        return Ok(Line::Other);
    }
    let (kind, rest) =
        line.split_at_checked(3).ok_or("a line 'I  addr,size', ' L addr,size', ' S ' or ' M '")?;
    let access = access(rest).ok_or("a hexadecimal address, a comma and a size")?;
    match kind {
        b"I  " => Ok(Line::Instruction(access)),
        b" L " => Ok(Line::Load(access)),
        b" S " => Ok(Line::Store(access)),
        b" M " => Ok(Line::Modify(access)),
        _ => Err("a line that starts with 'I  ', ' L ', ' S ' or ' M '"),
    }
}

fn access(text: &[u8]) -> Option<Access> {
    let (address, size) = std::str::from_utf8(text).ok()?.split_once(',')?;
    if address.starts_with('+') || size.starts_with('+') {
        return None;
    }
    Some(Access::new(u64::from_str_radix(address, 16).ok()?, size.parse().ok()?))
}
