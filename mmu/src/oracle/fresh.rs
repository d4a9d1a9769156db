//! Fresh walks: what the tables say now.

use super::change::{DIRTY, EPT_DIRTY};
use super::memo::EntryKind;
use crate::context::{Context, Controls, PagingMode, Privilege};
use crate::ept::{self, EptAccess, EptContext, EptControls, EptPermissions, EptTarget};
use crate::fault::Fault;
use crate::mapping::Mapping;
use crate::paging;
use crate::ram::Ram;
use crate::reference::{Dimension, Reference};
use crate::translation::{PageSize, Translation};
use crate::walk::FlagUpdates;
use isa::address::{AccessKind, GuestPhysicalAddress, HostPhysicalAddress, LinearAddress};

/// What a walk finds for an access, with the references that it makes also when it faults.
///
/// # Errors
///
/// Why the access is not permitted; `Ok(None)` where a write would have to set a dirty flag first.
pub(super) fn walk(
    ram: &Ram,
    context: &Context,
    address: LinearAddress,
    kind: AccessKind,
    references: &mut Vec<Reference>,
) -> Result<Option<Translation>, Fault> {
    let translation = paging::walk(ram, context, address, kind, references)?.translation;
    let ready = kind != AccessKind::Write || is_dirty(ram, context, references);
    Ok(ready.then_some(translation))
}

/// Whether the dirty flags of the page are set in memory, in guest paging and in EPT.
fn is_dirty(ram: &Ram, context: &Context, references: &[Reference]) -> bool {
    let has = |reference: &Reference, flag: u64| {
        // The flags are in the low bytes of entries of either width.
        ram.read::<u16>(reference.host_physical).is_ok_and(|entry| u64::from(entry) & flag != 0)
    };
    let guest = || references.iter().rfind(|reference| reference.dimension == Dimension::Guest);
    let in_guest = context.mode == PagingMode::None || guest().is_none_or(|reference| has(reference, DIRTY));
    let flags = context.ept.is_some_and(|ept| ept.controls.contains(EptControls::ACCESSED_DIRTY));
    let in_ept = !flags || references.last().is_none_or(|reference| has(reference, EPT_DIRTY));
    in_guest && in_ept
}

/// The entries that a walk has read, and which of them map the page alone.
pub(super) fn entries(references: &[Reference]) -> impl Iterator<Item = (u64, EntryKind)> + '_ {
    let last_guest = references.iter().rposition(|reference| reference.dimension == Dimension::Guest);
    let last = references.len().checked_sub(1);
    references.iter().enumerate().map(move |(place, reference)| {
        let leaf = Some(place) == last_guest || Some(place) == last;
        (reference.host_physical.0, if leaf { EntryKind::Leaf } else { EntryKind::Shared })
    })
}

/// Whether a cached mapping is what a fresh walk in `context` would cache, or a part of it, with no right more.
///
/// The rights in the paging-structure caches are not part of a [`Mapping`] and not looked at. The context of a
/// guest-physical mapping needs to name its EPT only.
pub(super) fn is_valid(ram: &Ram, context: &Context, mapping: &Mapping) -> bool {
    match *mapping {
        Mapping::Translation { translation, .. } => is_valid_translation(ram, context, &translation),
        Mapping::Structure { level, linear, table, .. } => {
            references_table(&path(ram, context, linear), Dimension::Guest, level, table)
        }
        Mapping::GuestPhysical { ept, guest_physical, host_physical, size } => {
            let found = ept_of(context, ept).and_then(|ept| ept_path(ram, context, &ept, guest_physical).1);
            found.is_some_and(|(host, found)| host == host_physical && found >= size)
        }
        Mapping::EptStructure { ept, level, guest_physical, table } => {
            let Some(ept) = ept_of(context, ept) else { return false };
            let (references, _) = ept_path(ram, context, &ept, guest_physical);
            references_table(&references, Dimension::Ept, level, table)
        }
    }
}

fn is_valid_translation(ram: &Ram, context: &Context, held: &Translation) -> bool {
    let Some(found) = translation(ram, context, held.linear) else { return false };
    found.host(held.linear) == held.host_physical
        && found.size >= held.size
        && found.guest_size == held.guest_size
        && found.rights.key() == held.rights.key()
        && found.rights.contains(held.rights)
        && found.scope == held.scope
}

/// The translation of an address, whatever it permits.
fn translation(ram: &Ram, context: &Context, address: LinearAddress) -> Option<Translation> {
    let refusing = Controls::SMEP | Controls::SMAP | Controls::WRITE_PROTECT | Controls::PROTECTION_KEYS;
    let context =
        Context { privilege: Privilege::Supervisor, controls: context.controls - refusing, ..*context };
    let kinds = [AccessKind::Read, AccessKind::Execute];
    kinds.into_iter().find_map(|kind| {
        paging::walk(ram, &context, address, kind, &mut ()).ok().map(|walk| walk.translation)
    })
}

/// The references of a walk, as far as it goes.
pub(super) fn path(ram: &Ram, context: &Context, address: LinearAddress) -> Vec<Reference> {
    let mut references = Vec::new();
    // A fault ends the path.
    let _ = paging::walk(ram, context, address, AccessKind::Read, &mut references);
    references
}

/// Whether the entry of `level` on a path references `table`: the next read is in it.
pub(super) fn references_table(
    references: &[Reference],
    dimension: Dimension,
    level: u8,
    table: HostPhysicalAddress,
) -> bool {
    let next = |reference: &&Reference| reference.dimension == dimension && reference.level == level - 1;
    references.iter().find(next).is_some_and(|reference| reference.host_physical.page() == table.page())
}

/// The EPT of a context, if it is that of a tag.
pub(super) fn ept_of(context: &Context, root: HostPhysicalAddress) -> Option<EptContext> {
    context.ept.filter(|ept| ept.root.page() == root.page())
}

/// The references of an EPT walk, as far as it goes, and where it ends.
pub(super) fn ept_path(
    ram: &Ram,
    context: &Context,
    ept: &EptContext,
    address: GuestPhysicalAddress,
) -> (Vec<Reference>, Option<(HostPhysicalAddress, PageSize)>) {
    let mut references = Vec::new();
    let access = EptAccess { needs: EptPermissions::empty(), target: EptTarget::Physical, linear: None };
    let (width, mut updates) = (context.physical_address_width, FlagUpdates::default());
    let found = ept::translate(ram, ept, width, address, access, &mut references, &mut updates);
    (references, found.ok().map(|mapping| (mapping.host_physical, mapping.size)))
}
