//! The current tags, and the supply of numbers for tags.

use super::array::Hint;
use super::invalidate::Invalidation;
use super::tags::{CurrentTags, Presences};
use super::{HINTS, Tlb};
use crate::context::Context;
use crate::mapping::Space;

/// What making another tag current did to the entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Selected {
    /// Nothing.
    AsBefore,
    /// There was no number left for the tag, and all entries were forgotten.
    AfterLoss,
}

impl Tlb {
    /// Makes the tag of `context` the current one. Nothing is invalidated.
    pub fn select(&mut self, context: &Context) -> Selected {
        let losses = self.losses;
        self.space = Space::of(context);
        self.refresh_tags();
        if losses == self.losses { Selected::AsBefore } else { Selected::AfterLoss }
    }

    /// Gives the current space tags that are not retired.
    pub(super) fn refresh_tags(&mut self) {
        let found = self.find_tags().or_else(|| {
            self.collect();
            self.find_tags()
        });
        let tags = found.unwrap_or_else(|| self.forget_all());
        if tags.translations != self.current.translations {
            *self.hints = [[Hint::NONE; HINTS]; 3];
        }
        self.current = tags;
    }

    fn find_tags(&mut self) -> Option<CurrentTags> {
        let present = Presences {
            structures: self.structures.presence(),
            guest_physical: self.nested.presence(),
            ept_structures: self.ept_structures.presence(),
        };
        self.tags.current(self.space, present)
    }

    /// Makes the numbers of retired and unused tags available again, those that entries still hold too.
    fn collect(&mut self) {
        self.tags.release_unused();
        let Self { arrays, structures, nested, ept_structures, tags, .. } = self;
        arrays.iter_mut().for_each(|array| array.free_retired(tags));
        structures.levels.iter_mut().for_each(|(_, array)| array.free_retired(tags));
        nested.arrays.iter_mut().for_each(|array| array.free_retired(tags));
        ept_structures.levels.iter_mut().for_each(|(_, array)| array.free_retired(tags));
    }

    /// Forgets every entry, so that all numbers are available again.
    fn forget_all(&mut self) -> CurrentTags {
        self.losses += 1;
        self.tags.invalidate(&Invalidation::Everything, CurrentTags::default());
        self.collect();
        self.find_tags().unwrap_or_default()
    }
}
