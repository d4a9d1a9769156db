//! What an observed memory tells of each access.

use crate::counters::{Counters, Outcome};
use crate::fault::Fault;
use crate::reference::{Dimension, Reference, ReferenceLog};
use crate::translator::{Found, Hit};
use core::ops::Range;
use isa::address::{AccessKind, HostPhysicalAddress, LinearAddress};

/// One access, or one page's part of an access that crosses pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AccessReport<'a> {
    /// What the access did.
    pub kind: AccessKind,
    /// Its linear address.
    pub linear: LinearAddress,
    /// The address in memory; `None` when the walk ended in a fault.
    pub host_physical: Option<HostPhysicalAddress>,
    /// Bytes, all in one page. A fetch reports 1.
    pub bytes: u16,
    /// Where the translation came from.
    pub hit: Hit,
    /// The references of the walk, in order.
    pub references: &'a [Reference],
}

#[derive(Debug)]
struct Stored {
    kind: AccessKind,
    linear: LinearAddress,
    host_physical: Option<HostPhysicalAddress>,
    bytes: u16,
    hit: Hit,
    references: Range<u32>,
}

/// Reports and counters. The buffers are reused: in the steady state nothing is allocated.
#[derive(Debug, Default)]
pub(super) struct Observations {
    pub(super) counters: Counters,
    stored: Vec<Stored>,
    references: Vec<Reference>,
}

impl Observations {
    pub(super) fn reports(&self) -> impl ExactSizeIterator<Item = AccessReport<'_>> {
        self.stored.iter().map(|stored| AccessReport {
            kind: stored.kind,
            linear: stored.linear,
            host_physical: stored.host_physical,
            bytes: stored.bytes,
            hit: stored.hit,
            references: &self.references[stored.references.start as usize..stored.references.end as usize],
        })
    }

    #[inline]
    pub(super) fn clear(&mut self) {
        self.stored.clear();
        self.references.clear();
    }

    /// Reports an access, the references of whose walk were recorded from `start` on. One that is not canonical is
    /// none.
    #[inline]
    pub(super) fn report(&mut self, access: Access, found: &Result<Found, Fault>, start: usize) {
        match found {
            Ok(Found { translation, hit: Hit::Walk }) => {
                self.walk(access, Some(translation.host(access.linear)), start);
            }
            Ok(Found { translation, hit }) => self.hit(*hit, access, translation.host(access.linear)),
            Err(Fault::NonCanonical { .. }) => {}
            Err(_) => self.walk(access, None, start),
        }
    }

    /// Reports an access that the TLB answered.
    #[inline]
    pub(super) fn hit(&mut self, hit: Hit, access: Access, host_physical: HostPhysicalAddress) {
        let end = self.references.len() as u32;
        self.count_lookup(access.kind, hit);
        self.store(access, Some(host_physical), hit, end..end);
    }

    #[inline(never)]
    fn walk(&mut self, access: Access, host_physical: Option<HostPhysicalAddress>, start: usize) {
        let end = self.references.len();
        for reference in &self.references[start..end] {
            match reference.dimension {
                Dimension::Guest => self.counters.guest_references += 1,
                Dimension::Ept => self.counters.ept_references += 1,
            }
        }
        self.counters.walks += 1;
        self.counters.faults += u64::from(host_physical.is_none());
        self.count_lookup(access.kind, Hit::Walk);
        self.store(access, host_physical, Hit::Walk, start as u32..end as u32);
    }

    /// Where the references of the next walk will start.
    pub(super) const fn mark(&self) -> usize {
        self.references.len()
    }

    #[inline]
    fn store(
        &mut self,
        access: Access,
        host_physical: Option<HostPhysicalAddress>,
        hit: Hit,
        references: Range<u32>,
    ) {
        let Access { kind, linear, bytes } = access;
        self.stored.push(Stored { kind, linear, host_physical, bytes, hit, references });
    }

    #[inline]
    fn count_lookup(&mut self, kind: AccessKind, hit: Hit) {
        let first = match kind {
            AccessKind::Execute => &mut self.counters.level1_instruction,
            AccessKind::Read | AccessKind::Write => &mut self.counters.level1_data,
        };
        first.count(if hit == Hit::L1 { Outcome::Hit } else { Outcome::Miss });
        match hit {
            Hit::L1 => {}
            Hit::L2 => self.counters.level2.count(Outcome::Hit),
            Hit::Walk => self.counters.level2.count(Outcome::Miss),
        }
    }
}

impl ReferenceLog for Observations {
    #[inline]
    fn record(&mut self, reference: Reference) {
        self.references.push(reference);
    }
}

/// An access within one page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Access {
    pub(super) kind: AccessKind,
    pub(super) linear: LinearAddress,
    pub(super) bytes: u16,
}
