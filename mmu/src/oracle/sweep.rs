//! Which changes a processor can still be wrong about: the others are forgotten.

use super::change::ChangeId;
use super::fresh;
use super::history::History;
use super::past::search;
use super::processor::Processor;
use crate::context::Context;
use crate::mapping::Mapping;
use crate::ram::Ram;
use crate::reference::{Dimension, Reference};
use core::ops::ControlFlow;
use isa::address::{GuestPhysicalAddress, HostPhysicalAddress, LinearAddress};
use rustc_hash::FxHashSet;

/// Looks through everything that one processor holds.
pub(super) struct Sweep<'a> {
    pub(super) ram: &'a Ram,
    pub(super) history: &'a History,
    pub(super) processor: &'a Processor,
    /// The changes of which it may have something old.
    pub(super) held: FxHashSet<ChangeId>,
}

impl Sweep<'_> {
    /// Adds the changes of which `mapping` may have something old: all on the paths that lead to it, now and before.
    pub(super) fn look_at(&mut self, mapping: &Mapping) {
        let Some(context) = self.processor.usual_context(mapping) else { return };
        match *mapping {
            Mapping::Translation { space, translation } => {
                if !fresh::is_valid(self.ram, &context, mapping) {
                    self.hold_paths(&context, space, translation.linear, 0);
                }
            }
            // Rights are not told of these: an old one may have them.
            Mapping::Structure { space, level, linear, .. } => {
                self.hold_paths(&context, space, linear, level);
            }
            Mapping::GuestPhysical { ept, guest_physical, .. } => {
                self.hold_ept_path(&context, ept, guest_physical, 0);
            }
            Mapping::EptStructure { ept, level, guest_physical, .. } => {
                self.hold_ept_path(&context, ept, guest_physical, level);
            }
        }
    }

    /// Adds the changes on the paths to an address, down to the entry of `level` and the way to its table.
    fn hold_paths(&mut self, context: &Context, space: crate::Space, address: LinearAddress, level: u8) {
        let former = self.processor.former(space).iter().map(|(context, id)| (context, Some(*id)));
        for (context, ended_by) in core::iter::once((context, None)).chain(former) {
            let walk = || fresh::path(self.ram, context, address);
            self.hold(ended_by, Dimension::Guest, level, walk);
        }
    }

    fn hold_ept_path(
        &mut self,
        context: &Context,
        root: HostPhysicalAddress,
        address: GuestPhysicalAddress,
        level: u8,
    ) {
        let Some(ept) = fresh::ept_of(context, root) else { return };
        let walk = || fresh::ept_path(self.ram, context, &ept, address).0;
        self.hold(None, Dimension::Ept, level, walk);
    }

    fn hold(
        &mut self,
        ended_by: Option<ChangeId>,
        dimension: Dimension,
        level: u8,
        walk: impl Fn() -> Vec<Reference>,
    ) {
        let Self { ram, history, .. } = *self;
        let held = &mut self.held;
        let below = |reference: &Reference| reference.dimension == dimension && reference.level < level;
        let mut attempt = |references: &mut Vec<Reference>, undone: &[ChangeId]| {
            *references = walk();
            if let Some(end) = references.iter().position(below) {
                references.truncate(end);
            }
            held.extend(undone);
            ControlFlow::Continue(())
        };
        // The search is never broken off.
        let _ = search(ram, history, ended_by, &mut attempt);
    }
}
