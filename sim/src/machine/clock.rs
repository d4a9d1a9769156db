//! Time as one processor sees it while it runs.

use isa::state::State;
use platform::Time;

/// Where a processor is in its turn.
///
/// One instruction takes one tick. While the engine runs, the ticks that have passed are those of the instructions that
/// were given and are no longer remaining.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    /// When the run began.
    start: u64,
    /// Instructions that the engine was given for it.
    given: i64,
    /// Instructions that were taken away again, so that the machine gets control soon.
    withheld: i64,
}

impl Clock {
    /// A run of at most `budget` instructions begins.
    pub(super) fn begin(&mut self, budget: u64) {
        self.given = i64::try_from(budget).unwrap_or(i64::MAX);
        self.withheld = 0;
    }

    /// The run has ended.
    pub(super) fn end(&mut self, state: &State) -> u64 {
        let executed = self.executed(state);
        self.start += executed;
        self.given = state.remaining;
        self.withheld = 0;
        executed
    }

    /// Lets time pass without instructions.
    pub(super) fn wait_until(&mut self, time: Time) {
        self.start = self.start.max(time.0);
    }

    fn executed(&self, state: &State) -> u64 {
        (self.given - self.withheld).abs_diff(state.remaining)
    }

    /// The time of the block that runs now.
    pub(super) fn now(&self, state: &State) -> Time {
        Time(self.start + self.executed(state))
    }

    /// Makes the engine return after the block that runs now.
    pub(super) fn interrupt(&mut self, state: &mut State) {
        let rest = state.remaining.max(0);
        self.withheld += rest;
        state.remaining -= rest;
    }
}
