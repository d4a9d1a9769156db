//! Walks of tables as they were.

use super::history::{History, Record};
use super::{Used, agrees};
use crate::context::Context;
use crate::mapping::Space;
use crate::paging;
use crate::ram::Ram;
use crate::reference::Reference;
use isa::address::{GuestPhysicalAddress, HostPhysicalAddress};

/// Changes of one walk that are undone together at most.
const DEPTH: u8 = 3;

/// The changes without which the tables would give the translation that was used. Several may explain it: a frame
/// that was given up by one page may have become that of another.
pub(super) fn explanations<'a>(
    ram: &Ram,
    history: &'a History,
    processor: usize,
    context: &Context,
    used: &Used,
) -> Vec<&'a Record> {
    let mut undo = Undo { ram, history, used, found: Vec::new() };
    undo.search(context, DEPTH);
    for record in history.of_tag(processor, Space::of(context)) {
        let cr3 = GuestPhysicalAddress(record.change.old);
        if undo.gives(&Context { cr3, ..*context }) {
            undo.found.push(record);
        }
    }
    undo.found
}

struct Undo<'a, 'b> {
    ram: &'b Ram,
    history: &'a History,
    used: &'b Used,
    found: Vec<&'a Record>,
}

impl Undo<'_, '_> {
    /// Undoes changes of the entries that a walk reads, one after the other and several at once.
    fn search(&mut self, context: &Context, depth: u8) {
        let mut references: Vec<Reference> = Vec::new();
        // What the walk finds has been looked at; a walk that faults has read the entry that is to blame.
        let _ = paging::walk(self.ram, context, self.used.address, self.used.kind, &mut references);
        let history = self.history;
        for reference in references {
            for record in history.of_entry(reference.host_physical) {
                let entry = record.change.entry;
                let Ok(now) = self.ram.read::<u64>(entry) else { continue };
                if now == record.change.old || self.ram.write(entry, record.change.old).is_err() {
                    continue;
                }
                let _restore = Restore { ram: self.ram, entry, value: now };
                if self.gives(context) {
                    self.found.push(record);
                } else if depth > 1 {
                    self.search(context, depth - 1);
                }
            }
        }
    }

    /// Whether the tables as they are in RAM now give the translation that was used.
    fn gives(&self, context: &Context) -> bool {
        let walk = paging::walk(self.ram, context, self.used.address, self.used.kind, &mut ());
        walk.is_ok_and(|walk| agrees(&walk, self.used).is_none())
    }
}

/// Puts an entry back.
struct Restore<'a> {
    ram: &'a Ram,
    entry: HostPhysicalAddress,
    value: u64,
}

impl Drop for Restore<'_> {
    fn drop(&mut self) {
        // It has just been written at the same place.
        let _ = self.ram.write(self.entry, self.value);
    }
}
