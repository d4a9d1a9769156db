//! A logical processor of a comparison: translation, its registers, and time.

use super::error::MachineError;
use super::machine::Words;
use super::work::Access;
use crate::replay::meter::walk_reference;
use isa::address::{AccessKind, LinearAddress};
use mmu::mmu::Hit;
use mmu::operation::{Paging, Registers};
use mmu::translator::{Found, Translator};
use mmu::{Cached, Fault, Geometry, Privilege, Ram, Reference, ReferenceLog};
use timing::model::Model;
use timing::step::{self, Translation, WalkReference};

/// What the translations of a run cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) accesses: u64,
    pub(crate) l1_misses: u64,
    pub(crate) walks: u64,
    pub(crate) guest_references: u64,
    pub(crate) ept_references: u64,
    pub(crate) structure_hits: u64,
    pub(crate) nested_hits: u64,
}

impl Counts {
    /// What came since an earlier state.
    pub(super) fn since(self, earlier: Self) -> Self {
        Self {
            accesses: self.accesses - earlier.accesses,
            l1_misses: self.l1_misses - earlier.l1_misses,
            walks: self.walks - earlier.walks,
            guest_references: self.guest_references - earlier.guest_references,
            ept_references: self.ept_references - earlier.ept_references,
            structure_hits: self.structure_hits - earlier.structure_hits,
            nested_hits: self.nested_hits - earlier.nested_hits,
        }
    }

    pub(super) fn add(&mut self, more: Self) {
        self.accesses += more.accesses;
        self.l1_misses += more.l1_misses;
        self.walks += more.walks;
        self.guest_references += more.guest_references;
        self.ept_references += more.ept_references;
        self.structure_hits += more.structure_hits;
        self.nested_hits += more.nested_hits;
    }
}

/// Where a processor is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// In VMX root operation.
    Root,
    /// In this guest.
    Guest(usize),
}

pub(crate) struct Processor {
    pub(super) translator: Translator,
    pub(super) registers: Registers,
    pub(super) model: Model,
    pub(super) place: Place,
    /// The process whose address space each guest's virtual processor here has loaded.
    pub(super) loaded: Vec<Option<usize>>,
    /// The PCID under which each process was loaded here.
    pub(super) pcids: Vec<u16>,
    /// The paging registers of each guest's virtual processor here, while it is not running.
    pub(super) saved: Vec<Paging>,
    /// The guest that was entered last.
    pub(super) last_guest: Option<usize>,
    pub(super) counts: Counts,
    /// The tag words, where the hardware has them.
    pub(super) words: Option<Words>,
    log: Log,
}

/// The walk under way.
#[derive(Default)]
struct Log {
    /// Its references, as time wants them.
    references: Vec<WalkReference>,
    /// How often it began at a cached paging-structure entry: 0, 1, or 2 when what was cached forbade the access.
    structures: u64,
    /// How many guest-physical addresses were translated by a cached mapping.
    nested: u64,
}

impl ReferenceLog for Log {
    #[inline]
    fn record(&mut self, reference: Reference) {
        self.references.push(walk_reference(&reference));
    }

    #[inline]
    fn spared(&mut self, cached: Cached) {
        match cached {
            Cached::Structure => self.structures += 1,
            Cached::GuestPhysical => self.nested += 1,
            Cached::EptStructure => {}
        }
    }
}

impl Log {
    fn clear(&mut self) {
        self.references.clear();
        self.structures = 0;
        self.nested = 0;
    }
}

impl Processor {
    pub(super) fn new(
        geometry: &Geometry,
        registers: Registers,
        model: Model,
        (guests, processes): (usize, usize),
        words: Option<Words>,
    ) -> Result<Self, MachineError> {
        let mut translator = Translator::new(geometry)?;
        translator.set_context(registers.context(Privilege::Supervisor));
        Ok(Self {
            translator,
            registers,
            model,
            place: Place::Root,
            loaded: vec![None; guests],
            pcids: vec![0; processes],
            saved: vec![Paging::default(); guests],
            last_guest: None,
            counts: Counts::default(),
            words,
            log: Log::default(),
        })
    }

    /// The process that runs here.
    pub(crate) fn running(&self) -> Option<usize> {
        match self.place {
            Place::Root => None,
            Place::Guest(guest) => self.loaded[guest],
        }
    }

    /// Takes the registers and the place for the accesses that follow.
    pub(super) fn refresh(&mut self) {
        self.registers.tag_word = self.words.as_ref().map_or(0, Words::control);
        let privilege = match self.place {
            Place::Root => Privilege::Supervisor,
            Place::Guest(_) => Privilege::User,
        };
        self.translator.set_context(self.registers.context(privilege));
    }

    /// One access: translated, counted and charged.
    #[inline]
    pub(super) fn access(&mut self, ram: &Ram, access: &Access) -> Result<Found, Fault> {
        if access.instructions != 0 {
            self.model.charge_instructions(u32::from(access.instructions));
        }
        let found = self.translate(ram, access.address, access.kind)?;
        self.charge(access, &found);
        Ok(found)
    }

    #[inline]
    fn translate(&mut self, ram: &Ram, address: LinearAddress, kind: AccessKind) -> Result<Found, Fault> {
        self.counts.accesses += 1;
        self.translator.translate(ram, address, kind, &mut self.log)
    }

    #[inline]
    fn charge(&mut self, access: &Access, found: &Found) {
        let Self { model, log, counts, .. } = self;
        let translation = match found.hit {
            Hit::L1 => Translation::L1,
            Hit::L2 => {
                counts.l1_misses += 1;
                Translation::L2
            }
            Hit::Walk => {
                counts.count_walk(log);
                Translation::Walk { references: &log.references }
            }
        };
        model.charge_access(&step::Access {
            kind: access.kind,
            address: found.translation.host(access.address),
            bytes: access.bytes,
            translation,
        });
        if found.hit == Hit::Walk {
            log.clear();
        }
    }

    /// An access that the tables refuse: its walk is charged, the access is not made.
    #[cold]
    pub(super) fn refused(&mut self, access: &Access) {
        self.counts.count_walk(&self.log);
        self.model.charge_access(&step::Access {
            kind: access.kind,
            address: isa::address::HostPhysicalAddress(0),
            bytes: 0,
            translation: Translation::Walk { references: &self.log.references },
        });
        self.log.clear();
    }
}

impl Counts {
    fn count_walk(&mut self, walk: &Log) {
        self.l1_misses += 1;
        self.walks += 1;
        self.structure_hits += walk.structures;
        self.nested_hits += walk.nested;
        for reference in &walk.references {
            match reference.dimension {
                step::Dimension::Guest => self.guest_references += 1,
                step::Dimension::Ept => self.ept_references += 1,
            }
        }
    }
}
