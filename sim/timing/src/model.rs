//! The first cost model: what a step costs, by cause.
//!
//! | what | costs | under |
//! |---|---|---|
//! | an instruction | 1 / issue width | `base` |
//! | an L1 TLB hit | nothing | |
//! | a lookup in the L2 TLB, hit or miss | the L2 adder of the processor | `*_tlb_l2` |
//! | each reference of a page walk | its full latency through the L1 data cache | `*_walk_guest`, `*_walk_ept` |
//! | each line of an access | its latency beyond an L1 hit | `*_cache` |
//! | anything else, by [`spend`](Model::spend) | what the caller says | the cause it names |
//!
//! The references of a walk are a chain, each address read from the one before, so their latencies add. A walk starts
//! after the L2 TLB has missed, so it pays that lookup too. Reads and writes cost the same.

use isa::address::{AccessKind, HostPhysicalAddress};
use serde::Serialize;

use crate::cache::Line;
use crate::hierarchy::{Hierarchy, Served, ServedBy};
use crate::processor::Processor;
use crate::stack::{Cause, CycleStack, WholeCycles};
use crate::step::{Access, Dimension, Step, Translation, WalkReference};
use crate::units::SubCycles;

/// The cost model of one processor core and the time it has charged.
#[derive(Clone, Debug)]
pub struct Model {
    caches: Hierarchy,
    /// Time of an instruction.
    base: SubCycles,
    /// Time of a lookup in the L2 TLB.
    tlb_l2: SubCycles,
    instructions: u64,
    clock: SubCycles,
    stack: CycleStack,
    served: ServedCounts,
}

/// The causes that accesses of one kind are charged to.
struct Causes {
    tlb_l2: Cause,
    walk_guest: Cause,
    walk_ept: Cause,
    cache: Cause,
}

const FETCH: Causes = Causes {
    tlb_l2: Cause::FetchTlbL2,
    walk_guest: Cause::FetchWalkGuest,
    walk_ept: Cause::FetchWalkEpt,
    cache: Cause::FetchCache,
};

const DATA: Causes = Causes {
    tlb_l2: Cause::DataTlbL2,
    walk_guest: Cause::DataWalkGuest,
    walk_ept: Cause::DataWalkEpt,
    cache: Cause::DataCache,
};

impl Model {
    /// A model at time zero, with empty caches.
    #[must_use]
    pub fn new(processor: &Processor) -> Self {
        Self {
            caches: Hierarchy::new(processor),
            base: SubCycles(SubCycles::PER_CYCLE / u64::from(processor.issue_width())),
            tlb_l2: SubCycles::from_cycles(processor.l2_tlb_latency()),
            instructions: 0,
            clock: SubCycles::ZERO,
            stack: CycleStack::default(),
            served: ServedCounts::default(),
        }
    }

    /// Charges a step and returns what it cost.
    #[inline]
    pub fn charge(&mut self, step: &Step<'_>) -> SubCycles {
        let before = self.clock;
        self.charge_instructions(step.instructions);
        for access in step.accesses {
            self.charge_access(access);
        }
        self.clock - before
    }

    /// Charges instructions without their accesses, for callers that hand these over one by one.
    #[inline]
    pub fn charge_instructions(&mut self, count: u32) {
        self.instructions += u64::from(count);
        self.pass(Cause::Base, SubCycles(self.base.0 * u64::from(count)));
    }

    /// Charges one access, for callers that hand over each as it happens.
    #[inline]
    pub fn charge_access(&mut self, access: &Access<'_>) {
        let causes = match access.kind {
            AccessKind::Execute => &FETCH,
            AccessKind::Read | AccessKind::Write => &DATA,
        };
        match access.translation {
            Translation::None | Translation::L1 => {}
            Translation::L2 => self.pass(causes.tlb_l2, self.tlb_l2),
            Translation::Walk { references } => self.charge_walk(references, causes),
        }
        self.charge_lines(access, causes.cache);
    }

    #[cold]
    fn charge_walk(&mut self, references: &[WalkReference], causes: &Causes) {
        self.pass(causes.tlb_l2, self.tlb_l2);
        for reference in references {
            let cause = match reference.dimension {
                Dimension::Guest => causes.walk_guest,
                Dimension::Ept => causes.walk_ept,
            };
            let served = self.caches.access(reference.address, AccessKind::Read);
            self.served.walk.count(served);
            self.pass(cause, SubCycles::from_cycles(served.latency));
        }
    }

    #[inline]
    fn charge_lines(&mut self, access: &Access<'_>, cause: Cause) {
        let Some(last_byte) = access.bytes.checked_sub(1) else { return };
        let mut line = Line::of(access.address);
        let last = Line::of(HostPhysicalAddress(access.address.0.saturating_add(u64::from(last_byte))));
        loop {
            self.charge_line(line, access.kind, cause);
            if line >= last {
                return;
            }
            line = line.next();
        }
    }

    #[inline]
    fn charge_line(&mut self, line: Line, kind: AccessKind, cause: Cause) {
        let served = self.caches.access_line(line, kind);
        let counts = if kind == AccessKind::Execute { &mut self.served.fetch } else { &mut self.served.data };
        counts.count(served);
        if served.by != ServedBy::L1 {
            self.pass(cause, SubCycles::from_cycles(served.latency - self.caches.l1_latency(kind)));
        }
    }

    /// Charges what is no instruction and no access: a VM exit, an invalidation, an interrupt, a fault handler.
    ///
    /// What such an operation costs on a processor is in its [`OperationCosts`](crate::operations::OperationCosts).
    ///
    /// ```
    /// use timing::model::Model;
    /// use timing::processor::Processor;
    /// use timing::stack::Cause;
    /// use timing::units::SubCycles;
    ///
    /// let skylake = Processor::named("skylake")?;
    /// let mut model = Model::new(&skylake);
    /// model.spend(Cause::Invalidation, 33 * skylake.operations().invlpg());
    /// assert_eq!(model.clock(), SubCycles::from_cycles(33 * skylake.operations().invlpg()));
    /// # Ok::<(), timing::processor::UnknownProcessor>(())
    /// ```
    #[inline]
    pub fn spend(&mut self, cause: Cause, cycles: u64) {
        self.pass(cause, SubCycles::from_cycles(cycles));
    }

    /// Lets time pass for a cause: the one place where the clock and the stack move.
    #[inline]
    fn pass(&mut self, cause: Cause, time: SubCycles) {
        self.clock += time;
        self.stack.add(cause, time);
    }

    /// The time since the model was made.
    #[inline]
    #[must_use]
    pub const fn clock(&self) -> SubCycles {
        self.clock
    }

    /// The same time by cause. Its [total](CycleStack::total) is the [clock](Self::clock).
    #[must_use]
    pub const fn stack(&self) -> &CycleStack {
        &self.stack
    }

    /// What has been charged, as a result.
    #[must_use]
    pub fn report(&self) -> Report {
        Report {
            instructions: self.instructions,
            cycles: self.clock.cycles(),
            stack: self.stack.whole_cycles(),
            served: self.served,
            lines_written_to_memory: self.caches.written_to_memory(),
        }
    }
}

/// What a model has charged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Report {
    /// Instructions.
    pub instructions: u64,
    /// Whole cycles.
    pub cycles: u64,
    /// Whole cycles by cause; they sum to [`cycles`](Self::cycles).
    pub stack: WholeCycles,
    /// What served the accesses.
    pub served: ServedCounts,
    /// Dirty lines that the caches wrote to memory.
    pub lines_written_to_memory: u64,
}

/// How many lines each level served, by what asked for them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct ServedCounts {
    /// Instruction fetches.
    pub fetch: LevelCounts,
    /// Data reads and writes.
    pub data: LevelCounts,
    /// References of page walks.
    pub walk: LevelCounts,
}

/// How many lines each level served.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct LevelCounts {
    /// The L1 cache.
    pub l1: u64,
    /// The L2 cache.
    pub l2: u64,
    /// The L3 cache.
    pub l3: u64,
    /// Memory.
    pub memory: u64,
}

impl LevelCounts {
    #[inline]
    fn count(&mut self, served: Served) {
        *match served.by {
            ServedBy::L1 => &mut self.l1,
            ServedBy::L2 => &mut self.l2,
            ServedBy::L3 => &mut self.l3,
            ServedBy::Memory => &mut self.memory,
        } += 1;
    }
}
