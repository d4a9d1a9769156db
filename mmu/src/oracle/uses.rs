//! Uses of translations that the memo does not confirm.

use super::change::Actor;
use super::explain::{Case, Ruling, binding};
use super::history::Processors;
use super::memo::View;
use super::processor::{Judged, Stale};
use super::seen::Sight;
use super::{Oracle, Use, Verdict, fresh};
use crate::context::Context;
use crate::fault::{Fault, PageFaultReason};
use crate::mapping::Space;
use crate::ram::Ram;
use crate::reference::Reference;
use crate::translation::Translation;
use crate::translator::Hit;
use isa::address::AccessKind;

/// Contexts that are numbered at most before the numbers start again.
const VIEWS: usize = 1 << 16;

impl Oracle {
    #[inline(never)]
    pub(super) fn used_anew(
        &mut self,
        ram: &Ram,
        processor: usize,
        context: &Context,
        used: &Use,
    ) -> Verdict {
        let view = self.enter(processor, context, used);
        let mut references = core::mem::take(&mut self.references);
        references.clear();
        let fresh = fresh::walk(ram, context, used.address, used.kind, &mut references);
        let verdict = match fresh {
            Ok(Some(found)) if found.host(used.address) == used.host_physical => {
                self.confirm(processor, view, used, &found, &references);
                Verdict::Coherent
            }
            fresh => self.stale(ram, processor, used, &references, fresh.err()),
        };
        self.references = references;
        if used.kind == AccessKind::Write {
            self.stored(used.host_physical);
        }
        verdict
    }

    /// Makes a context the current one of a processor.
    fn enter(&mut self, processor: usize, context: &Context, used: &Use) -> View {
        let view = self.view(context);
        let clock = self.clock;
        let state = self.processor(processor);
        if state.context.as_ref() == Some(context) {
            (state.view, state.clock) = (view, clock);
            return view;
        }
        let rebound = state.enter(context, view);
        state.clock = clock;
        if let Some(rebound) = rebound {
            let who = state.switched_by(rebound.since).into();
            let (old, new) = (rebound.old.cr3.0, context.cr3.0);
            let change = binding(Actor { processor, who }, used.at, rebound.space, old, new);
            let id = self.history.bound(change, rebound.since, Processors::one(processor));
            if let Some(out) = self.processors[processor].remember(&rebound, id) {
                self.history.forget(out);
            }
        }
        view
    }

    fn view(&mut self, context: &Context) -> View {
        if let Some(&view) = self.views.get(context) {
            return view;
        }
        if self.views.len() >= VIEWS {
            self.views.clear();
            self.memo.clear();
            self.processors.iter_mut().for_each(|processor| processor.view = View::NONE);
        }
        let view = View(self.views.len() as u32);
        self.views.insert(*context, view);
        view
    }

    /// Takes note of a coherent use.
    fn confirm(
        &mut self,
        processor: usize,
        view: View,
        used: &Use,
        found: &Translation,
        references: &[Reference],
    ) {
        let state = &mut self.processors[processor];
        let Some(space) = state.context.as_ref().map(Space::of) else { return };
        if used.hit == Hit::Walk {
            self.summary.over_broad += state.refilled(space, used, found);
            self.seen.note(space, Sight { translation: *found, clock: self.clock, at: used.at });
        }
        self.memo.fill(view, used, fresh::entries(references));
    }

    #[cold]
    fn stale(
        &mut self,
        ram: &Ram,
        number: usize,
        used: &Use,
        references: &[Reference],
        fault: Option<Fault>,
    ) -> Verdict {
        let processor = &self.processors[number];
        let Some(context) = processor.context.as_ref() else { return Verdict::Coherent };
        let (page, host, kind) = (used.address.page_number(), used.host_physical.page(), used.kind);
        let key = Stale { view: processor.view, page, host, kind };
        if let Some(verdict) = processor.repeated(self.clock, &key) {
            self.summary.count(verdict.verdict);
            if let Some(place) = verdict.finding {
                self.findings.repeat(place);
            }
            return verdict.verdict;
        }
        let (history, seen) = (&self.history, &self.seen);
        let unmapped = fault.is_some_and(|fault| is_unmapped(&fault));
        let ruling =
            Case { ram, history, seen, number, processor, context, used, references, unmapped }.rule();
        let (verdict, finding) = match ruling {
            Ruling::InWindow => (Verdict::InWindow, None),
            Ruling::Missing(finding) | Ruling::Incoherent(finding) => (finding.verdict, Some(finding)),
        };
        let finding = finding.and_then(|finding| self.findings.add(*finding));
        self.processors[number].judged(self.clock, key, Judged { verdict, finding });
        self.summary.count(verdict);
        verdict
    }
}

fn is_unmapped(fault: &Fault) -> bool {
    match fault {
        Fault::Page(fault) => {
            matches!(fault.reason, PageFaultReason::NotPresent { .. } | PageFaultReason::ReservedBit { .. })
        }
        Fault::EptViolation(violation) => violation.permissions.is_empty(),
        Fault::EptMisconfiguration(_) => true,
        _ => false,
    }
}
