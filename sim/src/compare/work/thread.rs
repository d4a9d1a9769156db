//! A thread: one run through a trace.

use super::WorkError;
use super::stage::{Played, Stage};
use std::path::PathBuf;
use traces::{Touch, Touches, open_any};

/// Instructions that are decoded at once.
const PORTION: u64 = 2048;

pub(super) struct Thread {
    trace: PathBuf,
    pub(super) process: u16,
    touches: Touches,
    /// What is decoded and not yet played.
    ready: Vec<Touch>,
    at: usize,
    /// Instructions that were played.
    done: u64,
    /// Instructions that may still be decoded.
    left: u64,
}

/// What became of a thread that was played.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// It goes on.
    Alive(Played),
    /// The trace or the limit has ended.
    Ended,
}

impl Thread {
    pub(super) fn open(trace: PathBuf, process: u16, limit: Option<u64>) -> Result<Self, WorkError> {
        let touches = open_any(&trace)?.touches();
        let left = limit.unwrap_or(u64::MAX);
        Ok(Self { trace, process, touches, ready: Vec::new(), at: 0, done: 0, left })
    }

    /// Plays at most `most` instructions, at least one unless the thread has ended or the block is full.
    pub(super) fn play(&mut self, stage: &mut Stage, most: u64) -> Result<Outcome, WorkError> {
        if self.at == self.ready.len() && !self.refill()? {
            return Ok(Outcome::Ended);
        }
        let before = stage.instructions();
        let played = stage.play(&self.ready[self.at..], most).map_err(|refused| {
            self.done += stage.instructions() - before - 1;
            self.refused(refused)
        })?;
        self.at += played.touches;
        self.done += played.instructions;
        Ok(Outcome::Alive(played))
    }

    fn refill(&mut self) -> Result<bool, WorkError> {
        self.ready.clear();
        self.at = 0;
        let filled = self.touches.fill(&mut self.ready, self.left.min(PORTION) as usize)? as u64;
        self.left -= filled;
        Ok(filled != 0)
    }

    /// The error that names the trace and the place in it.
    pub(super) fn refused(&self, refused: super::stage::Refused) -> WorkError {
        refused.of(self.trace.clone(), self.done)
    }
}
