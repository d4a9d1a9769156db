//! Where a stale translation comes from, and whether it may still be used.

use super::change::{Actor, Change, ChangeId, What};
use super::finding::{Finding, Origin};
use super::fresh;
use super::history::{Processors, Progress, Record};
use super::past::{Chosen, search};
use super::remedy::{self, Held};
use super::seen::{Seen, Sight};
use super::settle::settled;
use super::{History, Processor, Use, Verdict};
use crate::context::Context;
use crate::mapping::{Class, Space};
use crate::operation::Performed;
use crate::ram::Ram;
use crate::reference::{Dimension, Reference};
use crate::rules::Rule;
use crate::translation::Translation;
use core::ops::ControlFlow;
use isa::address::LinearAddress;

/// Operations that a finding tells at most.
const TOLD: usize = 3;

/// What is looked at to explain a stale translation.
pub(super) struct Case<'a> {
    pub(super) ram: &'a Ram,
    pub(super) history: &'a History,
    pub(super) seen: &'a Seen,
    pub(super) number: usize,
    pub(super) processor: &'a Processor,
    pub(super) context: &'a Context,
    pub(super) used: &'a Use,
    /// The references of a fresh walk.
    pub(super) references: &'a [Reference],
    /// Whether the fresh walk ended at an entry that is not present or malformed.
    pub(super) unmapped: bool,
}

/// What an explanation means for the use: the first is the best.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ruling {
    /// Either translation may be used.
    InWindow,
    /// Software relies on a change that this processor was not made to take note of.
    Missing(Box<Finding>),
    /// The processor should not have it.
    Incoherent(Box<Finding>),
}

impl Ruling {
    const fn rank(&self) -> u8 {
        match self {
            Self::InWindow => 0,
            Self::Missing(_) => 1,
            Self::Incoherent(_) => 2,
        }
    }
}

impl Case<'_> {
    pub(super) fn rule(&self) -> Ruling {
        self.by_the_past()
            .or_else(|| self.by_global_pages())
            .or_else(|| self.by_what_was_seen())
            .unwrap_or_else(|| self.by_nothing())
    }

    fn space(&self) -> Space {
        Space::of(self.context)
    }

    /// By old values of entries, under the paging structures of now and the former ones of the tag.
    fn by_the_past(&self) -> Option<Ruling> {
        let former = self.processor.former(self.space()).iter();
        let remembered = former.filter(|(_, id)| self.history.get(*id).is_some());
        let now = core::iter::once((self.context, None));
        let then = remembered.map(|(context, id)| (context, Some(*id)));
        let mut best: Option<Ruling> = None;
        for (context, ended_by) in now.chain(then) {
            let mut attempt = |references: &mut Vec<Reference>, undone: &[ChangeId]| {
                let Some(translation) = self.finds(context, references) else {
                    return ControlFlow::Continue(());
                };
                let ruling = self.rule_on(undone, &translation);
                if best.as_ref().is_none_or(|best| ruling.rank() < best.rank()) {
                    best = Some(ruling);
                }
                if best == Some(Ruling::InWindow) {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            };
            if search(self.ram, self.history, ended_by, &mut attempt).is_break() {
                break;
            }
        }
        best
    }

    /// The translation of a walk, if it is the one that was used.
    fn finds(&self, context: &Context, references: &mut Vec<Reference>) -> Option<Translation> {
        let Use { address, kind, host_physical, .. } = *self.used;
        let found = fresh::walk(self.ram, context, address, kind, references).ok()??;
        (found.host(address) == host_physical).then_some(found)
    }

    /// What it means when a translation is right but for some changes.
    fn rule_on(&self, undone: &[ChangeId], translation: &Translation) -> Ruling {
        let records: Vec<_> = undone.iter().filter_map(|id| Some((*id, self.history.get(*id)?))).collect();
        for (id, record) in &records {
            if let Some(rule) = settled(self.processor, record, self.space(), translation) {
                return self.incoherent(rule, Origin::Change(*id, record.change.clone()));
            }
        }
        match records.into_iter().find(|(_, record)| record.progress == Progress::Completed) {
            Some((id, record)) => {
                self.missing(Origin::Change(id, record.change.clone()), record.since, translation)
            }
            None => Ruling::InWindow,
        }
    }

    /// By a global page that is mapped otherwise, or not at all, in the tables of the current PCID.
    fn by_global_pages(&self) -> Option<Ruling> {
        let Use { address, host_physical, .. } = *self.used;
        let (other, sight) = self.seen.find_global(self.space(), address, host_physical)?;
        let old = self.processor.context_of(other)?;
        let since = self.processor.left(other);
        let by = Actor { processor: self.number, who: self.processor.switched_by(since).into() };
        let (old, new) = (old.cr3.0, self.context.cr3.0);
        let change = binding(by, self.used.at, other, old, new);
        let holders = Processors::one(self.number);
        let record = Record { change, progress: Progress::Completed, since, holders };
        let origin = Origin::GlobalPage(record.change.clone());
        Some(match settled(self.processor, &record, self.space(), &sight.translation) {
            Some(rule) => self.incoherent(rule, origin),
            None => self.missing(origin, since, &sight.translation),
        })
    }

    /// By a translation that was right once: then something on the path has changed since.
    fn by_what_was_seen(&self) -> Option<Ruling> {
        let Use { address, host_physical, .. } = *self.used;
        let sight = self.seen.find(self.space(), address, host_physical)?;
        Some(match self.changed_since(sight.clock) {
            Some(id) => self.rule_on(&[id], &sight.translation),
            None => self.unknown_writer(sight),
        })
    }

    /// The first change on the path from the root that was made after an event.
    fn changed_since(&self, clock: u64) -> Option<ChangeId> {
        let former = self.processor.former(self.space()).iter().rev().map(|(_, id)| *id);
        let rebound = former.filter(|id| self.history.get(*id).is_some_and(|record| record.since >= clock));
        let edited = self.references.iter().filter_map(|reference| {
            let recent = self.history.of_entry(reference.host_physical);
            recent.filter(|(_, record)| record.since >= clock).map(|(id, _)| id).last()
        });
        let chosen: Chosen = rebound.chain(edited).take(1).collect();
        chosen.first().copied()
    }

    fn unknown_writer(&self, sight: &Sight) -> Ruling {
        let Use { address, .. } = *self.used;
        let last = self.references.iter().rfind(|reference| reference.dimension == Dimension::Guest);
        let (entry, level) = last.map_or_else(Default::default, |last| (last.host_physical, last.level));
        let new = self.context.mode.entry_width().read(self.ram, entry).unwrap_or_default();
        let size = sight.translation.size.bytes();
        let page = LinearAddress(address.0 & !(size - 1));
        let what = What::GuestEntry { context: *self.context, page, size };
        let by = Actor { processor: self.number, who: "an unknown writer".into() };
        let change = Change { by, at: sight.at, what, entry, level, old: new, new };
        let holders = Processors::one(self.number);
        let record = Record { change, progress: Progress::Completed, since: sight.clock, holders };
        let origin = Origin::UnknownWriter { right_at: sight.at };
        match settled(self.processor, &record, self.space(), &sight.translation) {
            Some(rule) => self.incoherent(rule, origin),
            None => self.missing(origin, sight.clock, &sight.translation),
        }
    }

    /// The translation was never right under this tag.
    fn by_nothing(&self) -> Ruling {
        let Use { address, host_physical, .. } = *self.used;
        let mut others = self.seen.elsewhere(self.space(), address, host_physical);
        let (id, origin) = match others.next() {
            Some((other, _)) => (self.use_rule(other), Origin::OtherTag(other)),
            None if self.unmapped => ("TLB.TAG.NO_NOTPRESENT", Origin::Nowhere),
            None if self.context.ept.is_some() => ("TLB.TAG.COMBINED", Origin::Nowhere),
            None => ("TLB.TAG.LINEAR", Origin::Nowhere),
        };
        Ruling::Incoherent(Box::new(self.finding(Verdict::Incoherent, Some(id), origin)))
    }

    /// The rule that keeps translations of another tag from use.
    fn use_rule(&self, other: Space) -> &'static str {
        match (self.space().class(), other.class()) {
            (one, other) if one != other => "TLB.USE.NO_CROSS",
            (Class::Combined, _) => "TLB.USE.COMBINED",
            _ => "TLB.USE.LINEAR",
        }
    }

    fn incoherent(&self, rule: &'static Rule, origin: Origin) -> Ruling {
        Ruling::Incoherent(Box::new(self.finding(Verdict::Incoherent, Some(rule.id), origin)))
    }

    fn missing(&self, origin: Origin, since: u64, translation: &Translation) -> Ruling {
        let invalidating = |performed: &&Performed| !performed.invalidations.is_empty();
        let performed = self.processor.operations_since(since).filter(invalidating);
        let mut performed: Vec<_> = performed.map(|performed| performed.operation).rev().take(TOLD).collect();
        performed.reverse();
        let held = Held {
            space: self.space(),
            scope: translation.scope,
            address: self.used.address,
            cr3: self.context.cr3.0,
        };
        let needed = remedy::needed(origin.change(), &held);
        let finding = Finding { needed, performed, ..self.finding(Verdict::Missing, None, origin) };
        Ruling::Missing(Box::new(finding))
    }

    fn finding(&self, verdict: Verdict, rule: Option<&'static str>, origin: Origin) -> Finding {
        let (processor, space, used) = (self.number, self.space(), *self.used);
        let (needed, performed) = (vec![], vec![]);
        Finding { verdict, processor, space, used, origin, rule, needed, performed, count: 1 }
    }
}

/// The change that a tag now stands for other paging structures.
pub(super) fn binding(by: Actor, at: u64, space: Space, old: u64, new: u64) -> Change {
    let (what, entry, level) = (What::Binding { space }, Default::default(), 0);
    Change { by, at, what, entry, level, old, new }
}
