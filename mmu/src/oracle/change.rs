//! Changes of what software has mapped, and their words.

use crate::context::{Context, Controls};
use crate::ept::EptContext;
use crate::mapping::Space;
use crate::walk::EntryWidth;
use isa::address::{GuestPhysicalAddress, HostPhysicalAddress, LinearAddress};
use serde::Serialize;
use std::borrow::Cow;
use std::fmt;

/// Who made a change.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize)]
pub struct Actor {
    /// The logical processor, counted from 0.
    pub processor: usize,
    /// The software, in the words of the reader: `munmap`, `balloon of guest 2`.
    pub who: Cow<'static, str>,
}

/// A change of what software has mapped.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Change {
    /// Who made it.
    pub by: Actor,
    /// When, in instructions.
    pub at: u64,
    /// What it concerns.
    pub what: What,
    /// Where the entry is; of no meaning for a binding.
    pub entry: HostPhysicalAddress,
    /// The level of the entry: 5 for a PML5E or EPT PML5E, down to 1; 0 for a binding.
    pub level: u8,
    /// The entry before, or CR3.
    pub old: u64,
    /// The entry after, or CR3.
    pub new: u64,
}

/// What a change concerns.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// An entry of the guest's paging structures, or of the only ones where EPT is not in use.
    GuestEntry {
        /// A context that uses the entry. Others that use it too are found without being named.
        context: Context,
        /// The first linear address that the entry translates.
        page: LinearAddress,
        /// Bytes that it translates.
        size: u64,
    },
    /// An entry of the EPT paging structures.
    EptEntry {
        /// The structures.
        ept: EptContext,
        /// The first guest-physical address that the entry translates.
        page: GuestPhysicalAddress,
        /// Bytes that it translates.
        size: u64,
    },
    /// A tag that now stands for other paging structures. The oracle finds these by itself.
    Binding {
        /// The tag.
        space: Space,
    },
}

/// The number of a change.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub struct ChangeId(pub(super) u64);

const PRESENT: u64 = 1 << 0;
const WRITE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const ACCESSED: u64 = 1 << 5;
pub(super) const DIRTY: u64 = 1 << 6;
const MAPS_PAGE: u64 = 1 << 7;
const GLOBAL: u64 = 1 << 8;
const EXECUTE_DISABLE: u64 = 1 << 63;
/// The protection key in an entry that maps a page.
const KEY: u64 = 0xf << 59;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
/// Read, write, execute, and execute from user-mode addresses.
const EPT_RIGHTS: u64 = 0b111 | 1 << 10;
const EPT_ACCESSED: u64 = 1 << 8;
pub(super) const EPT_DIRTY: u64 = 1 << 9;

impl Change {
    /// Whether a processor that still uses the old entry differs from one that uses the new one in more than an
    /// access refused too early or a flag set once more: whether it takes something away.
    #[must_use]
    pub const fn takes_away(&self) -> bool {
        let (lost, gained) = (self.old & !self.new, self.new & !self.old);
        let moved = (self.old ^ self.new) & (ADDRESS | MAPS_PAGE) != 0;
        match self.what {
            What::GuestEntry { context, .. } => {
                let keys = context.controls.contains(Controls::PROTECTION_KEYS);
                let moved = moved || keys && (self.old ^ self.new) & KEY != 0;
                let rights = PRESENT | WRITE | USER | DIRTY | GLOBAL;
                self.old & PRESENT != 0 && (lost & rights != 0 || gained & EXECUTE_DISABLE != 0 || moved)
            }
            What::EptEntry { .. } => {
                self.old & EPT_RIGHTS != 0 && (lost & (EPT_RIGHTS | EPT_DIRTY) != 0 || moved)
            }
            What::Binding { .. } => true,
        }
    }

    /// The width of the entry.
    pub(super) const fn width(&self) -> EntryWidth {
        match self.what {
            What::GuestEntry { context, .. } => context.mode.entry_width(),
            What::EptEntry { .. } | What::Binding { .. } => EntryWidth::Eight,
        }
    }

    /// The old entry without what does not tell it from another one.
    pub(super) const fn old_but_accessed(&self) -> u64 {
        match self.what {
            What::GuestEntry { .. } => self.old & !ACCESSED,
            What::EptEntry { .. } => self.old & !EPT_ACCESSED,
            What::Binding { .. } => self.old,
        }
    }

    /// Whether the old entry referenced a table.
    pub(super) const fn had_table(&self) -> bool {
        self.level > 1 && self.old & MAPS_PAGE == 0
    }

    /// What was done, as a verb with its object.
    fn deed(&self) -> &'static str {
        match (self.what, self.had_table()) {
            (What::GuestEntry { .. }, false) => guest_deed(self.old, self.new),
            (What::EptEntry { .. }, false) => ept_deed(self.old, self.new),
            (What::GuestEntry { .. }, true) if self.new & PRESENT == 0 => "took away the table of",
            (What::EptEntry { .. }, true) if self.new & EPT_RIGHTS == 0 => "took away the table of",
            (What::GuestEntry { .. } | What::EptEntry { .. }, true)
                if (self.old ^ self.new) & ADDRESS == 0 =>
            {
                "cut the permissions in the entry above"
            }
            (What::GuestEntry { .. } | What::EptEntry { .. }, true) => "replaced the table of",
            (What::Binding { .. }, _) => "gave to other paging structures",
        }
    }
}

const fn guest_deed(old: u64, new: u64) -> &'static str {
    let (lost, gained) = (old & !new, new & !old);
    if lost & PRESENT != 0 {
        "unmapped"
    } else if (old ^ new) & ADDRESS != 0 {
        "moved to another frame"
    } else if (old ^ new) & MAPS_PAGE != 0 {
        "changed the page size of"
    } else if lost & WRITE != 0 {
        "made read-only"
    } else if lost & USER != 0 {
        "made supervisor-only"
    } else if gained & EXECUTE_DISABLE != 0 {
        "made non-executable"
    } else if lost & DIRTY != 0 {
        "cleared the dirty flag of"
    } else if lost & GLOBAL != 0 {
        "made non-global"
    } else if (old ^ new) & KEY != 0 {
        "gave another protection key to"
    } else {
        "changed"
    }
}

const fn ept_deed(old: u64, new: u64) -> &'static str {
    let lost = old & !new;
    if new & EPT_RIGHTS == 0 {
        "unmapped"
    } else if (old ^ new) & ADDRESS != 0 {
        "moved to another frame"
    } else if (old ^ new) & MAPS_PAGE != 0 {
        "changed the page size of"
    } else if lost & 0b001 != 0 {
        "made unreadable"
    } else if lost & 0b010 != 0 {
        "made read-only"
    } else if lost & EPT_RIGHTS != 0 {
        "made non-executable"
    } else if lost & EPT_DIRTY != 0 {
        "cleared the dirty flag of"
    } else {
        "changed"
    }
}

/// The name of an entry of guest paging or EPT.
const fn entry_name(level: u8) -> &'static str {
    match level {
        1 => "PTE",
        2 => "PDE",
        3 => "PDPTE",
        4 => "PML4E",
        _ => "PML5E",
    }
}

fn bytes(f: &mut fmt::Formatter<'_>, size: u64) -> fmt::Result {
    match size {
        0..0x10_0000 => write!(f, "{} KByte", size >> 10),
        0x10_0000..0x4000_0000 => write!(f, "{} MByte", size >> 20),
        _ => write!(f, "{} GByte", size >> 30),
    }
}

impl fmt::Display for Change {
    /// Who did what where: the middle of a sentence that begins with the time.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { by, entry, level, old, new, .. } = self;
        write!(f, "{} on processor {} {} ", by.who, by.processor, self.deed())?;
        match self.what {
            What::GuestEntry { page, size, .. } => {
                bytes(f, size)?;
                write!(f, " at linear address {page} ({} at host-physical ", entry_name(*level))?;
            }
            What::EptEntry { page, size, .. } => {
                bytes(f, size)?;
                write!(f, " at guest-physical address {page} (EPT {} at host-physical ", entry_name(*level))?;
            }
            What::Binding { space } => {
                return write!(f, "{} (CR3 {old:#x} -> {new:#x})", Tag(space));
            }
        }
        write!(f, "{entry}: {old:#x} -> {new:#x})")
    }
}

/// A tag in words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tag(pub(super) Space);

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Space { vpid, pcid, ept, word } = self.0;
        write!(f, "VPID {vpid}, PCID {pcid}")?;
        if let Some(ept) = ept {
            write!(f, ", EPTRTA {ept}")?;
        }
        if word != 0 {
            write!(f, ", tag word {word:#x}")?;
        }
        Ok(())
    }
}
