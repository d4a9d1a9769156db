//! The cycle stack: how much of the total each cause took.

use core::ops::Index;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::units::SubCycles;

/// Why time passed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Cause {
    /// Instructions at the issue width of the processor, with every access a hit in the first level.
    Base,
    /// Instruction fetches that looked in the second-level TLB.
    FetchTlbL2,
    /// References to guest paging structures in page walks for instruction fetches.
    FetchWalkGuest,
    /// References to EPT paging structures in page walks for instruction fetches.
    FetchWalkEpt,
    /// Instruction fetches that missed the L1 instruction cache.
    FetchCache,
    /// Data accesses that looked in the second-level TLB.
    DataTlbL2,
    /// References to guest paging structures in page walks for data accesses.
    DataWalkGuest,
    /// References to EPT paging structures in page walks for data accesses.
    DataWalkEpt,
    /// Data accesses that missed the L1 data cache.
    DataCache,
    /// VM exits and VM entries, and a kernel's switches between address spaces.
    Transition,
    /// Instructions that invalidate (INVLPG, INVPCID, INVVPID, INVEPT), and loads of control registers that do.
    Invalidation,
    /// Interrupts that ask other processors to invalidate: sent, received and waited for.
    Shootdown,
    /// Page faults: their delivery, and the handler of a kernel or monitor with its return.
    Fault,
}

impl Cause {
    /// Every cause, in the order in which a stack lists them.
    pub const ALL: [Self; 13] = [
        Self::Base,
        Self::FetchTlbL2,
        Self::FetchWalkGuest,
        Self::FetchWalkEpt,
        Self::FetchCache,
        Self::DataTlbL2,
        Self::DataWalkGuest,
        Self::DataWalkEpt,
        Self::DataCache,
        Self::Transition,
        Self::Invalidation,
        Self::Shootdown,
        Self::Fault,
    ];

    /// The name under which results list the cause.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::FetchTlbL2 => "fetch_tlb_l2",
            Self::FetchWalkGuest => "fetch_walk_guest",
            Self::FetchWalkEpt => "fetch_walk_ept",
            Self::FetchCache => "fetch_cache",
            Self::DataTlbL2 => "data_tlb_l2",
            Self::DataWalkGuest => "data_walk_guest",
            Self::DataWalkEpt => "data_walk_ept",
            Self::DataCache => "data_cache",
            Self::Transition => "transition",
            Self::Invalidation => "invalidation",
            Self::Shootdown => "shootdown",
            Self::Fault => "fault",
        }
    }
}

/// Time by cause.
///
/// Serializes as a map from the name of each cause to its time in 1/840 cycle.
/// [`whole_cycles`](Self::whole_cycles) gives the same in cycles.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CycleStack {
    times: [SubCycles; Cause::ALL.len()],
}

impl CycleStack {
    /// Adds time to a cause.
    #[inline]
    pub fn add(&mut self, cause: Cause, time: SubCycles) {
        self.times[cause as usize] += time;
    }

    /// The sum over all causes.
    #[must_use]
    pub fn total(&self) -> SubCycles {
        self.times.iter().copied().sum()
    }

    /// Each cause with its time.
    pub fn iter(&self) -> impl Iterator<Item = (Cause, SubCycles)> + '_ {
        Cause::ALL.into_iter().zip(self.times)
    }

    /// What was added since `earlier`, an older copy of this stack.
    ///
    /// `None` if `earlier` is not older, that is if it holds more for some cause.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Option<Self> {
        let mut difference = Self::default();
        for cause in Cause::ALL {
            let time = self[cause].0.checked_sub(earlier[cause].0)?;
            difference.add(cause, SubCycles(time));
        }
        Some(difference)
    }

    /// The stack in whole cycles, which sum exactly to the whole cycles of the total.
    ///
    /// Parts of a cycle, which only instructions at the issue width have, are rounded down in [`Cause::Base`].
    ///
    /// ```
    /// use timing::stack::{Cause, CycleStack};
    /// use timing::units::SubCycles;
    /// let mut stack = CycleStack::default();
    /// stack.add(Cause::Base, SubCycles(840 + 210));
    /// stack.add(Cause::DataCache, SubCycles::from_cycles(8));
    /// let cycles = stack.whole_cycles();
    /// assert_eq!((cycles[Cause::Base], cycles[Cause::DataCache]), (1, 8));
    /// ```
    #[must_use]
    pub fn whole_cycles(&self) -> WholeCycles {
        let mut cycles = self.times.map(SubCycles::cycles);
        let others: u64 = cycles[1..].iter().sum();
        cycles[Cause::Base as usize] = self.total().cycles() - others;
        WholeCycles { cycles }
    }
}

impl Index<Cause> for CycleStack {
    type Output = SubCycles;

    #[inline]
    fn index(&self, cause: Cause) -> &SubCycles {
        &self.times[cause as usize]
    }
}

impl Serialize for CycleStack {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        by_name(serializer, &self.times)
    }
}

/// A [`CycleStack`] in whole cycles; serializes as a map from the name of each cause to its cycles.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WholeCycles {
    cycles: [u64; Cause::ALL.len()],
}

impl WholeCycles {
    /// The sum over all causes.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.cycles.iter().sum()
    }

    /// Each cause with its cycles.
    pub fn iter(&self) -> impl Iterator<Item = (Cause, u64)> + '_ {
        Cause::ALL.into_iter().zip(self.cycles)
    }
}

impl Index<Cause> for WholeCycles {
    type Output = u64;

    fn index(&self, cause: Cause) -> &u64 {
        &self.cycles[cause as usize]
    }
}

impl Serialize for WholeCycles {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        by_name(serializer, &self.cycles)
    }
}

fn by_name<S: Serializer, T: Serialize>(serializer: S, values: &[T]) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(values.len()))?;
    for (cause, value) in Cause::ALL.into_iter().zip(values) {
        map.serialize_entry(cause.name(), value)?;
    }
    map.end()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    fn any_stack() -> impl Strategy<Value = CycleStack> {
        prop::array::uniform13(0..u64::from(u32::MAX))
            .prop_map(|times| CycleStack { times: times.map(SubCycles) })
    }

    #[test]
    fn the_list_of_causes_is_in_the_order_of_their_numbers() {
        for (index, cause) in Cause::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, index, "{cause:?}");
        }
    }

    #[test]
    fn a_stack_serializes_under_the_names_of_its_causes() {
        let mut stack = CycleStack::default();
        stack.add(Cause::DataWalkEpt, SubCycles(5));
        let text = toml::to_string(&stack).unwrap();
        assert_eq!(
            text,
            "base = 0\nfetch_tlb_l2 = 0\nfetch_walk_guest = 0\nfetch_walk_ept = 0\nfetch_cache = 0\n\
             data_tlb_l2 = 0\ndata_walk_guest = 0\ndata_walk_ept = 5\ndata_cache = 0\n\
             transition = 0\ninvalidation = 0\nshootdown = 0\nfault = 0\n"
        );
    }

    proptest! {
        #[test]
        fn whole_cycles_sum_to_the_whole_cycles_of_the_total(stack in any_stack()) {
            prop_assert_eq!(stack.whole_cycles().total(), stack.total().cycles());
        }

        #[test]
        fn a_difference_and_its_earlier_stack_make_the_later_one(a in any_stack(), b in any_stack()) {
            let mut sum = a;
            b.iter().for_each(|(cause, time)| sum.add(cause, time));
            prop_assert_eq!(sum.since(&a), Some(b));
            prop_assert_eq!(a.since(&sum).is_none(), b.total() > SubCycles::ZERO);
        }
    }
}
