//! Translation of linear addresses by 32-bit, PAE, 4-level and 5-level paging (SDM 5.3 to 5.5), alone or over EPT.
//!
//! The walk follows the manual's order: at each level the entry's own address is translated by EPT when that is in
//! use, the entry is read, P is looked at, then the reserved bits. When the page is known the access rights are
//! determined (5.6.1), then EPT is asked for the page itself (31.3.3.3). Only when everything is permitted are the
//! accessed and dirty flags (5.8) due, and they are returned rather than written.
//!
//! [`walk()`] reads every entry. A [`Translator`](crate::Translator) starts where its caches let it (5.10.3, 31.4.1).

mod entry;
mod format;
mod pdptes;
mod rights;
mod walker;

pub use pdptes::{PdpteError, load_pdptes};

use crate::context::{Context, PagingMode};
use crate::fault::Fault;
use crate::ram::Ram;
use crate::reference::ReferenceLog;
use crate::translation::Translation;
use crate::walk::{Notes, Walk, WalkCaches};
use format::{Narrow, Wide};
use isa::address::{AccessKind, LinearAddress};
use walker::Walker;

/// Translates `address` for an access of `kind`; reads the tables and writes nothing.
///
/// # Errors
///
/// Any [`Fault`] but [`Fault::CodePage`].
pub fn walk<L: ReferenceLog>(
    ram: &Ram,
    context: &Context,
    address: LinearAddress,
    kind: AccessKind,
    log: &mut L,
) -> Result<Walk, Fault> {
    let mut notes = Notes::default();
    let translation = walk_from(ram, context, address, kind, &mut (), log, &mut notes)?;
    Ok(Walk { translation, updates: notes.updates })
}

/// As [`walk()`], from what `caches` hold on. What it finds beside the translation is in `notes`; nothing is inserted.
#[inline]
pub(crate) fn walk_from<C: WalkCaches, L: ReferenceLog>(
    ram: &Ram,
    context: &Context,
    address: LinearAddress,
    kind: AccessKind,
    caches: &mut C,
    log: &mut L,
    notes: &mut Notes,
) -> Result<Translation, Fault> {
    notes.clear();
    if !context.mode.is_canonical(address) {
        return Err(Fault::NonCanonical { address });
    }
    let walker = Walker { ram, context, address, kind, caches, log, notes };
    match context.mode {
        PagingMode::None => walker.without_paging(),
        PagingMode::ThirtyTwoBit => walker.through_tables::<Narrow>(),
        PagingMode::Pae | PagingMode::FourLevel | PagingMode::FiveLevel => walker.through_tables::<Wide>(),
    }
}
