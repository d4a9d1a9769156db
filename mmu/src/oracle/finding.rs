//! What the oracle has to say, in words.

use super::change::{Change, Tag, What};
use crate::context::Context;
use crate::fault::Fault;
use crate::mapping::Space;
use crate::rules::Rule;
use isa::address::{AccessKind, HostPhysicalAddress, LinearAddress};
use std::fmt;

/// A use of a translation that was not the one of the tables.
#[derive(Clone, Debug)]
pub struct Finding {
    /// On which logical processor.
    pub processor: usize,
    /// When, in instructions.
    pub at: u64,
    /// The tag under which it was looked up.
    pub space: Space,
    /// The linear address.
    pub address: LinearAddress,
    /// The access.
    pub kind: AccessKind,
    /// Where it went.
    pub host_physical: HostPhysicalAddress,
    /// What the tables say.
    pub tables: Tables,
    /// Why it happened.
    pub cause: FindingCause,
    /// How often the same cause led to such a use on this processor.
    pub uses: u64,
}

/// What the tables say of an access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tables {
    /// It goes elsewhere.
    Elsewhere(HostPhysicalAddress),
    /// It goes where it went, but a dirty flag of an entry is clear.
    Clean,
    /// It is refused.
    Refuse(Fault),
}

/// Why a translation was used that was not the one of the tables.
#[derive(Clone, Debug)]
pub enum FindingCause {
    /// Software relied on a change without the invalidation that it needs on this processor.
    Missing(Change),
    /// The entry was changed by nobody who is known.
    Unknown,
    /// The processor used what a rule had demanded to be gone.
    Kept(Change, &'static Rule),
    /// No state of the tables has had the translation under this tag.
    Never,
}

impl Finding {
    /// Whether software is to blame, and not the processor.
    #[must_use]
    pub const fn is_missing(&self) -> bool {
        matches!(self.cause, FindingCause::Missing(_) | FindingCause::Unknown)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processor, at, space, address, kind, host_physical, tables, cause, uses } = self;
        let access = match kind {
            AccessKind::Read => "read",
            AccessKind::Write => "wrote",
            AccessKind::Execute => "fetched from",
        };
        write!(
            f,
            "At instruction {at} processor {processor} {access} linear address {address} ({}) through a translation to \
             host-physical {host_physical}; {tables}. ",
            Tag(*space)
        )?;
        match cause {
            FindingCause::Missing(change) => write!(
                f,
                "At instruction {} {change}, and software relies on it. No operation on processor {processor} since \
                 then has required the old translation to be gone. Needed there: {}.",
                change.at,
                Needed { change, space }
            )?,
            FindingCause::Unknown => write!(
                f,
                "The translation was right once; the entry was changed by an unknown writer, and nothing on processor \
                 {processor} has invalidated it since."
            )?,
            FindingCause::Kept(change, rule) => write!(
                f,
                "At instruction {} {change}. The processor should not have it any more: {} (SDM {}): {}.",
                change.at, rule.id, rule.section, rule.says
            )?,
            FindingCause::Never => write!(
                f,
                "No state of the tables has had this translation under this tag: it was cached under a wrong one, or \
                 not by a walk (SDM 31.4.2)."
            )?,
        }
        if *uses > 1 { write!(f, " It was used {uses} times.") } else { Ok(()) }
    }
}

impl fmt::Display for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Elsewhere(host) => write!(f, "the tables lead to {host}"),
            Self::Clean => f.write_str("the tables lead there too, but the dirty flag is clear and stays so"),
            Self::Refuse(fault) => write!(f, "the tables refuse the access ({fault})"),
        }
    }
}

/// The invalidation that a change needs on a processor that may have cached the old translation under a tag.
struct Needed<'a> {
    change: &'a Change,
    space: &'a Space,
}

impl fmt::Display for Needed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Space { vpid, pcid, .. } = *self.space;
        match self.change.what {
            What::GuestEntry { context: Context { .. }, page, .. } => {
                write!(f, "INVLPG {page} under PCID {pcid}, or INVPCID (SDM 5.10.4.2)")?;
                if vpid != 0 {
                    write!(f, ", or INVVPID with VPID {vpid} from VMX root operation (SDM 31.4.3.3)")?;
                }
                Ok(())
            }
            What::EptEntry { ept, .. } => {
                write!(f, "INVEPT, single-context, with EPTP bits 51:12 = {} (SDM 31.4.3.4)", ept.root)
            }
            What::Binding { .. } if vpid != 0 => write!(
                f,
                "MOV to CR3 with bit 63 = 0 or INVPCID type 1 for PCID {pcid} (SDM 5.10.4.1), or INVVPID with VPID \
                 {vpid} before the VPID is given to another guest (SDM 31.4.3.3)"
            ),
            What::Binding { .. } => {
                write!(f, "MOV to CR3 with bit 63 = 0 or INVPCID type 1 for PCID {pcid} (SDM 5.10.4.1)")
            }
        }
    }
}
