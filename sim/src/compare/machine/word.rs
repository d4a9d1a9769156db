//! Tag words (profile `extended`): guests tell their address spaces apart by bits of the control word.
//!
//! A load of CR3 removes what has the control word, so a kernel that wants to keep it changes the word to one that it
//! uses for nothing else, loads CR3, and then takes the word of the new address space.

use super::Machine;
use crate::compare::error::MachineError;
use crate::compare::processor::Place;
use crate::compare::strategy::Cached;
use mmu::operation::Performed;
use mmu::tag_word::{TagWordShape, TagWordUnit, VmTag, WordOperation};
use mmu::{Operation, tlb::Invalidation};
use smallvec::{SmallVec, smallvec};

/// Bits of the word that a guest may alter.
const GUEST_BITS: u8 = 4;
/// Values of those bits that stand for address spaces; 0 stands for none.
const SPACES: u16 = (1 << GUEST_BITS) - 1;

/// The tag words of a processor.
pub(in crate::compare) struct Words {
    unit: TagWordUnit,
    /// What each guest runs with here, with the control word that it left.
    guests: Vec<Option<VmTag>>,
    /// By guest and address-space bits: the process that used them last.
    owners: Vec<[Option<usize>; SPACES as usize + 1]>,
}

impl Words {
    pub(in crate::compare) fn new(bits: u8, guests: usize) -> Result<Self, MachineError> {
        let shape = TagWordShape { bits, guest_bits: GUEST_BITS.min(bits.saturating_sub(1)), depth: 1 };
        let unit = TagWordUnit::new(shape)?;
        Ok(Self { unit, guests: vec![None; guests], owners: vec![[None; SPACES as usize + 1]; guests] })
    }

    pub(in crate::compare) const fn control(&self) -> u32 {
        self.unit.control()
    }

    /// What an operation removes when entries are told apart by their words.
    pub(super) fn invalidations(&self, performed: &Performed) -> SmallVec<[Invalidation; 2]> {
        match performed.operation {
            Operation::VmEntry(_) | Operation::VmExit(_) => smallvec![],
            Operation::Invept(_) => performed.invalidations.clone(),
            _ => WordOperation::of(performed)
                .map(|operation| self.unit.invalidation(operation))
                .into_iter()
                .collect(),
        }
    }

    /// Enters a guest with the word that it left, or a new one; returns what has to be removed before.
    fn enter(&mut self, guest: usize) -> Result<Option<Invalidation>, MachineError> {
        if let Some(tag) = self.guests[guest]
            && self.unit.enter(&tag).is_ok()
        {
            return Ok(None);
        }
        let allocated = self.unit.allocate()?;
        if allocated.flush.is_some() {
            self.guests.fill(None);
        }
        self.owners[guest] = [None; SPACES as usize + 1];
        self.guests[guest] = Some(allocated.tag);
        self.unit.enter(&allocated.tag)?;
        Ok(allocated.flush)
    }

    fn exit(&mut self, guest: usize) -> Result<(), MachineError> {
        let value = self.unit.control();
        if let Some(tag) = &mut self.guests[guest] {
            tag.value = value;
        }
        Ok(self.unit.exit()?)
    }

    /// Takes the word of an address space; [`Cached::Dropped`] when it belonged to another process until now.
    fn take(&mut self, guest: usize, process: usize, number: u16) -> Cached {
        let space = number % SPACES + 1;
        self.unit.write(self.unit.control() & !u32::from(SPACES) | u32::from(space));
        match self.owners[guest][usize::from(space)].replace(process) {
            Some(before) if before != process => Cached::Dropped,
            _ => Cached::Kept,
        }
    }

    /// The process that used the word of an address space last.
    fn owner(&self, guest: usize, number: u16) -> Option<usize> {
        self.owners[guest][usize::from(number % SPACES + 1)]
    }

    /// The process to which entries with a word belong.
    pub(super) fn owner_of(&self, guest: usize, word: u32) -> Option<usize> {
        self.owners[guest][(word & u32::from(SPACES)) as usize]
    }

    /// Takes the word that stands for no address space.
    fn take_none(&mut self) {
        self.unit.write(self.unit.control() & !u32::from(SPACES));
    }
}

impl Machine {
    /// The control word of a processor that has entered a guest.
    pub(super) fn enter_words(&mut self, processor: usize, guest: usize) {
        match self.with_words(processor, |words| words.enter(guest)) {
            Some(Ok(Some(flush))) => {
                let dropped = self.processors[processor].translator.invalidate(flush);
                self.tally.drop(dropped);
                *self.tally.invalidations.entry("tag_words_used_up").or_default() += 1;
            }
            Some(Err(error)) => self.fail(error),
            Some(Ok(None)) | None => {}
        }
    }

    /// The control word of a processor that has left a guest.
    pub(super) fn exit_words(&mut self, processor: usize, guest: usize) {
        if let Some(Err(error)) = self.with_words(processor, |words| words.exit(guest)) {
            self.fail(error);
        }
    }

    /// A load of CR3 that keeps what is cached, unless the word of the process belonged to another one or a flush
    /// is asked for.
    pub(super) fn load_under_word(&mut self, processor: usize, process: usize, source: u64, cached: Cached) {
        let (guest, number) = (self.guest_of(process), self.processes[process].number);
        self.with_words(processor, Words::take_none);
        self.perform(processor, Operation::MovToCr3(source));
        let owned = self.with_words(processor, |words| words.take(guest, process, number));
        if cached == Cached::Dropped || owned == Some(Cached::Dropped) {
            self.perform(processor, Operation::MovToCr3(source));
        }
    }

    fn with_words<T>(&mut self, processor: usize, action: impl FnOnce(&mut Words) -> T) -> Option<T> {
        let at = &mut self.processors[processor];
        let done = at.words.as_mut().map(action);
        at.refresh();
        done
    }

    /// Does something in a guest under the word of one of its processes, and goes back to what the processor did.
    /// Does nothing when the word has another owner by now: then nothing of the process is cached.
    pub(super) fn under_word(&mut self, processor: usize, process: usize, action: impl FnOnce(&mut Self)) {
        let (guest, number) = (self.guest_of(process), self.processes[process].number);
        let words = self.processors[processor].words.as_ref();
        if words.is_none_or(|words| words.owner(guest, number) != Some(process)) {
            return;
        }
        let place = self.processors[processor].place;
        if place != Place::Guest(guest) {
            self.exit(processor);
            self.enter(processor, guest);
        }
        let before = self.processors[processor].loaded[guest];
        self.with_words(processor, |words| words.take(guest, process, number));
        action(self);
        if let Some(before) = before {
            let number = self.processes[before].number;
            self.with_words(processor, |words| words.take(guest, before, number));
        }
        if place != Place::Guest(guest) {
            self.exit(processor);
            if let Place::Guest(other) = place {
                self.enter(processor, other);
            }
        }
    }
}
