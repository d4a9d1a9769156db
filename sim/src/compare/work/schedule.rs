//! Who runs where: threads take turns on the processors.

use std::collections::VecDeque;

/// A thread's turn on a processor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Turn {
    pub(super) processor: u8,
    /// The thread, by its number.
    pub(super) thread: usize,
    /// Instructions until the turn is over.
    pub(super) left: u64,
}

/// Deals threads to processors, round by round.
///
/// In each round the processors, in order, take the threads that have waited longest and run them for a quantum, one
/// processor after the other; then these threads wait in the order in which they ran. So all processors advance
/// together, and threads move between processors wherever their number does not divide that of the threads.
pub(super) struct Schedule {
    waiting: VecDeque<usize>,
    /// The turns of this round that are still to come, the first one last.
    round: Vec<Turn>,
    processors: u8,
    quantum: u64,
}

impl Schedule {
    pub(super) fn new(threads: usize, processors: u8, quantum: u64) -> Self {
        Self { waiting: (0..threads).collect(), round: Vec::new(), processors, quantum }
    }

    /// The next turn; nothing when every thread has ended.
    pub(super) fn next(&mut self) -> Option<Turn> {
        if self.round.is_empty() {
            let threads = self.waiting.drain(..self.waiting.len().min(self.processors.into()));
            let turns = (0..self.processors).zip(threads);
            let left = self.quantum;
            self.round.extend(turns.map(|(processor, thread)| Turn { processor, thread, left }));
            self.round.reverse();
        }
        self.round.pop()
    }

    /// The turn of a thread that goes on is over.
    pub(super) fn wait(&mut self, thread: usize) {
        self.waiting.push_back(thread);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The next `count` turns as processor and thread.
    fn turns(schedule: &mut Schedule, count: usize) -> Vec<(u8, usize)> {
        let mut turn = || {
            let turn = schedule.next()?;
            schedule.wait(turn.thread);
            Some((turn.processor, turn.thread))
        };
        std::iter::from_fn(&mut turn).take(count).collect()
    }

    #[test]
    fn threads_take_turns_and_move_between_processors() {
        let mut schedule = Schedule::new(3, 2, 10);
        let expected = [(0, 0), (1, 1), (0, 2), (1, 0), (0, 1), (1, 2)];
        assert_eq!(turns(&mut schedule, 6), expected);
    }

    #[test]
    fn fewer_threads_than_processors_stay_where_they_are() {
        let mut schedule = Schedule::new(2, 4, 10);
        assert_eq!(turns(&mut schedule, 6), [(0, 0), (1, 1), (0, 0), (1, 1), (0, 0), (1, 1)]);
    }

    #[test]
    fn a_thread_that_has_ended_gets_no_more_turns() {
        let mut schedule = Schedule::new(2, 1, 10);
        assert_eq!(schedule.next().map(|turn| turn.thread), Some(0));
        assert_eq!(turns(&mut schedule, 3), [(0, 1); 3]);
        assert_eq!(schedule.next().map(|turn| turn.thread), Some(1));
        assert_eq!(schedule.next(), None);
    }
}
