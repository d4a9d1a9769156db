//! Leaving a walk and going on later, while the chunk stays where it is.

use super::chunk::{Chunk, Upcoming, Walk};
use super::columns::COLUMNS;
use super::decode::StepDecoder;
use super::model::Model;
use isa::registers::Registers;

/// A [`Walk`] without the chunk that it goes through.
pub(crate) struct PausedWalk {
    index: u64,
    event: Upcoming,
    events_at: usize,
    events_index: u64,
    columns_at: [usize; COLUMNS],
    model: Model,
    registers: Registers,
    current: u32,
    run: u64,
    run_known: bool,
    last_end: u64,
}

impl Walk<'_> {
    /// Leaves the walk between two items.
    pub(crate) fn pause(self) -> PausedWalk {
        let Self { events, steps, index, event, .. } = self;
        PausedWalk {
            index,
            event,
            events_at: events.at(),
            events_index: events.index,
            columns_at: steps.columns.map(|column| column.at()),
            model: steps.model,
            registers: steps.registers,
            current: steps.current,
            run: steps.run,
            run_known: steps.run_known,
            last_end: steps.last_end,
        }
    }
}

impl Chunk {
    /// Goes on with a walk through this chunk; `None` when the chunk was read without its steps.
    pub(crate) fn resume(&self, paused: PausedWalk) -> Option<Walk<'_>> {
        let columns = self.columns.as_ref()?;
        let mut steps =
            StepDecoder::with_model(columns.each_ref().map(Vec::as_slice), paused.registers, paused.model);
        steps.columns.iter_mut().zip(paused.columns_at).for_each(|(column, at)| column.go_to(at));
        (steps.current, steps.last_end) = (paused.current, paused.last_end);
        (steps.run, steps.run_known) = (paused.run, paused.run_known);
        let mut events = self.event_decoder();
        events.cursor.go_to(paused.events_at);
        events.index = paused.events_index;
        Some(Walk { chunk: self, events, steps, index: paused.index, event: paused.event })
    }
}
