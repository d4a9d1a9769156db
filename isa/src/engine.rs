//! The loop that runs decoded code.
//!
//! A block is found by where it is in physical memory and stays valid until its page is written. From block to
//! block the way is short: each block remembers its last two successors; if that fails a small table by linear
//! address is asked, and only then is the address translated and the block looked up by its physical address. The two
//! short ways hold as long as no translation for execution has changed and no code was dropped, which a stamp
//! tells.

mod contexts;
mod place;

use crate::address::{HostPhysicalAddress, PAGE_SIZE};
use crate::block::{self, Block, Ending};
use crate::cpu::{Cpu, Stop, Stopped};
use crate::float::Session;
use crate::mode::CodeContext;
use crate::record::Record;
use crate::stack::stack_fault;
use contexts::{Contexts, Selected};
use core::cell::Cell;
use place::{BlockId, Link, Place};
use rustc_hash::FxHashMap;

/// Most instructions in a block unless said otherwise.
const BLOCK_INSTRUCTIONS: usize = 32;
/// Entries of the table by linear address.
const JUMP_ENTRIES: usize = 4096;
/// Most blocks that are kept; beyond it all are dropped.
const MOST_BLOCKS: usize = 1 << 19;
/// Dropped blocks whose numbers wait until no link leads to them.
const MOST_DROPPED: usize = 4096;
/// The largest budget of a run: a dropped block has more instructions.
const LARGEST_BUDGET: i64 = i64::MAX - 1;

/// How a run ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// Instructions completed.
    pub executed: u64,
    /// What stopped it; `None` when the budget is used up. RIP is at the instruction that stopped.
    pub stop: Option<Stop>,
    /// The address after the instruction that stopped, where a trap continues; without meaning for a fault.
    pub next_rip: u64,
}

/// A stop, and the address after the instruction that stopped.
type StoppedAt = (Stopped, u64);

struct Entry<C> {
    block: Block<C>,
    successors: [Cell<Link>; 2],
    place: Place,
}

/// All decoded code of a processor.
///
/// ```
/// use isa::engine::CodeCache;
/// use isa::flat::FlatMachine;
///
/// // mov eax,2 / add eax,3 / hlt
/// let mut machine = FlatMachine::with_code(&[0xb8, 2, 0, 0, 0, 0x83, 0xc0, 3, 0xf4]);
/// let run = CodeCache::new().run(&mut machine, 100);
/// assert_eq!(run.stop, Some(isa::cpu::Stop::Halt));
/// assert_eq!(run.executed, 2);
/// assert_eq!(machine.state.registers().gpr[0], 5);
/// ```
pub struct CodeCache<C> {
    entries: Vec<Entry<C>>,
    free: Vec<BlockId>,
    /// Numbers of dropped blocks, to which links may still lead.
    dropped: Vec<BlockId>,
    by_place: FxHashMap<Place, BlockId>,
    by_page: FxHashMap<HostPhysicalAddress, Vec<BlockId>>,
    jumps: Box<[Link]>,
    drops: u64,
    /// How code is reached now, and before.
    contexts: Contexts,
    /// Most instructions in a block.
    longest: usize,
}

impl<C: Cpu> Default for CodeCache<C> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            dropped: Vec::new(),
            by_place: FxHashMap::default(),
            by_page: FxHashMap::default(),
            jumps: vec![Link::NONE; JUMP_ENTRIES].into_boxed_slice(),
            drops: 0,
            contexts: Contexts::default(),
            longest: BLOCK_INSTRUCTIONS,
        }
    }
}

impl<C: Cpu> CodeCache<C> {
    /// An empty cache.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty cache for a caller who runs one instruction at a time: each is a block of its own, so that none is
    /// decoded more than once.
    #[must_use]
    pub fn of_single_instructions() -> Self {
        Self { longest: 1, ..Self::default() }
    }

    /// Blocks that are decoded now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_place.len()
    }

    /// Whether nothing is decoded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_place.is_empty()
    }

    /// Drops all code of a physical page. Links between other blocks stay.
    pub fn drop_page(&mut self, page: HostPhysicalAddress) {
        for id in self.by_page.remove(&page).unwrap_or_default() {
            let Entry { place, block, successors } = &mut self.entries[id as usize];
            // A block on two pages may be gone with the other one.
            if self.by_place.get(place) == Some(&id) {
                self.by_place.remove(place);
                *block = Block::dropped();
                successors.iter().for_each(|successor| successor.set(Link::NONE));
                self.dropped.push(id);
            }
        }
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        *self = Self { drops: self.drops + 1, longest: self.longest, ..Self::default() };
    }

    /// Runs at most `budget` instructions.
    #[inline(never)]
    pub fn run(&mut self, cpu: &mut C, budget: u64) -> Run {
        let session = Session::open(cpu);
        let given = i64::try_from(budget).unwrap_or(LARGEST_BUDGET).min(LARGEST_BUDGET);
        cpu.state_mut().remaining = given;
        self.enter(cpu.state().code_context());
        let mut outcome = self.run_blocks(cpu);
        while let Some(page) = code_write(&outcome) {
            self.drop_page(page);
            cpu.code_dropped(page);
            outcome = self.run_after_drop(cpu, page);
        }
        session.close(cpu.state_mut());
        let executed = given.abs_diff(cpu.state().remaining);
        match outcome {
            Ok(()) => Run { executed, stop: None, next_rip: cpu.state().rip() },
            Err((stop, next_rip)) => {
                Run { executed, stop: Some(stop.settled(&cpu.state().system)), next_rip }
            }
        }
    }

    /// Starts the instruction again whose store to a page was refused; the code of the page has been dropped.
    fn run_after_drop(&mut self, cpu: &mut C, page: HostPhysicalAddress) -> Result<(), StoppedAt> {
        if !self.may_be_on(cpu, page) {
            return self.run_blocks(cpu);
        }
        // The instruction may write its own page, so it is executed once without being kept.
        run_uncached(cpu, 1, &self.contexts.current)?;
        self.run_blocks(cpu)
    }

    /// Whether bytes of the instruction at RIP may be on a page.
    fn may_be_on(&self, cpu: &mut C, page: HostPhysicalAddress) -> bool {
        let at = self.contexts.current.linear(cpu.state().rip());
        let Ok(physical) = cpu.translate_fetch(at) else { return true };
        physical.page() == page || physical.page_offset() + block::LONGEST > PAGE_SIZE as usize
    }

    fn run_blocks(&mut self, cpu: &mut C) -> Result<(), StoppedAt> {
        if cpu.state().remaining <= 0 {
            return Ok(());
        }
        let mut id = self.find(cpu)?;
        let mut from = id;
        let mut stamp = self.stamp(cpu);
        loop {
            let block = &self.entries[id as usize].block;
            if block.instructions > cpu.state().remaining {
                if !block.is_dropped() {
                    return run_part(cpu, block, &self.contexts.current);
                }
                id = self.find_and_link(cpu, from)?;
                stamp = self.stamp(cpu);
                continue;
            }
            run_block(cpu, block)?;
            if cpu.state().remaining <= 0 {
                return Ok(());
            }
            from = id;
            let now = self.stamp(cpu);
            id = match self.follow(id, cpu.state().rip(), stamp) {
                Some(next) if now == stamp => next,
                _ => {
                    let next = self.find_and_link(cpu, id)?;
                    stamp = self.stamp(cpu);
                    next
                }
            };
        }
    }

    /// Equal stamps mean equal translations for execution, equal decoded code and the same code segment and mode. (A
    /// link would have to outlive 2^32 invalidations or 2^24 drops to be taken for a current one.)
    #[inline(always)]
    fn stamp(&self, cpu: &C) -> u64 {
        cpu.fetch_epoch() << 32 | self.contexts.number << 24 | self.drops & 0xff_ffff
    }

    /// Makes a code segment and mode the current ones.
    #[inline]
    fn enter(&mut self, context: CodeContext) {
        if context != self.contexts.current && self.contexts.select(context) == Selected::AfterLoss {
            self.jumps.fill(Link::NONE);
            for Entry { successors, .. } in &self.entries {
                successors.iter().for_each(|successor| successor.set(Link::NONE));
            }
        }
    }

    #[inline(always)]
    fn follow(&self, from: BlockId, rip: u64, stamp: u64) -> Option<BlockId> {
        let [first, second] = &self.entries[from as usize].successors;
        let first = first.get();
        if first.leads_to(rip, stamp) {
            return Some(first.block);
        }
        let second = second.get();
        second.leads_to(rip, stamp).then_some(second.block)
    }

    fn find_and_link(&mut self, cpu: &mut C, from: BlockId) -> Result<BlockId, StoppedAt> {
        let drops = self.drops;
        let block = self.find(cpu)?;
        if drops == self.drops {
            let link = Link { rip: cpu.state().rip(), stamp: self.stamp(cpu), block };
            let [first, second] = &self.entries[from as usize].successors;
            second.set(first.get());
            first.set(link);
        }
        Ok(block)
    }

    /// The block at RIP.
    fn find(&mut self, cpu: &mut C) -> Result<BlockId, StoppedAt> {
        let rip = self.contexts.wrap(cpu);
        let jump = self.jumps[jump_index(rip)];
        let is_current = jump.leads_to(rip, self.stamp(cpu));
        if is_current && !self.entries[jump.block as usize].block.is_dropped() {
            return Ok(jump.block);
        }
        let block = self.find_physical(cpu, rip).map_err(|stop| (stop, rip))?;
        self.jumps[jump_index(rip)] = Link { rip, stamp: self.stamp(cpu), block };
        Ok(block)
    }

    fn find_physical(&mut self, cpu: &mut C, rip: u64) -> Result<BlockId, Stopped> {
        let context = self.contexts.current;
        let in_segment = block::in_segment(rip, &context);
        if in_segment == 0 {
            return Err(Stop::GENERAL_PROTECTION.into());
        }
        let first = cpu.translate_fetch(context.linear(rip))?;
        let place = Place { first, second: None, mode: context.mode, in_segment };
        if let Some(&id) = self.by_place.get(&place) {
            return Ok(id);
        }
        let block = block::build(cpu, rip, first, self.longest, &context)?;
        let place = Place { second: block.second_page, ..place };
        match self.by_place.get(&place) {
            Some(&id) => Ok(id),
            None => Ok(self.insert(cpu, place, block)),
        }
    }

    fn insert(&mut self, cpu: &mut C, place: Place, block: Block<C>) -> BlockId {
        if self.entries.len() >= MOST_BLOCKS && self.free.is_empty() && self.dropped.len() < MOST_DROPPED {
            self.clear();
        }
        let entry = Entry { block, successors: [Cell::new(Link::NONE), Cell::new(Link::NONE)], place };
        let id = self.store(entry);
        self.by_place.insert(place, id);
        for page in [Some(place.first.page()), place.second].into_iter().flatten() {
            cpu.code_cached(page);
            self.by_page.entry(page).or_default().push(id);
        }
        id
    }

    fn store(&mut self, entry: Entry<C>) -> BlockId {
        if self.free.is_empty() && self.dropped.len() >= MOST_DROPPED {
            // No link that exists is current any more.
            self.drops += 1;
            self.free.append(&mut self.dropped);
        }
        if let Some(id) = self.free.pop() {
            self.entries[id as usize] = entry;
            return id;
        }
        self.entries.push(entry);
        BlockId::try_from(self.entries.len() - 1).unwrap_or(BlockId::MAX)
    }
}

fn code_write(outcome: &Result<(), StoppedAt>) -> Option<HostPhysicalAddress> {
    match outcome {
        Err((stop, _)) => match **stop {
            Stop::CodeWrite(page) => Some(page),
            _ => None,
        },
        Ok(()) => None,
    }
}

#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "the low bits choose the entry")]
fn jump_index(rip: u64) -> usize {
    (rip ^ rip >> 12) as usize % JUMP_ENTRIES
}

/// Executes `count` instructions of straight-line code without keeping their decoded form.
fn run_uncached<C: Cpu>(cpu: &mut C, count: usize, context: &CodeContext) -> Result<(), StoppedAt> {
    let rip = cpu.state().rip();
    let block = cpu
        .translate_fetch(context.linear(rip))
        .and_then(|physical| block::build(cpu, rip, physical, count, context))
        .map_err(|stop| (stop, rip))?;
    run_block(cpu, &block)
}

/// Runs a whole block.
#[inline(always)]
fn run_block<C: Cpu>(cpu: &mut C, block: &Block<C>) -> Result<(), StoppedAt> {
    if C::OBSERVED {
        return run_observed(cpu, &block.records, block.ending);
    }
    for record in &block.records {
        if let Err(stop) = (record.handler)(cpu, record) {
            return Err(stopped(cpu, &block.records, record, stop));
        }
    }
    cpu.state_mut().remaining -= block.instructions;
    if block.ending == Ending::FallThrough {
        let rip = cpu.state().rip().wrapping_add(u64::from(block.bytes));
        cpu.state_mut().set_rip(rip);
    }
    Ok(())
}

/// Runs the first instructions of a block that has more than the budget allows. In the plain machine they are decoded
/// again as a block of their own: in the whole one a later instruction may be why the last of them computes no flags.
#[cold]
fn run_part<C: Cpu>(cpu: &mut C, block: &Block<C>, context: &CodeContext) -> Result<(), StoppedAt> {
    let count = usize::try_from(cpu.state().remaining).unwrap_or(0);
    if C::OBSERVED {
        run_observed(cpu, &block.records[..count], Ending::FallThrough)
    } else {
        run_uncached(cpu, count, context)
    }
}

/// Moves RIP to the instruction that stopped and counts those before it.
#[cold]
fn stopped<C: Cpu>(cpu: &mut C, records: &[Record<C>], record: &Record<C>, stop: Stopped) -> StoppedAt {
    let stop = stack_fault(stop, |address| record.refers_to_stack(cpu.state(), address));
    let completed = records.iter().take_while(|earlier| earlier.offset < record.offset).count();
    cpu.state_mut().remaining -= completed as i64;
    if stop.has_completed() {
        cpu.state_mut().remaining -= 1;
        return (stop, cpu.state().rip());
    }
    let rip = cpu.state().rip().wrapping_add(u64::from(record.offset));
    cpu.state_mut().set_rip(rip);
    (stop, rip.wrapping_add(u64::from(record.length)))
}

/// Runs records one at a time, with the observer before and after each.
fn run_observed<C: Cpu>(cpu: &mut C, records: &[Record<C>], ending: Ending) -> Result<(), StoppedAt> {
    let start = cpu.state().rip();
    for (number, record) in records.iter().enumerate() {
        let rip = start.wrapping_add(u64::from(record.offset));
        let next = rip.wrapping_add(u64::from(record.length));
        let branches = ending == Ending::Branch && number + 1 == records.len();
        cpu.state_mut().set_rip(start);
        if let Err(stop) = cpu.before(record, rip).and_then(|()| (record.handler)(cpu, record)) {
            if stop.has_completed() {
                cpu.state_mut().remaining -= 1;
                let done = cpu.after(record).err().unwrap_or(stop);
                return Err((done, cpu.state().rip()));
            }
            let stop = stack_fault(stop, |address| record.refers_to_stack(cpu.state(), address));
            cpu.state_mut().set_rip(rip);
            return Err((stop, next));
        }
        if !branches {
            cpu.state_mut().set_rip(next);
        }
        cpu.state_mut().remaining -= 1;
        cpu.after(record).map_err(|stop| (stop, next))?;
    }
    Ok(())
}
