//! Whether mappings that an invalidation covers are those of the tables.

use super::{Oracle, Used, agrees};
use crate::context::Context;
use crate::ept::{self, EptAccess, EptContext, EptPermissions, EptTarget};
use crate::mapping::{Mapping, Space};
use crate::mmu::Hit;
use crate::paging;
use crate::ram::Ram;
use crate::reference::{Dimension, Reference};
use crate::translation::{Rights, Translation};
use crate::walk::FlagUpdates;
use isa::address::{AccessKind, GuestPhysicalAddress, HostPhysicalAddress, LinearAddress};

/// What a cached mapping is beside the tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// A walk would find the same, or nothing that permits less.
    Valid,
    /// A walk would find something else.
    Stale,
}

impl Oracle {
    /// How a mapping stands; a mapping under a tag that was never used in an access counts as valid.
    pub(super) fn standing(&self, ram: &Ram, mapping: &Mapping) -> Standing {
        let valid = match *mapping {
            Mapping::Translation { space, translation } => {
                self.context(space).is_none_or(|context| self.is_valid(ram, context, &translation))
            }
            Mapping::Structure { space, level, linear, table } => self
                .context(space)
                .is_none_or(|context| leads_to(ram, context, linear, Dimension::Guest, level - 1, table)),
            Mapping::GuestPhysical { ept, guest_physical, host_physical, .. } => {
                let found = self.ept(ept).map(|ept| through(ram, ept, guest_physical, &mut Vec::new()));
                found.is_none_or(|found| found == Some(host_physical))
            }
            Mapping::EptStructure { ept, level, guest_physical, table } => self.ept(ept).is_none_or(|ept| {
                let mut references = Vec::new();
                through(ram, ept, guest_physical, &mut references);
                passes(&references, Dimension::Ept, level - 1, table)
            }),
        };
        if valid { Standing::Valid } else { Standing::Stale }
    }

    fn context(&self, space: Space) -> Option<&Context> {
        self.contexts.get(&space)
    }

    fn ept(&self, root: HostPhysicalAddress) -> Option<&EptContext> {
        self.epts.get(&root)
    }

    /// Whether each access that a translation permits goes where the tables lead.
    fn is_valid(&self, ram: &Ram, context: &Context, translation: &Translation) -> bool {
        let kinds = [
            (AccessKind::Read, Rights::EPT_READ),
            (AccessKind::Write, Rights::WRITE | Rights::EPT_WRITE | Rights::DIRTY),
        ];
        kinds.into_iter().filter(|(_, rights)| translation.rights.contains(*rights)).all(|(kind, _)| {
            let used = Used {
                address: translation.linear,
                kind,
                host_physical: translation.host(translation.linear),
                hit: Hit::L2,
                at: 0,
            };
            let walk = paging::walk(ram, context, used.address, kind, &mut ());
            walk.is_ok_and(|walk| agrees(&walk, &used).is_none())
        })
    }
}

/// Whether a walk of an address reads an entry of this level in this table.
fn leads_to(
    ram: &Ram,
    context: &Context,
    address: LinearAddress,
    dimension: Dimension,
    level: u8,
    table: HostPhysicalAddress,
) -> bool {
    let mut references: Vec<Reference> = Vec::new();
    // Whether the walk ends well does not matter: it is asked by which tables it passes.
    let _ = paging::walk(ram, context, address, AccessKind::Read, &mut references);
    passes(&references, dimension, level, table)
}

fn passes(references: &[Reference], dimension: Dimension, level: u8, table: HostPhysicalAddress) -> bool {
    references.iter().any(|reference| {
        reference.dimension == dimension
            && reference.level == level
            && reference.host_physical.page() == table.page()
    })
}

/// Where EPT leads.
fn through(
    ram: &Ram,
    ept: &EptContext,
    address: GuestPhysicalAddress,
    references: &mut Vec<Reference>,
) -> Option<HostPhysicalAddress> {
    let access = EptAccess { needs: EptPermissions::empty(), target: EptTarget::Physical, linear: None };
    let updates = &mut FlagUpdates::default();
    let mapping = ept::translate(ram, ept, 52, address, access, references, updates).ok()?;
    Some(mapping.host_physical)
}
